//! The user of a network, and the network's name.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::account::rename::RenameOutcome;
use crate::domain::account::user::{GetNetworkUser, NetworkUser};
use crate::domain::auth::attempts::Origin;
use crate::domain::auth::method::MethodKind;
use crate::domain::caller::Caller;
use crate::domain::network::RenameKind;
use crate::http::answer::Json;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{ApiOrigin, Body, Session};
use crate::http::state::ApiState;
use crate::ids::UserId;

/// The user of the caller's network.
#[derive(Default, Serialize, ToSchema)]
pub struct NetworkUserResult {
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    network_user: Option<User>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// A user and how they sign in.
#[derive(Serialize, ToSchema)]
struct User {
    /// The user.
    user_id: UserId,
    /// The same, under the name that apps read.
    #[serde(rename = "userId")]
    user_id_for_apps: UserId,
    /// What they call themselves.
    user_name: String,
    /// Their mail address, else their phone number, else the mail address that a sign-in service knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_auth: Option<String>,
    /// Whether every address of theirs is proven.
    verified: bool,
    /// The kind of `user_auth`, else of their first sign-in method.
    auth_type: &'static str,
    /// Name of their network.
    network_name: String,
    /// The kinds of all their sign-in methods.
    auth_types: Vec<&'static str>,
    /// Their mail addresses and phone numbers.
    user_auths: Vec<UserAuthEntry>,
    /// Address of the wallet that signs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet_address: Option<String>,
    /// Accounts of sign-in services.
    sso_auths: Vec<UserAuthEntry>,
    /// Wallets that sign in.
    wallet_auths: Vec<WalletAuthEntry>,
    /// Always empty: of a seed phrase nothing can be shown but that it exists (`auth_types`).
    #[schema(value_type = Vec<Object>)]
    seedphrase_auths: Vec<()>,
}

/// A mail address or phone number that signs in, by a password or through a service.
#[derive(Serialize, ToSchema)]
struct UserAuthEntry {
    /// The address or number.
    user_auth: String,
    /// `email` or `phone`; `apple` or `google`.
    auth_type: &'static str,
}

/// A wallet that signs in.
#[derive(Serialize, ToSchema)]
struct WalletAuthEntry {
    /// Its address.
    wallet_address: String,
    /// `solana`.
    blockchain: &'static str,
}

impl From<NetworkUser> for User {
    fn from(user: NetworkUser) -> Self {
        let auth_types: Vec<_> = user.methods.iter().map(|method| method.kind.as_str()).collect();
        let (mut user_auths, mut sso_auths, mut wallet_auths) = (Vec::new(), Vec::new(), Vec::new());
        for method in user.methods {
            let (auth_type, Some(identity)) = (method.kind.as_str(), method.identity) else { continue };
            match method.kind {
                MethodKind::Email | MethodKind::Phone => {
                    user_auths.push(UserAuthEntry { user_auth: identity, auth_type })
                }
                MethodKind::Apple | MethodKind::Google => {
                    sso_auths.push(UserAuthEntry { user_auth: identity, auth_type })
                }
                MethodKind::Solana => {
                    wallet_auths.push(WalletAuthEntry { wallet_address: identity, blockchain: auth_type });
                }
                MethodKind::Seedphrase => {}
            }
        }
        let first = user_auths.first().or(sso_auths.first());
        Self {
            user_id: user.user_id,
            user_id_for_apps: user.user_id,
            user_name: user.user_name,
            user_auth: first.map(|entry| entry.user_auth.clone()),
            verified: user.verified,
            auth_type: first.map(|entry| entry.auth_type).or(auth_types.first().copied()).unwrap_or_default(),
            network_name: user.network_name,
            auth_types,
            wallet_address: wallet_auths.first().map(|wallet| wallet.wallet_address.clone()),
            user_auths,
            sso_auths,
            wallet_auths,
            seedphrase_auths: Vec::new(),
        }
    }
}

/// Tells who administers the network.
#[utoipa::path(
    get,
    path = "/network/user",
    tag = "network",
    security(("bearer" = [])),
    responses((status = 200, body = NetworkUserResult))
)]
pub async fn network_user(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<NetworkUserResult> {
    Ok(Json(match state.service.read(&GetNetworkUser { user_id: caller.user_id })? {
        Some(user) => NetworkUserResult { network_user: Some(user.into()), error: None },
        None => NetworkUserResult { network_user: None, error: Some("No user found.".into()) },
    }))
}

/// Another name for the network.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct UpdateUserArgs {
    /// The name.
    #[schema(required)]
    network_name: String,
}

