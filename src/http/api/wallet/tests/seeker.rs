//! Owners of a certain phone, known by the operator's list or by Helius.

use super::*;
use crate::domain::auth::testing::TestWallet;
use crate::vendor::testing::Mock;

fn proof(wallet: &TestWallet) -> Value {
    let signed = wallet.sign_text("I hold a phone");
    json!({"wallet_address": signed.address, "wallet_message": signed.message, "wallet_signature": signed.signature})
}

async fn verify(api: &TestApi, body: Value) -> Answer {
    api.post("/account/wallets/verify-seeker", body).token(&api.client_token).await
}

async fn wallets(api: &TestApi) -> Answer {
    api.get("/account/wallets").token(&api.user_token).await
}

#[tokio::test]
async fn a_named_holder_is_marked_and_nobody_else() {
    let (holder, other) = (TestWallet::new(1), TestWallet::new(2));
    let mut config = TestApi::config();
    config.wallet.seeker_holders = vec![holder.address.clone()];
    let api = TestApi::with_config(config);
    verify(&api, proof(&other)).await.golden(200, "no_holder");
    for (name, value, case) in [
        ("wallet_address", "x", "address"),
        ("wallet_signature", "?", "no_base64"),
        ("wallet_signature", "AAAA", "short_signature"),
        ("wallet_message", "I hold two phones", "other_message"),
    ] {
        let mut wrong = proof(&holder);
        wrong[name] = json!(value);
        verify(&api, wrong).await.golden(200, case);
    }
    let mut stolen = proof(&other);
    stolen["wallet_address"] = json!(holder.address);
    assert_eq!(verify(&api, stolen).await.expect(200)["error"]["message"], "Invalid signature");
    assert_eq!(wallets(&api).await.expect(200)["wallets"], json!([]));
    for _ in 0..2 {
        verify(&api, proof(&holder)).await.golden(200, "marked");
    }
    wallets(&api).await.golden(200, "marked");
    let nobody = api.post("/account/wallets/verify-seeker", proof(&holder)).await;
    nobody.expect(401);
}

#[tokio::test]
async fn a_wallet_that_is_there_already_is_marked_itself() {
    let holder = TestWallet::new(1);
    let mut config = TestApi::config();
    config.wallet.seeker_holders = vec![holder.address.clone()];
    let api = TestApi::with_config(config);
    let body = json!({"blockchain": "SOL", "wallet_address": holder.address});
    let added = api.post("/account/wallet", body).token(&api.user_token).await.expect(200);
    assert_eq!(verify(&api, proof(&holder)).await.expect(200), json!({"success": true}));
    let listed = wallets(&api).await.expect(200);
    let [only] = &listed["wallets"].as_array().unwrap()[..] else { panic!("one wallet: {listed}") };
    assert_eq!((&only["wallet_id"], &only["has_seeker_token"]), (&added["wallet_id"], &json!(true)));
}

/// The API, and a holder's proof.
fn with_helius(mock: &Mock) -> TestApi {
    let mut config = TestApi::config();
    config.helius.api_key = "key/1".into();
    config.helius.base_url = mock.base_url.clone();
    TestApi::with_config(config)
}

#[tokio::test]
async fn helius_is_asked_page_by_page_and_each_token_of_a_phone_counts() {
    let holder = TestWallet::new(1);
    let page: Vec<Value> = (0..1000).map(|at| json!({"id": format!("asset {at}")})).collect();
    let page = serde_json::to_string(&page).unwrap();
    let replace = [("$owner", holder.address.as_str()), ("\"$page\"", page.as_str())];
    let mock = Mock::start("helius/holders", &replace).await;
    let success = async |api: &TestApi| verify(api, proof(&holder)).await.expect(200)["success"].clone();
    for case in ["asset on the second page", "pointer", "collection"] {
        let api = with_helius(&mock);
        assert_eq!(success(&api).await, true, "{case}");
    }
    let api = with_helius(&mock);
    assert_eq!(success(&api).await, false);
    verify(&api, proof(&holder)).await.golden(503, "helius_refuses");
    verify(&api, proof(&holder)).await.golden(503, "helius_errs");
    mock.finish();
}
