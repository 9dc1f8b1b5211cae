//! Networks by what they have provided lately. Names are shown only of those who want it.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::Stats;
use super::record::SHOWN_NETWORKS;
use crate::domain::contract::record::NETWORK_DAYS;
use crate::domain::error::DomainError;
use crate::domain::network::NETWORKS;
use crate::domain::operation::{Operation, Tx};
use crate::ids::NetworkId;
use crate::store::{Store, StoreError};
use crate::time::{DAY, Timestamp};

/// How old a ranking may be.
const CACHED: Duration = Duration::from_secs(300);

/// The days that count.
const RANKED_DAYS: u32 = 28;

/// Networks on the leaderboard.
pub const LEADERBOARD_LENGTH: usize = 100;

/// Rows read at once.
const PAGE: usize = 1024;

/// All networks that have provided, best first.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranking {
    taken: Timestamp,
    order: Vec<(NetworkId, i64)>,
    /// Where each stands, from 0.
    places: HashMap<NetworkId, usize>,
}

/// A network on the leaderboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earner {
    /// Its id and name, if it shows them.
    pub network: Option<(NetworkId, String)>,
    /// Bytes provided.
    pub bytes: i64,
}

/// Where a network stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Bytes provided.
    pub bytes: i64,
    /// From 1; 0 for one that has provided nothing.
    pub rank: usize,
    /// Whether it shows its name.
    pub is_public: bool,
}

impl Stats {
    /// The best networks.
    pub async fn leaderboard(&self) -> Result<Vec<Earner>, DomainError> {
        let ranking = self.ranking().await?;
        let best = &ranking.order[..ranking.order.len().min(LEADERBOARD_LENGTH)];
        let earner = |(network_id, bytes): &(NetworkId, i64)| -> Result<Earner, StoreError> {
            let is_public = SHOWN_NETWORKS.get(&*self.store, network_id)?.is_some();
            let record = if is_public { NETWORKS.get(&*self.store, network_id)? } else { None };
            Ok(Earner { network: record.map(|record| (*network_id, record.name)), bytes: *bytes })
        };
        Ok(best.iter().map(earner).collect::<Result<_, _>>()?)
    }

    /// Where a network stands.
    pub async fn standing(&self, network_id: NetworkId) -> Result<Standing, DomainError> {
        let ranking = self.ranking().await?;
        let is_public = SHOWN_NETWORKS.get(&*self.store, &network_id)?.is_some();
        let place = ranking.places.get(&network_id);
        let bytes = place.map_or(0, |place| ranking.order[*place].1);
        Ok(Standing { bytes, rank: place.map_or(0, |place| place + 1), is_public })
    }

    async fn ranking(&self) -> Result<Arc<Ranking>, DomainError> {
        // Whoever comes while it is computed waits for it.
        let mut cached = self.ranking.lock().await;
        if let Some(ranking) = &*cached
            && self.now().since(ranking.taken) < CACHED
        {
            return Ok(Arc::clone(ranking));
        }
        let now = self.now();
        let ranking = Arc::new(self.blocking(move |store| rank(store, now)).await?);
        *cached = Some(Arc::clone(&ranking));
        Ok(ranking)
    }
}

fn rank(store: &dyn Store, now: Timestamp) -> Result<Ranking, StoreError> {
    let mut totals: BTreeMap<NetworkId, i64> = BTreeMap::new();
    let first = now.before(DAY * (RANKED_DAYS - 1)).day_number();
    for day in first..=now.day_number() {
        NETWORK_DAYS.each(store, &NETWORK_DAYS.prefix(&day), None, PAGE, |(_, network_id), credit| {
            if credit.provided_bytes > 0 {
                let total = totals.entry(network_id).or_default();
                *total = total.saturating_add(credit.provided_bytes);
            }
            ControlFlow::Continue(())
        })?;
    }
    let mut order = Vec::new();
    for (network_id, bytes) in totals {
        // What a deleted network has provided is not ranked.
        if NETWORKS.get(store, &network_id)?.is_some() {
            order.push((network_id, bytes));
        }
    }
    order.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let places = order.iter().enumerate().map(|(at, (network_id, _))| (*network_id, at)).collect();
    Ok(Ranking { taken: now, order, places })
}

/// Shows or hides the name of a network on the leaderboard.
pub struct SetRankingVisibility {
    /// The network.
    pub network_id: NetworkId,
    /// Whether to show it.
    pub is_public: bool,
}

impl Operation for SetRankingVisibility {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        match self.is_public {
            // A network that is being deleted leaves nothing behind.
            true if tx.get(&NETWORKS, &self.network_id)?.is_none() => return Err(DomainError::Unauthorized),
            true => tx.put(&SHOWN_NETWORKS, &self.network_id, &())?,
            false => tx.delete(&SHOWN_NETWORKS, &self.network_id)?,
        }
        Ok(())
    }
}

/// Forgets the wish of a network that is being deleted.
pub fn remove(tx: &mut Tx<'_>, network_id: &NetworkId) -> Result<(), StoreError> {
    tx.delete(&SHOWN_NETWORKS, network_id)
}
