//! What the statistics tell of real transfers: the same as the balances, before and after a restart.

use serde_json::{Value, json};
use warren::wire::messages::ProvideMode;

use crate::client::{Party, Platform, expect, message};
use crate::support::{PATIENCE, eventually};

/// The bytes that an answer tells in GiB or MiB; the parser's last bit is not always right.
fn bytes(count: f64, unit: u64) -> u64 {
    (count * unit as f64).round() as u64
}

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

async fn ask(platform: &Platform, party: &Party, path: &str, body: Option<Value>) -> (u16, Value) {
    let url = format!("http://{}{path}", platform.addresses.http);
    let http = reqwest::Client::new();
    let request = match body {
        Some(body) => http.post(url).body(body.to_string()),
        None => http.get(url),
    };
    let answer = request.bearer_auth(&party.client.by_client_jwt).timeout(PATIENCE).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

fn sum(by_day: &Value) -> f64 {
    by_day.as_object().unwrap().values().map(|value| value.as_f64().unwrap()).sum()
}

/// Every answer about the provider says that it carried so much for one client.
async fn all_agree(platform: &Platform, asker: &Party, provider: &Party, carried: u64, contracts: u64) {
    let (_, list) = ask(platform, provider, "/stats/providers", None).await;
    let line = &list["providers"][0];
    assert_eq!(list["providers"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(line["client_id"], provider.id().to_string());
    assert_eq!(bytes(line["transfer_data_last_24h"].as_f64().unwrap(), GIB), carried);
    assert_eq!((&line["contracts_last_24h"], &line["clients_last_24h"]), (&json!(contracts), &json!(1)));
    assert!(line["uptime_last_24h"].as_f64().unwrap() > 0.0 && line["connected"] == false, "{line}");
    assert_eq!(line["connected_events_last_24h"].as_array().unwrap().len(), 2);

    let about = Some(json!({"client_id": provider.id()}));
    for path in ["/stats/provider-last-n", "/stats/provider-last-90"] {
        let (status, report) = ask(platform, provider, path, about.clone()).await;
        let told = (status, bytes(sum(&report["transfer_data"]), GIB), sum(&report["contracts"]));
        assert_eq!(told, (200, carried, contracts as f64));
        let served = &report["client_details"][0];
        assert_eq!(served["client_id"], asker.id().to_string());
        assert_eq!(bytes(sum(&served["transfer_data"]), GIB), carried);
        assert_eq!(ask(platform, asker, path, about.clone()).await.0, 403, "not the asker's own");
    }
    let (_, overview) = ask(platform, provider, "/stats/providers-overview-last-90", None).await;
    assert_eq!((bytes(sum(&overview["transfer_data"]), GIB), sum(&overview["clients"])), (carried, 1.0));
    assert!(sum(&overview["uptime"]) > 0.0);
    assert_eq!(provider.credit().await, carried);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statistics_agree_with_the_balances_before_and_after_a_restart() {
    let mut platform = Platform::start().await;
    let (asker, provider) = (platform.party("asking").await, platform.party("providing").await);
    let (client, mut answers) = asker.start(vec![platform.websocket()]);
    let (other, mut questions) = provider.start(vec![platform.quic()]);
    client.provide(&[ProvideMode::Stream]).await.unwrap();
    other.provide(&[ProvideMode::Network, ProvideMode::Public, ProvideMode::Stream]).await.unwrap();
    for number in 0..20 {
        client.send(provider.id(), message(number, 100)).await.unwrap();
        let question = questions.recv().await.unwrap();
        other.reply(&question, message(number, 1000)).await.unwrap();
    }
    expect(&mut answers, provider.id(), 0..20).await;
    client.flush(provider.id()).await.unwrap();
    other.flush(asker.id()).await.unwrap();
    client.close().await.unwrap();
    other.close().await.unwrap();
    let used = asker.settled().await.used();
    assert_eq!(used, provider.credit().await);
    eventually("the provider has left", async || {
        ask(&platform, &provider, "/stats/providers", None).await.1["providers"][0]["connected"] == false
    })
    .await;
    // The open contracts that were seen first may be half a minute old; a restart forgets them.
    platform.stop().await;
    platform.start_again().await;
    all_agree(&platform, &asker, &provider, used, 2).await;
    platform.stop().await;
    platform.start_again().await;
    all_agree(&platform, &asker, &provider, used, 2).await;
    let (_, network) = ask(&platform, &asker, "/stats/last-90", None).await;
    assert_eq!(sum(&network["all_transfer_data"]), used as f64);
    assert_eq!(network["devices_summary"], 2);
    assert_eq!(network["networks_summary"], 2);
    let (_, ranking) = ask(&platform, &provider, "/network/ranking", None).await;
    assert_eq!(ranking["network_ranking"]["leaderboard_rank"], 1);
    assert_eq!(bytes(ranking["network_ranking"]["net_mib_count"].as_f64().unwrap(), MIB), used);
    platform.stop().await;
}
