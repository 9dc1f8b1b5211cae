//! The statistics: count the archive again.

use axum::Router;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Command, route};
use crate::domain::stats::recount::Recount;
use crate::http::error::ApiError;
use crate::http::state::ApiState;

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    route::<RecountStats>()
}

/// Counts the archive of settled contracts again and compares it with the statistics by day.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct RecountStats {
    /// Rewrite the days that differ
    #[arg(long)]
    #[serde(default)]
    pub fix: bool,
}

impl Command for RecountStats {
    const PATH: &'static str = "/stats/recount";
    type Answer = Recount;

    async fn run(self, state: &ApiState) -> Result<Recount, ApiError> {
        Ok(state.stats.recount(self.fix).await?)
    }
}
