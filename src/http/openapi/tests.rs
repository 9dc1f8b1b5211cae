use std::collections::BTreeSet;

use axum::http::Method;

use super::bodies::gather_references;
use super::*;
use crate::http::testing::TestApi;

pub(super) fn document() -> OpenApi {
    complete(crate::http::routes().into_openapi())
}

#[tokio::test]
async fn every_route_is_public_or_refuses_strangers() {
    let api = TestApi::new();
    for (method, path, operation) in each_operation(&document()) {
        let route = format!("{method} {path}");
        let is_secured = operation.security.as_ref().is_some_and(|security| !security.is_empty());
        assert!(
            is_secured != PUBLIC.contains(&route.as_str()),
            "{route}: declare its security, or list it in openapi::PUBLIC, not both"
        );
        let method: Method = method.parse().unwrap();
        let path = &concrete(path);
        let answer = api.call(method.clone(), path, Some(b"{}".to_vec())).await;
        if is_secured {
            assert_eq!(answer.status, 401, "{route} answers strangers: {}", answer.text);
            let answer = api.call(method, path, Some(b"{}".to_vec())).token("no.such.token").await;
            assert_eq!(answer.status, 401, "{route} takes any token: {}", answer.text);
        } else {
            assert_ne!(answer.status, 401, "{route} is public: {}", answer.text);
            let answer = api.call(method, path, Some(b"{}".to_vec())).token("no.such.token").await;
            assert_ne!(answer.status, 401, "{route} must ignore stale tokens: {}", answer.text);
        }
    }
}

#[test]
fn every_public_route_exists() {
    let document = document();
    let routes: BTreeSet<String> =
        each_operation(&document).map(|(method, path, _)| format!("{method} {path}")).collect();
    for public in PUBLIC {
        assert!(routes.contains(*public), "{public}");
    }
}

#[test]
fn every_route_says_what_it_does_and_stands_in_a_known_group() {
    for (method, path, operation) in each_operation(&document()) {
        let groups = tags(operation);
        assert_eq!(groups.len(), 1, "{method} {path}: one tag");
        assert!(GROUPS.iter().any(|(name, _)| *name == groups[0]), "{method} {path}: unknown tag {}", groups[0]);
        assert!(operation.summary.as_ref().is_some_and(|text| !text.is_empty()), "{method} {path}: no doc comment");
        assert!(operation.responses.responses.contains_key("200"), "{method} {path}: no result");
    }
}

#[test]
fn success_is_200_and_nothing_else() {
    for (method, path, operation) in each_operation(&document()) {
        let successes: Vec<&String> =
            operation.responses.responses.keys().filter(|status| status.starts_with('2')).collect();
        assert_eq!(successes, ["200"], "{method} {path}: clients take any other status for a failure");
    }
}

/// Lists that upstream leaves out when they are empty.
const OPTIONAL_LISTS: &[&str] = &["disconnected", "provide_modes", "roles"];

