//! The whole network.

use std::collections::BTreeMap;

use crate::http::answer::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::day_key;
use crate::domain::stats::network_wide::{LOOKBACK, LastNinety};
use crate::domain::stats::record::CensusDay;
use crate::http::error::ApiResult;
use crate::http::state::ApiState;

/// Days whose greatest value is a series' summary.
const SUMMARY_DAYS: usize = 3;

/// The network by day, today's running total included. A summary is the greatest value of the last three days.
#[derive(Serialize, ToSchema)]
pub(super) struct Last90Result {
    /// Always 90.
    lookback: u32,
    /// When it was so, unix milliseconds.
    created_time: u64,
    /// Bytes of the contracts closed on each day.
    all_transfer_data: BTreeMap<String, u64>,
    /// The summary in MiB.
    all_transfer_summary: u64,
    /// The summary in Mibit/s.
    all_transfer_summary_rate: u64,
    /// Connected providers that everyone may use, at the end of each day.
    providers_data: BTreeMap<String, u64>,
    /// Of the last days.
    providers_summary: u64,
    /// Countries where they are.
    countries_data: BTreeMap<String, u64>,
    /// Of the last days.
    countries_summary: u64,
    /// Regions where they are.
    regions_data: BTreeMap<String, u64>,
    /// Of the last days.
    regions_summary: u64,
    /// Cities where they are.
    cities_data: BTreeMap<String, u64>,
    /// Of the last days.
    cities_summary: u64,
    /// Networks at the end of each day.
    networks_data: BTreeMap<String, u64>,
    /// Of the last days.
    networks_summary: u64,
    /// Different clients that were connected on each day.
    devices_data: BTreeMap<String, u64>,
    /// Of the last days.
    devices_summary: u64,
}

impl From<&LastNinety> for Last90Result {
    fn from(answer: &LastNinety) -> Self {
        let series = |value: fn(&(i64, CensusDay)) -> u64| -> (BTreeMap<String, u64>, u64) {
            let data: BTreeMap<String, u64> =
                answer.days.iter().map(|(day, figures)| (day_key(*day), value(figures))).collect();
            let summary = data.values().rev().take(SUMMARY_DAYS).max().copied().unwrap_or(0);
            (data, summary)
        };
        let (all_transfer_data, transfer) = series(|(bytes, _)| (*bytes).max(0) as u64);
        let (providers_data, providers_summary) = series(|(_, census)| census.providers);
        let (countries_data, countries_summary) = series(|(_, census)| census.countries);
        let (regions_data, regions_summary) = series(|(_, census)| census.regions);
        let (cities_data, cities_summary) = series(|(_, census)| census.cities);
        let (networks_data, networks_summary) = series(|(_, census)| census.networks);
        let (devices_data, devices_summary) = series(|(_, census)| census.devices);
        Self {
            lookback: LOOKBACK,
            created_time: answer.created_time.as_millis(),
            all_transfer_data,
            all_transfer_summary: rounded(transfer, 1 << 20),
            all_transfer_summary_rate: rounded(transfer.saturating_mul(8), (1 << 20) * 86_400),
            providers_data,
            providers_summary,
            countries_data,
            countries_summary,
            regions_data,
            regions_summary,
            cities_data,
            cities_summary,
            networks_data,
            networks_summary,
            devices_data,
            devices_summary,
        }
    }
}

fn rounded(value: u64, unit: u64) -> u64 {
    value.saturating_add(unit / 2) / unit
}

/// Shows the whole network over the last 90 days.
///
/// At most a minute old.
#[utoipa::path(get, path = "/stats/last-90", tag = "stats", responses((status = 200, body = Last90Result)))]
pub(super) async fn last_90(State(state): State<ApiState>) -> ApiResult<Last90Result> {
    let answer = state.stats.last_ninety().await?;
    Ok(Json(Last90Result::from(&*answer)))
}
