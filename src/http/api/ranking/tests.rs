use serde_json::json;

use crate::domain::contract::record::{Credit, NETWORK_DAYS};
use crate::http::testing::TestApi;

#[tokio::test]
async fn a_network_leads_once_it_provides_and_shows_itself_if_it_wants() {
    let api = TestApi::new();
    let user = |path: &str| api.get(path).token(&api.user_token);
    let leaderboard = || api.post("/stats/leaderboard", json!({})).token(&api.client_token);
    leaderboard().await.golden(200, "empty");
    user("/network/ranking").await.golden(200, "none");

    let credit = Credit { provided_bytes: 3 << 19, ..Credit::default() };
    let today = api.state.now().day_number();
    api.put(&NETWORK_DAYS, &(today, api.user.network_id), &credit).await;
    assert_eq!(leaderboard().await.expect(200)["earners"], json!([]), "five minutes old at most");
    api.clock.advance(std::time::Duration::from_secs(300));
    leaderboard().await.golden(200, "hidden");
    user("/network/ranking").await.golden(200, "first");

    let show = |body| api.post("/network/ranking-visibility", body).token(&api.user_token);
    show(json!({"is_public": true})).await.golden(200, "show");
    leaderboard().await.golden(200, "shown");
    assert_eq!(user("/network/ranking").await.expect(200)["network_ranking"]["leaderboard_public"], true);
    show(json!({})).await.expect(200);
    assert_eq!(user("/network/ranking").await.expect(200)["network_ranking"]["leaderboard_public"], false);
    show(json!({"is_public": 1})).await.expect(400);
}

#[tokio::test]
async fn there_are_no_points() {
    let api = TestApi::new();
    api.get("/account/points").token(&api.user_token).await.golden(200, "none");
    api.get("/account/points").await.expect(401);
}
