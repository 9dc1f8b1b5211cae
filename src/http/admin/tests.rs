//! The commands over a store in memory.

use serde_json::json;

use super::router;
use crate::domain::effect::Effect;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::portal::opt_out::{OptOut, Spare, code_for};
use crate::domain::stats::record::{TRANSFER_DAYS, TransferDay};
use crate::http::api::provider::tests::{located, provide};
use crate::http::testing::TestApi;
use crate::wire::messages::{CreateContract, ProvideMode};

fn api() -> TestApi {
    TestApi::new().with_router(router)
}

#[tokio::test]
async fn networks_are_listed_shown_by_id_and_name_and_deleted() {
    let api = api();
    let listed = api.post("/network/list", json!({"limit": 10})).await.expect(200);
    let network = &listed["networks"][0];
    assert_eq!(network["network_id"], api.user.network_id.to_string());
    assert_eq!(listed.get("next"), None);
    for named in [&network["network_id"], &network["name"]] {
        let shown = api.post("/network/show", json!({"network": named})).await.expect(200);
        assert_eq!(shown["network_id"], network["network_id"]);
        assert_eq!(shown["sign_in"][0]["kind"], "seedphrase");
        assert_eq!(shown["available_bytes"], 1i64 << 40);
    }
    let deleted = api.post("/network/delete", json!({"network": network["name"]})).await.expect(200);
    assert_eq!(deleted["network_id"], network["network_id"]);
    let listed = api.post("/network/list", json!({"limit": 10})).await.expect(200);
    assert_eq!(listed["networks"], json!([]));
}

#[tokio::test]
async fn refusals_are_sentences_that_say_what_to_do() {
    let api = api();
    for route in ["/network/show", "/network/delete"] {
        let refused = api.post(route, json!({"network": "nobody"})).await.expect(404);
        let text = refused["error"]["message"].as_str().unwrap();
        assert!(text.contains("\"nobody\"") && text.contains("warren admin network list"), "{text}");
    }
    let refused = api.post("/no/command", json!({})).await.expect(404);
    assert!(refused["error"]["message"].as_str().unwrap().contains("/no/command"));
    let too_large = json!({"network": "x".repeat(super::BODY_BYTES)});
    api.post("/network/show", too_large).await.expect(413);
}

#[tokio::test]
async fn the_status_names_release_and_folder() {
    let api = api();
    let status = api.post("/status/show", json!({})).await.expect(200);
    assert_eq!(status["state"], "ok");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["store"], "data");
}

#[tokio::test]
async fn clients_are_listed_with_where_they_are_and_removed() {
    let api = TestApi::new();
    let (provider, _guard) = provide(&api, &[ProvideMode::Public]).await;
    let api = api.with_router(router);
    let network = api.user.network_id.to_string();
    let listed = api.post("/client/list", json!({"network": network, "limit": 9})).await.expect(200);
    let clients = listed["clients"].as_array().unwrap();
    assert_eq!((clients.len(), &listed["is_more"]), (2, &json!(false)));
    assert_eq!(clients[0]["client_id"], provider.to_string());
    assert_eq!((&clients[0]["provide_modes"], &clients[0]["addresses"]), (&json!(["public"]), &json!(["203.0.113.9"])));
    assert_eq!((&clients[1]["description"], clients[1].get("connect_time")), (&json!("laptop"), None));
    let cut = api.post("/client/list", json!({"network": network, "limit": 1})).await.expect(200);
    assert_eq!((cut["clients"].as_array().unwrap().len(), &cut["is_more"]), (1, &json!(true)));

    let client = api.client.client_id().unwrap();
    let removed = api.post("/client/remove", json!({"client_id": client})).await.expect(200);
    assert_eq!(removed["network_id"], network);
    assert!(api.effects.take().contains(&Effect::ClientRemoved(client)));
    let again = api.post("/client/remove", json!({"client_id": client})).await.expect(404);
    assert!(again["error"]["message"].as_str().unwrap().contains(&client.to_string()));
}

