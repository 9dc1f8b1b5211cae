//! Where providers are.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::provider::{SpecEntry, asker};
use crate::domain::caller::Caller;
use crate::domain::client::ListClients;
use crate::domain::error::DomainError;
use crate::domain::location::group::{GROUPS, Group};
use crate::domain::location::place::LocationType;
use crate::domain::location::text::{normalise, normalise_query};
use crate::domain::provider::places::{self, FindPlaces, FoundPlaces, ListedPlace, countries};
use crate::domain::provider::wish;
use crate::http::answer::Json;
use crate::http::error::ApiResult;
use crate::http::extract::{Body, MaybeCaller};
use crate::http::state::ApiState;
use crate::ids::{ClientId, LocationId};

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(provider_locations))
        .routes(routes!(find_provider_locations))
        .routes(routes!(find_locations))
        .routes(routes!(providers_map))
}

/// Clients of a network that are looked through for a name.
const CLIENTS_MAX: usize = 1024;

/// The part of a query's length that may be wrong, when the caller asks for a part and does not say which.
const DEFAULT_FRACTION: f64 = 0.2;

/// A search for places by name.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct FindLocationsArgs {
    /// A name or the beginning of one, perhaps mistyped; or the id of a client.
    query: String,
    /// How much of the query may be wrong, as a part of its length, when `enable_max_distance_fraction` is set.
    max_distance_fraction: Option<f64>,
    /// Whether `max_distance_fraction` counts; otherwise two letters may be wrong.
    enable_max_distance_fraction: bool,
    /// Without effect.
    rank_mode: String,
}

/// Places to choose from.
#[derive(Default, Serialize, ToSchema)]
struct LocationsResult {
    /// One spec per place and device listed; older apps read it.
    specs: Vec<SpecEntry>,
    /// Groups of places.
    groups: Vec<GroupEntry>,
    /// Places.
    locations: Vec<LocationEntry>,
    /// Clients; a list of countries has none.
    devices: Vec<DeviceEntry>,
    /// Countries listed.
    country_count: usize,
    /// Regions listed.
    region_count: usize,
    /// Cities listed.
    city_count: usize,
    /// Stable places listed.
    stable_count: usize,
    /// Places listed where laws favour privacy.
    strong_privacy_count: usize,
}

/// A client.
#[derive(Serialize, ToSchema)]
struct DeviceEntry {
    /// The client.
    client_id: ClientId,
    /// The name of its device.
    device_name: String,
}

/// A group of places.
#[derive(Serialize, ToSchema)]
struct GroupEntry {
    /// The group.
    location_group_id: LocationId,
    /// Its name.
    name: &'static str,
    /// Whether apps show it first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    promoted: bool,
    /// Letters that the query is away from its name.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    match_distance: usize,
}

impl GroupEntry {
    fn new(group: &Group, match_distance: usize) -> Self {
        let location_group_id = group.id();
        Self { location_group_id, name: group.name, promoted: group.is_promoted, match_distance }
    }
}

