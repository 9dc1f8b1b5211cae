//! How reliable the providers of a network were.

use crate::http::answer::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::provider::reliability::NetworkBucket;
use crate::domain::provider::reports::{BUCKET_SECS, ReadBuckets};
use crate::http::error::ApiResult;
use crate::http::extract::Session;
use crate::http::state::ApiState;
use crate::ids::LocationId;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(reliability))
}

/// The reliability of the network's providers.
#[derive(Serialize, ToSchema)]
struct ReliabilityResult {
    /// The last week, as far as there were providers.
    reliability_window: ReliabilityWindow,
}

/// Some time in buckets; lists have one entry a bucket, the oldest first.
#[derive(Default, Serialize, ToSchema)]
struct ReliabilityWindow {
    /// The mean of the weights.
    mean_reliability_weight: f64,
    /// When the first bucket begins, in milliseconds since 1970.
    min_time_unix_milli: u64,
    /// The first bucket.
    min_bucket_number: u32,
    /// When the last bucket ends.
    max_time_unix_milli: u64,
    /// The bucket behind the last.
    max_bucket_number: u32,
    /// Seconds of a bucket.
    bucket_duration_seconds: u64,
    /// The most of `client_counts`.
    max_client_count: u32,
    /// The most of `total_client_counts`.
    max_total_client_count: u32,
    /// How many fully reliable addresses the providers were worth.
    reliability_weights: Vec<f64>,
    /// Providers that were reliable for a minute at least.
    client_counts: Vec<u32>,
    /// Providers seen in the twelve hours before.
    total_client_counts: Vec<u32>,
    /// Always empty: no country counts more than another.
    country_multipliers: [CountryMultiplier; 0],
}

/// How much more a country counts.
#[derive(Serialize, ToSchema)]
struct CountryMultiplier {
    /// The country.
    country_location_id: LocationId,
    /// Its name.
    country: String,
    /// Its code, in lower case.
    country_code: String,
    /// The factor.
    reliability_multiplier: f64,
}

impl ReliabilityWindow {
    /// From buckets in the order of their numbers; those missing between them were empty.
    fn of(buckets: &[NetworkBucket]) -> Self {
        let empty = Self { bucket_duration_seconds: BUCKET_SECS, ..Self::default() };
        let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else { return empty };
        let count = (last.bucket - first.bucket + 1) as usize;
        let (mut weights, mut valid, mut total) = (vec![0.0; count], vec![0; count], vec![0; count]);
        for bucket in buckets {
            let at = (bucket.bucket - first.bucket) as usize;
            weights[at] = (f64::from(bucket.weight) * 1e6).round() / 1e6;
            (valid[at], total[at]) = (bucket.valid_count, bucket.total_count);
        }
        let time = |bucket: u32| u64::from(bucket) * BUCKET_SECS * 1000;
        Self {
            mean_reliability_weight: weights.iter().sum::<f64>() / count as f64,
            min_time_unix_milli: time(first.bucket),
            min_bucket_number: first.bucket,
            max_time_unix_milli: time(last.bucket + 1),
            max_bucket_number: last.bucket + 1,
            max_client_count: valid.iter().copied().max().unwrap_or(0),
            max_total_client_count: total.iter().copied().max().unwrap_or(0),
            reliability_weights: weights,
            client_counts: valid,
            total_client_counts: total,
            ..empty
        }
    }
}

/// Shows how reliable the network's providers were over the last week.
///
/// In quarters of an hour, the running one left out.
#[utoipa::path(
    get,
    path = "/network/reliability",
    tag = "network",
    security(("bearer" = [])),
    responses((status = 200, body = ReliabilityResult))
)]
async fn reliability(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<ReliabilityResult> {
    let buckets = state.service.read(&ReadBuckets(caller.network_id))?;
    Ok(Json(ReliabilityResult { reliability_window: ReliabilityWindow::of(&buckets) }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::domain::provider::reliability::NetworkBucket;
    use crate::domain::provider::reports::WriteBuckets;
    use crate::http::testing::{START, TestApi};
    use crate::ids::NetworkId;

    const PATH: &str = "/network/reliability";

    #[tokio::test]
    async fn a_network_without_providers_has_an_empty_window() {
        let api = TestApi::new();
        api.get(PATH).token(&api.user_token).await.golden(200, "nothing");
        api.get(PATH).await.golden(401, "no_token");
    }

    #[tokio::test]
    async fn the_window_holds_every_bucket_from_the_first_to_the_last() {
        let api = TestApi::new();
        let first = (START.as_secs() / 900) as u32;
        let bucket = |bucket, weight, network_id: NetworkId| NetworkBucket {
            network_id,
            bucket,
            weight,
            valid_count: 1,
            total_count: 2,
        };
        let own = api.user.network_id;
        let written =
            [bucket(first, 1.0, own), bucket(first + 2, 0.5, own), bucket(first, 9.0, NetworkId::new([7; 16]))];
        api.state.service.run(&WriteBuckets(&written)).await.unwrap();
        api.clock.advance(Duration::from_secs(3 * 900));
        let answer = api.get(PATH).token(&api.client_token).await;
        answer.golden(200, "three_buckets");
        let window = &answer.body["reliability_window"];
        assert_eq!(window["mean_reliability_weight"], 0.5);
        assert_eq!(window["client_counts"], serde_json::json!([1, 0, 1]));
    }
}
