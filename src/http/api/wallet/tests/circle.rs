//! Wallets at Circle, through the routes that apps and Circle call.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;
use crate::domain::wallet::keeper::{KEEPER_USER_OWNERS, KEEPER_USERS, KeeperUser, KeeperUserOwner};
use crate::ids::RecordId;
use crate::vendor::testing::Mock;

/// What Circle calls the user of these tests.
const USER: &str = "0a0b0c0d-0102-4304-8506-0708090a0b0c";
/// What it calls the key of its reports.
const KEY: &str = "6f3d2c1b-0a09-4807-8605-040302010009";
const OTHER: &str = "74UNdYRpvakSABaYHSZMQNaXBVtA6eY9Nt8chcqocKe7";

fn config(mock: &Mock) -> Config {
    let mut config = TestApi::config();
    config.circle.api_token = "token-1".into();
    config.circle.blockchain = "SOL".into();
    config.circle.blockchain_name = "Solana".into();
    config.circle.base_url = mock.base_url.clone();
    config
}

/// The API, whose user Circle knows.
async fn known(mock: &Mock) -> TestApi {
    let api = TestApi::with_config(config(mock));
    let keeper_user_id: RecordId = USER.parse().unwrap();
    let (network_id, user_id) = (api.user.network_id, api.user.user_id);
    api.put(&KEEPER_USERS, &(network_id, user_id), &KeeperUser { keeper_user_id }).await;
    api.put(&KEEPER_USER_OWNERS, &keeper_user_id, &KeeperUserOwner { network_id, user_id }).await;
    api
}

fn look_at_balance(api: &TestApi) -> Call {
    api.get("/wallet/balance").token(&api.user_token)
}

#[tokio::test]
async fn making_a_wallet_at_circle_is_begun_here_and_finished_in_the_app() {
    let mock = Mock::start("circle/init", &[]).await;
    let api = TestApi::with_config(config(&mock));
    look_at_balance(&api).await.golden(200, "none");
    init(&api).await.golden(200, "circle_begun");
    init(&api).await.golden(200, "circle_refuses");
    init(&api).await.golden(200, "circle_without_challenge");
    init(&api).await.golden(503, "circle_wrong_key");
    assert_eq!(api.get("/account/wallets").token(&api.user_token).await.expect(200)["wallets"], json!([]));
    let users: Vec<_> = mock.bodies().into_iter().filter_map(|body| body.get("userId").cloned()).collect();
    assert!(users.len() == 7 && users.iter().all(|user| *user == users[0]), "one user, under one name");
    mock.finish();
}

#[tokio::test]
async fn the_newest_wallet_at_circle_is_shown_with_what_is_in_it() {
    let mock = Mock::start("circle/balance", &[]).await;
    let api = known(&mock).await;
    look_at_balance(&api).await.golden(200, "none");
    look_at_balance(&api).await.golden(200, "circle_empty");
    look_at_balance(&api).await.golden(200, "circle_coin_only");
    look_at_balance(&api).await.golden(200, "circle");
    look_at_balance(&api).await.golden(503, "circle_forbids");
    let body = json!({"address": "urledger:01020304-0506-0708-090a-0b0c0d0e0f10"});
    let validated = api.post("/wallet/validate-address", body).token(&api.user_token).await;
    assert_eq!(validated.expect(200), json!({}), "this server keeps no wallets");
    mock.finish();
}

#[tokio::test]
async fn a_transfer_at_circle_is_checked_here_and_begun_once() {
    let mock = Mock::start("circle/transfer", &[]).await;
    let stranger = TestApi::with_config(config(&mock));
    transfer(&stranger, OTHER, USD).await.golden(200, "circle_no_wallet");
    let api = known(&mock).await;
    let body = json!({"to_address": OTHER, "amount_usdc_nano_cents": USD, "terms": false});
    api.post("/wallet/circle-transfer-out", body).token(&api.user_token).await.golden(200, "circle_terms");
    let message = |answer: Value| answer["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message(transfer(&api, OTHER, USD).await.expect(200)), "No wallet.");
    assert_eq!(message(transfer(&api, OTHER, 1001).await.expect(200)), "Invalid amount.");
    assert_eq!(message(transfer(&api, ETHEREUM, USD).await.expect(200)), "Invalid address.");
    assert_eq!(message(transfer(&api, SOLANA, USD).await.expect(200)), "Invalid address.", "its own");
    assert_eq!(message(transfer(&api, OTHER, 6 * USD).await.expect(200)), "Insufficient balance.");
    transfer(&api, OTHER, 4_500_001_000).await.golden(200, "circle_begun");
    transfer(&api, OTHER, 4_500_001_000).await.golden(503, "circle_refuses");
    mock.finish();
    let keys: Vec<_> = mock.bodies().into_iter().filter_map(|body| body.get("idempotencyKey").cloned()).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys[0] == keys[1] && keys[1] != keys[2], "one key for all tries of one transfer");
}