#[test]
fn every_list_in_a_result_is_always_there() {
    let document = document();
    let plain = serde_json::to_value(&document).unwrap();
    for (method, path, operation) in each_operation(&document) {
        let mut open = vec![serde_json::to_value(&operation.responses.responses["200"]).unwrap()];
        let mut seen = BTreeSet::new();
        while let Some(schema) = open.pop() {
            let mut references = BTreeSet::new();
            gather_references(&schema, &mut references);
            let unseen = references.into_iter().filter(|reference| seen.insert(reference.clone()));
            open.extend(unseen.map(|reference| plain.pointer(&reference[1..]).unwrap().clone()));
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                // One that is there or not on purpose is of type "array or null".
                let is_list = property["type"] == "array";
                let is_required = schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
                assert!(
                    !is_list || is_required || OPTIONAL_LISTS.contains(&name.as_str()),
                    "{method} {path}: apps stop at a missing list; {name} must be [] when it is empty"
                );
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = serde_json::to_value(document()).unwrap();
    let mut references = BTreeSet::new();
    gather_references(&document, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} is not in the document");
    }
}

#[test]
fn keys_of_maps_are_text() {
    let document = serde_json::to_value(document()).unwrap();
    let mut open = vec![&document];
    let mut maps = 0;
    while let Some(value) = open.pop() {
        if let Some(keys) = value.get("propertyNames") {
            assert_eq!(keys["type"], "string", "{value}: name the map's type in full, not by an alias");
            maps += 1;
        }
        open.extend(value.as_object().into_iter().flat_map(|members| members.values()));
        open.extend(value.as_array().into_iter().flatten());
    }
    assert!(maps > 0, "no map was found");
}

#[test]
fn bodies_may_be_absent_unless_a_member_is_required() {
    let document = serde_json::to_value(document()).unwrap();
    let is_required = |path: &str| document["paths"][path]["post"]["requestBody"]["required"].as_bool();
    assert_eq!(is_required("/auth/login"), Some(false));
    assert_eq!(is_required("/connect/control"), Some(true));
}

#[test]
fn members_of_a_body_may_be_null_unless_they_are_required() {
    let document = serde_json::to_value(document()).unwrap();
    let types = |args: &str, member: &str| &document["components"]["schemas"][args]["properties"][member]["type"];
    assert_eq!(*types("NetworkCreateArgs", "network_name"), serde_json::json!(["string", "null"]));
    assert_eq!(*types("RemoveClientsArgs", "client_ids"), serde_json::json!(["array", "null"]));
    assert_eq!(*types("Needs", "private"), serde_json::json!(["boolean", "null"]), "at any depth");
    assert_eq!(*types("ControlArgs", "pack"), "string");
    assert!(types("LoginArgs", "wallet_auth").is_null(), "any value is taken, to be refused by name");
    let uses = &document["components"]["schemas"]["SendFeedbackArgs"]["properties"]["uses"]["oneOf"];
    assert_eq!(uses[0]["type"], "null");
    assert!(uses[1]["$ref"].is_string());
}

#[test]
fn bytes_are_declared_as_such() {
    let document = serde_json::to_value(document()).unwrap();
    let bytes = document.pointer("/components/schemas/Bytes").unwrap();
    assert_eq!((bytes["type"].as_str(), bytes["format"].as_str()), (Some("string"), Some("binary")));
    let log = &document["paths"]["/log/{feedbackId}/upload"]["post"]["requestBody"]["content"];
    let image = &document["paths"]["/device/adopt-code/{code}/qr.png"]["get"]["responses"]["200"]["content"];
    for content in [&log["application/octet-stream"], &image["image/png"]] {
        assert_eq!(content["schema"]["$ref"], "#/components/schemas/Bytes");
    }
}

#[tokio::test]
async fn the_document_and_its_page_are_served() {
    let api = TestApi::new();
    let answer = api.get("/openapi.json").await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.expect(200)["openapi"], "3.1.0");
    for (path, kind) in [("/docs", "text/html"), ("/docs/page.css", "text/css"), ("/docs/page.js", "text/javascript")] {
        let answer = api.get(path).await;
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with(kind), "{path}");
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[tokio::test]
async fn no_route_takes_ill_formed_bodies() {
    let api = TestApi::new();
    // Longer than the largest limit of any route.
    let huge = format!("{{\"x\":\"{}\"}}", "x".repeat(17 << 20));
    let cases = [("{\"a\":", 400), ("[]", 400), ("\"text\"", 400), ("nonsense", 400), (huge.as_str(), 413)];
    for (method, path, operation) in each_operation(&document()) {
        let Some(RefOr::T(body)) = &operation.request_body else { continue };
        // A log is any bytes, and to the client API a body that is none has no fields.
        if !body.content.contains_key("application/json") || crate::http::app_api::is_path(path) {
            continue;
        }
        let method: Method = method.parse().unwrap();
        let path = &concrete(path);
        let is_for_clients = api.call(method.clone(), path, None).token(&api.user_token).await.status == 401;
        let token = if is_for_clients { &api.client_token } else { &api.user_token };
        for (body, status) in cases {
            let answer = api.call(method.clone(), path, Some(body.as_bytes().to_vec())).token(token).await;
            let start: String = body.chars().take(20).collect();
            assert_eq!(answer.status.as_u16(), status, "{method} {path} with {start}: {}", answer.text);
            assert!(answer.body["error"]["message"].is_string(), "{method} {path}: {}", answer.text);
        }
    }
}

/// A path of a route with an id in place of each parameter.
fn concrete(path: &str) -> String {
    let id = crate::ids::RecordId::default().to_string();
    path.split('/').map(|part| if part.starts_with('{') { id.as_str() } else { part }).collect::<Vec<_>>().join("/")
}

/// Every field of every route takes every value, right or wrong, without an internal error; and whatever is accepted
/// is answered by an object without `null`.
#[tokio::test]
async fn odd_values_in_any_field_never_cause_an_internal_error() {
    let api = TestApi::new();
    let document = document();
    let plain = serde_json::to_value(&document).unwrap();
    for (method, path, operation) in each_operation(&document) {
        let Some(body) = &operation.request_body else { continue };
        let body = serde_json::to_value(body).unwrap();
        let Some(reference) = body.pointer("/content/application~1json/schema/$ref") else { continue };
        let schema = plain.pointer(&reference.as_str().unwrap()[1..]).unwrap();
        let Some(fields) = schema["properties"].as_object() else { continue };
        let method: Method = method.parse().unwrap();
        let path = &concrete(path);
        for field in fields.keys() {
            for odd in odd_values() {
                let asked = serde_json::json!({ field: odd }).to_string();
                let answer =
                    api.call(method.clone(), path, Some(asked.clone().into_bytes())).token(&api.user_token).await;
                assert_ne!(answer.status, 500, "{method} {path} with {asked}: {}", answer.text);
                assert!(answer.body.is_object(), "{method} {path} with {asked}: {}", answer.text);
            }
        }
    }
}

fn odd_values() -> Vec<serde_json::Value> {
    use serde_json::json;
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(""),
        json!(" "),
        json!("\u{0}\r\n\u{202e}"),
        json!("\u{fdfa}".repeat(10_000)),
        json!("a@b"),
        json!("00000000-0000-0000-0000-000000000000"),
        json!([]),
        json!([null]),
        json!([[]]),
        json!(["x", 1, {}]),
        json!({}),
        json!({"a": {"b": {"c": []}}}),
    ]
}

