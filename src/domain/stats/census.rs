//! Who is there: looked at now and then, and kept as the last look of each day.

use std::ops::ControlFlow;

use super::record::{CENSUS_DAYS, CensusDay};
use super::rollup::{Write, row};
use crate::domain::location::place::LocationType;
use crate::domain::network::NETWORKS;
use crate::domain::provider::index::ProviderIndex;
use crate::store::{Store, StoreError};

/// Rows read at once.
const PAGE: usize = 1024;

/// Connected public providers, and how many places they are in.
pub(super) fn look_around(providers: &ProviderIndex) -> CensusDay {
    providers.with_candidates(|candidates| {
        let mut census = CensusDay { providers: candidates.public().len() as u64, ..CensusDay::default() };
        for (_, known) in candidates.places() {
            match known.place.location_type() {
                LocationType::Country => census.countries += 1,
                LocationType::Region => census.regions += 1,
                LocationType::City => census.cities += 1,
            }
        }
        census
    })
}

/// How many networks there are.
pub(super) fn count_networks(store: &dyn Store) -> Result<u64, StoreError> {
    let mut count = 0;
    NETWORKS.each(store, &NETWORKS.prefix(&()), None, PAGE, |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

/// The row of a day with what is there now; none when it says so already.
pub(super) fn merge(store: &dyn Store, day: u32, now: &CensusDay) -> Result<Option<Write>, StoreError> {
    let stored = CENSUS_DAYS.get(store, &day)?;
    let census = CensusDay { devices: stored.map_or(0, |stored| stored.devices), ..*now };
    Ok((stored != Some(census)).then(|| row(&CENSUS_DAYS, &day, &census)))
}

/// The row of a day after clients were there for the first time.
pub(super) fn add_devices(store: &dyn Store, day: u32, new: u64) -> Result<Write, StoreError> {
    let mut census = CENSUS_DAYS.get(store, &day)?.unwrap_or_default();
    census.devices += new;
    Ok(row(&CENSUS_DAYS, &day, &census))
}
