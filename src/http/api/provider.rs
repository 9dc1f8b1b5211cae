//! Which providers to use.

use std::collections::HashSet;
use std::net::SocketAddr;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::caller::Caller;
use crate::domain::client::ReadClient;
use crate::domain::error::DomainError;
use crate::domain::location::geoip::Located;
use crate::domain::location::place::Coordinates;
use crate::domain::provider::find::{FindProviders, FoundProvider, ProviderSpec};
use crate::domain::provider::index::Asker;
use crate::domain::provider::rank::RankMode;
use crate::domain::provider::wish;
use crate::http::answer::Json;
use crate::http::error::ApiResult;
use crate::http::extract::{Body, ClientAddress, MaybeCaller};
use crate::http::state::ApiState;
use crate::ids::{ClientId, LocationId};

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(find_providers2))
        .routes(routes!(find_providers))
        .routes(routes!(create_provider_spec))
}

/// What kind of provider is wanted; the members that are set add up.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub struct SpecEntry {
    /// A provider in this country, region or city.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location_id: Option<LocationId>,
    /// A provider in this group of places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location_group_id: Option<LocationId>,
    /// This client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// Any provider.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub best_available: bool,
}

impl SpecEntry {
    fn specs(&self) -> impl Iterator<Item = ProviderSpec> {
        let any = self.best_available.then_some(ProviderSpec::BestAvailable);
        [
            self.client_id.map(ProviderSpec::Client),
            self.location_id.map(ProviderSpec::Location),
            self.location_group_id.map(ProviderSpec::Group),
            any,
        ]
        .into_iter()
        .flatten()
    }
}

impl From<ProviderSpec> for SpecEntry {
    fn from(spec: ProviderSpec) -> Self {
        let mut entry = Self::default();
        match spec {
            ProviderSpec::Client(id) => entry.client_id = Some(id),
            ProviderSpec::Location(id) => entry.location_id = Some(id),
            ProviderSpec::Group(id) => entry.location_group_id = Some(id),
            ProviderSpec::BestAvailable => entry.best_available = true,
        }
        entry
    }
}

/// A search for providers.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct FindProviders2Args {
    /// What kinds are wanted; the union of them.
    specs: Vec<SpecEntry>,
    /// How many; 20 at least, 200 at most.
    count: i64,
    /// Not more than `count`, even below 20.
    force_count: bool,
    /// Never these.
    exclude_client_ids: Vec<ClientId>,
    /// Ways already tried: the last client of each is not wanted, those before it less than others.
    exclude_destinations: Vec<Vec<ClientId>>,
    /// `quality` or `speed`; anything else counts as `quality`.
    rank_mode: String,
    /// All alike, whatever their quality.
    force_minimum: bool,
}

/// Providers.
#[derive(Serialize, ToSchema)]
struct FindProviders2Result {
    /// Best tier first; empty when there are none left.
    providers: Vec<ProviderEntry>,
}

/// A provider.
#[derive(Serialize, ToSchema)]
struct ProviderEntry {
    /// The client.
    client_id: ClientId,
    /// Bytes per second, 0 when not measured.
    estimated_bytes_per_second: i64,
    /// Whether it was measured.
    has_estimated_bytes_per_second: bool,
    /// 0 is best.
    tier: u32,
    /// Clients on the way; always empty.
    intermediary_ids: [ClientId; 0],
    /// Where it is, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<ProviderLocation>,
}

/// Where a provider is; absent below the level that is known.
#[derive(Serialize, ToSchema)]
struct ProviderLocation {
    /// The country's name.
    country: String,
    /// Its code, in lower case.
    country_code: String,
    /// The region's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    region: String,
    /// The city's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    city: String,
    /// The country.
    country_location_id: LocationId,
    /// The region.
    #[serde(skip_serializing_if = "Option::is_none")]
    region_location_id: Option<LocationId>,
    /// The city.
    #[serde(skip_serializing_if = "Option::is_none")]
    city_location_id: Option<LocationId>,
    /// Where the city is.
    #[serde(skip_serializing_if = "Option::is_none")]
    city_coordinates: Option<CoordinatesEntry>,
}

/// A point on earth.
#[derive(Serialize, ToSchema)]
struct CoordinatesEntry {
    /// Degrees north.
    lat: f64,
    /// Degrees east.
    lon: f64,
}

impl From<Coordinates> for CoordinatesEntry {
    fn from(point: Coordinates) -> Self {
        Self { lat: point.latitude, lon: point.longitude }
    }
}

impl From<&Located> for ProviderLocation {
    fn from(located: &Located) -> Self {
        let place = &located.place;
        Self {
            country: place.country.clone(),
            country_code: place.country_code.as_str().into(),
            region: place.region.clone(),
            city: place.city.clone(),
            country_location_id: place.country_id(),
            region_location_id: place.region_id(),
            city_location_id: place.city_id(),
            city_coordinates: place.coordinates.filter(|_| !place.city.is_empty()).map(CoordinatesEntry::from),
        }
    }
}

impl From<FoundProvider> for ProviderEntry {
    fn from(found: FoundProvider) -> Self {
        Self {
            client_id: found.client_id,
            estimated_bytes_per_second: found.estimated_speed.map_or(0, |speed| speed as i64),
            has_estimated_bytes_per_second: found.estimated_speed.is_some(),
            tier: found.tier,
            intermediary_ids: [],
            location: found.located.as_deref().map(ProviderLocation::from),
        }
    }
}

