//! Proofs of routes for validators, which this server does not give: there are no keys and no proofs.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::answer::Json;
use crate::http::state::ApiState;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(keys)).routes(routes!(stats)).routes(routes!(proofs))
}

/// The keys that proofs are signed with.
#[derive(Serialize, ToSchema)]
struct ProofKeysResult {
    /// None.
    keys: Vec<ProofKey>,
}

/// A key that proofs are signed with.
#[derive(Serialize, ToSchema)]
struct ProofKey {
    /// Names it.
    server_key_id: u8,
    /// The key, in base64.
    public_key: String,
}

/// Lists the keys that proofs of routes are signed with: none.
#[utoipa::path(get, path = "/verify/keys", tag = "connect", responses((status = 200, body = ProofKeysResult)))]
async fn keys() -> Json<ProofKeysResult> {
    Json(ProofKeysResult { keys: Vec::new() })
}

/// Rows about proofs of routes.
#[derive(Serialize, ToSchema)]
struct ProofRowsResult {
    /// The form of the rows.
    schema: &'static str,
    /// Which proofs are given.
    profile: &'static str,
    /// Names the rules behind them.
    policy_hash: &'static str,
    /// None.
    rows: Vec<ProofRow>,
}

/// A row about proofs.
#[derive(Serialize, ToSchema)]
struct ProofRow {}

fn no_rows() -> Json<ProofRowsResult> {
    Json(ProofRowsResult { schema: "urnetwork/verify/v1", profile: "off", policy_hash: "", rows: Vec::new() })
}

/// Counts the proofs of routes: none.
#[utoipa::path(get, path = "/verify/stats", tag = "connect", responses((status = 200, body = ProofRowsResult)))]
async fn stats() -> Json<ProofRowsResult> {
    no_rows()
}

/// Lists the proofs of routes: none.
#[utoipa::path(get, path = "/verify/proofs", tag = "connect", responses((status = 200, body = ProofRowsResult)))]
async fn proofs() -> Json<ProofRowsResult> {
    no_rows()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::http::testing::TestApi;

    #[tokio::test]
    async fn there_are_no_proofs_and_nobody_can_ask_for_one() {
        let api = TestApi::new();
        for path in ["/verify/keys", "/verify/stats", "/verify/proofs?from=2026-01-01T00:00:00Z&limit=5"] {
            api.get(path).await.golden(200, "off");
        }
        api.post("/verify", json!({})).await.golden(404, "off");
    }
}
