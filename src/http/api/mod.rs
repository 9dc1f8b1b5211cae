//! The JSON API: one file per group of routes.
//!
//! A route is registered by its name in its file's `routes()`, with the attribute that documents it. A new file is
//! merged here.

use utoipa_axum::router::OpenApiRouter;

use super::state::ApiState;

pub mod account_wallet;
pub mod auth;
pub mod balance_code;
pub mod client;
pub mod connect;
pub mod device;
pub mod hello;
pub mod key;
pub mod legal;
pub mod location;
pub mod network;
pub mod payment;
pub mod provider;
pub mod purchase;
pub mod ranking;
pub mod reliability;
pub mod routing_proof;
pub mod stats;
pub mod subnet;
pub mod subscription;
pub mod user;
pub mod wallet;

/// Every route of the JSON API and its description.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .merge(hello::routes())
        .merge(auth::routes())
        .merge(client::routes())
        .merge(network::routes())
        .merge(provider::routes())
        .merge(location::routes())
        .merge(reliability::routes())
        .merge(key::routes())
        .merge(device::routes())
        .merge(user::routes())
        .merge(legal::routes())
        .merge(connect::routes())
        .merge(subscription::routes())
        .merge(stats::routes())
        .merge(ranking::routes())
        .merge(balance_code::routes())
        .merge(payment::routes())
        .merge(wallet::routes())
        .merge(account_wallet::routes())
        .merge(purchase::routes())
        .merge(subnet::routes())
        .merge(routing_proof::routes())
}
