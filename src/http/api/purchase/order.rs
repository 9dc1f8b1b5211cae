//! Orders of this server: a page that shows one, and the payment of it.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::purchase::order::{Method, OrderStatus, PayOrder, PayRefusal, ReadOrder};
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult, ErrorMessage};
use crate::http::extract::{Body, Session};
use crate::http::page::{Html, escape};
use crate::http::state::ApiState;
use crate::money::NanoCents;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(show, pay))
}

/// How an order is paid.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct PayOrderArgs {
    /// `ledger`: from the caller's wallet on this server; `auto`: without money, where the operator allows it.
    #[schema(required)]
    method: String,
}

/// How an order stands.
#[derive(Default, Serialize, ToSchema)]
struct PayOrderResult {
    /// `granted` once it is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    /// Why it was not paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Pays an order of the caller's network. A second time changes nothing.
#[utoipa::path(
    post,
    path = "/pay/local/{order_id}",
    tag = "subscription",
    security(("bearer" = [])),
    params(("order_id" = String, Path, description = "The order.")),
    request_body = PayOrderArgs,
    responses((status = 200, body = PayOrderResult))
)]
async fn pay(
    State(state): State<ApiState>,
    Session(caller): Session,
    Path(id): Path<String>,
    Body(PayOrderArgs { method }): Body<PayOrderArgs>,
) -> ApiResult<PayOrderResult> {
    let method = match method.as_str() {
        "ledger" => Ok(Method::Ledger),
        "auto" => Ok(Method::Free),
        _ => Err(PayRefusal::Method),
    };
    let outcome = match method {
        Ok(method) => state.shop.pay(PayOrder { id, network_id: Some(caller.network_id), method }).await?,
        Err(refusal) => Err(refusal),
    };
    Ok(Json(match outcome {
        Ok(order) => PayOrderResult { status: Some(order.status.name()), error: None },
        Err(refusal) => PayOrderResult { status: None, error: Some(refusal.to_string().as_str().into()) },
    }))
}

/// A page that shows an order.
#[utoipa::path(
    get,
    path = "/pay/local/{order_id}",
    tag = "subscription",
    params(("order_id" = String, Path, description = "The order.")),
    responses(
        (status = 200, content_type = "text/html", body = String),
        (status = 404, content_type = "text/html", body = String, description = "No such order.")
    )
)]
async fn show(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let Some(order) = state.service.read(&ReadOrder { id: id.clone() })? else {
        let page = Html::new("Order", "<p>There is no such order.</p>");
        return Ok((StatusCode::NOT_FOUND, page).into_response());
    };
    let price = NanoCents(order.price);
    let next = match order.status {
        OrderStatus::Open => {
            "<p>Pay it in the app from your wallet on this server, or ask the operator, who can approve it.</p>"
        }
        OrderStatus::Paid => "<p>It is paid; what you bought will be there in a moment.</p>",
        OrderStatus::Granted => "<p>It is paid, and what you bought is there.</p>",
        OrderStatus::Expired => "<p>It was not paid in time. Begin a new one in the app.</p>",
        OrderStatus::Rejected => "<p>The operator has refused it.</p>",
    };
    let body = format!(
        "<p>{}, {price} USD. This order is {}.</p>{next}<p><small>{}</small></p>",
        escape(order.item.title()),
        order.status.name(),
        escape(&id),
    );
    Ok(Html::new("Order", &body).into_response())
}