/// A country, region or city.
#[derive(Serialize, ToSchema)]
struct LocationEntry {
    /// The place.
    location_id: LocationId,
    /// `country`, `region` or `city`.
    location_type: &'static str,
    /// Its name.
    name: String,
    /// Its city.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    city: String,
    /// Its region.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    region: String,
    /// Its country.
    country: String,
    /// Its city.
    #[serde(skip_serializing_if = "Option::is_none")]
    city_location_id: Option<LocationId>,
    /// Its region.
    #[serde(skip_serializing_if = "Option::is_none")]
    region_location_id: Option<LocationId>,
    /// Its country.
    country_location_id: LocationId,
    /// The country's code, in lower case.
    country_code: String,
    /// Providers in it.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    provider_count: usize,
    /// Letters that the query is away from its name; 3 when it only came along with another place.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    match_distance: usize,
    /// Whether enough good providers are in it.
    stable: bool,
    /// Whether it lies where laws favour privacy.
    strong_privacy: bool,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl From<ListedPlace> for LocationEntry {
    fn from(listed: ListedPlace) -> Self {
        let place = listed.place;
        let location_type = place.location_type();
        let name = match location_type {
            LocationType::Country => &place.country,
            LocationType::Region => &place.region,
            LocationType::City => &place.city,
        };
        Self {
            location_id: listed.location_id,
            location_type: location_type.as_str(),
            name: name.clone(),
            city_location_id: place.city_id(),
            region_location_id: place.region_id(),
            country_location_id: place.country_id(),
            country_code: place.country_code.as_str().into(),
            city: place.city,
            region: place.region,
            country: place.country,
            provider_count: listed.provider_count,
            match_distance: listed.match_distance,
            stable: listed.is_stable,
            strong_privacy: listed.has_strong_privacy,
        }
    }
}

impl LocationsResult {
    fn new(places: Vec<ListedPlace>, groups: Vec<GroupEntry>, devices: Vec<DeviceEntry>) -> Self {
        let locations: Vec<_> = places.into_iter().map(LocationEntry::from).collect();
        let of_type = |wanted: LocationType| {
            locations.iter().filter(|location| location.location_type == wanted.as_str()).count()
        };
        let place_specs = locations
            .iter()
            .map(|location| SpecEntry { location_id: Some(location.location_id), ..SpecEntry::default() });
        let device_specs =
            devices.iter().map(|device| SpecEntry { client_id: Some(device.client_id), ..SpecEntry::default() });
        Self {
            specs: place_specs.chain(device_specs).collect(),
            groups,
            devices,
            country_count: of_type(LocationType::Country),
            region_count: of_type(LocationType::Region),
            city_count: of_type(LocationType::City),
            stable_count: locations.iter().filter(|location| location.stable).count(),
            strong_privacy_count: locations.iter().filter(|location| location.strong_privacy).count(),
            locations,
        }
    }

    fn found(found: FoundPlaces, devices: Vec<DeviceEntry>) -> Self {
        let groups = found.groups.into_iter().map(|(group, distance)| GroupEntry::new(group, distance)).collect();
        Self::new(found.places, groups, devices)
    }

    /// What a query answers that is the id of a client: that client, existing or not.
    fn of_client(client_id: ClientId) -> Self {
        Self::new(Vec::new(), Vec::new(), vec![DeviceEntry { client_id, device_name: client_id.to_string() }])
    }
}

impl FindLocationsArgs {
    fn fraction(&self) -> Option<f64> {
        self.enable_max_distance_fraction.then(|| self.max_distance_fraction.unwrap_or(DEFAULT_FRACTION))
    }
}

/// Lists the countries that have providers.
///
/// Needs no token. With one, providers of the caller's own network count too.
#[utoipa::path(
    get,
    path = "/network/provider-locations",
    tag = "providers",
    responses((status = 200, body = LocationsResult))
)]
async fn provider_locations(
    State(state): State<ApiState>,
    MaybeCaller(caller): MaybeCaller,
) -> ApiResult<LocationsResult> {
    let asker = asker(&state, caller.as_ref())?;
    let promoted = GROUPS.iter().filter(|group| group.is_promoted).map(|group| GroupEntry::new(group, 0));
    Ok(Json(LocationsResult::new(countries(&state.providers, asker), promoted.collect(), Vec::new())))
}

