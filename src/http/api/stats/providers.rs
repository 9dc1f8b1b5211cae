//! The providers of the caller's network, one by one and all together.

use std::collections::BTreeMap;

use crate::http::answer::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Series, day_key, gib, hours, usd};
use crate::domain::stats::network_wide::LOOKBACK;
use crate::domain::stats::providers::{ListedProvider, Overview};
use crate::domain::stats::window::Window;
use crate::http::error::ApiResult;
use crate::http::extract::{Body, Session};
use crate::http::state::ApiState;
use crate::ids::{ClientId, NetworkId};
use crate::time::{DAY, Timestamp};

/// How far back to look.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct ProvidersLastNArgs {
    /// Hours, from 1 to 8784; 24 when absent.
    last_n: f64,
}

/// The providers of a network.
#[derive(Serialize, ToSchema)]
pub(super) struct ProvidersResult {
    /// Now.
    created_time: Timestamp,
    /// The clients that provide, at most 4096.
    providers: Vec<ProviderLine>,
}

/// A provider. The keys say `last_24h` whatever was asked for.
#[derive(Serialize, ToSchema)]
struct ProviderLine {
    /// The client.
    client_id: ClientId,
    /// It has a transport now.
    connected: bool,
    /// When it came and went, oldest first.
    connected_events_last_24h: Vec<ConnectedEvent>,
    /// Hours for which it was connected.
    uptime_last_24h: f64,
    /// GiB of the contracts closed.
    transfer_data_last_24h: f64,
    /// USD earned with them.
    payout_last_24h: f64,
    /// How often it was offered.
    search_interest_last_24h: u64,
    /// Contracts made.
    contracts_last_24h: u64,
    /// Different clients at their other end.
    clients_last_24h: u64,
    /// The greatest number among the modes it provides: 1 network, 2 friends and family, 3 public, 4 stream.
    provide_mode: u8,
}

/// A client came or went.
#[derive(Serialize, ToSchema)]
struct ConnectedEvent {
    /// When.
    event_time: Timestamp,
    /// It came.
    connected: bool,
}

impl From<ListedProvider> for ProviderLine {
    fn from(provider: ListedProvider) -> Self {
        let event = |(event_time, connected)| ConnectedEvent { event_time, connected };
        let figures = &provider.figures;
        Self {
            client_id: provider.client_id,
            connected: provider.connected,
            connected_events_last_24h: provider.events.into_iter().map(event).collect(),
            uptime_last_24h: hours(provider.uptime),
            transfer_data_last_24h: gib(figures.bytes),
            payout_last_24h: usd(figures.revenue),
            search_interest_last_24h: figures.interest,
            contracts_last_24h: figures.contracts,
            clients_last_24h: figures.clients,
            provide_mode: provider.provide_mode,
        }
    }
}

/// Lists the network's providers with what they did in the last 24 hours.
#[utoipa::path(
    get,
    path = "/stats/providers",
    tag = "stats",
    security(("bearer" = [])),
    responses((status = 200, body = ProvidersResult))
)]
pub(super) async fn providers(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<ProvidersResult> {
    list(&state, caller.network_id, 0.0).await
}

/// Lists the network's providers with what they did in the last hours.
#[utoipa::path(
    post,
    path = "/stats/providers-last-n",
    tag = "stats",
    security(("bearer" = [])),
    request_body = ProvidersLastNArgs,
    responses((status = 200, body = ProvidersResult))
)]
pub(super) async fn providers_last_n(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<ProvidersLastNArgs>,
) -> ApiResult<ProvidersResult> {
    list(&state, caller.network_id, args.last_n).await
}

async fn list(state: &ApiState, network_id: NetworkId, last_n: f64) -> ApiResult<ProvidersResult> {
    let window = Window::asked(last_n, 0, DAY, state.now());
    let providers = state.stats.providers(network_id, window).await?;
    let providers = providers.into_iter().map(ProviderLine::from).collect();
    Ok(Json(ProvidersResult { created_time: window.end, providers }))
}

/// How far back to look.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct OverviewLastNArgs {
    /// Hours, from 1 to 8784.
    last_n: f64,
    /// Days, when `last_n` is absent; one day when both are.
    lookback: i64,
}

/// The providers of a network, summed up by day.
#[derive(Serialize, ToSchema)]
pub(super) struct OverviewResult {
    /// Length of the window in days, rounded up.
    lookback: u64,
    /// Now.
    created_time: Timestamp,
    /// Hours for which a provider was connected, on average.
    uptime: BTreeMap<String, f64>,
    #[serde(flatten)]
    series: Series,
}

/// Sums up the network's providers by day over the last 90 days.
#[utoipa::path(
    get,
    path = "/stats/providers-overview-last-90",
    tag = "stats",
    security(("bearer" = [])),
    responses((status = 200, body = OverviewResult))
)]
pub(super) async fn overview_last_90(
    State(state): State<ApiState>,
    Session(caller): Session,
) -> ApiResult<OverviewResult> {
    overview(&state, caller.network_id, Window::last(DAY * LOOKBACK, state.now())).await
}

/// Sums up the network's providers by day.
#[utoipa::path(
    post,
    path = "/stats/providers-overview-last-n",
    tag = "stats",
    security(("bearer" = [])),
    request_body = OverviewLastNArgs,
    responses((status = 200, body = OverviewResult))
)]
pub(super) async fn overview_last_n(
    State(state): State<ApiState>,
    Session(caller): Session,
    Body(args): Body<OverviewLastNArgs>,
) -> ApiResult<OverviewResult> {
    let window = Window::asked(args.last_n, args.lookback, DAY, state.now());
    overview(&state, caller.network_id, window).await
}

async fn overview(state: &ApiState, network_id: NetworkId, window: Window) -> ApiResult<OverviewResult> {
    let Overview { provider_count, days } = state.stats.overview(network_id, window).await?;
    let (mut series, mut uptime) = (Series::default(), BTreeMap::default());
    let count = u32::try_from(provider_count).unwrap_or(u32::MAX).max(1);
    for (day, (sum, figures)) in days {
        series.insert(day, &figures);
        uptime.insert(day_key(day), hours(sum / count));
    }
    Ok(Json(OverviewResult { lookback: window.lookback(), created_time: window.end, uptime, series }))
}
