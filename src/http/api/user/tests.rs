use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::config::Config;
use crate::config::units::ByteSize;
use crate::domain::account::delete::DeleteNetwork;
use crate::domain::feedback::FEEDBACK;
use crate::domain::log_upload::{LOG_UPLOADS, LogUploadRecord};
use crate::domain::operation::{Operation, Tx};
use crate::http::log_folder;
use crate::http::testing::{Answer, TestApi};
use crate::ids::{NetworkId, RecordId};

mod news;

async fn post(api: &TestApi, path: &str, body: Value) -> Answer {
    api.post(path, body).token(&api.client_token).await
}

async fn get(api: &TestApi, path: &str) -> Answer {
    api.get(path).token(&api.client_token).await
}

/// The API, and the token of a user with a proven mail address.
async fn with_member() -> (TestApi, String) {
    let mut config = TestApi::config();
    config.auth.verify = crate::config::auth::Verify::Auto;
    with_member_of(config).await
}

/// The same with these settings.
async fn with_member_of(config: Config) -> (TestApi, String) {
    let api = TestApi::with_config(config);
    let asked = json!({"user_auth": "ada@hill.example", "user_name": "Ada", "password": "correct horse",
                       "network_name": "hilltop-lab", "terms": true});
    let answer = api.post("/auth/network-create", asked).await.expect(200);
    let token = answer["network"]["by_jwt"].as_str().unwrap().to_owned();
    (api, token)
}

#[tokio::test]
async fn preferences_are_an_object_before_they_are_set_and_after() {
    let api = TestApi::new();
    get(&api, "/preferences").await.golden(200, "never_set");
    post(&api, "/preferences/set-preferences", json!({"product_updates": true})).await.golden(200, "set");
    get(&api, "/preferences").await.golden(200, "set");
    post(&api, "/preferences/set-preferences", json!({"product_updates": "yes"})).await.golden(400, "not_a_bool");
    let empty = api.call(Method::POST, "/preferences/set-preferences", None).token(&api.user_token).await;
    assert_eq!(empty.expect(200), json!({}));
    assert_eq!(get(&api, "/preferences").await.expect(200), json!({"product_updates": false}));
    assert_eq!(api.get("/preferences").token(&api.stranger().await).await.expect(200)["product_updates"], false);
}

#[tokio::test]
async fn the_user_is_shown_with_their_methods() {
    let (api, token) = with_member().await;
    api.get("/network/user").token(&token).await.golden(200, "mail");
    get(&api, "/network/user").await.golden(200, "seedphrase");
}

#[tokio::test]
async fn a_network_is_renamed_at_any_time() {
    let (api, token) = with_member().await;
    let path = "/network/user/update";
    post(&api, path, json!({"network_name": " Valley Lab "})).await.golden(200, "renamed");
    post(&api, path, json!({"network_name": "valley-lab"})).await.golden(200, "same");
    post(&api, path, json!({"network_name": "hilltop-lab"})).await.golden(200, "taken");
    post(&api, path, json!({"network_name": "ü"})).await.golden(200, "invalid");
    let user = api.get("/network/user").token(&api.user_token).await.expect(200);
    assert_eq!(user["network_user"]["network_name"], "valley-lab");
    let refreshed = api.get("/auth/refresh").token(&api.client_token).await.expect(200);
    let renamed = refreshed["by_jwt"].as_str().unwrap();
    assert!(claims(renamed).contains("\"network_name\":\"valley-lab\""), "the next token carries the name");
    api.get("/network/user").token(&token).await.expect(200);
}

