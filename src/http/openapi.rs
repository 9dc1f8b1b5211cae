//! The description of the API, gathered from the routes.
//!
//! A route writes down what is its own: method, path, body, result, security. What all routes share (the bearer
//! scheme, the error answers) is added here.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::error::{ErrorResult, Refusal};

mod bodies;

/// Name of the security scheme that routes declare as `security(("bearer" = []))`.
pub const BEARER: &str = "bearer";

/// Name of the security scheme of the client API, which has tokens of its own.
pub const APP_TOKEN: &str = "app_token";

/// Routes that ask for no credentials, as `METHOD path`. A route is either here or declares its security; a test
/// holds that.
pub const PUBLIC: &[&str] = &[
    "GET /hello",
    "GET /status",
    "GET /my-ip-info",
    "GET /privacy.txt",
    "GET /terms.txt",
    "GET /vdp.txt",
    "POST /auth/network-check",
    "POST /auth/network-create",
    "POST /auth/login",
    "POST /auth/login-with-password",
    "POST /auth/verify",
    "POST /auth/verify-send",
    "POST /auth/password-reset",
    "POST /auth/password-set",
    "POST /auth/code-login",
    "POST /auth/wallet-challenge",
    "POST /auth/wallet-nonce",
    "POST /network/find-providers",
    "POST /network/find-providers2",
    "POST /network/create-provider-spec",
    "POST /network/find-locations",
    "POST /network/find-provider-locations",
    "GET /network/provider-locations",
    "GET /stats/last-90",
    "GET /stats/providers-map",
    "GET /key/{clientId}",
    "GET /device/adopt-code/{code}/qr.png",
    "POST /device/create-adopt-code",
    "POST /device/adopt-status",
    "POST /device/confirm-adopt",
    "POST /device/remove-adopt-code",
    "GET /wallet/confirm",
    "POST /wallet/confirm",
    "GET /pay/local/{order_id}",
    "POST /pay/stripe",
    "POST /pay/solana",
    "POST /apple/notification",
    "POST /api/login",
    "GET /verify/keys",
    "GET /verify/stats",
    "GET /verify/proofs",
    "GET /sn/epoch",
    "GET /sn/artifact",
    "GET /sn/artifacts",
    "GET /sn/evidence",
    "POST /sn/evidence",
    "GET /sn/evidence/history",
    "GET /x402/skus",
    "POST /pay/circle",
    "POST /account/circle-wallet",
    "POST /pay/coinbase",
    "POST /pay/play",
    "POST /updates/brevo",
];

/// Bytes that are no JSON.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Bytes(pub Vec<u8>);

/// Groups in the order in which they are shown, and what each is for.
const GROUPS: &[(&str, &str)] = &[
    ("discovery", "Is the server there, and how does it see me."),
    ("auth", "Create a network, prove who you are, get tokens, hand them on."),
    ("network", "The network and its clients, and the peers of a client."),
    ("providers", "Where providers are, and which ones to use."),
    ("devices", "The devices behind clients, and how to share them."),
    ("account", "Preferences, feedback, API keys, points and referrals."),
    ("subscription", "Transfer balances and balance codes."),
    ("wallet", "Addresses and payments out."),
    ("transfer", "What was carried for whom."),
    ("stats", "Counters over the last days."),
    ("connect", "Control messages over HTTP."),
    ("client API", "The small API of phone apps and browser extensions, with tokens and errors of its own."),
];

/// Adds what the routes share to what they say about themselves.
pub fn complete(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("Warren")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "The JSON API of this network. Bodies are JSON objects, whatever the content type says; an empty body \
             counts as `{}`. Success is status 200; any other status carries `{\"error\": {\"message\": …}}`. Ids are \
             `8-4-4-4-12` hex, times RFC 3339 in UTC.",
        ))
        .build();
    let components = document.components.get_or_insert_default();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("`Authorization: Bearer <token>`: a user token, or the token of a client."))
        .build();
    components.security_schemes.insert(BEARER.into(), RefOr::T(SecurityScheme::Http(scheme)));
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("`Authorization: Bearer <token>`: a token of `/api/login`."))
        .build();
    components.security_schemes.insert(APP_TOKEN.into(), RefOr::T(SecurityScheme::Http(scheme)));
    components.schemas.insert(ErrorResult::name().into(), ErrorResult::schema());
    components.schemas.insert(Refusal::name().into(), Refusal::schema());
    let used: Vec<String> = each_operation(&document).flat_map(|(_, _, operation)| tags(operation)).collect();
    document.tags = Some(
        GROUPS
            .iter()
            .filter(|(name, _)| used.iter().any(|tag| tag == name))
            .map(|(name, about)| utoipa::openapi::tag::TagBuilder::new().name(*name).description(Some(*about)).build())
            .collect(),
    );
    document.paths.paths.values_mut().flat_map(operations_mut).for_each(add_refusals);
    bodies::relax(&mut document);
    document
}

/// Every route: method in capitals, path, operation.
pub fn each_operation(document: &OpenApi) -> impl Iterator<Item = (&'static str, &str, &Operation)> {
    document.paths.paths.iter().flat_map(|(path, item)| {
        operations(item).into_iter().map(move |(method, operation)| (method, path.as_str(), operation))
    })
}

fn operations(item: &PathItem) -> Vec<(&'static str, &Operation)> {
    [("GET", &item.get), ("POST", &item.post), ("PUT", &item.put), ("DELETE", &item.delete)]
        .into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
        .collect()
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.delete].into_iter().flatten()
}

fn tags(operation: &Operation) -> Vec<String> {
    operation.tags.clone().unwrap_or_default()
}

fn add_refusals(operation: &mut Operation) {
    let mut refusals = Vec::new();
    if operation.request_body.is_some() || operation.parameters.is_some() {
        refusals.push(("400", "The input cannot be read or used."));
    }
    if operation.request_body.is_some() {
        refusals.push(("413", "The body is too large."));
    }
    if operation.security.as_ref().is_some_and(|security| !security.is_empty()) {
        refusals.push(("401", "No valid token."));
    }
    refusals.push(("429", "Too many requests; `Retry-After` says when to come back."));
    refusals.push(("503", "Starting, draining or overloaded; try again."));
    for (status, about) in refusals {
        operation.responses.responses.entry(status.into()).or_insert_with(|| RefOr::T(error_answer(about)));
    }
}

fn error_answer(about: &str) -> Response {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(ErrorResult::name()))).build();
    ResponseBuilder::new().description(about).content("application/json", body).build()
}

#[cfg(test)]
mod coverage_tests;
#[cfg(test)]
mod field_tests;
#[cfg(test)]
mod tests;
