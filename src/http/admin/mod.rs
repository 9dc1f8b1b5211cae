//! The operator API: what `warren admin` asks, through a local socket that only the server's own user may open, or in
//! the same process when no server runs. No part of the public routes or of their description.
//!
//! A command is one struct. Its fields are the options a person types and the body that travels; [`Command::run`] is
//! what it does, an operation of `domain` as a rule. A new one is named in its file's `routes()`.

use std::future::Future;

use axum::extract::{DefaultBodyLimit, OriginalUri, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::extract::Body;
use super::layers;
use super::state::ApiState;
use crate::domain::account::find::FindNetwork;
use crate::domain::network::NetworkRecord;
use crate::ids::NetworkId;
use crate::wire::messages::ProvideMode;

pub mod balance;
pub mod balance_code;
pub mod certificate;
pub mod client;
pub mod contract;
pub mod invoice;
pub mod mail;
pub mod network;
pub mod payout;
pub mod provider;
pub mod session;
pub mod stats;
pub mod status;
pub mod token;
pub mod wallet;

/// Largest body of a command.
const BODY_BYTES: usize = 64 << 10;

/// Most entries in one answer.
pub const PAGE_MAX: u32 = 1000;

/// A command of the operator, with its options as fields.
pub trait Command: Serialize + DeserializeOwned + Send + 'static {
    /// Its route, `/<group>/<verb>`, always `POST`.
    const PATH: &'static str;

    /// What the operator learns.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Does it. A refusal is one sentence that names what is wrong and what to do.
    fn run(self, state: &ApiState) -> impl Future<Output = Result<Self::Answer, ApiError>> + Send;
}

/// Every command. Whoever can reach this router may do everything: it belongs behind a local socket.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .merge(status::routes())
        .merge(network::routes())
        .merge(client::routes())
        .merge(session::routes())
        .merge(certificate::routes())
        .merge(balance::routes())
        .merge(balance_code::routes())
        .merge(payout::routes())
        .merge(contract::routes())
        .merge(provider::routes())
        .merge(stats::routes())
        .merge(wallet::routes())
        .merge(token::routes())
        .merge(mail::routes())
        .merge(invoice::routes())
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn(|request: Request, next: Next| layers::catch_panic(next.run(request))))
        .with_state(state)
}

/// The route of one command.
fn route<C: Command>() -> Router<ApiState> {
    Router::new().route(C::PATH, post(answer::<C>))
}

async fn answer<C: Command>(
    State(state): State<ApiState>,
    Body(command): Body<C>,
) -> Result<Json<C::Answer>, ApiError> {
    tracing::info!(command = C::PATH, "operator command");
    command.run(&state).await.map(Json)
}

async fn unknown(OriginalUri(uri): OriginalUri) -> ApiError {
    let text = format!("the running server does not know {}; use the release of warren that it runs", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, text)
}

fn not_found(text: String) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, text)
}

/// The network that the operator named, by id or by name.
fn find_network(state: &ApiState, named: &str) -> Result<(NetworkId, NetworkRecord), ApiError> {
    let found = state.service.read(&FindNetwork { named })?;
    found.ok_or_else(|| {
        not_found(format!("there is no network with the id or name {named:?}; `warren admin network list` shows all"))
    })
}

/// Cuts a list that may hold one entry too many, and gives the id of the last one left when there was more.
fn cut<T, I>(entries: &mut Vec<T>, limit: u32, id: impl Fn(&T) -> I) -> Option<I> {
    let is_more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    entries.last().filter(|_| is_more).map(id)
}

/// The words for provide modes.
fn mode_words(modes: impl IntoIterator<Item = ProvideMode>) -> Vec<String> {
    modes.into_iter().map(|mode| format!("{mode:?}").to_lowercase()).collect()
}

#[cfg(test)]
mod tests;
