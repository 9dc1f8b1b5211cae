//! Who wants to hear of news, at Brevo.

use super::*;
use crate::domain::news::{NEWS_CHANGES, NewsChange, tell_changes};
use crate::store::Store;
use crate::vendor;
use crate::vendor::testing::Mock;

const ADDRESS: &str = "ada@hill.example";

fn config() -> Config {
    let mut config = TestApi::config();
    config.auth.verify = crate::config::auth::Verify::Auto;
    config.brevo.api_key = "key-1".into();
    config.brevo.list_id = 7;
    config.brevo.webhook_token = "sesame".into();
    config
}

/// The one change that is kept.
fn change(api: &TestApi) -> Option<NewsChange> {
    let rows = api.store.scan(&NEWS_CHANGES.prefix(&()), None, 10).unwrap();
    assert!(rows.len() < 2 && rows.iter().all(|(_, row)| !row.value.windows(4).any(|part| part == b"hill")));
    rows.first().map(|(_, row)| NEWS_CHANGES.decode_value(&row.value).unwrap().change)
}

async fn wants(api: &TestApi, token: &str, product_updates: bool) {
    let body = json!({"product_updates": product_updates});
    api.post("/preferences/set-preferences", body).token(token).await.expect(200);
}

#[tokio::test]
async fn a_change_is_kept_until_brevo_knows_of_it() {
    let mock = Mock::start("brevo/news", &[]).await;
    let mut config = config();
    config.brevo.base_url = format!("{}/v3", mock.base_url);
    let (api, token) = with_member_of(config).await;
    wants(&api, &token, true).await;
    assert_eq!(change(&api), Some(NewsChange::Add));
    let list = vendor::news_list(api.state.config()).unwrap().unwrap();
    let tell = async || tell_changes(&api.state.service, &*list).await.unwrap();
    tell().await;
    assert_eq!(change(&api), Some(NewsChange::Add), "it refuses");
    tell().await;
    assert_eq!(change(&api), None);
    wants(&api, &token, true).await;
    wants(&api, &token, false).await;
    tell().await;
    assert_eq!(change(&api), None, "only the last one counts");
    api.post("/auth/network-delete", json!({})).token(&token).await.expect(200);
    tell().await;
    assert_eq!(change(&api), None);
    mock.finish();
}

#[tokio::test]
async fn whoever_unsubscribes_there_is_unsubscribed_here() {
    let (api, token) = with_member_of(config()).await;
    wants(&api, &token, true).await;
    let report =
        |body: Value, authorization: &str| api.post("/updates/brevo", body).header("authorization", authorization);
    let unsubscribed = json!({"event": "unsubscribe", "email": "Ada@Hill.Example", "list_id": [7]});
    let right = "Basic c2VzYW1lOg==";
    for wrong in ["", "Basic", "Basic c2VzYW1l", "Bearer sesame"] {
        report(unsubscribed.clone(), wrong).await.golden(401, "wrong_authorization");
    }
    report(json!([1]), right).await.golden(400, "malformed");
    report(json!({"event": "click", "email": ADDRESS}), right).await.golden(200, "another_event");
    report(json!({"event": "unsubscribe", "email": "nobody@hill.example"}), right).await.expect(200);
    let wanted = api.get("/preferences").token(&token).await.expect(200);
    assert_eq!(wanted["product_updates"], true);
    report(unsubscribed, right).await.golden(200, "unsubscribed");
    let wanted = api.get("/preferences").token(&token).await.expect(200);
    assert_eq!(wanted["product_updates"], false);
}

#[tokio::test]
async fn without_brevo_nothing_is_kept_and_its_reports_have_no_route() {
    let (api, token) = with_member().await;
    wants(&api, &token, true).await;
    assert_eq!(change(&api), None);
    api.post("/updates/brevo", json!({})).await.golden(404, "not_configured");
}
