//! Referral codes: a network's own, and the network that brought it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::account::referral::{
    CheckReferralCode, ReadOwnReferral, ReadReferralNetwork, SetReferral, UnlinkReferral,
};
use crate::http::answer::Json;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;
use crate::ids::NetworkId;

/// The network's own code.
#[derive(Serialize, ToSchema)]
pub struct ReferralCodeResult {
    /// Six letters and digits.
    referral_code: String,
    /// How many networks it has brought.
    total_referrals: usize,
}

/// Tells the network's own referral code.
#[utoipa::path(
    get,
    path = "/account/referral-code",
    tag = "account",
    security(("bearer" = [])),
    responses((status = 200, body = ReferralCodeResult))
)]
pub async fn referral_code(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<ReferralCodeResult> {
    let own = state.service.run(&ReadOwnReferral(caller.network_id)).await?;
    Ok(Json(ReferralCodeResult { referral_code: own.code, total_referrals: own.count }))
}

/// A referral code.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct ReferralCodeArgs {
    /// Six letters and digits, in either case.
    #[schema(required)]
    referral_code: String,
}

/// What a code is worth.
#[derive(Serialize, ToSchema)]
pub struct ValidateReferralCodeResult {
    /// It is somebody's.
    is_valid: bool,
    /// It has brought all the networks it may.
    is_capped: bool,
}

/// Says whether a referral code can be used.
#[utoipa::path(
    post,
    path = "/referral-code/validate",
    tag = "account",
    security(("bearer" = [])),
    request_body = ReferralCodeArgs,
    responses((status = 200, body = ValidateReferralCodeResult))
)]
pub async fn validate(
    State(state): State<ApiState>,
    _caller: Session,
    Body(args): Body<ReferralCodeArgs>,
) -> ApiResult<ValidateReferralCodeResult> {
    let checked = state.service.read(&CheckReferralCode { code: args.referral_code })?;
    Ok(Json(ValidateReferralCodeResult { is_valid: checked.is_valid, is_capped: checked.is_capped }))
}

/// The network that brought the caller's.
#[derive(Serialize, ToSchema)]
pub struct ReferralNetworkResult {
    /// The network.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<ReferralNetwork>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// A network.
#[derive(Serialize, ToSchema)]
struct ReferralNetwork {
    /// The network.
    id: NetworkId,
    /// Its name.
    name: String,
}

/// Tells which network brought the caller's.
#[utoipa::path(
    get,
    path = "/account/referral-network",
    tag = "account",
    security(("bearer" = [])),
    responses((status = 200, body = ReferralNetworkResult))
)]
pub async fn referral_network(
    State(state): State<ApiState>,
    Session(caller): Session,
) -> ApiResult<ReferralNetworkResult> {
    let network = state.service.read(&ReadReferralNetwork(caller.network_id))?;
    let network = network.map(|(id, name)| ReferralNetwork { id, name });
    let error = network.is_none().then(|| ErrorMessage::from("No referral network found"));
    Ok(Json(ReferralNetworkResult { network, error }))
}

/// Empty, or why nothing has changed.
#[derive(Serialize, ToSchema)]
pub struct ReferralResult {
    /// Why nothing has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Names the network that brought the caller's, by its code, in place of an earlier one.
#[utoipa::path(
    post,
    path = "/account/set-referral",
    tag = "account",
    security(("bearer" = [])),
    request_body = ReferralCodeArgs,
    responses((status = 200, body = ReferralResult))
)]
pub async fn set_referral(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<ReferralCodeArgs>,
) -> ApiResult<ReferralResult> {
    let operation = SetReferral { network_id: caller.network_id, code: args.referral_code };
    let outcome = state.service.run(&operation).await?;
    Ok(Json(ReferralResult { error: outcome.err().map(|refusal| ErrorMessage { message: refusal.to_string() }) }))
}

/// Forgets which network brought the caller's.
///
/// Apps call it with GET, and sometimes twice at once; doing it again changes nothing.
#[utoipa::path(
    get,
    path = "/account/unlink-referral-network",
    tag = "account",
    security(("bearer" = [])),
    responses((status = 200, body = ReferralResult))
)]
pub async fn unlink(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<ReferralResult> {
    state.service.run(&UnlinkReferral(caller.network_id)).await?;
    Ok(Json(ReferralResult { error: None }))
}
