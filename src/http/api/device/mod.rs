//! Devices: lend one to another network, adopt one that has no account, name them, cap what they provide.
//!
//! Every change that cannot be is answered with the same words, whatever the reason: `Invalid code.`

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::association::add::Added;
use crate::domain::association::code::Code;
use crate::domain::association::{InvalidCode, Status};
use crate::domain::client::device_name::NameDevice;
use crate::domain::provide::cap::{SetProvideCap, SetProvideCapOutcome};
use crate::http::answer::Json;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{ApiOrigin, Body, Session};
use crate::http::state::ApiState;
use crate::ids::{ClientId, DeviceId};

mod adopt;
mod association;
mod qr;
mod share;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(add))
        .routes(routes!(share::create_share_code))
        .routes(routes!(qr::share_code_qr))
        .routes(routes!(share::share_status))
        .routes(routes!(share::confirm_share))
        .routes(routes!(adopt::create_adopt_code))
        .routes(routes!(qr::adopt_code_qr))
        .routes(routes!(adopt::adopt_status))
        .routes(routes!(adopt::confirm_adopt))
        .routes(routes!(adopt::remove_adopt_code))
        .routes(routes!(association::associations))
        .routes(routes!(association::remove_association))
        .routes(routes!(association::set_association_name))
        .routes(routes!(set_name))
        .routes(routes!(set_provide))
}

fn invalid_code() -> ErrorMessage {
    ErrorMessage::from("Invalid code.")
}

/// How far a share or an adoption is.
#[derive(Default, Serialize, ToSchema)]
struct AssociationStatusResult {
    /// Whoever made the code has not confirmed yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pending: bool,
    /// The network that added the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    associated_network_name: Option<String>,
    /// Why nothing can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

impl AssociationStatusResult {
    fn new(status: Option<Status>, unknown: &str) -> Self {
        match status {
            Some(Status { is_pending: pending, network_name: associated_network_name }) => {
                Self { pending, associated_network_name, error: None }
            }
            None => Self { error: Some(unknown.into()), ..Self::default() },
        }
    }
}

/// Empty, or why nothing has changed.
#[derive(Default, Serialize, ToSchema)]
struct DeviceResult {
    /// Why nothing has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

impl From<Result<(), InvalidCode>> for DeviceResult {
    fn from(outcome: Result<(), InvalidCode>) -> Self {
        Self { error: outcome.err().map(|InvalidCode| invalid_code()) }
    }
}

/// A code that somebody else made.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct AddArgs {
    /// Six words.
    #[schema(required)]
    code: String,
}

/// What the code stands for.
#[derive(Default, Serialize, ToSchema)]
struct AddResult {
    /// `adopt` or `share`.
    #[serde(skip_serializing_if = "Option::is_none")]
    code_type: Option<&'static str>,
    /// The code, as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Name of the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    /// The network that shares it.
    #[serde(skip_serializing_if = "Option::is_none")]
    associated_network_name: Option<String>,
    /// The shared client.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    /// How long the device still may confirm.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_minutes: Option<f64>,
    /// Why nothing was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Adds a device by its share code or adopt code.
///
/// It is pending until the side that made the code confirms. Nine codes in half an hour; then none is taken for a while.
#[utoipa::path(
    post,
    path = "/device/add",
    tag = "devices",
    security(("bearer" = [])),
    request_body = AddArgs,
    responses((status = 200, body = AddResult))
)]
async fn add(
    State(state): State<ApiState>,
    Session(caller): Session,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<AddArgs>,
) -> ApiResult<AddResult> {
    let code = Code::parse(&args.code)?;
    let added = match state.accounts.add_device(&origin, &caller, &code).await? {
        Ok(added) => added,
        Err(InvalidCode) => return Ok(Json(AddResult { error: Some(invalid_code()), ..AddResult::default() })),
    };
    let named = |name: String| (!name.is_empty()).then_some(name);
    let code = Some(code.to_string());
    Ok(Json(match added {
        Added::Adopt { device_name, minutes_left } => AddResult {
            code_type: Some("adopt"),
            code,
            device_name: named(device_name),
            duration_minutes: Some(minutes_left),
            ..AddResult::default()
        },
        Added::Share { device_name, source_name, client_id } => AddResult {
            code_type: Some("share"),
            code,
            device_name: named(device_name),
            associated_network_name: Some(source_name),
            client_id: Some(client_id),
            ..AddResult::default()
        },
    }))
}

/// A device and its name.
#[derive(Deserialize, ToSchema)]
struct SetNameArgs {
    /// The device.
    device_id: DeviceId,
    /// Its name.
    #[serde(default)]
    device_name: String,
}

/// Names a device of the network.
#[utoipa::path(
    post,
    path = "/device/set-name",
    tag = "devices",
    security(("bearer" = [])),
    request_body = SetNameArgs,
    responses((status = 200, body = DeviceResult))
)]
async fn set_name(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<SetNameArgs>,
) -> ApiResult<DeviceResult> {
    let SetNameArgs { device_id, device_name } = args;
    let is_known = state.service.run(&NameDevice { network_id: caller.network_id, device_id, device_name }).await?;
    let error = (!is_known).then(|| ErrorMessage::from("Device does not exist."));
    Ok(Json(DeviceResult { error }))
}

/// A client and what it may provide.
#[derive(Deserialize, ToSchema)]
struct SetProvideArgs {
    /// The client.
    client_id: ClientId,
    /// -1 whatever it offers, 0 nothing, 1 network and stream, 2 those and friends and family, 3 everything, 4 stream.
    #[serde(default)]
    provide_mode: i32,
}

/// What the client may provide now.
#[derive(Serialize, ToSchema)]
struct SetProvideResult {
    /// The cap that holds; 0 beside an error.
    provide_mode: i32,
    /// Why nothing has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Caps what a client provides.
///
/// The cap holds at once, and whatever the device registers later; it cannot switch a mode on that the device does not
/// offer. Open contracts run out.
#[utoipa::path(
    post,
    path = "/device/set-provide",
    tag = "devices",
    security(("bearer" = [])),
    request_body = SetProvideArgs,
    responses((status = 200, body = SetProvideResult))
)]
async fn set_provide(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<SetProvideArgs>,
) -> ApiResult<SetProvideResult> {
    let number = args.provide_mode;
    let operation = SetProvideCap { network_id: caller.network_id, client_id: args.client_id, number };
    let refused = |message: &str| SetProvideResult { provide_mode: 0, error: Some(message.into()) };
    Ok(Json(match state.service.run(&operation).await? {
        SetProvideCapOutcome::Set => SetProvideResult { provide_mode: number, error: None },
        SetProvideCapOutcome::InvalidClient => refused("Invalid client."),
        SetProvideCapOutcome::InvalidMode => refused("Invalid provide mode."),
    }))
}

#[cfg(test)]
mod tests;
