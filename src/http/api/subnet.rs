//! A subnet of Bittensor, of which this server is no part: the routes answer what apps understand.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::subnet::SetSubnetWallet;
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult, ErrorMessage};
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;
use crate::ids::ClientId;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(set_wallet))
        .routes(routes!(pool_claim))
        .routes(routes!(epoch))
        .routes(routes!(artifact))
        .routes(routes!(artifacts))
        .routes(routes!(evidence, put_evidence))
        .routes(routes!(evidence_history))
}

/// An address to be paid at.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct SubnetWalletArgs {
    /// The address.
    #[schema(required)]
    coldkey_ss58: String,
    /// For one client only.
    client_id: Option<ClientId>,
}

/// Whether it was taken.
#[derive(Default, Serialize, ToSchema)]
struct SubnetWalletResult {
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// Names the address at which a subnet would pay the caller's network.
#[utoipa::path(
    post,
    path = "/sn/wallet",
    tag = "wallet",
    security(("bearer" = [])),
    request_body = SubnetWalletArgs,
    responses((status = 200, body = SubnetWalletResult))
)]
async fn set_wallet(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(SubnetWalletArgs { coldkey_ss58: coldkey, client_id }): Body<SubnetWalletArgs>,
) -> ApiResult<SubnetWalletResult> {
    let set = state.service.run(&SetSubnetWallet { network_id: caller.network_id, client_id, coldkey }).await?;
    Ok(Json(SubnetWalletResult { error: set.err().map(|refusal| refusal.to_string().as_str().into()) }))
}

/// A payment to claim: there is none.
#[derive(Serialize, ToSchema)]
struct PoolClaimResult {
    /// Why.
    error: ErrorMessage,
}

/// Which payment.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolClaimQuery {
    epoch: Option<i64>,
}

/// Tells what the caller's network can claim of an epoch: nothing.
#[utoipa::path(
    get,
    path = "/sn/pool/claim",
    tag = "wallet",
    security(("bearer" = [])),
    params(("epoch" = Option<u64>, Query, description = "The epoch.")),
    responses((status = 200, body = PoolClaimResult))
)]
async fn pool_claim(
    _caller: Session,
    query: Result<Query<PoolClaimQuery>, QueryRejection>,
) -> ApiResult<PoolClaimResult> {
    match query {
        Ok(Query(PoolClaimQuery { epoch })) if epoch.unwrap_or(0) >= 0 => {
            Ok(Json(PoolClaimResult { error: "No claimable epoch.".into() }))
        }
        _ => Err(ApiError::bad_request("Bad epoch.")),
    }
}

/// What a part of a subnet would know.
#[derive(Serialize, ToSchema)]
struct SubnetResult {}

fn no_store() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "Artifact store unavailable.")
}

/// Tells the epoch of the subnet, which this server does not follow.
#[utoipa::path(get, path = "/sn/epoch", tag = "wallet", responses((status = 200, body = SubnetResult), (status = 503, body = crate::http::error::ErrorResult, description = "Always.")))]
async fn epoch() -> ApiResult<SubnetResult> {
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "Subnet epoch state is not synced yet."))
}

/// Shows what a payment of the subnet is made of, which this server does not keep.
#[utoipa::path(get, path = "/sn/artifact", tag = "wallet", responses((status = 200, body = SubnetResult), (status = 503, body = crate::http::error::ErrorResult, description = "Always.")))]
async fn artifact() -> ApiResult<SubnetResult> {
    Err(no_store())
}

/// Lists what payments of the subnet are made of, which this server does not keep.
#[utoipa::path(get, path = "/sn/artifacts", tag = "wallet", responses((status = 200, body = SubnetResult), (status = 503, body = crate::http::error::ErrorResult, description = "Always.")))]
async fn artifacts() -> ApiResult<SubnetResult> {
    Err(no_store())
}

/// Shows what was proven to the subnet, which this server does not keep.
#[utoipa::path(get, path = "/sn/evidence", tag = "wallet", responses((status = 200, body = SubnetResult), (status = 503, body = crate::http::error::ErrorResult, description = "Always.")))]
async fn evidence() -> ApiResult<SubnetResult> {
    Err(no_store())
}

/// Proves something to the subnet, which this server does not keep.
#[utoipa::path(post, path = "/sn/evidence", tag = "wallet", responses((status = 200, body = SubnetResult), (status = 503, body = crate::http::error::ErrorResult, description = "Always.")))]
async fn put_evidence() -> ApiResult<SubnetResult> {
    Err(no_store())
}

/// Lists what was proven to the subnet over time, which this server does not keep.
#[utoipa::path(get, path = "/sn/evidence/history", tag = "wallet", responses((status = 200, body = SubnetResult), (status = 503, body = crate::http::error::ErrorResult, description = "Always.")))]
async fn evidence_history() -> ApiResult<SubnetResult> {
    Err(no_store())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::domain::subnet::SUBNET_WALLETS;
    use crate::http::testing::TestApi;
    use crate::ids::ClientId;

    const COLDKEY: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    #[tokio::test]
    async fn an_address_is_kept_for_the_network_or_one_of_its_clients() {
        let api = TestApi::new();
        let set = |body| api.post("/sn/wallet", body).token(&api.client_token);
        let client_id = api.client.client.as_ref().unwrap().client_id;
        set(json!({"coldkey_ss58": COLDKEY})).await.golden(200, "network");
        set(json!({"coldkey_ss58": COLDKEY, "client_id": client_id})).await.golden(200, "client");
        // The same key under the prefix of another chain.
        let other = "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5";
        set(json!({"coldkey_ss58": other})).await.golden(200, "other_prefix");
        set(json!({})).await.golden(200, "no_address");
        let strange = json!({"coldkey_ss58": COLDKEY, "client_id": "01020304-0506-0708-090a-0b0c0d0e0f10"});
        set(strange).await.golden(200, "strange_client");
        for client in [ClientId::default(), client_id] {
            let key = (api.user.network_id, client);
            assert_eq!(SUBNET_WALLETS.get(&*api.store, &key).unwrap().unwrap().coldkey, COLDKEY);
        }
        api.post("/auth/network-delete", json!({})).token(&api.user_token).await.expect(200);
        assert_eq!(SUBNET_WALLETS.get(&*api.store, &(api.user.network_id, client_id)).unwrap(), None);
    }

    #[tokio::test]
    async fn what_needs_a_chain_says_that_there_is_none() {
        let api = TestApi::new();
        let claim = |query: &str| api.get(&format!("/sn/pool/claim{query}")).token(&api.user_token);
        claim("?epoch=7").await.golden(200, "none");
        claim("").await.golden(200, "none_at_all");
        claim("?epoch=x").await.golden(400, "bad_epoch");
        claim("?epoch=-1").await.expect(400);
        claim("?epoch=9223372036854775808").await.expect(400);
        api.get("/sn/pool/claim").await.expect(401);
        for path in ["/sn/epoch", "/sn/artifact", "/sn/artifacts", "/sn/evidence", "/sn/evidence/history"] {
            api.get(path).await.golden(503, "off");
        }
        api.post("/sn/evidence", json!({})).await.golden(503, "off_post");
    }
}
