//! One provider of the caller's network.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::http::answer::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Series, day_key, gib, hour_key, hours};
use crate::domain::stats::network_wide::LOOKBACK;
use crate::domain::stats::provider::{BytesByDay, ProviderReport};
use crate::domain::stats::window::Window;
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;
use crate::ids::{ClientId, NetworkId};
use crate::time::{DAY, Timestamp};

/// Which provider, and how far back to look.
#[derive(Deserialize, ToSchema)]
pub(super) struct ProviderLastNArgs {
    /// A client of the network.
    client_id: ClientId,
    /// Hours, from 1 to 8784.
    #[serde(default)]
    last_n: f64,
    /// Days, when `last_n` is absent.
    #[serde(default)]
    lookback: i64,
}

/// A provider by day.
#[derive(Serialize, ToSchema)]
pub(super) struct ProviderResult {
    /// Length of the window in days, rounded up.
    lookback: u64,
    /// Now.
    created_time: Timestamp,
    /// How long it was connected: by hour in minutes, only hours in which it was; `provider-last-90` tells hours by day.
    uptime: BTreeMap<String, f64>,
    #[serde(flatten)]
    series: Series,
    /// The clients it carried most for, at most 500.
    client_details: Vec<ClientDetails>,
}

/// What a provider carried for one client.
#[derive(Serialize, ToSchema)]
struct ClientDetails {
    /// The client.
    client_id: ClientId,
    /// GiB, only days on which there was something.
    transfer_data: BTreeMap<String, f64>,
}

/// Shows a provider by day over the last 90 days.
#[utoipa::path(
    post,
    path = "/stats/provider-last-90",
    tag = "stats",
    security(("bearer" = [])),
    request_body = ProviderLastNArgs,
    responses(
        (status = 200, body = ProviderResult),
        (status = 403, body = crate::http::error::ErrorResult, description = "Not a client of the caller's network.")
    )
)]
pub(super) async fn provider_last_90(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<ProviderLastNArgs>,
) -> ApiResult<ProviderResult> {
    let (mut result, report) = provider(&state, caller.network_id, &args, DAY * LOOKBACK).await?;
    result.uptime = report
        .days
        .iter()
        .map(|(day, (uptime, _))| {
            let millis = uptime.0.iter().map(|millis| u64::from(*millis)).sum();
            (day_key(*day), hours(Duration::from_millis(millis)))
        })
        .collect();
    Ok(Json(result))
}

/// Shows a provider by day.
#[utoipa::path(
    post,
    path = "/stats/provider-last-n",
    tag = "stats",
    security(("bearer" = [])),
    request_body = ProviderLastNArgs,
    responses(
        (status = 200, body = ProviderResult),
        (status = 403, body = crate::http::error::ErrorResult, description = "Not a client of the caller's network.")
    )
)]
pub(super) async fn provider_last_n(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<ProviderLastNArgs>,
) -> ApiResult<ProviderResult> {
    let (mut result, report) = provider(&state, caller.network_id, &args, DAY).await?;
    for (day, (uptime, _)) in &report.days {
        let used = uptime.0.iter().enumerate().filter(|(_, millis)| **millis > 0);
        let minutes = |millis: u32| f64::from(millis) / 60_000.0;
        result.uptime.extend(used.map(|(hour, millis)| (hour_key(*day, hour), minutes(*millis))));
    }
    Ok(Json(result))
}

/// The answer without its uptimes, and what these are taken from.
async fn provider(
    state: &ApiState,
    network_id: NetworkId,
    args: &ProviderLastNArgs,
    default: Duration,
) -> Result<(ProviderResult, ProviderReport), crate::http::error::ApiError> {
    let window = Window::asked(args.last_n, args.lookback, default, state.now());
    let report = state.stats.provider(network_id, args.client_id, window).await?;
    let mut series = Series::default();
    report.days.iter().for_each(|(day, (_, figures))| series.insert(*day, figures));
    let details = |(client_id, days): &(ClientId, BytesByDay)| ClientDetails {
        client_id: *client_id,
        transfer_data: days.iter().map(|(day, bytes)| (day_key(*day), gib(*bytes))).collect(),
    };
    let result = ProviderResult {
        lookback: window.lookback(),
        created_time: window.end,
        uptime: BTreeMap::new(),
        series,
        client_details: report.clients.iter().map(details).collect(),
    };
    Ok((result, report))
}