/// Finds places with providers by name.
///
/// Needs no token. What the places lie in comes along, and so do the largest places inside them. An empty query lists
/// the countries, the id of a client finds that client only.
#[utoipa::path(
    post,
    path = "/network/find-provider-locations",
    tag = "providers",
    request_body = FindLocationsArgs,
    responses((status = 200, body = LocationsResult))
)]
async fn find_provider_locations(
    State(state): State<ApiState>,
    MaybeCaller(caller): MaybeCaller,
    Body(args): Body<FindLocationsArgs>,
) -> ApiResult<LocationsResult> {
    if let Some(client_id) = wish::client_id(&args.query) {
        return Ok(Json(LocationsResult::of_client(client_id)));
    }
    let asker = asker(&state, caller.as_ref())?;
    if args.query.trim().is_empty() {
        return Ok(Json(LocationsResult::new(countries(&state.providers, asker), Vec::new(), Vec::new())));
    }
    let find = FindPlaces { query: &args.query, max_distance_fraction: args.fraction(), asker };
    Ok(Json(LocationsResult::found(find.with_providers(&state.providers), Vec::new())))
}

/// Finds places, groups of places and devices by name.
///
/// Needs no token. Places are found whether or not they have providers. With a token, the devices of the caller's
/// network are found too.
#[utoipa::path(
    post,
    path = "/network/find-locations",
    tag = "providers",
    request_body = FindLocationsArgs,
    responses((status = 200, body = LocationsResult))
)]
async fn find_locations(
    State(state): State<ApiState>,
    MaybeCaller(caller): MaybeCaller,
    Body(args): Body<FindLocationsArgs>,
) -> ApiResult<LocationsResult> {
    if let Some(client_id) = wish::client_id(&args.query) {
        return Ok(Json(LocationsResult::of_client(client_id)));
    }
    let asker = asker(&state, caller.as_ref())?;
    let find = FindPlaces { query: &args.query, max_distance_fraction: args.fraction(), asker };
    let devices = match &caller {
        Some(caller) => devices(&state, caller, &normalise_query(&args.query))?,
        None => Vec::new(),
    };
    Ok(Json(LocationsResult::found(find.anywhere(&state.providers), devices)))
}

/// The devices of the caller's network in whose name a word begins with the query.
fn devices(state: &ApiState, caller: &Caller, query: &str) -> Result<Vec<DeviceEntry>, DomainError> {
    if query.is_empty() {
        return Ok(Vec::new());
    }
    let operation = ListClients { network_id: caller.network_id, connected: Vec::new(), max_count: CLIENTS_MAX };
    let clients = state.service.read(&operation)?.into_iter().filter(|listed| listed.client.is_top_level());
    let named = clients.map(|listed| {
        let device_name = listed.device.map(|device| device.device_name).filter(|name| !name.is_empty());
        DeviceEntry { client_id: listed.client_id, device_name: device_name.unwrap_or(listed.client.description) }
    });
    Ok(named.filter(|device| begins_a_word(&normalise(&device.device_name), query)).collect())
}

fn begins_a_word(name: &str, query: &str) -> bool {
    let starts = name.match_indices(' ').map(|(at, _)| at + 1);
    std::iter::once(0).chain(starts).any(|at| name[at..].starts_with(query))
}

/// The regions with providers: by country code, then by the name of the region.
type ProvidersMap = BTreeMap<String, BTreeMap<String, MapEntry>>;

/// A region with providers.
#[derive(Serialize, ToSchema)]
struct MapEntry {
    /// Providers that everyone may use.
    provider_count: usize,
    /// Degrees north.
    lat: f64,
    /// Degrees east.
    lon: f64,
}

/// Lists the regions with providers by country code and name, for a map.
///
/// Needs no token. A region nobody knows the whereabouts of is left out.
#[utoipa::path(
    get,
    path = "/stats/providers-map",
    tag = "stats",
    responses((status = 200, body = BTreeMap<String, BTreeMap<String, MapEntry>>))
)]
async fn providers_map(State(state): State<ApiState>) -> ApiResult<ProvidersMap> {
    let mut map = ProvidersMap::new();
    for region in places::map(&state.providers) {
        let entry =
            MapEntry { provider_count: region.provider_count, lat: region.point.latitude, lon: region.point.longitude };
        map.entry(region.place.country_code.as_str().into()).or_default().insert(region.place.region, entry);
    }
    Ok(Json(map))
}

#[cfg(test)]
mod tests;
