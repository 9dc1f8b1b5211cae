use std::net::IpAddr;
use std::time::Duration;

use prost::Message;
use serde_json::{Value, json};

use crate::domain::client::{CLIENTS, ClientRecord, NETWORK_CLIENTS};
use crate::domain::contract::record::{ARCHIVE, ArchiveBlob, ContractRecord, Outcome, Payout, Settled, Side};
use crate::domain::presence::{PresenceEntry, PresenceGuard};
use crate::domain::provide::{PROVIDE_SETS, ProvideSet, RegisterProvide};
use crate::domain::stats::providers::MAX_PROVIDERS;
use crate::domain::stats::record::{ConnectEvent, Hours, PEER_DAYS, PeerDay, UPTIME_DAYS, UptimeDay};
use crate::http::testing::TestApi;
use crate::ids::{BalanceId, ClientId, ConnectionId, ContractId, InstanceId, NetworkId};
use crate::store::table::TableValue;
use crate::store::{Commit, Store};
use crate::time::Timestamp;
use crate::wire::messages::{CloseContract, CreateContract, ProvideMode, StoredContract};

const CONSUMER: ClientId = ClientId::new([9; 16]);
const CONSUMERS: NetworkId = NetworkId::new([10; 16]);

/// The API's client provides to everyone, and is connected for as long as the guard lives.
async fn provide(api: &TestApi) -> (ClientId, PresenceGuard) {
    let client_id = api.client.client_id().unwrap();
    let network_id = api.client.network_id;
    let mut set = ProvideSet::default();
    for mode in [ProvideMode::Network, ProvideMode::FriendsAndFamily, ProvideMode::Public, ProvideMode::Stream] {
        set.insert(mode, vec![7; 32]);
    }
    api.state.service.run(&RegisterProvide { network_id, client_id, set }).await.unwrap();
    let guard = api.state.presence.attach(PresenceEntry {
        connection_id: ConnectionId::new([1; 16]),
        client_id,
        network_id,
        instance_id: InstanceId::new([1; 16]),
        address: IpAddr::from([203, 0, 113, 9]),
    });
    (client_id, guard)
}

/// One gibibyte up and one down, for which the consumer's network paid 6 USD.
async fn carry(api: &TestApi, provider: ClientId) {
    let provider = Side { client_id: provider, network_id: api.client.network_id };
    let consumer = Side { client_id: CONSUMER, network_id: CONSUMERS };
    let contract = |source, destination| ContractRecord {
        source,
        destination,
        transfer_bytes: 1 << 30,
        anchor: None,
        payer: Some(CONSUMERS),
        priority: 100,
        provide_mode: ProvideMode::Public as u8,
        create_time: api.state.now(),
        dispute_time: None,
        escrow: Vec::new(),
        votes: [None, None],
        stream: None,
    };
    let settled = |id: u8, contract| Settled {
        contract_id: ContractId::new([id; 16]),
        contract,
        close_time: api.state.now(),
        used_bytes: 1 << 30,
        outcome: Outcome::Settled,
        payouts: vec![Payout { balance_id: BalanceId::new([1; 16]), bytes: 1 << 30, revenue: 1_500_000_000 }],
    };
    let blob = ArchiveBlob(vec![settled(1, contract(consumer, provider)), settled(2, contract(provider, consumer))]);
    api.put(&ARCHIVE, &(api.state.now().hour_number(), 1), &blob).await;
}

/// A provider that was connected for half an hour over midnight, and carried a little.
async fn busy() -> (TestApi, ClientId) {
    let api = TestApi::new();
    // To 23:45 of the day before the next.
    api.clock.advance(Duration::from_secs((19 * 60 + 39) * 60 + 54));
    let (client_id, guard) = provide(&api).await;
    api.clock.advance(Duration::from_secs(1800));
    api.state.providers.interest().record(api.state.now(), [client_id].into_iter());
    drop(guard);
    carry(&api, client_id).await;
    api.state.stats.flush().await.unwrap();
    (api, client_id)
}

#[tokio::test]
async fn an_empty_server_tells_zeros_for_every_day() {
    let api = TestApi::new();
    let answer = api.get("/stats/last-90").await;
    answer.golden(200, "empty");
    let body = answer.body.as_object().unwrap();
    for (key, value) in body.iter().filter(|(key, _)| key.ends_with("_data")) {
        assert_eq!(value.as_object().unwrap().len(), 91, "{key}");
        // There are no networks but the test's own, and only since today.
        let networks = u64::from(key == "networks_data");
        assert_eq!(value.as_object().unwrap().values().map(|day| day.as_u64().unwrap()).sum::<u64>(), networks);
    }
}

