//! The addresses that the caller's network is paid at.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::wallet::account_wallet::{
    AccountWallet, AddWallet, ListWallets, ReadPayoutWallet, RemoveWallet, SetPayoutWallet, USDC,
};
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult, ErrorMessage};
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;
use crate::ids::{NetworkId, WalletId};
use crate::time::Timestamp;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(add))
        .routes(routes!(list))
        .routes(routes!(remove))
        .routes(routes!(payout_wallet, set_payout_wallet))
}

/// An address to be paid at.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct AddWalletArgs {
    /// `SOL`, `MATIC`, `ETHEREUM` or `TAO`.
    #[schema(required)]
    blockchain: String,
    /// The address.
    #[schema(required)]
    wallet_address: String,
    /// `USDC`, which is meant when absent too.
    default_token_type: String,
}

/// The wallet behind an address.
#[derive(Serialize, ToSchema)]
struct AddWalletResult {
    /// Names it; the same address gets the same one again.
    wallet_id: WalletId,
}

/// Names an address to be paid at. The first on a chain that payments are sent on becomes the payout wallet.
#[utoipa::path(
    post,
    path = "/account/wallet",
    tag = "account",
    security(("bearer" = [])),
    request_body = AddWalletArgs,
    responses((status = 200, body = AddWalletResult))
)]
async fn add(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<AddWalletArgs>,
) -> ApiResult<AddWalletResult> {
    let AddWalletArgs { blockchain, wallet_address: address, default_token_type: token_type } = args;
    let operation = AddWallet { network_id: caller.network_id, blockchain, address, token_type };
    let added = state.service.run(&operation).await?;
    Ok(Json(AddWalletResult { wallet_id: added.map_err(|refusal| ApiError::bad_request(refusal.to_string()))? }))
}

/// The wallets of a network.
#[derive(Serialize, ToSchema)]
struct WalletsResult {
    /// The active ones, oldest first.
    wallets: Vec<WalletEntry>,
}

/// A wallet of a network.
#[derive(Serialize, ToSchema)]
struct WalletEntry {
    /// Names it.
    wallet_id: WalletId,
    /// The custody wallet behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    circle_wallet_id: Option<String>,
    /// Whose.
    network_id: NetworkId,
    /// `circle_uc` for the custody wallet, `external` for an own address.
    wallet_type: &'static str,
    /// Its chain.
    blockchain: String,
    /// Its address.
    wallet_address: String,
    /// True.
    active: bool,
    /// `USDC`.
    default_token_type: &'static str,
    /// When it was first named.
    create_time: Timestamp,
    /// Whether it is known to hold a Seeker or Saga token.
    has_seeker_token: bool,
}

impl WalletEntry {
    fn new(network_id: NetworkId, wallet_id: WalletId, wallet: AccountWallet) -> Self {
        Self {
            wallet_id,
            circle_wallet_id: wallet.custody_id,
            network_id,
            wallet_type: wallet.wallet_type.name(),
            blockchain: wallet.blockchain,
            wallet_address: wallet.address,
            active: wallet.active,
            default_token_type: USDC,
            create_time: wallet.create_time,
            has_seeker_token: wallet.has_seeker_token,
        }
    }
}

/// Lists the wallets of the caller's network.
#[utoipa::path(
    get,
    path = "/account/wallets",
    tag = "account",
    security(("bearer" = [])),
    responses((status = 200, body = WalletsResult))
)]
async fn list(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<WalletsResult> {
    let network_id = caller.network_id;
    let wallets = state.service.read(&ListWallets { network_id })?;
    let wallets = wallets.into_iter().map(|(id, wallet)| WalletEntry::new(network_id, id, wallet)).collect();
    Ok(Json(WalletsResult { wallets }))
}

/// A wallet to remove.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct RemoveWalletArgs {
    /// Which.
    #[schema(required)]
    wallet_id: String,
}

