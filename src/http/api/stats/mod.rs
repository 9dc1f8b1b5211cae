//! Counters over the last days: of the whole network for anyone, of providers for their own network.
//!
//! Days are UTC, `YYYY-MM-DD`; hours `YYYY-MM-DD-HH`. Bytes are given in GiB, revenue in USD.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::stats::answer::Figures;
use crate::http::state::ApiState;
use crate::time::Timestamp;

mod last_90;
mod provider;
mod providers;
#[cfg(test)]
mod tests;

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(last_90::last_90))
        .routes(routes!(providers::providers))
        .routes(routes!(providers::providers_last_n))
        .routes(routes!(provider::provider_last_90))
        .routes(routes!(provider::provider_last_n))
        .routes(routes!(providers::overview_last_90))
        .routes(routes!(providers::overview_last_n))
}

/// What providers did, by day; every day of the window is there.
#[derive(Default, Serialize, ToSchema)]
struct Series {
    /// GiB of the contracts closed.
    transfer_data: BTreeMap<String, f64>,
    /// USD earned with them.
    payout: BTreeMap<String, f64>,
    /// How often the providers were offered.
    search_interest: BTreeMap<String, u64>,
    /// Contracts made.
    contracts: BTreeMap<String, u64>,
    /// Different clients at their other end.
    clients: BTreeMap<String, u64>,
}

impl Series {
    fn insert(&mut self, day: u32, figures: &Figures) {
        let day = day_key(day);
        self.transfer_data.insert(day.clone(), gib(figures.bytes));
        self.payout.insert(day.clone(), usd(figures.revenue));
        self.search_interest.insert(day.clone(), figures.interest);
        self.contracts.insert(day.clone(), figures.contracts);
        self.clients.insert(day, figures.clients);
    }
}

fn day_key(day: u32) -> String {
    Timestamp::of_day(day).to_date()
}

fn hour_key(day: u32, hour: usize) -> String {
    format!("{}-{hour:02}", day_key(day))
}

fn gib(bytes: i64) -> f64 {
    bytes as f64 / (1u64 << 30) as f64
}

fn usd(nano_cents: i64) -> f64 {
    nano_cents as f64 / 1e9
}

fn hours(uptime: Duration) -> f64 {
    uptime.as_millis() as f64 / 3_600_000.0
}