/// Circle's key, and a report signed with it.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn public_key(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().unwrap();
        BASE64_STANDARD.encode(der.as_ref())
    }

    fn sign(&self, compact: &str) -> String {
        BASE64_STANDARD.encode(self.0.sign(&SystemRandom::new(), compact.as_bytes()).unwrap().as_ref())
    }
}

fn report(api: &TestApi, path: &str, body: &str, signature: &str) -> Call {
    let call = api.call(Method::POST, path, Some(body.as_bytes().to_vec()));
    call.header("x-circle-key-id", KEY).header("x-circle-signature", signature)
}

fn made(status: &str) -> String {
    json!({"notificationType": "challenges.initialize", "version": 2, "notification": {
        "id": "c4d1da72-111e-4d52-bdbf-2e74a2d803d5", "type": "INITIALIZE", "status": status,
        "correlationIds": ["w-1"], "userId": USER,
    }})
    .to_string()
}

#[tokio::test]
async fn a_wallet_that_circle_reports_is_one_to_be_paid_at() {
    let signer = Signer::new();
    let mock = Mock::start("circle/report", &[("$key", &signer.public_key())]).await;
    let api = known(&mock).await;
    let (body, signature) = (made("COMPLETE"), signer.sign(&made("COMPLETE")));
    report(&api, "/pay/circle", &made("PENDING"), &signer.sign(&made("PENDING"))).await.golden(200, "not_finished");
    assert_eq!(api.get("/account/payout-wallet").token(&api.user_token).await.expect(200)["wallet_id"], Value::Null);
    report(&api, "/pay/circle", &body, &signature).await.golden(200, "finished");
    let listed = api.get("/account/wallets").token(&api.user_token).await;
    listed.golden(200, "circle");
    let payout = api.get("/account/payout-wallet").token(&api.user_token).await.expect(200);
    assert_eq!(payout["wallet_id"], listed.body["wallets"][0]["wallet_id"]);
    // Sent again, under the other name, and with white space that the signature does not cover.
    let loose = body.replace("\":", "\" : ").replace(",\"", ",\n\"");
    report(&api, "/account/circle-wallet", &loose, &signature).await.golden(200, "finished");
    let again = api.get("/account/wallets").token(&api.user_token).await;
    assert_eq!(again.body, listed.body);
    // Signed, but not true.
    report(&api, "/pay/circle", &body, &signature).await.golden(400, "wallet_of_somebody_else");
    report(&api, "/pay/circle", &body, &signature).await.golden(400, "unknown_wallet");
    report(&api, "/pay/circle", "[1]", &signer.sign("[1]")).await.expect(200);
    report(&api, "/pay/circle", "{", &signer.sign("{")).await.golden(400, "malformed");
    for wrong in [Signer::new().sign(&body), signer.sign("{}"), "AAAA".into(), "?".into(), String::new()] {
        report(&api, "/pay/circle", &body, &wrong).await.golden(400, "bad_signature");
    }
    api.call(Method::POST, "/pay/circle", Some(body.into_bytes())).await.golden(400, "unsigned");
    mock.finish();
}

#[tokio::test]
async fn strangers_do_not_make_the_server_ask_circle_for_keys_over_and_over() {
    let mock = Mock::start("circle/report_key", &[]).await;
    let api = known(&mock).await;
    let signature = Signer::new().sign(&made("COMPLETE"));
    report(&api, "/pay/circle", &made("COMPLETE"), &signature).await.golden(400, "unknown_key");
    report(&api, "/pay/circle", &made("COMPLETE"), &signature).await.golden(503, "asked_lately");
    mock.finish();
}

#[tokio::test]
async fn without_circle_its_reports_have_no_route() {
    let api = TestApi::new();
    for path in ["/pay/circle", "/account/circle-wallet"] {
        api.post(path, json!({})).await.golden(404, "not_configured");
    }
}
