//! Who is calling, once proven.

use crate::ids::{ClientId, DeviceId, NetworkId, SessionId, UserId};
use crate::time::Timestamp;

/// The identity behind a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The network the token belongs to.
    pub network_id: NetworkId,
    /// Its administrator.
    pub user_id: UserId,
    /// Present in a client token, absent in a user token.
    pub client: Option<CallerClient>,
    /// The time of the root login; tokens older than the last credential change are dead.
    pub create_time: Timestamp,
    /// The login session the token descends from.
    pub session_id: Option<SessionId>,
    /// Opaque identity roles.
    pub roles: Vec<String>,
    /// Opaque identity principal; empty for none.
    pub principal: String,
}

/// The client part of a client token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerClient {
    /// The client.
    pub client_id: ClientId,
    /// Its device.
    pub device_id: DeviceId,
}

impl Caller {
    /// The calling client, when the token is a client token.
    pub fn client_id(&self) -> Option<ClientId> {
        self.client.map(|client| client.client_id)
    }
}
