//! Networks come and go.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::login::VerificationRequired;
use super::outside_proof;
use super::wallet::{self, WalletAuth};
use crate::domain::account::create::{CreateNetwork, CreateNetworkOutcome, CreateRefusal, CreatedNetwork};
use crate::domain::account::delete::DeleteOwnNetwork;
use crate::domain::account::name::CheckName;
use crate::domain::contract::codes::{PendingCode, Secret};
use crate::http::answer::Json;
use crate::http::error::ApiResult;
use crate::http::extract::{ApiOrigin, Body, Session};
use crate::http::state::ApiState;
use crate::ids::NetworkId;

/// A name to try.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct NetworkCheckArgs {
    /// The name.
    #[schema(required)]
    network_name: String,
}

/// Whether a name can be had.
#[derive(Serialize, ToSchema)]
pub struct NetworkCheckResult {
    /// False for names that are taken and for those that are no names.
    available: bool,
}

/// A network to make, and its administrator.
///
/// Without `user_auth`, `auth_jwt` and `wallet_auth` the network gets a made-up name, and a seed phrase is the only way to sign in.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct NetworkCreateArgs {
    /// Name of the administrator; may be empty.
    user_name: String,
    /// Mail address or phone number.
    user_auth: Option<String>,
    /// At least 6 bytes; required beside `user_auth`.
    password: String,
    /// Token of a sign-in service.
    auth_jwt: String,
    /// The service: `apple` or `google`.
    auth_jwt_type: String,
    /// Proof from a wallet.
    #[serde(deserialize_with = "wallet::object")]
    wallet_auth: Option<WalletAuth>,
    /// Name of the network: 5 to 50 letters, digits or dashes.
    network_name: String,
    /// Whether the terms are accepted; must be true.
    #[schema(required)]
    terms: bool,
    /// Whether the verification code shall be six digits.
    verify_use_numeric: bool,
    /// Referral code of another network; ignored when unknown.
    referral_code: String,
    /// Balance code to redeem in place of the free grant of the day; ignored when it cannot be redeemed.
    balance_code: String,
}

/// A new network.
#[derive(Default, Serialize, ToSchema)]
pub struct NetworkCreateResult {
    /// The network, with its token unless the identity must be verified first.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<NetworkCreateNetwork>,
    /// The mail address that the sign-in service has told.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_auth: Option<String>,
    /// The only way to sign in, when no other was given. Shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    seedphrase: Option<String>,
    /// A code was sent: `/auth/verify` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_required: Option<VerificationRequired>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<NetworkCreateError>,
}

/// The new network.
#[derive(Serialize, ToSchema)]
pub struct NetworkCreateNetwork {
    /// A user token.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_jwt: Option<String>,
    /// Its id.
    network_id: NetworkId,
    /// Its name in normal form.
    network_name: String,
    /// Whether it has a Pro balance.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    is_pro: bool,
}

/// Why no network was made.
#[derive(Serialize, ToSchema)]
pub struct NetworkCreateError {
    /// One sentence for people.
    message: String,
    /// The same when the name is to blame; pages show it beside the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    network_name_message: Option<String>,
}

/// The network is gone.
#[derive(Default, Serialize, ToSchema)]
pub struct NetworkDeleteResult {}

/// Says whether a name can be had.
#[utoipa::path(
    post,
    path = "/auth/network-check",
    tag = "auth",
    request_body = NetworkCheckArgs,
    responses((status = 200, body = NetworkCheckResult))
)]
pub async fn network_check(
    State(state): State<ApiState>,
    Body(args): Body<NetworkCheckArgs>,
) -> ApiResult<NetworkCheckResult> {
    let available = state.service.read(&CheckName { name: args.network_name })?;
    Ok(Json(NetworkCheckResult { available }))
}

/// Makes a network and its administrator.
#[utoipa::path(
    post,
    path = "/auth/network-create",
    tag = "auth",
    request_body = NetworkCreateArgs,
    responses((status = 200, body = NetworkCreateResult))
)]
pub async fn network_create(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<NetworkCreateArgs>,
) -> ApiResult<NetworkCreateResult> {
    let request = CreateNetwork::from(args);
    let outcome = state.accounts.create_network(&origin, &request).await?;
    if let (Some(network_id), Some(secret)) = (outcome.network_id(), request.balance_code) {
        let create_time = state.now();
        state.ledger.redeem_pending(network_id, PendingCode { secret, create_time }).await?;
    }
    Ok(Json(outcome.into()))
}

impl From<NetworkCreateArgs> for CreateNetwork {
    fn from(args: NetworkCreateArgs) -> Self {
        Self {
            user_name: args.user_name,
            user_auth: args.user_auth,
            password: args.password,
            proof: outside_proof(args.auth_jwt_type, args.auth_jwt, args.wallet_auth),
            network_name: args.network_name,
            terms: args.terms,
            verify_use_numeric: args.verify_use_numeric,
            referral_code: args.referral_code,
            balance_code: Secret::parse(&args.balance_code),
        }
    }
}

impl From<CreateNetworkOutcome> for NetworkCreateResult {
    fn from(outcome: CreateNetworkOutcome) -> Self {
        match outcome {
            CreateNetworkOutcome::Created(created) => {
                let network = NetworkCreateNetwork {
                    by_jwt: Some(created.by_jwt),
                    network_id: created.network_id,
                    network_name: created.network_name,
                    is_pro: created.is_pro,
                };
                let CreatedNetwork { user_auth, seedphrase, .. } = created;
                Self { network: Some(network), user_auth, seedphrase, ..Self::default() }
            }
            CreateNetworkOutcome::VerificationRequired { network_id, network_name, user_auth } => {
                let network = NetworkCreateNetwork { by_jwt: None, network_id, network_name, is_pro: false };
                let verification_required = Some(VerificationRequired { user_auth });
                Self { network: Some(network), verification_required, ..Self::default() }
            }
            CreateNetworkOutcome::Refused(refusal) => Self { error: Some(refusal.into()), ..Self::default() },
        }
    }
}

impl From<CreateRefusal> for NetworkCreateError {
    fn from(refusal: CreateRefusal) -> Self {
        let message = refusal.to_string();
        Self { network_name_message: refusal.is_about_name().then(|| message.clone()), message }
    }
}

/// Deletes the caller's network: its user, clients, codes and tokens.
#[utoipa::path(
    post,
    path = "/auth/network-delete",
    tag = "auth",
    security(("bearer" = [])),
    responses((status = 200, body = NetworkDeleteResult))
)]
pub async fn network_delete(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<NetworkDeleteResult> {
    state.service.run(&DeleteOwnNetwork { caller }).await?;
    Ok(Json(NetworkDeleteResult {}))
}
