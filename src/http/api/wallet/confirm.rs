//! Where the owner of a wallet that this server keeps confirms a transfer, or takes it back: with the API, or on a
//! page that needs no script.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::wallet::challenge::{Challenge, ChallengeKind, ChallengeStatus, ReadChallenge};
use crate::domain::wallet::confirm::{Cancel, Confirm, InvalidChallenge};
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult, ErrorMessage};
use crate::http::extract::{Body, RawBody, Session};
use crate::http::page::{Html, escape};
use crate::http::state::ApiState;
use crate::ids::ChallengeId;
use crate::time::Timestamp;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(challenge))
        .routes(routes!(confirm))
        .routes(routes!(cancel))
        .routes(routes!(confirm_page, confirm_form))
}

/// How far a challenge is.
#[derive(Serialize, ToSchema)]
struct LocalChallengeResult {
    /// Names it.
    challenge_id: ChallengeId,
    /// `INITIALIZE` or `TRANSFER`.
    #[schema(value_type = String)]
    kind: ChallengeKind,
    /// `PENDING`, `QUEUED`, `COMPLETE`, `FAILED`, `EXPIRED` or `CANCELLED`.
    #[schema(value_type = String)]
    status: ChallengeStatus,
    /// Where a transfer goes.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    to_address: String,
    /// What it moves, in 10⁻⁹ USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_usdc_nano_cents: Option<i64>,
    /// When it was made.
    create_time: Timestamp,
    /// When it expires while it is pending.
    expire_time: Timestamp,
    /// The transaction on the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_hash: Option<String>,
}

impl LocalChallengeResult {
    fn new(challenge_id: ChallengeId, challenge: Challenge) -> Self {
        let Challenge { kind, status, to_address, amount, create_time, expire_time, tx_hash, .. } = challenge;
        let amount_usdc_nano_cents = (kind == ChallengeKind::Transfer).then_some(amount);
        Self { challenge_id, kind, status, to_address, amount_usdc_nano_cents, create_time, expire_time, tx_hash }
    }
}

/// Tells how far a challenge of the caller's network is. Ended ones are forgotten after 30 days.
#[utoipa::path(
    get,
    path = "/wallet/local/challenge/{challenge_id}",
    tag = "wallet",
    security(("bearer" = [])),
    params(("challenge_id" = String, Path, description = "The challenge.")),
    responses((status = 200, body = LocalChallengeResult), (status = 404, body = crate::http::error::ErrorResult, description = "No such challenge."))
)]
async fn challenge(
    State(state): State<ApiState>,
    Session(caller): Session,
    Path(challenge_id): Path<String>,
) -> ApiResult<LocalChallengeResult> {
    let not_found = || ApiError::new(StatusCode::NOT_FOUND, "There is no such challenge.");
    let id: ChallengeId = challenge_id.parse().map_err(|_| not_found())?;
    let found = state.service.read(&ReadChallenge { network_id: caller.network_id, id })?;
    Ok(Json(LocalChallengeResult::new(id, found.ok_or_else(not_found)?)))
}

/// The answer to a challenge.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct ConfirmArgs {
    /// Which.
    #[schema(required)]
    challenge_id: String,
    /// The token that came with it.
    #[schema(required)]
    user_token: String,
}

/// What became of a challenge.
#[derive(Default, Serialize, ToSchema)]
struct ConfirmResult {
    /// `COMPLETE` for a wallet of this server, `QUEUED` until a transfer to a chain is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    status: Option<ChallengeStatus>,
    /// Why nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

impl ConfirmResult {
    fn new(outcome: Result<ChallengeStatus, InvalidChallenge>) -> Self {
        match outcome {
            Ok(status) => Self { status: Some(status), error: None },
            Err(error) => Self { status: None, error: Some(error.to_string().as_str().into()) },
        }
    }
}

/// Confirms a challenge of a wallet that this server keeps. A second time changes nothing.
#[utoipa::path(
    post,
    path = "/wallet/local/confirm",
    tag = "wallet",
    security(("bearer" = [])),
    request_body = ConfirmArgs,
    responses((status = 200, body = ConfirmResult))
)]
async fn confirm(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(ConfirmArgs { challenge_id, user_token }): Body<ConfirmArgs>,
) -> ApiResult<ConfirmResult> {
    let Ok(id) = challenge_id.parse() else { return Ok(Json(ConfirmResult::new(Err(InvalidChallenge)))) };
    let operation = Confirm { network_id: Some(caller.network_id), id, user_token };
    Ok(Json(ConfirmResult::new(state.service.run(&operation).await?)))
}

