//! The custody wallet of the caller: what is in it, and transfers out of it.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::caller::Caller;
use crate::domain::wallet::address::{self, Chain};
use crate::domain::wallet::challenge::Issued;
use crate::domain::wallet::custody::{CustodyError, TransferRequest, WalletView};
use crate::domain::wallet::journal::{ADDRESS_PREFIX, WalletOwner};
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult, ErrorMessage};
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;
use crate::time::Timestamp;

mod confirm;
mod report;
mod seeker;
#[cfg(test)]
mod tests;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(balance))
        .routes(routes!(validate_address))
        .routes(routes!(circle_init))
        .routes(routes!(circle_transfer_out))
        .merge(confirm::routes())
        .merge(report::routes())
        .merge(seeker::routes())
}

fn owner(caller: &Caller) -> WalletOwner {
    WalletOwner { network_id: caller.network_id, user_id: caller.user_id }
}

impl From<CustodyError> for ApiError {
    fn from(error: CustodyError) -> Self {
        match error {
            CustodyError::Unreachable => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            CustodyError::Domain(error) => error.into(),
        }
    }
}

/// A custody wallet.
#[derive(Serialize, ToSchema)]
struct WalletInfo {
    /// Names the wallet.
    wallet_id: String,
    /// Names USDC at the keeper of the wallet.
    token_id: String,
    /// The chain.
    blockchain: String,
    /// `USDC`.
    blockchain_symbol: String,
    /// When it was made.
    create_date: Timestamp,
    /// What can be spent, in 10⁻⁹ USD.
    balance_usdc_nano_cents: i64,
    /// Where it is paid to; `urledger:…` for a wallet that this server keeps, which no chain knows.
    address: String,
}

impl From<WalletView> for WalletInfo {
    fn from(view: WalletView) -> Self {
        Self {
            wallet_id: view.wallet_id,
            token_id: view.token_id,
            blockchain: view.blockchain,
            blockchain_symbol: view.symbol,
            create_date: view.create_date,
            balance_usdc_nano_cents: view.balance,
            address: view.address,
        }
    }
}

/// The caller's wallet.
#[derive(Serialize, ToSchema)]
struct WalletBalanceResult {
    /// Absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet_info: Option<WalletInfo>,
}

/// Tells what is in the caller's wallet.
#[utoipa::path(
    get,
    path = "/wallet/balance",
    tag = "wallet",
    security(("bearer" = [])),
    responses((status = 200, body = WalletBalanceResult))
)]
async fn balance(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<WalletBalanceResult> {
    let view = state.custody.balance(owner(&caller)).await?;
    Ok(Json(WalletBalanceResult { wallet_info: view.map(WalletInfo::from) }))
}

/// An address to check.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct ValidateAddressArgs {
    /// The address.
    #[schema(required)]
    address: String,
    /// Its chain, such as `SOL` or `MATIC`; that of the wallets of this server when absent.
    chain: String,
}

/// Whether an address can be paid to.
#[derive(Serialize, ToSchema)]
struct ValidateAddressResult {
    /// True, or absent for false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    valid: bool,
}

/// Checks an address by the rules of its chain.
#[utoipa::path(
    post,
    path = "/wallet/validate-address",
    tag = "wallet",
    security(("bearer" = [])),
    request_body = ValidateAddressArgs,
    responses((status = 200, body = ValidateAddressResult))
)]
async fn validate_address(
    State(state): State<ApiState>,
    Session(_caller): Session,
    Body(ValidateAddressArgs { address, chain }): Body<ValidateAddressArgs>,
) -> ApiResult<ValidateAddressResult> {
    let settings = &state.config().wallet;
    let (address, chain) = (address.trim(), chain.trim());
    let is_ledger = chain.is_empty() && address.starts_with(ADDRESS_PREFIX) || chain.eq_ignore_ascii_case("ledger");
    let valid = if is_ledger {
        state.custody.has_ledger_address(address)?
    } else {
        let name = if chain.is_empty() { &settings.chain } else { chain };
        Chain::parse(name).and_then(|chain| address::check(settings, chain, address)).is_some()
    };
    Ok(Json(ValidateAddressResult { valid }))
}

/// A step that the user must finish.
#[derive(Default, Serialize, ToSchema)]
struct ChallengeResult {
    /// What it is confirmed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_token: Option<UserToken>,
    /// Names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge_id: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// What a challenge is confirmed with.
#[derive(Serialize, ToSchema)]
struct UserToken {
    /// The token, good for an hour.
    user_token: String,
    /// For the app of an outside company.
    encryption_key: String,
}

impl ChallengeResult {
    fn issued(issued: Issued) -> Self {
        let user_token = UserToken { user_token: issued.user_token, encryption_key: issued.encryption_key };
        Self { user_token: Some(user_token), challenge_id: Some(issued.challenge_id), error: None }
    }

    fn refused(message: impl ToString) -> Self {
        Self { error: Some(message.to_string().as_str().into()), ..Self::default() }
    }
}

/// Makes the caller's wallet, and a fresh token for it.
///
/// A wallet that this server keeps is there at once. One at Circle is there when the user has finished the challenge
/// in the app.
#[utoipa::path(
    post,
    path = "/wallet/circle-init",
    tag = "wallet",
    security(("bearer" = [])),
    responses((status = 200, body = ChallengeResult))
)]
async fn circle_init(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<ChallengeResult> {
    Ok(Json(match state.custody.init(owner(&caller)).await? {
        Ok(issued) => ChallengeResult::issued(issued),
        Err(error) => ChallengeResult::refused(error),
    }))
}

/// A transfer out of the caller's wallet.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct TransferOutArgs {
    /// Where to: an address of the wallet's chain, or another wallet of this server.
    #[schema(required)]
    to_address: String,
    /// How much, in 10⁻⁹ USD; a multiple of 1000.
    #[schema(required)]
    amount_usdc_nano_cents: i64,
    /// Whether the user accepts the terms.
    #[schema(required)]
    terms: bool,
}

/// Begins a transfer; nothing moves until its owner confirms the challenge.
///
/// A wallet that this server keeps: `/wallet/local/confirm` or the page `/wallet/confirm`. One at Circle: the app.
#[utoipa::path(
    post,
    path = "/wallet/circle-transfer-out",
    tag = "wallet",
    security(("bearer" = [])),
    request_body = TransferOutArgs,
    responses((status = 200, body = ChallengeResult))
)]
async fn circle_transfer_out(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<TransferOutArgs>,
) -> ApiResult<ChallengeResult> {
    let TransferOutArgs { to_address, amount_usdc_nano_cents: amount, terms: has_accepted_terms } = args;
    let request = TransferRequest { to_address, amount, has_accepted_terms };
    Ok(Json(match state.custody.transfer_out(owner(&caller), request).await? {
        Ok(issued) => ChallengeResult::issued(issued),
        Err(refusal) => ChallengeResult::refused(refusal),
    }))
}