/// Offers providers.
///
/// Needs no token. With one, providers of the caller's own network are offered too, and its own clients are not.
#[utoipa::path(
    post,
    path = "/network/find-providers2",
    tag = "providers",
    request_body = FindProviders2Args,
    responses((status = 200, body = FindProviders2Result))
)]
async fn find_providers2(
    State(state): State<ApiState>,
    MaybeCaller(caller): MaybeCaller,
    ClientAddress(address): ClientAddress,
    Body(args): Body<FindProviders2Args>,
) -> ApiResult<FindProviders2Result> {
    let mut excluded: HashSet<ClientId> = args.exclude_client_ids.into_iter().collect();
    let mut intermediaries = HashSet::new();
    for destination in &args.exclude_destinations {
        if let Some((last, before)) = destination.split_last() {
            excluded.insert(*last);
            intermediaries.extend(before);
        }
    }
    let search = FindProviders {
        specs: args.specs.iter().flat_map(SpecEntry::specs).collect(),
        count: args.count,
        force_count: args.force_count,
        excluded,
        intermediaries,
        mode: if args.rank_mode == "speed" { RankMode::Speed } else { RankMode::Quality },
        force_minimum: args.force_minimum,
        asker: asker(&state, caller.as_ref())?,
        country: country(&state, address),
    };
    let found = search.run(&state.providers, &mut rand::rng());
    Ok(Json(FindProviders2Result { providers: found.into_iter().map(ProviderEntry::from).collect() }))
}

/// A search for providers, in the form of old apps.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct FindProvidersArgs {
    /// A country, region or city; without it and without a group, anywhere.
    location_id: Option<LocationId>,
    /// A group of places.
    location_group_id: Option<LocationId>,
    /// How many; 200 at most, 20 when it is not given.
    count: i64,
    /// Never these clients; the name is an old mistake.
    exclude_location_ids: Vec<ClientId>,
    /// Never these clients either.
    exclude_client_ids: Vec<ClientId>,
}

/// Providers.
#[derive(Serialize, ToSchema)]
struct FindProvidersResult {
    /// The clients, best tier first; empty when there are none left.
    client_ids: Vec<ClientId>,
}

/// Offers providers, in the form of old apps.
///
/// Needs no token. With one, providers of the caller's own network are offered too, and its own clients are not.
#[utoipa::path(
    post,
    path = "/network/find-providers",
    tag = "providers",
    request_body = FindProvidersArgs,
    responses((status = 200, body = FindProvidersResult))
)]
async fn find_providers(
    State(state): State<ApiState>,
    MaybeCaller(caller): MaybeCaller,
    ClientAddress(address): ClientAddress,
    Body(args): Body<FindProvidersArgs>,
) -> ApiResult<FindProvidersResult> {
    let location = args.location_id.map(ProviderSpec::Location);
    let mut specs: Vec<_> = location.into_iter().chain(args.location_group_id.map(ProviderSpec::Group)).collect();
    if specs.is_empty() {
        specs.push(ProviderSpec::BestAvailable);
    }
    let search = FindProviders {
        specs,
        count: args.count,
        force_count: true,
        excluded: args.exclude_location_ids.into_iter().chain(args.exclude_client_ids).collect(),
        asker: asker(&state, caller.as_ref())?,
        country: country(&state, address),
        ..FindProviders::default()
    };
    let found = search.run(&state.providers, &mut rand::rng());
    Ok(Json(FindProvidersResult { client_ids: found.into_iter().map(|found| found.client_id).collect() }))
}

/// What is wanted, in plain words.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct CreateProviderSpecArgs {
    /// Names of places or groups, separated by commas or `or`; or ids of clients.
    query: String,
}

/// What is wanted, as specs.
#[derive(Serialize, ToSchema)]
struct CreateProviderSpecResult {
    /// For `/network/find-providers2`; empty when nothing was said.
    specs: Vec<SpecEntry>,
}

/// Reads specs from plain words.
///
/// Needs no token. Each part stands for the best place or group of that name, a single part for its five best; ids of
/// clients count alone; what means nothing known stands for any provider.
#[utoipa::path(
    post,
    path = "/network/create-provider-spec",
    tag = "providers",
    request_body = CreateProviderSpecArgs,
    responses((status = 200, body = CreateProviderSpecResult))
)]
async fn create_provider_spec(
    State(state): State<ApiState>,
    Body(args): Body<CreateProviderSpecArgs>,
) -> ApiResult<CreateProviderSpecResult> {
    let specs = wish::specs(&state.providers, &args.query);
    Ok(Json(CreateProviderSpecResult { specs: specs.into_iter().map(SpecEntry::from).collect() }))
}

/// The country that a call comes from, if known.
fn country(state: &ApiState, address: SocketAddr) -> Option<LocationId> {
    state.providers.geography().locate(address.ip()).map(|located| located.place.country_id())
}

/// The caller as far as offers depend on it.
pub fn asker(state: &ApiState, caller: Option<&Caller>) -> Result<Option<Asker>, DomainError> {
    let Some(caller) = caller else { return Ok(None) };
    let top_level_id = match caller.client_id() {
        None => None,
        Some(client_id) => {
            let client = state.service.read(&ReadClient(client_id))?;
            Some(client.and_then(|client| client.source_client_id).unwrap_or(client_id))
        }
    };
    Ok(Some(Asker { network_id: caller.network_id, top_level_id }))
}

#[cfg(test)]
pub(crate) mod tests;