/// Whether a wallet was removed.
#[derive(Serialize, ToSchema)]
struct RemoveWalletResult {
    /// False when the network has no such wallet.
    success: bool,
    /// Why it could not be looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Removes a wallet. When it was the payout wallet there is none, until another is set.
#[utoipa::path(
    post,
    path = "/account/wallets/remove",
    tag = "account",
    security(("bearer" = [])),
    request_body = RemoveWalletArgs,
    responses((status = 200, body = RemoveWalletResult))
)]
async fn remove(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(RemoveWalletArgs { wallet_id }): Body<RemoveWalletArgs>,
) -> ApiResult<RemoveWalletResult> {
    let Ok(id) = wallet_id.parse() else {
        // Short, because apps show it.
        let shown: String = wallet_id.chars().take(64).collect();
        let error = Some(format!("Error parsing id {shown}").as_str().into());
        return Ok(Json(RemoveWalletResult { success: false, error }));
    };
    let success = state.service.run(&RemoveWallet { network_id: caller.network_id, wallet_id: id }).await?;
    Ok(Json(RemoveWalletResult { success, error: None }))
}

/// The wallet that a network is paid at.
#[derive(Serialize, ToSchema)]
struct PayoutWalletResult {
    /// `null` when there is none. Apps expect the member.
    wallet_id: Option<WalletId>,
}

/// Tells which wallet the caller's network is paid at.
#[utoipa::path(
    get,
    path = "/account/payout-wallet",
    tag = "account",
    security(("bearer" = [])),
    responses((status = 200, body = PayoutWalletResult))
)]
async fn payout_wallet(
    State(state): State<ApiState>,
    Session(caller): Session,
) -> Result<axum::Json<PayoutWalletResult>, ApiError> {
    let wallet_id = state.service.read(&ReadPayoutWallet { network_id: caller.network_id })?;
    // Its `null` says that there is none.
    Ok(axum::Json(PayoutWalletResult { wallet_id }))
}

/// The wallet to be paid at.
#[derive(Deserialize, ToSchema)]
struct SetPayoutWalletArgs {
    /// Which.
    wallet_id: WalletId,
}

/// Nothing more to say.
#[derive(Serialize, ToSchema)]
struct SetPayoutWalletResult {}