/// Every operation of the bootstrap API's document, version 2023.12.19.
pub(super) const BOOTSTRAP_API: &[&str] = &[
    "GET /account/payout-wallet",
    "GET /account/referral-code",
    "GET /account/wallets",
    "GET /device/adopt-code/{code}/qr.png",
    "GET /device/associations",
    "GET /device/share-code/{code}/qr.png",
    "GET /hello",
    "GET /network/clients",
    "GET /network/provider-locations",
    "GET /preferences",
    "GET /stats/last-90",
    "GET /stats/providers",
    "GET /stats/providers-overview-last-90",
    "GET /subscription/balance",
    "GET /transfer/stats",
    "GET /wallet/balance",
    "POST /account/payout-wallet",
    "POST /account/wallet",
    "POST /account/wallets/remove",
    "POST /auth/code-create",
    "POST /auth/code-login",
    "POST /auth/login",
    "POST /auth/login-with-password",
    "POST /auth/network-check",
    "POST /auth/network-create",
    "POST /auth/password-reset",
    "POST /auth/password-set",
    "POST /auth/verify",
    "POST /auth/verify-send",
    "POST /connect/control",
    "POST /device/add",
    "POST /device/adopt-status",
    "POST /device/confirm-adopt",
    "POST /device/confirm-share",
    "POST /device/create-adopt-code",
    "POST /device/create-share-code",
    "POST /device/remove-adopt-code",
    "POST /device/remove-association",
    "POST /device/set-association-name",
    "POST /device/set-name",
    "POST /device/set-provide",
    "POST /device/share-status",
    "POST /feedback/send-feedback",
    "POST /network/auth-client",
    "POST /network/create-provider-spec",
    "POST /network/find-locations",
    "POST /network/find-provider-locations",
    "POST /network/find-providers",
    "POST /network/find-providers2",
    "POST /network/remove-client",
    "POST /preferences/set-preferences",
    "POST /stats/provider-last-90",
    "POST /subscription/check-balance-code",
    "POST /subscription/create-payment-id",
    "POST /subscription/redeem-balance-code",
    "POST /wallet/circle-init",
    "POST /wallet/circle-transfer-out",
    "POST /wallet/validate-address",
];

#[test]
fn every_route_of_the_bootstrap_api_is_served() {
    let document = document();
    let served: BTreeSet<String> =
        each_operation(&document).map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(BOOTSTRAP_API.len(), 58);
    for route in BOOTSTRAP_API {
        assert!(served.contains(*route), "{route}");
    }
}