/// Empty, or why nothing has changed.
#[derive(Serialize, ToSchema)]
pub struct UpdateUserResult {
    /// Why nothing has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Gives the network another name. Tokens show it from their next refresh on.
#[utoipa::path(
    post,
    path = "/network/user/update",
    tag = "network",
    security(("bearer" = [])),
    request_body = UpdateUserArgs,
    responses((status = 200, body = UpdateUserResult))
)]
pub async fn update_user(
    State(state): State<ApiState>,
    Session(caller): Session,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<UpdateUserArgs>,
) -> ApiResult<UpdateUserResult> {
    let outcome = rename(&state, &origin, &caller, &args.network_name, RenameKind::Update).await;
    Ok(Json(UpdateUserResult { error: outcome?.err() }))
}

/// Another name for the network.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct RenameArgs {
    /// The name.
    network_name: String,
    /// Another name of the same field; counts when the first is empty.
    new_name: String,
}

/// The name of the network.
#[derive(Serialize, ToSchema)]
pub struct RenameResult {
    /// As it is stored; empty beside an error.
    network_name: String,
    /// Why nothing has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Changes the name of the network, twice a day.
///
/// The old name rests for a day before others may have it. Needs a proven mail address or phone number.
#[utoipa::path(
    post,
    path = "/account/change-name",
    tag = "account",
    security(("bearer" = [])),
    request_body = RenameArgs,
    responses((status = 200, body = RenameResult))
)]
pub async fn change_name(
    State(state): State<ApiState>,
    Session(caller): Session,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<RenameArgs>,
) -> ApiResult<RenameResult> {
    rename_account(&state, &origin, &caller, args, RenameKind::Change).await
}

/// Sets the name of a network that was given one, twice a day.
///
/// The old name is free at once. Needs a proven mail address or phone number.
#[utoipa::path(
    post,
    path = "/account/claim-name",
    tag = "account",
    security(("bearer" = [])),
    request_body = RenameArgs,
    responses((status = 200, body = RenameResult))
)]
pub async fn claim_name(
    State(state): State<ApiState>,
    Session(caller): Session,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<RenameArgs>,
) -> ApiResult<RenameResult> {
    rename_account(&state, &origin, &caller, args, RenameKind::Claim).await
}

async fn rename_account(
    state: &ApiState,
    origin: &Origin,
    caller: &Caller,
    args: RenameArgs,
    kind: RenameKind,
) -> ApiResult<RenameResult> {
    let wanted = if args.network_name.is_empty() { args.new_name } else { args.network_name };
    Ok(Json(match rename(state, origin, caller, &wanted, kind).await? {
        Ok(network_name) => RenameResult { network_name, error: None },
        Err(error) => RenameResult { network_name: String::new(), error: Some(error) },
    }))
}

async fn rename(
    state: &ApiState,
    origin: &Origin,
    caller: &Caller,
    wanted: &str,
    kind: RenameKind,
) -> Result<Result<String, ErrorMessage>, crate::http::error::ApiError> {
    let message = match state.accounts.rename_network(origin, caller, wanted, kind).await? {
        RenameOutcome::Named { network_name } => return Ok(Ok(network_name)),
        RenameOutcome::InvalidName { min_bytes } => {
            format!("Network name must be {min_bytes} to 50 letters, digits or dashes.")
        }
        RenameOutcome::NameTaken => "Network name not available.".into(),
        RenameOutcome::Unverified => {
            "You must verify an email, bind a social login, or connect a wallet before changing your network name."
                .into()
        }
        RenameOutcome::DailyLimit => {
            let what = if kind == RenameKind::Claim { "setting" } else { "changing" };
            format!(
                "You have reached the maximum number of attempts for {what} your network name today. \
                 Please try again later."
            )
        }
    };
    Ok(Err(ErrorMessage { message }))
}