#[tokio::test]
async fn anyone_sees_what_the_network_carries_at_most_a_minute_old() {
    let (api, _) = busy().await;
    let (_, _guard) = provide(&api).await;
    api.clock.advance(Duration::from_secs(10));
    api.state.stats.flush().await.unwrap();
    let body = api.get("/stats/last-90").await.expect(200);
    assert_eq!(body["all_transfer_data"]["2026-02-04"], 2u64 << 30);
    assert_eq!((&body["all_transfer_summary"], &body["all_transfer_summary_rate"]), (&json!(2048), &json!(0)));
    assert_eq!(body["devices_data"]["2026-02-03"], 1);
    assert_eq!(body["devices_data"]["2026-02-04"], 1);
    assert_eq!((&body["providers_summary"], &body["networks_summary"]), (&json!(1), &json!(1)));
    assert_eq!(body["created_time"], api.state.now().as_millis());
    api.clock.advance(Duration::from_secs(59));
    assert_eq!(api.get("/stats/last-90").await.expect(200)["created_time"], body["created_time"]);
    api.clock.advance(Duration::from_secs(1));
    assert_eq!(api.get("/stats/last-90").await.expect(200)["created_time"], api.state.now().as_millis());
}

#[tokio::test]
async fn providers_are_listed_with_their_figures() {
    let api = TestApi::new();
    api.get("/stats/providers").token(&api.user_token).await.golden(200, "none");
    let (api, _) = busy().await;
    api.get("/stats/providers").token(&api.user_token).await.golden(200, "busy");
    let (_, _guard) = provide(&api).await;
    let body = json!({"last_n": 1});
    api.post("/stats/providers-last-n", body).token(&api.client_token).await.golden(200, "connected");
    for last_n in [0.0, -5.0, 0.5, 1e9] {
        let body =
            api.post("/stats/providers-last-n", json!({"last_n": last_n})).token(&api.user_token).await.expect(200);
        assert_eq!(body["providers"][0]["transfer_data_last_24h"], 2, "{last_n}");
    }
    api.post("/stats/providers-last-n", json!({"last_n": "1"}))
        .token(&api.user_token)
        .await
        .golden(400, "not_a_number");
    api.get("/stats/providers").await.expect(401);
}

#[tokio::test]
async fn a_provider_is_told_by_day_and_by_hour() {
    let (api, client_id) = busy().await;
    let ask = |path: &str, body: Value| api.post(path, body).token(&api.user_token);
    ask("/stats/provider-last-n", json!({"client_id": client_id})).await.golden(200, "busy");
    ask("/stats/provider-last-n", json!({"client_id": client_id, "last_n": 1})).await.golden(200, "hour");
    let body = ask("/stats/provider-last-n", json!({"client_id": client_id, "lookback": 366})).await.expect(200);
    assert_eq!(body["lookback"], 366);
    assert_eq!(body["contracts"].as_object().unwrap().len(), 367);
    let body = ask("/stats/provider-last-90", json!({"client_id": client_id})).await.expect(200);
    for key in ["uptime", "transfer_data", "payout", "search_interest", "contracts", "clients"] {
        assert_eq!(body[key].as_object().unwrap().len(), 91, "{key}");
    }
    assert_eq!((&body["uptime"]["2026-02-03"], &body["uptime"]["2026-02-04"]), (&json!(0.25), &json!(0.25)));
    ask("/stats/provider-last-90", json!({"client_id": client_id, "last_n": 72})).await.golden(200, "three_days");
}

#[tokio::test]
async fn providers_of_other_networks_are_not_told() {
    let api = TestApi::new();
    let ask = |path: &str, body: Value| api.post(path, body).token(&api.user_token);
    for path in ["/stats/provider-last-n", "/stats/provider-last-90"] {
        ask(path, json!({"client_id": CONSUMER})).await.golden(403, "foreign");
        ask(path, json!({})).await.golden(400, "no_client");
        ask(path, json!({"client_id": "x"})).await.expect(400);
        api.post(path, json!({"client_id": CONSUMER})).await.expect(401);
    }
}

#[tokio::test]
async fn providers_are_summed_up_by_day() {
    let api = TestApi::new();
    let body = api.get("/stats/providers-overview-last-90").token(&api.user_token).await.expect(200);
    for key in ["uptime", "transfer_data", "payout", "search_interest", "contracts", "clients"] {
        assert_eq!(body[key].as_object().unwrap().len(), 91, "{key}");
        assert!(body[key].as_object().unwrap().values().all(|value| *value == json!(0)), "{key}");
    }
    let ask = |api: &TestApi, body| api.post("/stats/providers-overview-last-n", body).token(&api.user_token);
    ask(&api, json!({})).await.golden(200, "none");
    let (api, _) = busy().await;
    api.get("/stats/providers-overview-last-90").token(&api.user_token).await.golden(200, "busy");
    ask(&api, json!({"last_n": 24})).await.golden(200, "busy");
    assert_eq!(ask(&api, json!({"lookback": 7})).await.expect(200)["lookback"], 7);
    // A second provider that does nothing halves the average.
    let second = ClientId::new([33; 16]);
    let network = api.client.network_id;
    let record = CLIENTS.get(&*api.store, &api.client.client_id().unwrap()).unwrap().unwrap();
    api.put(&CLIENTS, &second, &record).await;
    api.put(&NETWORK_CLIENTS, &(network, second), &()).await;
    let mut set = ProvideSet::default();
    set.insert(ProvideMode::Network, vec![1; 32]);
    api.put(&PROVIDE_SETS, &second, &set).await;
    assert_eq!(ask(&api, json!({})).await.expect(200)["uptime"]["2026-02-03"], 0.125);
}

