//! The HTTP surface: one router over the operations of `domain`.
//!
//! A request passes the [`layers`], an extractor of [`extract`] proves who calls, a handler of [`api`] runs one
//! operation, and [`error`] turns what went wrong into a status and a body. [`openapi`] gathers the description of
//! all routes from the routes themselves. [`portal`] is the account website, on the same state. Sockets, TLS and the WebSocket upgrade belong to `server`.

use axum::Router;
use utoipa_axum::router::OpenApiRouter;

pub mod address;
pub mod admin;
pub mod answer;
pub mod api;
pub mod app_api;
pub mod docs;
pub mod error;
pub mod extract;
pub mod layers;
pub mod log_folder;
pub mod openapi;
pub mod page;
pub mod portal;
pub mod state;
#[cfg(test)]
pub mod testing;
mod unread;

/// Every route there is, and its description.
pub fn routes() -> OpenApiRouter<state::ApiState> {
    api::routes().merge(app_api::routes())
}

/// The routes that are switched on, behind their layers. The listener must add [`address::PeerAddr`] to each request.
pub fn router(state: state::ApiState) -> Router {
    let (routes, document) = match state.config().client_api.enabled {
        true => routes(),
        false => api::routes(),
    }
    .split_for_parts();
    let document = openapi::complete(document);
    let api = routes.merge(docs::routes(document)).method_not_allowed_fallback(layers::method_not_allowed);
    layers::wrap(portal::join(api, &state), state)
}
