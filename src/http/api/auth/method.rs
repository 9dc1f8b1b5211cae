//! Sign-in methods of an account that exists: added, removed, and its seed phrase.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::outside_proof;
use super::wallet::{self, WalletAuth};
use crate::domain::auth::method_change::{AddMethodRequest, ChangeRefusal};
use crate::http::answer::Json;
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{ApiOrigin, Body, Session};
use crate::http::state::ApiState;

/// A way to sign in.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct AddAuthArgs {
    /// Mail address or phone number.
    user_auth: Option<String>,
    /// Its password, at least 6 bytes.
    password: String,
    /// Token of a sign-in service.
    auth_jwt: String,
    /// The service: `apple` or `google`.
    auth_jwt_type: String,
    /// Proof from a wallet.
    #[serde(deserialize_with = "wallet::object")]
    wallet_auth: Option<WalletAuth>,
}

/// Which way to sign in goes.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct RemoveAuthArgs {
    /// `email`, `phone`, `apple`, `google`, `solana` or `seedphrase`.
    #[schema(required)]
    auth_type: String,
}

/// Whether it was done.
#[derive(Default, Serialize, ToSchema)]
pub struct MethodResult {
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// A seed phrase.
#[derive(Default, Serialize, ToSchema)]
pub struct SeedphraseResult {
    /// 24 words, shown once; empty when there is none.
    seedphrase: String,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

fn message(refusal: ChangeRefusal) -> ErrorMessage {
    ErrorMessage { message: refusal.to_string() }
}

/// Adds a mail address or phone number with its password, an account at a sign-in service, or a wallet.
///
/// A code goes to the address or number; until `/auth/verify` has taken that back, it does not sign in.
#[utoipa::path(
    post,
    path = "/auth/add-auth",
    tag = "auth",
    security(("bearer" = [])),
    request_body = AddAuthArgs,
    responses((status = 200, body = MethodResult))
)]
pub async fn add_auth(
    State(state): State<ApiState>,
    Session(caller): Session,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<AddAuthArgs>,
) -> ApiResult<MethodResult> {
    let proof = outside_proof(args.auth_jwt_type, args.auth_jwt, args.wallet_auth);
    let request = AddMethodRequest { user_auth: args.user_auth, password: args.password, proof };
    let outcome = state.accounts.add_method(&origin, &caller, &request).await?;
    Ok(Json(MethodResult { error: outcome.err().map(message) }))
}

/// Removes a way to sign in; the last one stays.
#[utoipa::path(
    post,
    path = "/auth/remove-auth",
    tag = "auth",
    security(("bearer" = [])),
    request_body = RemoveAuthArgs,
    responses((status = 200, body = MethodResult))
)]
pub async fn remove_auth(
    State(state): State<ApiState>,
    Session(caller): Session,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<RemoveAuthArgs>,
) -> ApiResult<MethodResult> {
    let outcome = state.accounts.remove_method(&origin, &caller, &args.auth_type).await?;
    Ok(Json(MethodResult { error: outcome.err().map(message) }))
}

/// Makes the account's first seed phrase.
#[utoipa::path(
    post,
    path = "/auth/generate-seedphrase",
    tag = "auth",
    security(("bearer" = [])),
    responses((status = 200, body = SeedphraseResult))
)]
pub async fn generate_seedphrase(
    State(state): State<ApiState>,
    Session(caller): Session,
    ApiOrigin(origin): ApiOrigin,
) -> ApiResult<SeedphraseResult> {
    Ok(Json(phrase(state.accounts.generate_seedphrase(&origin, &caller, false).await?)))
}

/// Makes another seed phrase; the old one signs in no more.
#[utoipa::path(
    post,
    path = "/auth/regenerate-seedphrase",
    tag = "auth",
    security(("bearer" = [])),
    responses((status = 200, body = SeedphraseResult))
)]
pub async fn regenerate_seedphrase(
    State(state): State<ApiState>,
    Session(caller): Session,
    ApiOrigin(origin): ApiOrigin,
) -> ApiResult<SeedphraseResult> {
    Ok(Json(phrase(state.accounts.generate_seedphrase(&origin, &caller, true).await?)))
}

fn phrase(outcome: Result<String, ChangeRefusal>) -> SeedphraseResult {
    match outcome {
        Ok(seedphrase) => SeedphraseResult { seedphrase, error: None },
        Err(refusal) => SeedphraseResult { seedphrase: String::new(), error: Some(message(refusal)) },
    }
}