fn claims(token: &str) -> String {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_proven_user_changes_and_claims_names_twice_a_day_each() {
    let (api, token) = with_member().await;
    for (path, field, names) in [
        ("/account/change-name", "new_name", ["first-name", "second-name", "third-name"]),
        ("/account/claim-name", "network_name", ["fourth-name", "fifth-name", "sixth-name"]),
    ] {
        let ask = async |name: &str| api.post(path, json!({field: name})).token(&token).await;
        ask("ab").await.golden(200, "invalid");
        ask(names[0]).await.golden(200, "named");
        ask(names[1]).await.expect(200);
        ask(names[2]).await.golden(200, "daily_limit");
        api.post(path, json!({field: names[1]})).token(&api.user_token).await.golden(200, "unverified");
    }
    api.clock.advance(Duration::from_secs(86_399));
    let other =
        json!({"user_auth": "bob@x.example", "password": "correct horse", "network_name": "bob-lab", "terms": true});
    let bob = api.post("/auth/network-create", other).await.expect(200);
    let bob = bob["network"]["by_jwt"].as_str().unwrap();
    let both = json!({"network_name": "fifth-name", "new_name": "free-name"});
    let taken = api.post("/account/change-name", both).token(bob).await;
    taken.golden(200, "taken");
    let freed = json!({"new_name": "second-name"});
    api.post("/account/change-name", freed).token(bob).await.golden(200, "free_after_a_claim");
}

#[tokio::test]
async fn an_api_key_acts_as_the_user_until_it_is_removed() {
    let api = TestApi::new();
    let made = post(&api, "/account/api-key", json!({"name": "ci"})).await;
    made.golden(200, "made");
    let key = made.body["api_key"].as_str().unwrap();
    assert!(key.starts_with("urn_") && key.len() == 56);
    let listed = api.get("/account/api-keys").token(key).await;
    listed.golden(200, "one");
    assert!(!listed.text.contains(key), "a key is shown once");
    api.get("/account/api-keys").token(&key[..55]).await.expect(401);
    api.get("/account/api-keys").token(&key.replace("urn_", "urn-")).await.expect(401);
    let strange = json!({"id": made.body["id"]});
    let stranger = api.stranger().await;
    api.post("/account/api-key/remove", strange.clone()).token(&stranger).await.expect(200);
    api.get("/account/api-keys").token(key).await.expect(200);
    post(&api, "/account/api-key/remove", strange).await.golden(200, "removed");
    api.get("/account/api-keys").token(key).await.expect(401);
    get(&api, "/account/api-keys").await.golden(200, "none");
    let unknown = json!({"id": "01020304-0506-0708-090a-0b0c0d0e0f10"});
    post(&api, "/account/api-key/remove", unknown).await.golden(200, "unknown");
    post(&api, "/account/api-key/remove", json!({"id": "x"})).await.golden(400, "malformed_id");
    post(&api, "/account/api-key/remove", json!({})).await.golden(400, "without_id");
}

#[tokio::test]
async fn keys_are_bounded_and_may_be_closed_to_client_tokens() {
    let mut config = TestApi::config();
    config.auth.api_key_from_client_token = false;
    let api = TestApi::with_config(config);
    post(&api, "/account/api-key", json!({"name": "ci"})).await.golden(200, "client_token");
    for _ in 0..64 {
        api.post("/account/api-key", json!({})).token(&api.user_token).await.expect(200);
    }
    api.post("/account/api-key", json!({})).token(&api.user_token).await.golden(200, "too_many");
}

#[tokio::test]
async fn referrals_from_both_sides() {
    let mut config = TestApi::config();
    config.limits.referrals_per_network = 1;
    let api = TestApi::with_config(config);
    let own = get(&api, "/account/referral-code").await;
    own.golden(200, "none_yet");
    let code = own.body["referral_code"].as_str().unwrap();
    let (child, late) = (api.stranger().await, api.stranger().await);
    let ask =
        async |token: &str, path: &str, code: &str| api.post(path, json!({"referral_code": code})).token(token).await;
    ask(&child, "/referral-code/validate", &code.to_lowercase()).await.golden(200, "valid");
    ask(&child, "/referral-code/validate", "nobody's").await.golden(200, "unknown");
    api.get("/account/referral-network").token(&child).await.golden(200, "none");
    ask(&child, "/account/set-referral", &code.to_lowercase()).await.golden(200, "set");
    api.get("/account/referral-network").token(&child).await.golden(200, "one");
    get(&api, "/account/referral-code").await.golden(200, "one");
    ask(&late, "/referral-code/validate", code).await.golden(200, "capped");
    ask(&late, "/account/set-referral", code).await.golden(200, "capped");
    ask(&late, "/account/set-referral", "nobody's").await.golden(200, "unknown");
    ask(&api.client_token, "/account/set-referral", code).await.golden(200, "own");
    let childs = api.get("/account/referral-code").token(&child).await.expect(200);
    let childs = childs["referral_code"].as_str().unwrap();
    ask(&api.client_token, "/account/set-referral", childs).await.golden(200, "loop");
    let unlink = || async { api.get("/account/unlink-referral-network").token(&child).await };
    let (one, two) = tokio::join!(unlink(), unlink());
    one.golden(200, "unlinked");
    two.golden(200, "unlinked");
    assert_eq!(get(&api, "/account/referral-code").await.expect(200)["total_referrals"], 0);
}

struct Feedback(RecordId);

impl Operation for Feedback {
    type Output = Option<crate::domain::feedback::FeedbackRecord>;
    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, crate::domain::error::DomainError> {
        Ok(tx.get(&FEEDBACK, &self.0)?)
    }
}

async fn feedback_id(api: &TestApi) -> String {
    let answer = post(api, "/feedback/send-feedback", json!({"star_count": 4})).await.expect(200);
    answer["feedback_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn feedback_is_kept_as_it_was_said() {
    let api = TestApi::new();
    let said = json!({"uses": {"personal": true, "business": false}, "star_count": 5,
                      "needs": {"private": true, "zero_trust": true, "visualize": null, "other": "more cats"}});
    let answer = post(&api, "/feedback/send-feedback", said).await;
    answer.golden(200, "full");
    let id = answer.body["feedback_id"].as_str().unwrap().parse().unwrap();
    let kept = api.state.service.read(&Feedback(id)).unwrap().unwrap();
    assert_eq!((kept.network_id, kept.client_id), (api.user.network_id, api.client.client_id()));
    assert_eq!(kept.feedback.uses, ["personal"]);
    assert_eq!(kept.feedback.needs, ["private", "zero_trust"]);
    assert_eq!((kept.feedback.text.as_str(), kept.feedback.star_count), ("more cats", Some(5)));
    post(&api, "/feedback/send-feedback", Value::Null).await.golden(200, "nothing");
    post(&api, "/feedback/send-feedback", json!({"star_count": 1.5})).await.golden(400, "half_a_star");
    for _ in 0..28 {
        feedback_id(&api).await;
    }
    post(&api, "/feedback/send-feedback", json!({})).await.golden(429, "too_much");
}

async fn upload(api: &TestApi, id: &str, bytes: Vec<u8>) -> Answer {
    api.call(Method::POST, &format!("/log/{id}/upload"), Some(bytes)).token(&api.client_token).await
}

struct Uploads(NetworkId);

impl Operation for Uploads {
    type Output = Vec<LogUploadRecord>;
    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, crate::domain::error::DomainError> {
        Ok(tx.scan(&LOG_UPLOADS, &self.0)?.into_iter().map(|(_, upload)| upload).collect())
    }
}

fn uploads(api: &TestApi) -> Vec<(u64, bool)> {
    let uploads = api.state.service.read(&Uploads(api.user.network_id)).unwrap();
    uploads.into_iter().map(|upload| (upload.byte_count, upload.is_complete)).collect()
}

const SPAN: Duration = Duration::from_secs(300);
const MAX: usize = 100 << 20;

#[tokio::test]
async fn a_log_is_counted_once_in_five_minutes() {
    let api = TestApi::new();
    let id = feedback_id(&api).await;
    upload(&api, &id, b"not { json".to_vec()).await.golden(200, "taken");
    upload(&api, &id, b"more".to_vec()).await.golden(200, "rate_limited");
    assert_eq!(uploads(&api), [(10, true)]);
    api.clock.advance(SPAN);
    upload(&api, &id, Vec::new()).await.golden(200, "empty");
    assert_eq!(uploads(&api), [(10, true), (0, true)]);
}

#[tokio::test]
async fn a_log_needs_feedback_of_the_same_network() {
    let api = TestApi::new();
    let id = feedback_id(&api).await;
    upload(&api, "x", Vec::new()).await.golden(400, "malformed_id");
    upload(&api, "01020304-0506-0708-090a-0b0c0d0e0f10", Vec::new()).await.golden(404, "unknown");
    let path = format!("/log/{id}/upload");
    api.call(Method::POST, &path, Some(Vec::new())).token(&api.stranger().await).await.golden(403, "foreign");
    api.call(Method::POST, &path, Some(vec![0; 100])).await.expect(401);
    assert_eq!(uploads(&api), []);
}

#[tokio::test]
async fn a_log_of_a_hundred_mebibytes_is_taken_and_one_byte_more_is_not() {
    let api = TestApi::new();
    let id = feedback_id(&api).await;
    upload(&api, &id, vec![7; MAX]).await.expect(200);
    api.clock.advance(SPAN);
    upload(&api, &id, vec![7; MAX + 1]).await.golden(200, "too_long");
    assert_eq!(uploads(&api), [(MAX as u64, true), (MAX as u64 + 1, false)]);
    api.clock.advance(SPAN);
    let declared = api.call(Method::POST, &format!("/log/{id}/upload"), Some(Vec::new())).token(&api.client_token);
    let answer = declared.header("content-length", &(MAX + 1).to_string()).await.expect(200);
    assert_eq!(answer["error"]["message"], "Log file exceeds the maximum upload size 100mb.");
    assert_eq!(uploads(&api).len(), 2, "what says so itself takes no place");
}

fn with_folder(quota: u64) -> (TestApi, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = TestApi::config();
    config.log_upload.dir = folder.path().to_owned();
    config.log_upload.quota = ByteSize(quota);
    (TestApi::with_config(config), folder)
}

/// The content of every file below a folder.
fn kept(folder: &tempfile::TempDir) -> Vec<Vec<u8>> {
    let networks = std::fs::read_dir(folder.path()).unwrap();
    let logs = networks.flat_map(|network| std::fs::read_dir(network.unwrap().path()).unwrap());
    logs.map(|log| std::fs::read(log.unwrap().path()).unwrap()).collect()
}

#[tokio::test]
async fn logs_are_kept_within_the_quota_and_go_with_the_network() {
    let (api, folder) = with_folder(12);
    let id = feedback_id(&api).await;
    upload(&api, &id, b"0123456789".to_vec()).await.expect(200);
    assert_eq!(kept(&folder), [b"0123456789"]);
    api.clock.advance(SPAN);
    upload(&api, &id, b"abc".to_vec()).await.expect(200);
    assert_eq!(kept(&folder).len(), 1, "above the quota it is counted but not kept");
    assert_eq!(uploads(&api), [(10, true), (3, true)]);
    assert_eq!(log_folder::run(&api.state.logs, &api.state.service).await.unwrap(), 0);
    api.state.service.run(&DeleteNetwork { network_id: api.user.network_id }).await.unwrap();
    assert_eq!(log_folder::run(&api.state.logs, &api.state.service).await.unwrap(), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn old_logs_make_room_and_a_cut_one_leaves_none() {
    let (api, folder) = with_folder(MAX as u64 * 2);
    let id = feedback_id(&api).await;
    upload(&api, &id, b"old".to_vec()).await.expect(200);
    api.clock.advance(api.state.config().log_upload.keep + Duration::from_secs(1));
    assert_eq!(log_folder::run(&api.state.logs, &api.state.service).await.unwrap(), 1);
    assert_eq!(kept(&folder).len(), 0);
    upload(&api, &id, vec![7; MAX + 1]).await.expect(200);
    assert_eq!(kept(&folder).len(), 0);
}

#[tokio::test]
async fn endless_and_broken_bodies_end() {
    use axum::body::{Body, Bytes};
    use futures_util::stream;
    let (api, folder) = with_folder(MAX as u64 * 2);
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[7; 65_536])));
    let broken = stream::iter([Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("gone"))]);
    let cases = [(Body::from_stream(endless), 200), (Body::from_stream(broken), 400)];
    for (body, status) in cases {
        let id = feedback_id(&api).await;
        api.stream(&format!("/log/{id}/upload"), body).token(&api.client_token).await.expect(status);
        api.clock.advance(SPAN);
    }
    let taken = uploads(&api);
    assert!(taken[0].0 > MAX as u64 && taken[0].0 <= MAX as u64 + 65_536, "not one chunk more than needed: {taken:?}");
    assert_eq!((taken[0].1, taken[1]), (false, (4, false)));
    assert_eq!(kept(&folder).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_sender_is_not_waited_for() {
    use axum::body::Body;
    use futures_util::stream;
    let api = TestApi::new();
    let id = feedback_id(&api).await;
    let silent = Body::from_stream(stream::pending::<Result<axum::body::Bytes, std::io::Error>>());
    api.stream(&format!("/log/{id}/upload"), silent).token(&api.client_token).await.golden(400, "silent");
}
