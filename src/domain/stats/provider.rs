//! One provider by day, and whom it served.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Stats;
use super::answer::{Figures, ProviderView, View};
use super::record::{Hours, PeerDay};
use super::window::Window;
use crate::domain::client::CLIENTS;
use crate::domain::error::DomainError;
use crate::ids::{ClientId, NetworkId};
use crate::store::StoreError;

/// Clients whose share is listed, the largest.
pub const MAX_CLIENTS: usize = 500;

/// Days of these clients that are listed in all, so that an answer stays below 2 MiB.
pub const MAX_CLIENT_DAYS: usize = 25_000;

/// Bytes by day.
pub type BytesByDay = BTreeMap<u32, i64>;

/// A provider by day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderReport {
    /// For every day of the window: milliseconds of uptime in each hour, and what it did.
    pub days: BTreeMap<u32, (Hours<u32>, Figures)>,
    /// Bytes by day for the clients it served most, largest first.
    pub clients: Vec<(ClientId, BytesByDay)>,
}

impl Stats {
    /// A provider in a window. It must be or have been a client of the network.
    pub async fn provider(
        self: &Arc<Self>,
        network_id: NetworkId,
        client_id: ClientId,
        window: Window,
    ) -> Result<ProviderReport, DomainError> {
        // A removed client's row stays for a while, so that its figures can still be seen.
        let client = CLIENTS.get(&*self.store, &client_id)?;
        if client.is_none_or(|client| client.network_id != network_id) {
            return Err(DomainError::Forbidden("Not authorized to view this provider."));
        }
        self.answer(window, move |view| {
            let provider = view.provider(client_id);
            let mut report = ProviderReport::default();
            for day in view.window.days() {
                report.days.insert(day, (provider.uptime(day)?.hours, provider.figures(day)?));
            }
            report.clients = served(view, &provider)?;
            Ok(report)
        })
        .await
    }
}

/// Finds the largest clients first and their days then, so that the many others need no room.
fn served(view: &View<'_>, provider: &ProviderView<'_>) -> Result<Vec<(ClientId, BytesByDay)>, StoreError> {
    let bytes_of = |day: u32, peer: &PeerDay| {
        peer.bytes.0[view.window.hours(day)].iter().fold(0i64, |sum, bytes| sum.saturating_add(*bytes))
    };
    let mut totals: HashMap<ClientId, i64> = HashMap::new();
    for day in view.window.days() {
        provider.each_peer(day, |other, peer| {
            let bytes = bytes_of(day, &peer);
            if bytes > 0 {
                let total = totals.entry(other).or_default();
                *total = total.saturating_add(bytes);
            }
        })?;
    }
    let mut largest: Vec<(ClientId, i64)> = totals.into_iter().collect();
    largest.sort_unstable_by_key(|(client_id, bytes)| (std::cmp::Reverse(*bytes), *client_id));
    largest.truncate(MAX_CLIENTS);
    let mut days: HashMap<ClientId, BytesByDay> =
        largest.iter().map(|(client_id, _)| (*client_id, BTreeMap::new())).collect();
    for day in view.window.days() {
        provider.each_peer(day, |other, peer| {
            let bytes = bytes_of(day, &peer);
            if bytes > 0
                && let Some(days) = days.get_mut(&other)
            {
                days.insert(day, bytes);
            }
        })?;
    }
    let mut room = MAX_CLIENT_DAYS;
    let mut served = Vec::new();
    for (client_id, _) in largest {
        let days = days.remove(&client_id).unwrap_or_default();
        if days.len() > room {
            break;
        }
        room -= days.len();
        served.push((client_id, days));
    }
    Ok(served)
}