#[tokio::test]
async fn sessions_are_listed_and_revoked() {
    let api = api();
    let network = api.user.network_id.to_string();
    let listed = api.post("/session/list", json!({"network": network})).await.expect(200);
    let session = listed["sessions"][0]["session_id"].clone();
    assert_eq!(session, api.user.session_id.unwrap().to_string());
    let revoke = json!({"network": network, "session_id": session});
    assert_eq!(api.post("/session/revoke", revoke.clone()).await.expect(200)["ended"], 1);
    let again = api.post("/session/revoke", revoke).await.expect(404);
    assert!(again["error"]["message"].as_str().unwrap().contains(session.as_str().unwrap()));
}

#[tokio::test]
async fn certificates_are_handed_out_listed_and_revoked() {
    let api = api();
    let network = json!({"network": api.user.network_id.to_string()});
    let issued = api.post("/certificates/issue", network.clone()).await.expect(200);
    assert_eq!((&issued["source_id"], issued["pkcs12"].as_str().is_some()), (&json!("main"), true));
    let listed = api.post("/certificates/list", network.clone()).await.expect(200);
    assert_eq!(listed["certificates"][0]["client_id"], issued["client_id"]);
    assert_eq!(listed["certificates"][0]["is_current"], true);
    api.effects.take();
    assert_eq!(api.post("/certificates/revoke", network.clone()).await.expect(200)["source_id"], "main");
    let client = issued["client_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(api.effects.take(), [Effect::ProofEnded(client)]);
    let again = api.post("/certificates/revoke", network).await.expect(404);
    assert!(again["error"]["message"].as_str().unwrap().contains("certificates list"));
}

#[tokio::test]
async fn no_certificate_is_made_where_its_client_has_no_room() {
    let mut config = TestApi::config();
    config.limits.clients_per_network = 1;
    let api = TestApi::with_config(config).with_router(router);
    let network = json!({"network": api.user.network_id.to_string()});
    let refused = api.post("/certificates/issue", network).await.expect(409);
    assert!(refused["error"]["message"].as_str().unwrap().contains("limits.clients_per_network"));
}

#[tokio::test]
async fn the_name_of_a_source_is_taken_once() {
    let api = api();
    let add = |name: &str| api.post("/certificates/add-source", json!({"source_id": name}));
    assert_eq!(add("second").await.expect(200)["source_id"], "second");
    let refused = add("second").await.expect(400);
    assert!(refused["error"]["message"].as_str().unwrap().contains("code 99"));
    add("two words").await.expect(400);
    add("third").await.expect(200);
    let page = api.post("/certificates/sources", json!({"limit": 1})).await.expect(200);
    assert_eq!((&page["sources"][0]["source_id"], &page["next"]), (&json!("second"), &json!("second")));
    let rest = api.post("/certificates/sources", json!({"limit": 9, "after": "second"})).await.expect(200);
    assert_eq!((&rest["sources"][0]["source_id"], rest.get("next")), (&json!("third"), None));
    assert_eq!(rest["sources"][0]["is_current"], false);
}

#[tokio::test]
async fn tokens_of_devices_are_listed_and_revoked() {
    let mut config = TestApi::config();
    config.auth.verify = crate::config::auth::Verify::Auto;
    let api = TestApi::with_config(config);
    let new = json!({"user_name": "Ada", "user_auth": "ada@hill.example", "password": "correct horse",
                     "network_name": "hilltop", "terms": true});
    api.post("/auth/network-create", new).await.expect(200);
    let login = json!({"email": "ada@hill.example", "password": "correct horse", "device_id": "phone"});
    let token = api.post("/api/login", login).await.expect(200)["token"].as_str().unwrap().to_owned();
    let commands = router(api.state.clone());
    let network = json!({"network": "hilltop"});
    let listed = api.post("/tokens/list", network.clone()).to(commands.clone()).await.expect(200);
    assert_eq!((&listed["tokens"][0]["device"], &listed["tokens"][0]["app_name"]), (&json!(1), &json!("phone")));
    let revoke = json!({"network": "hilltop", "device": 1});
    api.post("/tokens/revoke", revoke.clone()).to(commands.clone()).await.expect(200);
    api.get("/api/user").token(&token).await.expect(401);
    let listed = api.post("/tokens/list", network).to(commands.clone()).await.expect(200);
    assert_eq!(listed["tokens"][0].get("token_time"), None);
    let again = api.post("/tokens/revoke", revoke).to(commands).await.expect(404);
    assert!(again["error"]["message"].as_str().unwrap().contains("tokens list"));
}

#[tokio::test]
async fn a_granted_balance_can_be_spent_until_it_is_clawed_back() {
    let api = api();
    let network = api.user.network_id.to_string();
    let show = || async { api.post("/balance/show", json!({"network": network})).await.expect(200) };
    let before = show().await;
    let grant = json!({"network": network, "bytes": "2GiB", "days": 3, "pro": true, "revenue": 4_990_000_000i64});
    let granted = api.post("/balance/grant", grant).await.expect(200);
    let after = show().await;
    let bytes = |shown: &serde_json::Value| shown["available_bytes"].as_i64().unwrap();
    assert_eq!((bytes(&after) - bytes(&before), &after["is_pro"]), (2 << 30, &json!(true)));
    let balance = after["balances"].as_array().unwrap().iter().find(|one| one["balance_id"] == granted["balance_id"]);
    assert_eq!(balance.unwrap()["net_revenue"], 4_990_000_000i64);
    assert_eq!(granted["end_time"], "2026-02-06T04:05:06Z");

    let back = json!({"balance_id": granted["balance_id"]});
    api.post("/balance/claw-back", back).await.expect(200);
    let ended = show().await;
    assert_eq!((bytes(&ended), &ended["is_pro"]), (bytes(&before), &json!(false)));
    let unknown = json!({"balance_id": api.user.network_id});
    api.post("/balance/claw-back", unknown).await.expect(404);
    for wrong in
        [json!({"bytes": "0B"}), json!({"bytes": "9223372036854775808"}), json!({"bytes": "1B", "revenue": -1})]
    {
        let mut grant = json!({"network": network, "days": 3, "pro": false, "revenue": 0});
        grant.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        api.post("/balance/grant", grant).await.expect(400);
    }
}

#[tokio::test]
async fn contracts_are_listed_and_shown_until_they_are_swept() {
    let api = TestApi::new();
    let (provider, guard) = provide(&api, &[ProvideMode::Network]).await;
    let api = api.with_router(router);
    let client = api.client.client_id().unwrap();
    let request = CreateContract {
        destination_id: Some(provider.into()),
        transfer_byte_count: 1 << 20,
        ..CreateContract::default()
    };
    api.state.ledger.create(client, &request).await.unwrap();
    drop(guard);
    let list = |filter: serde_json::Value| {
        let mut body = json!({"limit": 10});
        body.as_object_mut().unwrap().extend(filter.as_object().unwrap().clone());
        api.post("/contract/list", body)
    };
    let network = api.user.network_id.to_string();
    let listed = list(json!({"network": network, "state": "open"})).await.expect(200);
    let contract = &listed["contracts"][0];
    assert_eq!((&contract["source"]["client_id"], &contract["bytes"]), (&json!(client), &json!(1 << 20)));
    assert_eq!((&contract["provide_mode"], &contract["state"]), (&json!("network"), &json!("open")));
    assert_eq!(list(json!({"state": "disputed"})).await.expect(200)["contracts"], json!([]));
    let id = &contract["contract_id"];
    let shown = api.post("/contract/show", json!({"contract_id": id})).await.expect(200);
    assert_eq!(&shown, contract);
    assert_eq!(api.post("/contract/sweep", json!({})).await.expect(200)["settled"], 0);
    api.clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(api.post("/contract/sweep", json!({})).await.expect(200)["settled"], 1);
    assert_eq!(list(json!({})).await.expect(200)["contracts"], json!([]));
    let gone = api.post("/contract/show", json!({"contract_id": id})).await.expect(404);
    assert!(gone["error"]["message"].as_str().unwrap().contains(id.as_str().unwrap()));
}

#[tokio::test]
async fn providers_are_listed_in_pages_while_they_are_connected() {
    let api = located();
    let (public, first) = provide(&api, &[ProvideMode::Public]).await;
    let (private, second) = provide(&api, &[ProvideMode::Network]).await;
    let api = api.with_router(router);
    let page = api.post("/provider/list", json!({"limit": 1})).await.expect(200);
    assert_eq!(page["next"], public.to_string());
    let provider = &page["providers"][0];
    assert_eq!((&provider["country"], &provider["place"]), (&json!("Germany"), &json!("Land Berlin, Berlin")));
    assert_eq!(provider["is_public"], true);
    let page = api.post("/provider/list", json!({"limit": 1, "after": page["next"]})).await.expect(200);
    let provider = &page["providers"][0];
    assert_eq!((&provider["client_id"], &provider["is_public"]), (&json!(private), &json!(false)));
    assert_eq!(page.get("next"), None);
    drop((first, second));
    let page = api.post("/provider/list", json!({"limit": 1})).await.expect(200);
    assert_eq!(page["providers"], json!([]));
}

#[tokio::test]
async fn a_recount_tells_what_differs_and_mends_it_when_told_to() {
    let api = api();
    let recount = |body| api.post("/stats/recount", body);
    let clean = recount(json!({})).await.expect(200);
    assert_eq!((&clean["difference_count"], &clean["last_day"]), (&json!(0), &json!("2026-02-03")));
    let today = api.state.now().day_number();
    api.put(&TRANSFER_DAYS, &today, &TransferDay { bytes: 5, contracts: 1 }).await;
    let found = recount(json!({"fix": false})).await.expect(200);
    assert_eq!((&found["difference_count"], &found["fixed_count"]), (&json!(1), &json!(0)));
    let difference = &found["differences"][0];
    assert_eq!((&difference["table"], &difference["counted"]), (&json!("transfer_days"), &json!("")));
    assert!(difference["stored"].as_str().unwrap().contains("bytes: 5"), "{difference}");
    assert_eq!(recount(json!({"fix": true})).await.expect(200)["fixed_count"], 1);
    assert_eq!(recount(json!({})).await.expect(200), clean);
}

#[tokio::test]
async fn a_key_names_an_occasion_that_gives_once() {
    let api = api();
    let grant = || {
        let grant = json!({"network": api.user.network_id, "bytes": "2GiB", "days": 3, "pro": false, "revenue": 0, "key": "fair"});
        api.post("/balance/grant", grant)
    };
    grant().await.expect(200);
    let refused = grant().await.expect(400);
    assert!(refused["error"]["message"].as_str().unwrap().contains("--key"), "{refused}");
}

#[tokio::test]
async fn balance_codes_are_made_listed_without_their_letters_and_cancelled() {
    let api = api();
    let create =
        json!({"bytes": "1TiB", "count": 2, "days": 365, "revenue": 5_000_000_000i64, "purchase": "fair", "email": ""});
    let made = api.post("/balance-code/create", create.clone()).await.expect(200);
    let [first, second] = [0, 1].map(|at| made["codes"][at].clone());
    assert_eq!(first["secret"].as_str().unwrap().len(), 26);
    api.post("/balance-code/create", create).await.expect(400);
    let secret = second["secret"].as_str().unwrap();
    api.state.ledger.redeem_code(api.user.network_id, secret).await.unwrap();

    let listed = api.post("/balance-code/list", json!({"limit": 1})).await;
    assert!(!listed.text.contains(secret));
    let listed = listed.expect(200);
    assert_eq!((&listed["codes"][0]["code_id"], &listed["is_more"]), (&second["code_id"], &json!(true)));
    assert_eq!(listed["codes"][0]["network_id"], api.user.network_id.to_string());

    let cancel = |code: &serde_json::Value| api.post("/balance-code/cancel", json!({"code_id": code["code_id"]}));
    assert_eq!(cancel(&first).await.expect(200).get("ended_balance_id"), None);
    let ended = cancel(&second).await.expect(200);
    assert_eq!(ended["ended_balance_id"], listed["codes"][0]["balance_id"]);
    cancel(&second).await.expect(400);
    let unknown = json!({"code_id": api.user.network_id});
    let refused = api.post("/balance-code/cancel", unknown).await.expect(404);
    assert!(refused["error"]["message"].as_str().unwrap().contains("balance-code list"));
    let none = json!({"bytes": "0B", "count": 1, "days": 1, "revenue": 0, "email": ""});
    api.post("/balance-code/create", none).await.expect(400);
}

#[tokio::test]
async fn payments_are_planned_recorded_completed_or_cancelled() {
    let api = api();
    let network = api.user.network_id;
    let plan = || api.post("/payout/plan", json!({"minimum": 1_000_000_000, "per_gib": 500_000_000}));
    let list = |filter: serde_json::Value| {
        let mut body = json!({"limit": 10, "network": network});
        body.as_object_mut().unwrap().extend(filter.as_object().unwrap().clone());
        api.post("/payout/list", body)
    };
    api.state.ledger.earn(network, 1 << 30, 499_999_999).await;
    assert_eq!(plan().await.expect(200)["payments"], 0, "not a dollar yet");
    api.state.ledger.earn(network, 1 << 30, 1).await;
    let planned = plan().await.expect(200);
    assert_eq!(
        (&planned["payments"], &planned["amount"], &planned["left"]),
        (&json!(1), &json!(1_500_000_000), &json!(0))
    );
    let payment = list(json!({"state": "planned"})).await.expect(200)["payments"][0].clone();
    assert_eq!((&payment["bonus"], &payment["bytes"]), (&json!(1_000_000_000), &json!(2i64 << 30)));

    let id = &payment["payment_id"];
    let named = json!({"payment_id": id, "tx": "5wHu"});
    api.post("/payout/complete", named.clone()).await.expect(400);
    let record = json!({"payment_id": id, "reference": "transfer 7", "token": "USDC", "address": "", "chain": "SOL"});
    assert_eq!(api.post("/payout/record", record).await.expect(200)["state"], "recorded");
    assert_eq!(api.post("/payout/complete", named.clone()).await.expect(200)["state"], "completed");
    assert_eq!(list(json!({"state": "completed"})).await.expect(200)["payments"][0]["tx_hash"], "5wHu");
    let refused = api.post("/payout/cancel", named).await.expect(404);
    assert!(refused["error"]["message"].as_str().unwrap().contains("payout list"));
    let shown = api.post("/balance/show", json!({"network": network})).await.expect(200);
    assert_eq!((&shown["paid_bytes"], &shown["paid_revenue"]), (&json!(2i64 << 30), &json!(500_000_000)));

    api.state.ledger.earn(network, 1 << 30, 1_000_000_000).await;
    plan().await.expect(200);
    let open = list(json!({"state": "planned"})).await.expect(200)["payments"][0]["payment_id"].clone();
    assert_eq!(api.post("/payout/cancel", json!({"payment_id": open})).await.expect(200)["state"], "cancelled");
    assert_eq!(plan().await.expect(200)["payments"], 1, "unpaid again");
}

#[tokio::test]
async fn a_dispute_is_resolved_to_one_count() {
    let api = api();
    for (party, used) in [("source", 0), ("destination", 64 << 20)] {
        let contract = api.state.ledger.dispute(api.user.network_id).await;
        let listed = api.post("/contract/list", json!({"limit": 10, "state": "disputed"})).await.expect(200);
        assert_eq!(listed["contracts"][0]["contract_id"], contract.to_string());
        let body = json!({"contract_id": contract, "party": party});
        assert_eq!(api.post("/contract/resolve", body.clone()).await.expect(200)["used_bytes"], used);
        let refused = api.post("/contract/resolve", body).await.expect(400);
        let outcome = format!("dispute_resolved_to_{party}");
        assert!(refused["error"]["message"].as_str().unwrap().contains(&outcome), "{refused}");
    }
    let unknown = json!({"contract_id": api.user.network_id, "party": "source"});
    let refused = api.post("/contract/resolve", unknown).await.expect(404);
    assert!(refused["error"]["message"].as_str().unwrap().contains("--state disputed"), "{refused}");
    api.post("/contract/resolve", json!({"contract_id": api.user.network_id, "party": "nobody"})).await.expect(400);
}

#[tokio::test]
async fn wallets_are_credited_and_transfers_told_sent_or_given_back() {
    let public = TestApi::new();
    let admin = super::router(public.state.clone());
    let ask = |path: &str, body: serde_json::Value| public.post(path, body).to(admin.clone());
    let network = public.user.network_id.to_string();
    let credited = ask("/wallet/credit", json!({"network": network, "amount": 5_500_000_000i64})).await.expect(200);
    assert_eq!(credited["amount"], 5_500_000_000i64);
    for wrong in [json!(0), json!(-1), json!("5")] {
        ask("/wallet/credit", json!({"network": network, "amount": wrong, "memo": ""})).await.expect(400);
    }
    let mut begun = Vec::new();
    for _ in 0..2 {
        let body = json!({"to_address": "DgTYzxzYRpkGQ8e3Un71GoQf494VLDBnyqXNXB38MP73",
                          "amount_usdc_nano_cents": 2_000_000_000, "terms": true});
        let challenge = public.post("/wallet/circle-transfer-out", body).token(&public.user_token).await.expect(200);
        let body = json!({"challenge_id": challenge["challenge_id"],
                          "user_token": challenge["user_token"]["user_token"]});
        public.post("/wallet/local/confirm", body).token(&public.user_token).await.expect(200);
        begun.push(challenge["challenge_id"].clone());
    }
    let listed = ask("/wallet/transfers", json!({})).await.expect(200);
    assert_eq!(listed["transfers"][0]["challenge_id"], begun[0]);
    assert_eq!(
        (&listed["transfers"][1]["amount"], listed["transfers"].as_array().unwrap().len()),
        (&json!(2_000_000_000), 2)
    );
    let sent = ask("/wallet/sent", json!({"challenge": begun[0], "tx": "5Kd3"})).await.expect(200);
    assert_eq!(sent["status"], "COMPLETE");
    let given_back = ask("/wallet/reject", json!({"challenge": begun[1]})).await.expect(200);
    assert_eq!(given_back["status"], "FAILED");
    let balance = public.get("/wallet/balance").token(&public.user_token).await.expect(200);
    assert_eq!(balance["wallet_info"]["balance_usdc_nano_cents"], 3_500_000_000i64);
    ask("/wallet/sent", json!({"challenge": network, "tx": "5Kd3"})).await.expect(404);
}

#[tokio::test]
async fn orders_are_approved_once_and_refused() {
    let mut config = TestApi::config();
    config.purchase.monthly_usd = "5".parse().unwrap();
    let public = TestApi::with_config(config);
    let admin = super::router(public.state.clone());
    let ask = |path: &str, body: serde_json::Value| public.post(path, body).to(admin.clone());
    let mut orders = Vec::new();
    for _ in 0..2 {
        let begun = public.post("/stripe/create-checkout-session", json!({"item_id": "pro_monthly"}));
        orders.push(begun.token(&public.user_token).await.expect(200)["session_id"].clone());
    }
    for _ in 0..2 {
        assert_eq!(ask("/order/pay", json!({"order": orders[0]})).await.expect(200)["status"], "granted");
    }
    let balance = public.get("/subscription/balance").token(&public.user_token).await.expect(200);
    assert!(balance["current_subscription"].is_object());
    assert_eq!(ask("/order/reject", json!({"order": orders[1]})).await.expect(200)["status"], "rejected");
    ask("/order/pay", json!({"order": orders[1]})).await.expect(400);
    ask("/order/reject", json!({"order": "cs_local_none"})).await.expect(404);
}

#[tokio::test]
async fn letters_are_allowed_to_addresses_that_wanted_none() {
    let api = api();
    let allow = |address: &str| api.post("/mail/allow", json!({"address": address}));
    allow("nobody").await.expect(400);
    let refused = allow("ada@hill.example").await.expect(404);
    assert!(refused["error"]["message"].as_str().unwrap().contains("ada@hill.example"));
    let code = api.state.service.run(&CodeOf("ada@hill.example")).await.unwrap();
    let stop = OptOut { address: "ada@hill.example", code: &code, spare: Spare::All };
    assert!(api.state.service.run(&stop).await.unwrap());
    assert_eq!(allow(" Ada@Hill.example ").await.expect(200)["address"], "ada@hill.example");
    allow("ada@hill.example").await.expect(404);
}

struct CodeOf(&'static str);

impl Operation for CodeOf {
    type Output = String;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<String, DomainError> {
        code_for(tx, self.0)
    }
}
