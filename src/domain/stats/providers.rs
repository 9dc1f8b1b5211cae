//! All providers of a network: one by one, or summed up by day.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::Stats;
use super::answer::{Figures, View, millis};
use super::window::Window;
use crate::domain::client::{self, DERIVED_CLIENTS, NETWORK_CLIENTS};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::provide;
use crate::ids::{ClientId, NetworkId};
use crate::time::Timestamp;

/// Providers in one answer, connected ones first. With this and the next bound a list stays below 2 MiB.
pub const MAX_PROVIDERS: usize = 4096;

/// Connects and disconnects in one answer, shared by its providers; the newest of each.
pub const MAX_LISTED_EVENTS: usize = 8192;

/// Connects and disconnects of one provider in an answer.
const MAX_EVENTS_EACH: usize = 1000;

/// A provider in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedProvider {
    /// The client.
    pub client_id: ClientId,
    /// The greatest number among the modes it provides.
    pub provide_mode: u8,
    /// It has a transport now.
    pub connected: bool,
    /// When it came and went, oldest first.
    pub events: Vec<(Timestamp, bool)>,
    /// How long it was connected.
    pub uptime: Duration,
    /// What it did.
    pub figures: Figures,
}

/// All providers of a network by day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// How many there are.
    pub provider_count: usize,
    /// For every day of the window: their uptimes added up, and what they did.
    pub days: BTreeMap<u32, (Duration, Figures)>,
}

impl Stats {
    /// The providers of a network in a window.
    pub async fn providers(
        self: &Arc<Self>,
        network_id: NetworkId,
        window: Window,
    ) -> Result<Vec<ListedProvider>, DomainError> {
        self.answer(window, move |view| {
            let providers = list(view, network_id)?;
            let max_events = (MAX_LISTED_EVENTS / providers.len().max(1)).clamp(1, MAX_EVENTS_EACH);
            providers.into_iter().map(|(client_id, mode)| line(view, client_id, mode, max_events)).collect()
        })
        .await
    }

    /// The providers of a network in a window, summed up by day.
    pub async fn overview(self: &Arc<Self>, network_id: NetworkId, window: Window) -> Result<Overview, DomainError> {
        self.answer(window, move |view| {
            let providers = list(view, network_id)?;
            let mut overview = Overview { provider_count: providers.len(), days: BTreeMap::new() };
            overview.days.extend(view.window.days().map(|day| (day, Default::default())));
            for (client_id, _) in providers {
                let provider = view.provider(client_id);
                for (day, (uptime, figures)) in &mut overview.days {
                    figures.add(&provider.figures(*day)?);
                    *uptime += Duration::from_millis(millis(&provider.uptime(*day)?));
                }
            }
            Ok(overview)
        })
        .await
    }
}

fn list(view: &View<'_>, network_id: NetworkId) -> Result<Vec<(ClientId, u8)>, DomainError> {
    let connected = view.stats.presence.connected(network_id);
    view.stats.service.read(&ListProviders { network_id, connected })
}

fn line(
    view: &View<'_>,
    client_id: ClientId,
    provide_mode: u8,
    max_events: usize,
) -> Result<ListedProvider, DomainError> {
    let provider = view.provider(client_id);
    let (mut figures, mut clients) = (Figures::default(), HashSet::new());
    let (mut uptime, mut events) = (0, Vec::new());
    for day in view.window.days() {
        figures.add(&provider.sums(day)?);
        provider.each_client(day, &mut clients)?;
        let times = provider.uptime(day)?;
        uptime += millis(&times);
        let midnight = Timestamp::of_day(day);
        let at = |millis| midnight + Duration::from_millis(u64::from(millis));
        events.extend(times.events.into_iter().map(|event| (at(event.at_millis), event.connected)));
    }
    events.retain(|(at, _)| *at >= view.window.start);
    let events = events.split_off(events.len().saturating_sub(max_events));
    figures.clients = clients.len() as u64;
    let (connected, uptime) = (view.stats.presence.is_connected(client_id), Duration::from_millis(uptime));
    Ok(ListedProvider { client_id, provide_mode, connected, events, uptime, figures })
}

/// Active clients of a network that provide in any mode, each once, with the greatest of its modes.
struct ListProviders {
    network_id: NetworkId,
    connected: Vec<ClientId>,
}

impl Operation for ListProviders {
    type Output = Vec<(ClientId, u8)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<(ClientId, u8)>, DomainError> {
        let top_level = tx.scan_snapshot(&NETWORK_CLIENTS, &self.network_id)?;
        let top_level: Vec<ClientId> = top_level.into_iter().map(|((_, client_id), ())| client_id).collect();
        let (mut providers, mut seen) = (Vec::new(), HashSet::new());
        let mut add_some = |tx: &mut Tx<'_>, client_ids: &[ClientId]| -> Result<bool, DomainError> {
            for client_id in client_ids {
                if providers.len() == MAX_PROVIDERS {
                    return Ok(false);
                }
                if !seen.insert(*client_id) {
                    continue;
                }
                let Some(greatest) = provide::modes(tx, *client_id)?.into_iter().max() else { continue };
                if client::active(tx, client_id)?.is_some_and(|client| client.network_id == self.network_id) {
                    providers.push((*client_id, greatest as u8));
                }
            }
            Ok(true)
        };
        if add_some(tx, &self.connected)? && add_some(tx, &top_level)? {
            for source in &top_level {
                let derived = tx.scan_snapshot(&DERIVED_CLIENTS, source)?;
                let derived: Vec<ClientId> = derived.into_iter().map(|((_, client_id), ())| client_id).collect();
                if !add_some(tx, &derived)? {
                    break;
                }
            }
        }
        Ok(providers)
    }
}
