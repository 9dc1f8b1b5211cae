//! The whole network over the last 90 days, for anyone to see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Stats;
use super::record::{CENSUS_DAYS, CensusDay, TRANSFER_DAYS};
use super::window::Window;
use crate::domain::error::DomainError;
use crate::time::{DAY, Timestamp};

/// How old an answer may be.
const CACHED: Duration = Duration::from_secs(60);

/// Days back from today.
pub const LOOKBACK: u32 = 90;

/// The last 90 days and today.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastNinety {
    /// When it was so.
    pub created_time: Timestamp,
    /// For every day: bytes of the contracts closed on it, and who was there.
    pub days: BTreeMap<u32, (i64, CensusDay)>,
}

impl Stats {
    /// The last 90 days, at most a minute old.
    pub async fn last_ninety(&self) -> Result<Arc<LastNinety>, DomainError> {
        // Whoever comes while it is computed waits for it.
        let mut cached = self.last_ninety.lock().await;
        if let Some(answer) = &*cached
            && self.now().since(answer.created_time) < CACHED
        {
            return Ok(Arc::clone(answer));
        }
        let now = self.now();
        let today = self.look_around().await?;
        let window = Window::last(DAY * LOOKBACK, now);
        let days = self.blocking(move |store| {
            let (mut days, mut networks) = (BTreeMap::new(), 0);
            for day in window.days() {
                let bytes = TRANSFER_DAYS.get(store, &day)?.map_or(0, |transfer| transfer.bytes);
                let stored = CENSUS_DAYS.get(store, &day)?;
                let mut census = stored.unwrap_or(CensusDay { networks, ..CensusDay::default() });
                if day == now.day_number() {
                    census = CensusDay { devices: census.devices, ..today };
                }
                // Nobody was connected on a day when the server did not run, but the networks were still there.
                networks = census.networks;
                days.insert(day, (bytes, census));
            }
            Ok(days)
        });
        let answer = Arc::new(LastNinety { created_time: now, days: days.await? });
        *cached = Some(Arc::clone(&answer));
        Ok(answer)
    }
}