/// A transfer to take back.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct CancelArgs {
    /// Which.
    #[schema(required)]
    challenge_id: String,
}

/// Takes a transfer back that was not confirmed. A second time changes nothing.
#[utoipa::path(
    post,
    path = "/wallet/local/cancel",
    tag = "wallet",
    security(("bearer" = [])),
    request_body = CancelArgs,
    responses((status = 200, body = ConfirmResult))
)]
async fn cancel(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(CancelArgs { challenge_id }): Body<CancelArgs>,
) -> ApiResult<ConfirmResult> {
    let Ok(id) = challenge_id.parse() else { return Ok(Json(ConfirmResult::new(Err(InvalidChallenge)))) };
    let outcome = state.service.run(&Cancel { network_id: caller.network_id, id }).await?;
    Ok(Json(ConfirmResult::new(outcome.map(|()| ChallengeStatus::Cancelled))))
}

/// The page's query.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PageQuery {
    challenge_id: String,
}

/// A page on which the owner of a wallet confirms a transfer with the token that came with it.
#[utoipa::path(
    get,
    path = "/wallet/confirm",
    tag = "wallet",
    params(("challenge_id" = Option<String>, Query, description = "The challenge.")),
    responses((status = 200, content_type = "text/html", body = String))
)]
async fn confirm_page(query: Result<Query<PageQuery>, QueryRejection>) -> Html {
    let Query(PageQuery { challenge_id }) = query.unwrap_or_default();
    Html::new("Confirm a transfer", &form(&challenge_id))
}

fn form(challenge_id: &str) -> String {
    let challenge_id = escape(challenge_id);
    format!(
        r#"<p>Money leaves your wallet when you confirm. The token came with the transfer and is good for 15 minutes.</p>
<form method="post" action="confirm">
<label>Transfer <input name="challenge_id" value="{challenge_id}" required maxlength="64" autocomplete="off"></label>
<label>Token <input name="user_token" type="password" required maxlength="128" autocomplete="off"></label>
<button>Confirm</button>
</form>"#
    )
}

/// A form is written like the query of an address.
fn parse_form(body: &[u8]) -> Option<ConfirmArgs> {
    let address: Uri = format!("/?{}", std::str::from_utf8(body).ok()?).parse().ok()?;
    Some(Query::try_from_uri(&address).ok()?.0)
}

/// What the page sends. The token is as long as a password can be and known to the wallet's owner only, so that it
/// proves who confirms.
#[utoipa::path(
    post,
    path = "/wallet/confirm",
    tag = "wallet",
    responses(
        (status = 200, content_type = "text/html", body = String),
        (status = 400, content_type = "text/html", body = String, description = "The token or the form is wrong.")
    )
)]
async fn confirm_form(State(state): State<ApiState>, RawBody(body): RawBody) -> Result<Response, ApiError> {
    let ConfirmArgs { challenge_id, user_token } = parse_form(&body).unwrap_or_default();
    let outcome = match challenge_id.trim().parse() {
        Ok(id) => {
            let user_token = user_token.trim().to_owned();
            state.service.run(&Confirm { network_id: None, id, user_token }).await?
        }
        Err(_) => Err(InvalidChallenge),
    };
    let text = match outcome {
        Ok(ChallengeStatus::Complete) => "The transfer is complete.",
        Ok(ChallengeStatus::Queued) => "The transfer is confirmed and will be sent.",
        Ok(_) => "The transfer failed, and its amount is back in your wallet.",
        Err(_) => {
            let body = format!("<p>The transfer or the token is wrong, or too old.</p>{}", self::form(&challenge_id));
            return Ok((StatusCode::BAD_REQUEST, Html::new("Confirm a transfer", &body)).into_response());
        }
    };
    Ok(Html::new("Confirm a transfer", &format!("<p>{text}</p>")).into_response())
}