/// Sets the wallet that the caller's network is paid at.
#[utoipa::path(
    post,
    path = "/account/payout-wallet",
    tag = "account",
    security(("bearer" = [])),
    request_body = SetPayoutWalletArgs,
    responses((status = 200, body = SetPayoutWalletResult))
)]
async fn set_payout_wallet(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(SetPayoutWalletArgs { wallet_id }): Body<SetPayoutWalletArgs>,
) -> ApiResult<SetPayoutWalletResult> {
    let set = state.service.run(&SetPayoutWallet { network_id: caller.network_id, wallet_id }).await?;
    set.map_err(|refusal| ApiError::bad_request(refusal.to_string()))?;
    Ok(Json(SetPayoutWalletResult {}))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::http::testing::{Answer, TestApi};

    const SOLANA: &str = "DgTYzxzYRpkGQ8e3Un71GoQf494VLDBnyqXNXB38MP73";
    const OTHER: &str = "74UNdYRpvakSABaYHSZMQNaXBVtA6eY9Nt8chcqocKe7";
    const ETHEREUM: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
    const BITTENSOR: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    async fn add(api: &TestApi, blockchain: &str, address: &str) -> Answer {
        let body = json!({"blockchain": blockchain, "wallet_address": address, "default_token_type": "USDC"});
        api.post("/account/wallet", body).token(&api.client_token).await
    }

    async fn set(api: &TestApi, wallet_id: &Value) -> Answer {
        api.post("/account/payout-wallet", json!({"wallet_id": wallet_id})).token(&api.user_token).await
    }

    async fn payout(api: &TestApi) -> Value {
        api.get("/account/payout-wallet").token(&api.user_token).await.expect(200)["wallet_id"].clone()
    }

    async fn remove(api: &TestApi, wallet_id: &Value) -> Answer {
        api.post("/account/wallets/remove", json!({"wallet_id": wallet_id})).token(&api.user_token).await
    }

    #[tokio::test]
    async fn the_first_payable_wallet_is_the_payout_wallet_and_stays_it() {
        let api = TestApi::new();
        api.get("/account/wallets").token(&api.user_token).await.golden(200, "none");
        api.get("/account/payout-wallet").token(&api.user_token).await.golden(200, "none");
        let bittensor = add(&api, "TAO", BITTENSOR).await.expect(200)["wallet_id"].clone();
        let ethereum = add(&api, "eth", ETHEREUM).await.expect(200)["wallet_id"].clone();
        assert_eq!(payout(&api).await, Value::Null);
        let answer = add(&api, "SOL", SOLANA).await;
        answer.golden(200, "solana");
        let first = answer.body["wallet_id"].clone();
        let second = add(&api, "Polygon", ETHEREUM).await.expect(200)["wallet_id"].clone();
        assert_eq!(payout(&api).await, first);
        api.get("/account/payout-wallet").token(&api.user_token).await.golden(200, "set");
        api.get("/account/wallets").token(&api.user_token).await.golden(200, "four");
        set(&api, &second).await.golden(200, "polygon");
        assert_eq!(payout(&api).await, second);
        set(&api, &bittensor).await.golden(400, "bittensor");
        set(&api, &ethereum).await.golden(400, "ethereum");
        set(&api, &json!("01020304-0506-0708-090a-0b0c0d0e0f10")).await.golden(400, "foreign");
        assert_eq!(payout(&api).await, second);
    }

    #[tokio::test]
    async fn what_cannot_be_paid_to_is_refused_with_400() {
        let api = TestApi::new();
        add(&api, "BTC", SOLANA).await.golden(400, "chain");
        add(&api, "BASE", ETHEREUM).await.golden(400, "chain_not_offered");
        add(&api, "SOL", ETHEREUM).await.golden(400, "address");
        let body = json!({"blockchain": "SOL", "wallet_address": SOLANA, "default_token_type": "SOL"});
        api.post("/account/wallet", body).token(&api.user_token).await.golden(400, "token");
        api.post("/account/payout-wallet", json!({})).token(&api.user_token).await.expect(400);
    }

    #[tokio::test]
    async fn a_removed_payout_wallet_leaves_none_and_its_address_keeps_the_id() {
        let api = TestApi::new();
        let first = add(&api, "SOL", SOLANA).await.expect(200)["wallet_id"].clone();
        let other = add(&api, "SOL", OTHER).await.expect(200)["wallet_id"].clone();
        remove(&api, &first).await.golden(200, "removed");
        assert_eq!(payout(&api).await, Value::Null, "no automatic successor");
        set(&api, &first).await.golden(400, "removed");
        let listed = api.get("/account/wallets").token(&api.user_token).await.expect(200);
        assert_eq!(listed["wallets"].as_array().unwrap().len(), 1);
        assert_eq!(listed["wallets"][0]["wallet_id"], other);
        assert_eq!(add(&api, "solana", SOLANA).await.expect(200)["wallet_id"], first);
        assert_eq!(payout(&api).await, first, "there was none");
        remove(&api, &json!("abc")).await.golden(200, "not_an_id");
        remove(&api, &json!("01020304-0506-0708-090a-0b0c0d0e0f10")).await.golden(200, "foreign");
        assert_eq!(payout(&api).await, first);
    }

    #[tokio::test]
    async fn capitals_of_a_checksum_do_not_make_another_wallet() {
        let api = TestApi::new();
        let mixed = add(&api, "MATIC", ETHEREUM).await.expect(200);
        let lower = add(&api, "POLY", &ETHEREUM.to_ascii_lowercase()).await.expect(200);
        assert_eq!(mixed, lower);
        let listed = api.get("/account/wallets").token(&api.user_token).await.expect(200);
        assert_eq!(listed["wallets"][0]["wallet_address"], ETHEREUM);
    }

    #[tokio::test]
    async fn a_network_has_so_many_wallets_and_no_more() {
        let api = TestApi::new();
        for byte in 1..=32u8 {
            add(&api, "SOL", &bs58::encode([byte; 32]).into_string()).await.expect(200);
        }
        add(&api, "SOL", SOLANA).await.golden(400, "too_many");
        let again = bs58::encode([1; 32]).into_string();
        let id = add(&api, "SOL", &again).await.expect(200)["wallet_id"].clone();
        remove(&api, &id).await.expect(200);
        add(&api, "SOL", SOLANA).await.expect(200);
        add(&api, "SOL", &again).await.expect(400);
    }

    #[tokio::test]
    async fn other_networks_see_and_change_nothing() {
        let (api, stranger) = (TestApi::new(), TestApi::new());
        let first = add(&api, "SOL", SOLANA).await.expect(200)["wallet_id"].clone();
        // Same address, another network, another store: another wallet.
        assert_ne!(add(&stranger, "SOL", SOLANA).await.expect(200)["wallet_id"], first);
        api.get("/account/wallets").await.expect(401);
    }
}
