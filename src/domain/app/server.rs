//! Servers: the places where healthy providers are, by numbers that stay the same for ever.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::number::{self, Number, Numbered};
use crate::domain::contract::gate::Gate;
use crate::domain::error::DomainError;
use crate::domain::location::place::Place;
use crate::domain::operation::{Operation, Tx};
use crate::domain::provider::healthy;
use crate::domain::provider::index::ProviderIndex;
use crate::domain::service::Service;
use crate::ids::LocationId;
use crate::store::table::Table;
use crate::time::Timestamp;

/// Numbers of servers by place.
pub const SERVER_NUMBERS: Table<LocationId, Number> = Table::new(90, "server_numbers");

/// The place of providers that nobody can locate.
pub const ANYWHERE: LocationId = LocationId::new([0; 16]);

/// How old the list may be: it takes a look at every provider and every pair with a contract.
const LIST_AGE: Duration = Duration::from_secs(2);

/// A place with healthy providers.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerPlace {
    /// Its number.
    pub number: u32,
    /// The place.
    pub location_id: LocationId,
    /// Its names; none for [`ANYWHERE`].
    pub place: Option<Place>,
    /// Clients that have a contract with its providers now.
    pub connection_count: usize,
}

/// The list of servers, remembered for a moment.
pub struct Servers {
    service: Arc<Service>,
    providers: Arc<ProviderIndex>,
    gate: Arc<Gate>,
    last: Mutex<Option<(Timestamp, Arc<Vec<ServerPlace>>)>>,
}

impl Servers {
    /// The servers that `providers` make up, busy as `gate` says.
    pub fn new(service: Arc<Service>, providers: Arc<ProviderIndex>, gate: Arc<Gate>) -> Self {
        Self { service, providers, gate, last: Mutex::default() }
    }

    /// Every server, by number.
    ///
    /// # Errors
    /// The store fails.
    pub async fn list(&self) -> Result<Arc<Vec<ServerPlace>>, DomainError> {
        let now = self.service.clock().now();
        if let Some((at, list)) = &*self.last.lock()
            && now.since(*at) < LIST_AGE
        {
            return Ok(Arc::clone(list));
        }
        let places = healthy::places(&self.providers);
        let clients = places.iter().flat_map(|place| &place.client_ids).copied().collect();
        let busy = self.gate.partner_counts(&clients);
        let location_ids: Vec<LocationId> = places.iter().map(|place| place.location_id.unwrap_or(ANYWHERE)).collect();
        let known = self.service.read(&ReadNumbers { location_ids: &location_ids })?;
        let numbers = match known.iter().copied().collect::<Option<Vec<u32>>>() {
            Some(numbers) => numbers,
            None => self.service.run(&GiveNumbers { location_ids: &location_ids }).await?,
        };
        let mut list: Vec<ServerPlace> = places
            .into_iter()
            .zip(numbers)
            .map(|(place, number)| ServerPlace {
                number,
                location_id: place.location_id.unwrap_or(ANYWHERE),
                connection_count: place.client_ids.iter().filter_map(|client| busy.get(client)).sum(),
                place: place.place,
            })
            .collect();
        list.sort_by_key(|server| server.number);
        let list = Arc::new(list);
        *self.last.lock() = Some((now, Arc::clone(&list)));
        Ok(list)
    }

    /// The server with a number, while it has a healthy provider.
    ///
    /// # Errors
    /// The store fails.
    pub async fn find(&self, number: u32) -> Result<Option<ServerPlace>, DomainError> {
        Ok(self.list().await?.iter().find(|server| server.number == number).cloned())
    }
}

/// The numbers of places, as far as they have one.
struct ReadNumbers<'a> {
    location_ids: &'a [LocationId],
}

impl Operation for ReadNumbers<'_> {
    type Output = Vec<Option<u32>>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let mut numbers = Vec::with_capacity(self.location_ids.len());
        for location_id in self.location_ids {
            numbers.push(tx.get(&SERVER_NUMBERS, location_id)?.map(|known| known.number));
        }
        Ok(numbers)
    }
}

/// The numbers of places, given to those that have none.
struct GiveNumbers<'a> {
    location_ids: &'a [LocationId],
}

impl Operation for GiveNumbers<'_> {
    type Output = Vec<u32>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<u32>, DomainError> {
        let mut given: HashMap<LocationId, u32> = HashMap::new();
        let mut numbers = Vec::with_capacity(self.location_ids.len());
        for location_id in self.location_ids {
            let known = given.get(location_id).copied().or(tx.get(&SERVER_NUMBERS, location_id)?.map(|one| one.number));
            let number = match known {
                Some(number) => number,
                None => {
                    let fresh = number::next(tx, Numbered::Server)?;
                    tx.put(&SERVER_NUMBERS, location_id, &fresh)?;
                    fresh.number
                }
            };
            given.insert(*location_id, number);
            numbers.push(number);
        }
        Ok(numbers)
    }
}
