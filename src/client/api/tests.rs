use axum::Json;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use serde_json::json;

use super::*;
use crate::wire::control_message::Request;

/// A server that answers as the protocol's examples do.
async fn api() -> Api {
    let router = axum::Router::new()
        .route(
            "/auth/network-create",
            post(async |Json(body): Json<serde_json::Value>| match body["terms"].as_bool() {
                Some(true) => Json(json!({
                    "verification_required": { "user_auth": body["user_auth"] },
                    "network": {
                        "network_id": "01020304-0506-0708-090a-0b0c0d0e0f10",
                        "network_name": body["network_name"],
                    },
                })),
                _ => Json(json!({ "error": { "message": "The terms must be accepted." } })),
            }),
        )
        .route(
            "/subscription/balance",
            get(async |headers: HeaderMap| {
                let body = json!({
                    "start_balance_byte_count": 100, "balance_byte_count": 60, "open_transfer_byte_count": 30,
                    "update_time": "2026-01-02T03:04:05Z",
                });
                match headers.get("authorization") {
                    Some(token) if token == "Bearer secret" => (StatusCode::OK, Json(body)),
                    _ => (StatusCode::UNAUTHORIZED, Json(json!({ "error": { "message": "Not authorized." } }))),
                }
            }),
        )
        .route(
            "/connect/control",
            post(async |Json(body): Json<serde_json::Value>| match body["pack"].as_str() {
                Some("KgIIEg==") => Json(json!({ "pack": "", "error": null })),
                _ => Json(json!({ "pack": "KgIIEg==", "error": { "message": "one frame failed" } })),
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Api::new(&format!("http://{address}/"), &Trust::Any).unwrap()
}

#[tokio::test]
async fn a_result_error_is_told_from_a_result() {
    let api = api().await;
    let mut new = NetworkCreate { user_auth: Some("ada@hill.example".into()), ..NetworkCreate::default() };
    new.network_name = Some("hilltop-lab".into());
    assert!(matches!(api.network_create(&new).await, Err(ApiError::Refused { message, .. })
        if message == "The terms must be accepted."));
    new.terms = true;
    let created = api.network_create(&new).await.unwrap();
    assert_eq!(created.network.network_name, "hilltop-lab");
    assert!(created.verification_required.is_some() && created.network.by_jwt.is_none());
}

#[tokio::test]
async fn the_token_is_sent_and_a_status_carries_its_message() {
    let api = api().await;
    assert!(matches!(api.balance().await, Err(ApiError::Status { status: StatusCode::UNAUTHORIZED, message, .. })
        if message == "Not authorized."));
    assert_eq!(api.with_token("secret").balance().await.unwrap().used(), 10);
}

#[tokio::test]
async fn control_messages_travel_as_a_pack_and_errors_do_not_hide_the_answer() {
    let api = api().await;
    let ping = Request::ControlPing.to_frame();
    assert_eq!(api.connect_control(vec![ping.clone()]).await.unwrap(), ControlAnswer::default());
    let answer = api.connect_control(vec![ping.clone(), ping.clone()]).await.unwrap();
    assert_eq!((answer.frames, answer.error.as_deref()), (vec![ping], Some("one frame failed")));
}

#[tokio::test]
async fn an_unknown_route_is_a_status_and_a_dead_server_is_unreachable() {
    let api = api().await;
    assert!(matches!(api.transfer_stats().await, Err(ApiError::Status { status: StatusCode::NOT_FOUND, .. })));
    let dead = Api::new("http://127.0.0.1:1", &Trust::Any).unwrap();
    assert!(matches!(dead.balance().await, Err(ApiError::Unreachable { .. })));
}
