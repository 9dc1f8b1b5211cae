//! Challenges for wallets to sign. Where wallets do not sign in, these routes are as if they were not there.

use axum::extract::State;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::domain::auth::wallet::{LIFETIME, WalletProof};
use crate::http::answer::Json;
use crate::http::error::ApiResult;
use crate::http::extract::{ApiOrigin, Body};
use crate::http::state::ApiState;

/// Reads a proof that must be an object: the struct alone would take a list, too.
pub fn object<'de, D: Deserializer<'de>>(input: D) -> Result<Option<WalletAuth>, D::Error> {
    let members = Option::<serde_json::Map<String, serde_json::Value>>::deserialize(input)?;
    members.map(|members| serde_json::from_value(members.into())).transpose().map_err(D::Error::custom)
}

/// Proof from a wallet: a challenge, signed.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct WalletAuth {
    /// Address on the chain.
    wallet_address: String,
    /// Base64 of the Ed25519 signature over the message.
    wallet_signature: String,
    /// The `message_template` of the challenge, as it was signed.
    wallet_message: String,
    /// `solana`, which it is without, too.
    blockchain: String,
    /// Of older apps; not looked at.
    #[serde(skip_serializing_if = "String::is_empty")]
    wallet_nonce: String,
}

impl From<WalletAuth> for WalletProof {
    fn from(auth: WalletAuth) -> Self {
        let WalletAuth { wallet_address, wallet_signature, wallet_message, blockchain, .. } = auth;
        Self { address: wallet_address, signature: wallet_signature, message: wallet_message, blockchain }
    }
}

impl From<WalletProof> for WalletAuth {
    fn from(proof: WalletProof) -> Self {
        let WalletProof { address, signature, message, blockchain } = proof;
        Self {
            wallet_address: address,
            wallet_signature: signature,
            wallet_message: message,
            blockchain,
            wallet_nonce: String::new(),
        }
    }
}

/// Who will sign.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct WalletChallengeArgs {
    /// The only address that the challenge shall count for.
    wallet_address: String,
    /// `solana`, which it is without, too.
    blockchain: String,
}

/// A challenge.
#[derive(Serialize, ToSchema)]
pub struct WalletChallengeResult {
    /// The challenge by itself.
    challenge: String,
    /// When it was given, in unix seconds.
    timestamp: u64,
    /// For how many seconds it counts, once.
    expires_in: u64,
    /// What the wallet signs, byte for byte.
    message_template: String,
}

/// A random text.
#[derive(Serialize, ToSchema)]
pub struct WalletNonceResult {
    /// 26 letters and digits.
    nonce: String,
}

/// Gives a challenge for a wallet to sign; `/auth/login`, `/auth/network-create` and `/auth/add-auth` use up one each.
#[utoipa::path(
    post,
    path = "/auth/wallet-challenge",
    tag = "auth",
    request_body = WalletChallengeArgs,
    responses((status = 200, body = WalletChallengeResult), (status = 404, body = crate::http::error::ErrorResult, description = "Not switched on."))
)]
pub async fn wallet_challenge(
    State(state): State<ApiState>,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<WalletChallengeArgs>,
) -> ApiResult<WalletChallengeResult> {
    let challenge = state.accounts.wallet_challenge(&origin, &args.wallet_address, &args.blockchain)?;
    Ok(Json(WalletChallengeResult {
        challenge: challenge.challenge,
        timestamp: challenge.timestamp,
        expires_in: LIFETIME.as_secs(),
        message_template: challenge.message,
    }))
}

/// Gives a random text, for older apps that ask for one; a challenge is what counts.
#[utoipa::path(
    post,
    path = "/auth/wallet-nonce",
    tag = "auth",
    responses((status = 200, body = WalletNonceResult), (status = 404, body = crate::http::error::ErrorResult, description = "Not switched on."))
)]
pub async fn wallet_nonce(State(state): State<ApiState>) -> ApiResult<WalletNonceResult> {
    Ok(Json(WalletNonceResult { nonce: state.accounts.wallet_nonce()? }))
}
