//! Adopt codes: made and confirmed by a device that has no account yet, so these routes ask for no token.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AssociationStatusResult, DeviceResult, invalid_code};
use crate::domain::association::adopt::{AdoptRequest, ConfirmAdoptOutcome, LIFE};
use crate::domain::association::code::Code;
use crate::http::answer::Json;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{ApiOrigin, Body};
use crate::http::state::ApiState;

/// What the device says of itself.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct CreateAdoptCodeArgs {
    /// Its name.
    device_name: String,
    /// What it is.
    device_spec: String,
}

/// An adopt code and its secret.
#[derive(Serialize, ToSchema)]
pub struct CreateAdoptCodeResult {
    /// Six words, to be shown to whoever shall adopt the device.
    adopt_code: String,
    /// Stays on the device; shown once.
    adopt_secret: String,
    /// Older name of `adopt_secret`.
    share_code: String,
    /// How long the code works.
    duration_minutes: f64,
}

/// Makes a code by which a network may adopt the caller.
///
/// Twenty codes in ten minutes from one address.
#[utoipa::path(
    post,
    path = "/device/create-adopt-code",
    tag = "devices",
    request_body = CreateAdoptCodeArgs,
    responses((status = 200, body = CreateAdoptCodeResult))
)]
pub async fn create_adopt_code(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<CreateAdoptCodeArgs>,
) -> ApiResult<CreateAdoptCodeResult> {
    let request = AdoptRequest { device_name: args.device_name, device_spec: args.device_spec };
    let created = state.accounts.create_adopt_code(&origin, &request).await?;
    Ok(Json(CreateAdoptCodeResult {
        adopt_code: created.code.to_string(),
        share_code: created.secret.clone(),
        adopt_secret: created.secret,
        duration_minutes: LIFE.as_secs_f64() / 60.0,
    }))
}

/// An adopt code.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct AdoptStatusArgs {
    /// Six words.
    #[schema(required)]
    adopt_code: String,
}

/// Tells who has added an adopt code, and whether the device has confirmed.
#[utoipa::path(
    post,
    path = "/device/adopt-status",
    tag = "devices",
    request_body = AdoptStatusArgs,
    responses((status = 200, body = AssociationStatusResult))
)]
pub async fn adopt_status(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<AdoptStatusArgs>,
) -> ApiResult<AssociationStatusResult> {
    let code = Code::parse(&args.adopt_code)?;
    let status = state.accounts.adopt_status(&origin, &code).await?;
    Ok(Json(AssociationStatusResult::new(status, "Invalid adopt code.")))
}

/// An adopt code, its secret, and who has added it.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct ConfirmAdoptArgs {
    /// Six words.
    #[schema(required)]
    adopt_code: String,
    /// The secret that came with it.
    #[schema(required)]
    adopt_secret: String,
    /// Name of the network that has added it.
    #[schema(required)]
    associated_network_name: String,
}

/// The device's token.
#[derive(Default, Serialize, ToSchema)]
pub struct ConfirmAdoptResult {
    /// The token of the client that the device is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_client_jwt: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Joins the network that has added the code.
///
/// Only the device that made the code can, with its secret, in time, and with the name that the network has now.
#[utoipa::path(
    post,
    path = "/device/confirm-adopt",
    tag = "devices",
    request_body = ConfirmAdoptArgs,
    responses((status = 200, body = ConfirmAdoptResult))
)]
pub async fn confirm_adopt(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<ConfirmAdoptArgs>,
) -> ApiResult<ConfirmAdoptResult> {
    let code = Code::parse(&args.adopt_code)?;
    let confirmed = state.accounts.confirm_adopt(&origin, &code, &args.adopt_secret, &args.associated_network_name);
    let refused = |error: ErrorMessage| ConfirmAdoptResult { by_client_jwt: None, error: Some(error) };
    Ok(Json(match confirmed.await? {
        ConfirmAdoptOutcome::Adopted { by_client_jwt } => {
            ConfirmAdoptResult { by_client_jwt: Some(by_client_jwt), error: None }
        }
        ConfirmAdoptOutcome::Invalid => refused(invalid_code()),
        ConfirmAdoptOutcome::LimitExceeded => refused("Client limit exceeded.".into()),
    }))
}

/// An adopt code and its secret.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct RemoveAdoptCodeArgs {
    /// Six words.
    #[schema(required)]
    adopt_code: String,
    /// The secret that came with it.
    #[schema(required)]
    adopt_secret: String,
}

/// Takes an adopt code back, as long as it is not confirmed.
#[utoipa::path(
    post,
    path = "/device/remove-adopt-code",
    tag = "devices",
    request_body = RemoveAdoptCodeArgs,
    responses((status = 200, body = DeviceResult))
)]
pub async fn remove_adopt_code(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<RemoveAdoptCodeArgs>,
) -> ApiResult<DeviceResult> {
    let code = Code::parse(&args.adopt_code)?;
    Ok(Json(state.accounts.remove_adopt_code(&origin, &code, &args.adopt_secret).await?.into()))
}
