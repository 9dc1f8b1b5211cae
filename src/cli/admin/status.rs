//! `warren admin status`.

use super::show::{details, or_dash};
use crate::http::admin::status::Status;

/// How the server is, for people.
pub fn table(status: &Status) -> String {
    details([
        ("state", status.state.clone()),
        ("version", status.version.clone()),
        ("host", status.host.clone()),
        ("quic", or_dash(status.quic.as_ref())),
        ("data folder", status.store.clone()),
        ("clients connected", status.clients_connected.to_string()),
        ("pairs with contracts", status.contract_pairs.to_string()),
    ])
}
