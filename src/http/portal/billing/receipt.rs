//! Receipts of the stores of phones, which tell that a plan goes on.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::json;

use super::{member, receipt_refusal, receipt_type};
use crate::http::portal::Route;
use crate::http::portal::error::PortalResult;
use crate::http::portal::rate::Limit;
use crate::http::portal::session::SignedPost;
use crate::http::state::ApiState;

/// The routes of this file.
pub fn routes(state: &ApiState) -> Vec<Route> {
    let limit = Limit::new("subscription_event", |limits| limits.subscription_event);
    vec![("/subscription-event", limit.on(state, post(event)))]
}

async fn event(State(state): State<ApiState>, post: SignedPost) -> PortalResult {
    let store = receipt_type(post.fields.text("authtype"))?;
    let taken = state.subscriptions.refresh(member(&post.user), store, post.fields.text("authreceipt")).await;
    taken.map_err(receipt_refusal)?;
    Ok(Json(json!({"message": "Subscription Updated"})).into_response())
}
