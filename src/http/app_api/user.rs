//! Who the user is, and what they may still use.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{AppError, AppMessage, AppResult};
use super::extract::AppCaller;
use crate::config::Config;
use crate::config::contracts::Grant;
use crate::domain::account::user::{GetNetworkUser, NetworkUser};
use crate::domain::app::device::ListedDevice;
use crate::domain::auth::method::MethodKind;
use crate::domain::balance::BalanceView;
use crate::domain::client::CountTopLevel;
use crate::domain::error::DomainError;
use crate::http::state::ApiState;
use crate::ids::UserId;
use crate::time::Timestamp;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(user)).routes(routes!(subscription)).routes(routes!(user_app))
}

/// A user.
#[derive(Serialize, ToSchema)]
struct AppUser {
    /// The user.
    id: UserId,
    /// What they call themselves.
    name: String,
    /// Their mail address; null once they sign in another way only.
    email: Option<String>,
    /// Name of their network.
    network_name: String,
    /// When they came.
    created_at: Timestamp,
}

impl From<NetworkUser> for AppUser {
    fn from(user: NetworkUser) -> Self {
        let email = user.methods.into_iter().find(|method| method.kind == MethodKind::Email);
        Self {
            id: user.user_id,
            name: user.user_name,
            email: email.and_then(|method| method.identity),
            network_name: user.network_name,
            created_at: user.create_time,
        }
    }
}

/// What a user may still use.
#[derive(Serialize, ToSchema)]
struct AppSubscription {
    /// `pro` while it is paid for, else `free`.
    plan: &'static str,
    /// Whether there is anything left to use.
    active: bool,
    /// When the last balance ends that is left; null when there is none.
    expires_at: Option<Timestamp>,
    /// Bytes left; null for any number.
    remaining_bytes: Option<i64>,
    /// Devices that the user may have; null for any number.
    device_limit: Option<usize>,
    /// Devices that they have.
    devices_used: usize,
}

impl AppSubscription {
    fn new(config: &Config, balance: &BalanceView, devices_used: usize) -> Self {
        let usable = balance.buckets.iter().filter(|bucket| bucket.available_bytes > 0);
        let device_limit = config.limits.clients_per_network;
        Self {
            plan: if balance.is_pro { "pro" } else { "free" },
            active: has_plan(config, balance),
            expires_at: usable.map(|bucket| bucket.end_time).max(),
            remaining_bytes: (config.plan.free.bytes != Grant::Unlimited).then_some(balance.available_bytes),
            device_limit: (device_limit != 0).then_some(device_limit),
            devices_used,
        }
    }
}

/// Whether a network has anything left to use: the free grant of the day counts like any other balance.
pub(super) fn has_plan(config: &Config, balance: &BalanceView) -> bool {
    config.plan.free.bytes == Grant::Unlimited || balance.buckets.iter().any(|bucket| bucket.available_bytes > 0)
}

/// A device.
#[derive(Serialize, ToSchema)]
struct AppDeviceEntry {
    /// Its number, as the login gave it.
    id: String,
    /// What the app calls it.
    device_id: String,
    /// What people call it.
    name: String,
}

impl From<&ListedDevice> for AppDeviceEntry {
    fn from(listed: &ListedDevice) -> Self {
        Self { id: listed.number.to_string(), device_id: listed.device.app_name.clone(), name: listed.name.clone() }
    }
}

/// All that a phone app shows.
#[derive(Serialize, ToSchema)]
struct AppUserAppResult {
    /// The user.
    user: AppUser,
    /// What they may still use.
    subscription: AppSubscription,
    /// The calling device.
    device: AppDeviceEntry,
}

fn read_user(state: &ApiState, caller: &AppCaller) -> Result<AppUser, DomainError> {
    let user = state.service.read(&GetNetworkUser { user_id: caller.bearer.caller.user_id })?;
    user.map(AppUser::from).ok_or(DomainError::Unauthorized)
}

async fn read_subscription(state: &ApiState, caller: &AppCaller) -> Result<AppSubscription, DomainError> {
    let network_id = caller.bearer.caller.network_id;
    let balance = state.ledger.balance(network_id).await?;
    let devices_used = state.service.read(&CountTopLevel { network_id })?;
    Ok(AppSubscription::new(state.config(), &balance, devices_used))
}

/// Tells who the user is.
#[utoipa::path(
    get,
    path = "/api/user",
    tag = "client API",
    security(("app_token" = [])),
    responses(
        (status = 200, body = AppUser),
        (status = 401, description = "No valid token.", body = AppMessage),
        (status = 429, description = "Too many requests.", body = AppMessage),
    )
)]
async fn user(caller: AppCaller, State(state): State<ApiState>) -> AppResult<AppUser> {
    read_user(&state, &caller).map(Json).map_err(|error| AppError::of(error, caller.visitor.language))
}

/// Tells what the user may still use.
///
/// For browser extensions.
#[utoipa::path(
    get,
    path = "/api/subscription",
    tag = "client API",
    security(("app_token" = [])),
    responses(
        (status = 200, body = AppSubscription),
        (status = 401, description = "No valid token.", body = AppMessage),
        (status = 429, description = "Too many requests.", body = AppMessage),
    )
)]
async fn subscription(caller: AppCaller, State(state): State<ApiState>) -> AppResult<AppSubscription> {
    let read = read_subscription(&state, &caller).await;
    read.map(Json).map_err(|error| AppError::of(error, caller.visitor.language))
}

/// Tells who the user is, what they may still use, and on which device.
///
/// For phone apps.
#[utoipa::path(
    get,
    path = "/api/userApp",
    tag = "client API",
    security(("app_token" = [])),
    responses(
        (status = 200, body = AppUserAppResult),
        (status = 401, description = "No valid token.", body = AppMessage),
        (status = 429, description = "Too many requests.", body = AppMessage),
    )
)]
async fn user_app(caller: AppCaller, State(state): State<ApiState>) -> AppResult<AppUserAppResult> {
    let failed = |error| AppError::of(error, caller.visitor.language);
    let user = read_user(&state, &caller).map_err(failed)?;
    let subscription = read_subscription(&state, &caller).await.map_err(failed)?;
    Ok(Json(AppUserAppResult { user, subscription, device: (&caller.bearer.device).into() }))
}
