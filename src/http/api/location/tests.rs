use crate::http::api::provider::tests::{located, provide};
use crate::http::testing::TestApi;
use crate::wire::messages::ProvideMode;

#[tokio::test]
async fn an_empty_market_has_empty_lists() {
    TestApi::new().get("/network/provider-locations").await.golden(200, "nothing");
}

#[tokio::test]
async fn countries_with_providers_are_listed() {
    let api = located();
    let (_, _first) = provide(&api, &[ProvideMode::Public]).await;
    let (_, _second) = provide(&api, &[ProvideMode::Public, ProvideMode::Network]).await;
    let (_, _private) = provide(&api, &[ProvideMode::Network]).await;
    let answer = api.get("/network/provider-locations").token("stale").await;
    answer.golden(200, "one_country");
    assert_eq!(answer.body["locations"][0]["provider_count"], 2);
    let answer = api.get("/network/provider-locations").token(&api.user_token).await.expect(200);
    assert_eq!(answer["locations"][0]["provider_count"], 3, "members see what only they may use");
}
