//! Which networks provide most, and points, of which there are none.

use crate::http::answer::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::stats::ranking::{Earner, SetRankingVisibility};
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;
use crate::ids::{NetworkId, RecordId};
use crate::time::Timestamp;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(leaderboard))
        .routes(routes!(ranking))
        .routes(routes!(ranking_visibility))
        .routes(routes!(points))
}

/// The leaderboard has no options.
#[derive(Deserialize, ToSchema)]
struct LeaderboardArgs {}

/// The networks that provided most in the last 28 days.
#[derive(Serialize, ToSchema)]
struct LeaderboardResult {
    /// Best first, at most 100.
    earners: Vec<LeaderboardEarner>,
}

/// A network.
#[derive(Serialize, ToSchema)]
struct LeaderboardEarner {
    /// Its id; empty when it does not show itself.
    network_id: String,
    /// Its name; empty when it does not show itself.
    network_name: String,
    /// MiB provided.
    net_mib_count: f64,
    /// Whether it shows itself.
    is_public: bool,
    /// Always false: names are not judged.
    contains_profanity: bool,
}

impl From<Earner> for LeaderboardEarner {
    fn from(earner: Earner) -> Self {
        let is_public = earner.network.is_some();
        let (network_id, network_name) = earner.network.map(|(id, name)| (id.to_string(), name)).unwrap_or_default();
        Self { network_id, network_name, net_mib_count: mib(earner.bytes), is_public, contains_profanity: false }
    }
}

fn mib(bytes: i64) -> f64 {
    bytes as f64 / (1u64 << 20) as f64
}

/// Shows which networks provided most.
///
/// At most five minutes old.
#[utoipa::path(
    post,
    path = "/stats/leaderboard",
    tag = "stats",
    security(("bearer" = [])),
    request_body = LeaderboardArgs,
    responses((status = 200, body = LeaderboardResult))
)]
async fn leaderboard(
    State(state): State<ApiState>,
    Session(_caller): Session,
    Body(LeaderboardArgs {}): Body<LeaderboardArgs>,
) -> ApiResult<LeaderboardResult> {
    let earners = state.stats.leaderboard().await?;
    Ok(Json(LeaderboardResult { earners: earners.into_iter().map(LeaderboardEarner::from).collect() }))
}

/// Where the caller's network stands.
#[derive(Serialize, ToSchema)]
struct RankingResult {
    /// Its standing.
    network_ranking: NetworkRanking,
}

/// Where a network stands.
#[derive(Serialize, ToSchema)]
struct NetworkRanking {
    /// MiB provided in the last 28 days.
    net_mib_count: f64,
    /// From 1; 0 for a network that provided nothing.
    leaderboard_rank: usize,
    /// Whether the leaderboard shows its name.
    leaderboard_public: bool,
}

/// Shows where the caller's network stands.
#[utoipa::path(
    get,
    path = "/network/ranking",
    tag = "network",
    security(("bearer" = [])),
    responses((status = 200, body = RankingResult))
)]
async fn ranking(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<RankingResult> {
    let standing = state.stats.standing(caller.network_id).await?;
    let network_ranking = NetworkRanking {
        net_mib_count: mib(standing.bytes),
        leaderboard_rank: standing.rank,
        leaderboard_public: standing.is_public,
    };
    Ok(Json(RankingResult { network_ranking }))
}

/// Whether to be seen.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct RankingVisibilityArgs {
    /// Show the network's name on the leaderboard.
    is_public: bool,
}

/// Empty.
#[derive(Serialize, ToSchema)]
struct RankingVisibilityResult {}

/// Shows or hides the network's name on the leaderboard.
#[utoipa::path(
    post,
    path = "/network/ranking-visibility",
    tag = "network",
    security(("bearer" = [])),
    request_body = RankingVisibilityArgs,
    responses((status = 200, body = RankingVisibilityResult))
)]
async fn ranking_visibility(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<RankingVisibilityArgs>,
) -> ApiResult<RankingVisibilityResult> {
    let set = SetRankingVisibility { network_id: caller.network_id, is_public: args.is_public };
    state.service.run(&set).await?;
    Ok(Json(RankingVisibilityResult {}))
}

/// Points of the network. This server gives none, so both lists are empty.
#[derive(Default, Serialize, ToSchema)]
struct PointsResult {
    /// Its points.
    network_points: Vec<Point>,
    /// The same under its older name.
    account_points: Vec<Point>,
}

/// Points given for something.
#[derive(Serialize, ToSchema)]
struct Point {
    /// Names them.
    account_point_id: RecordId,
    /// Whose they are.
    network_id: NetworkId,
    /// What they were given for.
    event: String,
    /// Millionths of a point.
    point_value: i64,
    /// When they were given.
    create_time: Timestamp,
}

/// Lists the points of the caller's network.
#[utoipa::path(
    get,
    path = "/account/points",
    tag = "account",
    security(("bearer" = [])),
    responses((status = 200, body = PointsResult))
)]
async fn points(Session(_caller): Session) -> ApiResult<PointsResult> {
    Ok(Json(PointsResult::default()))
}

#[cfg(test)]
mod tests;