#[tokio::test]
async fn the_longest_answers_stay_below_two_mebibytes() {
    let api = TestApi::new();
    let (client_id, _guard) = provide(&api).await;
    let network = api.client.network_id;
    let record: ClientRecord = CLIENTS.get(&*api.store, &client_id).unwrap().unwrap();
    let provide_set = PROVIDE_SETS.get(&*api.store, &client_id).unwrap().unwrap();
    let number = |n: usize| {
        let mut bytes = [0xee; 16];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        ClientId::new(bytes)
    };
    let today = api.state.now().day_number();
    let event = |at_millis| ConnectEvent { at_millis, connected: at_millis % 2 == 0 };
    let uptime = UptimeDay { hours: Hours([1_234_567; 24]), events: (1..100).map(event).collect() };
    let mut writes = Vec::new();
    for n in 0..MAX_PROVIDERS + 10 {
        let id = number(n);
        writes.push((CLIENTS.key(&id), Some(record.encode().into())));
        writes.push((NETWORK_CLIENTS.key(&(network, id)), Some(TableValue::encode(&()).into())));
        writes.push((PROVIDE_SETS.key(&id), Some(provide_set.encode().into())));
        writes.push((UPTIME_DAYS.key(&(today, id)), Some(uptime.encode().into())));
    }
    for (day, n) in (0..366).flat_map(|day| (0..80).map(move |n| (today - day, n))) {
        let peer = PeerDay { bytes: Hours([12_345_678; 24]), made_in: 0xff_ffff };
        writes.push((PEER_DAYS.key(&(day, client_id, number(n))), Some(peer.encode().into())));
        writes.push((UPTIME_DAYS.key(&(day, client_id)), Some(uptime.encode().into())));
    }
    api.store.commit(Commit { reads: Vec::new(), writes }).await.unwrap();
    let answer = api.get("/stats/providers").token(&api.user_token).await;
    assert_eq!(answer.body["providers"].as_array().unwrap().len(), MAX_PROVIDERS);
    assert!(answer.text.len() < 2 << 20, "{}", answer.text.len());
    let asked = json!({"client_id": client_id, "last_n": 8784});
    let answer = api.post("/stats/provider-last-n", asked).token(&api.user_token).await;
    assert!(answer.body["client_details"].as_array().unwrap().len() > 50);
    assert!(answer.text.len() < 2 << 20, "{}", answer.text.len());
}

#[tokio::test]
async fn what_the_network_has_carried_is_the_same_wherever_it_is_told() {
    let api = TestApi::new();
    let (provider, _guard) = provide(&api).await;
    let record = CLIENTS.get(&*api.store, &provider).unwrap().unwrap();
    api.put(&CLIENTS, &CONSUMER, &ClientRecord { network_id: CONSUMERS, ..record }).await;
    let (destination_id, transfer_byte_count) = (Some(provider.into()), 1 << 20);
    let request = CreateContract { destination_id, transfer_byte_count, ..CreateContract::default() };
    let contract = api.state.ledger.create(CONSUMER, &request).await.unwrap();
    let contract_id = StoredContract::decode(contract.stored_contract_bytes).unwrap().contract_id;
    let close = CloseContract { contract_id, acked_byte_count: 1 << 19, ..CloseContract::default() };
    for party in [CONSUMER, provider] {
        api.state.ledger.close(party, &close).await.unwrap();
    }
    api.get("/transfer/stats").token(&api.user_token).await.golden(200, "carried");
    let listed = api.get("/stats/providers").token(&api.user_token).await.expect(200);
    assert_eq!(listed["providers"][0]["transfer_data_last_24h"], 1.0 / 2048.0);
    let standing = api.get("/network/ranking").token(&api.user_token).await.expect(200);
    assert_eq!(standing["network_ranking"]["net_mib_count"], 0.5);
}

/// So that the test's own numbers mean what they say.
#[test]
fn the_test_starts_where_the_keys_say() {
    let start = crate::http::testing::START;
    assert_eq!(start, Timestamp::parse_rfc3339("2026-02-03T04:05:06Z").unwrap());
}
