//! Owners of a certain phone prove it.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::wallet::seeker::{MarkSeeker, SeekerRefusal, check_owner};
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult, ErrorMessage};
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(verify_seeker))
}

/// A wallet, and the proof that it is the caller's.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct VerifySeekerArgs {
    /// The address, on Solana.
    #[schema(required)]
    wallet_address: String,
    /// What the wallet signed.
    #[schema(required)]
    wallet_message: String,
    /// The signature, in base64.
    #[schema(required)]
    wallet_signature: String,
}

/// Whether the wallet is marked.
#[derive(Serialize, ToSchema)]
struct VerifySeekerResult {
    /// It is.
    success: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

impl VerifySeekerResult {
    fn refused(refusal: SeekerRefusal) -> Self {
        Self { success: false, error: Some(refusal.to_string().as_str().into()) }
    }
}

/// Marks a wallet that holds the token of a Seeker or Saga phone.
///
/// 503 while holders cannot be looked up.
#[utoipa::path(
    post,
    path = "/account/wallets/verify-seeker",
    tag = "account",
    security(("bearer" = [])),
    request_body = VerifySeekerArgs,
    responses((status = 200, body = VerifySeekerResult))
)]
async fn verify_seeker(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<VerifySeekerArgs>,
) -> ApiResult<VerifySeekerResult> {
    let VerifySeekerArgs { wallet_address, wallet_message, wallet_signature } = args;
    let address = match check_owner(&wallet_address, &wallet_message, &wallet_signature) {
        Ok(address) => address,
        Err(refusal) => return Ok(Json(VerifySeekerResult::refused(refusal))),
    };
    let holds = state.seeker.holds(address.clone()).await;
    if !holds.map_err(|error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))? {
        return Ok(Json(VerifySeekerResult::refused(SeekerRefusal::NoHolder)));
    }
    let marked = state.service.run(&MarkSeeker { network_id: caller.network_id, address }).await?;
    Ok(Json(match marked {
        Ok(()) => VerifySeekerResult { success: true, error: None },
        Err(refusal) => VerifySeekerResult::refused(refusal.into()),
    }))
}
