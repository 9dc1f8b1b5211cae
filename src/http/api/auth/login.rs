//! The first step of every login, and the one with a password.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::wallet::{self, WalletAuth};
use super::{INVALID_CREDENTIALS, INVALID_USER_AUTH, outside_proof};
use crate::domain::auth::login::{LoginOutcome, LoginRequest, PasswordLoginOutcome};
use crate::http::answer::Json;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{ApiOrigin, Body};
use crate::http::state::ApiState;

/// An identity to look up, or a proof of one; the first of these that is given counts.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct LoginArgs {
    /// Mail address or phone number.
    user_auth: Option<String>,
    /// Token of a sign-in service.
    auth_jwt: String,
    /// The service: `apple` or `google`.
    auth_jwt_type: String,
    /// Proof from a wallet.
    #[serde(deserialize_with = "wallet::object")]
    wallet_auth: Option<WalletAuth>,
    /// The words that were shown when the network was made.
    seedphrase: String,
}

/// How the identity may sign in, or the finished login. An identity that is not known comes back alone.
#[derive(Default, Serialize, ToSchema)]
pub struct LoginResult {
    /// The identity in its normal form.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_auth: Option<String>,
    /// What a sign-in service calls a person who has no network yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<String>,
    /// Ways to sign in: `email` or `phone` with `password`, `apple`, `google`.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_allowed: Option<Vec<&'static str>>,
    /// The finished login.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<LoginNetwork>,
    /// The proof from a wallet that nobody has signed up with; `/auth/network-create` needs a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet_auth: Option<WalletAuth>,
    /// The same.
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet_login: Option<WalletAuth>,
    /// Why none of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// A finished login.
#[derive(Serialize, ToSchema)]
pub struct LoginNetwork {
    /// A user token.
    pub by_jwt: String,
}

/// An identity and its password.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct LoginWithPasswordArgs {
    /// Mail address or phone number.
    #[schema(required)]
    user_auth: String,
    /// Its password.
    #[schema(required)]
    password: String,
    /// Whether a verification code, if one is due, shall be six digits.
    verify_otp_numeric: bool,
}

/// A token, or the demand to verify the identity first.
#[derive(Default, Serialize, ToSchema)]
pub struct LoginWithPasswordResult {
    /// The network: with its token, or by its name while the identity is not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<LoginWithPasswordNetwork>,
    /// A code was sent: `/auth/verify` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_required: Option<VerificationRequired>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// The network of a login.
#[derive(Default, Serialize, ToSchema)]
pub struct LoginWithPasswordNetwork {
    /// A user token.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_jwt: Option<String>,
    /// Name of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// An identity that must be verified.
#[derive(Serialize, ToSchema)]
pub struct VerificationRequired {
    /// Where the code went.
    pub user_auth: String,
}

/// Says how an identity may sign in.
///
/// The first step of every login. With a proof of one's own (a token, a wallet, a seed phrase) it is also the last.
#[utoipa::path(
    post,
    path = "/auth/login",
    tag = "auth",
    request_body = LoginArgs,
    responses((status = 200, body = LoginResult))
)]
pub async fn login(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<LoginArgs>,
) -> ApiResult<LoginResult> {
    let proof = outside_proof(args.auth_jwt_type, args.auth_jwt, args.wallet_auth);
    let request = LoginRequest { user_auth: args.user_auth, proof, seedphrase: args.seedphrase };
    Ok(Json(state.accounts.login(&origin, &request).await?.into()))
}

impl From<LoginOutcome> for LoginResult {
    fn from(outcome: LoginOutcome) -> Self {
        let failure = |message: &str| Self { error: Some(message.into()), ..Self::default() };
        match outcome {
            LoginOutcome::Methods { user_auth, allowed } => {
                Self { user_auth: Some(user_auth), auth_allowed: Some(allowed), ..Self::default() }
            }
            LoginOutcome::Unknown { user_auth } => Self { user_auth: Some(user_auth), ..Self::default() },
            LoginOutcome::UnknownToken { user_name } => Self { user_name: Some(user_name), ..Self::default() },
            LoginOutcome::UnknownWallet { proof } => {
                let proof = Some(WalletAuth::from(proof));
                Self { wallet_auth: proof.clone(), wallet_login: proof, ..Self::default() }
            }
            LoginOutcome::LoggedIn { by_jwt } => Self { network: Some(LoginNetwork { by_jwt }), ..Self::default() },
            LoginOutcome::InvalidUserAuth => failure(INVALID_USER_AUTH),
            LoginOutcome::InvalidCredentials => failure(INVALID_CREDENTIALS),
            LoginOutcome::UnknownSeedphrase => failure("Unknown seedphrase."),
        }
    }
}

/// Logs in with a password.
///
/// While the identity is not verified, a code goes to it instead of a token to the caller.
#[utoipa::path(
    post,
    path = "/auth/login-with-password",
    tag = "auth",
    request_body = LoginWithPasswordArgs,
    responses((status = 200, body = LoginWithPasswordResult))
)]
pub async fn login_with_password(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<LoginWithPasswordArgs>,
) -> ApiResult<LoginWithPasswordResult> {
    let LoginWithPasswordArgs { user_auth, password, verify_otp_numeric } = args;
    let outcome = state.accounts.login_with_password(&origin, &user_auth, &password, verify_otp_numeric).await?;
    Ok(Json(outcome.into()))
}

impl From<PasswordLoginOutcome> for LoginWithPasswordResult {
    fn from(outcome: PasswordLoginOutcome) -> Self {
        let failure = |message: &str| Self { error: Some(message.into()), ..Self::default() };
        match outcome {
            PasswordLoginOutcome::LoggedIn { by_jwt } => {
                let network = LoginWithPasswordNetwork { by_jwt: Some(by_jwt), name: None };
                Self { network: Some(network), ..Self::default() }
            }
            PasswordLoginOutcome::VerificationRequired { user_auth, network_name } => {
                let network = LoginWithPasswordNetwork { by_jwt: None, name: Some(network_name) };
                let verification_required = Some(VerificationRequired { user_auth });
                Self { network: Some(network), verification_required, error: None }
            }
            PasswordLoginOutcome::InvalidUserAuth => failure(INVALID_USER_AUTH),
            PasswordLoginOutcome::InvalidPassword => failure("Invalid user or password."),
        }
    }
}
