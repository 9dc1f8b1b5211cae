//! Where providers are.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::provider::{SpecEntry, asker};
use crate::domain::location::group::GROUPS;
use crate::domain::location::place::LocationType;
use crate::domain::provider::places::{ListedPlace, countries};
use crate::http::error::ApiResult;
use crate::http::extract::MaybeCaller;
use crate::http::state::ApiState;
use crate::ids::{ClientId, LocationId};

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(provider_locations))
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
    devices: [ClientId; 0],
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
            stable: listed.is_stable,
            strong_privacy: listed.has_strong_privacy,
        }
    }
}

impl LocationsResult {
    fn of(listed: Vec<ListedPlace>) -> Self {
        let locations: Vec<_> = listed.into_iter().map(LocationEntry::from).collect();
        let of_type = |wanted: LocationType| {
            locations.iter().filter(|location| location.location_type == wanted.as_str()).count()
        };
        let spec =
            |location: &LocationEntry| SpecEntry { location_id: Some(location.location_id), ..SpecEntry::default() };
        Self {
            specs: locations.iter().map(spec).collect(),
            groups: Vec::new(),
            devices: [],
            country_count: of_type(LocationType::Country),
            region_count: of_type(LocationType::Region),
            city_count: of_type(LocationType::City),
            stable_count: locations.iter().filter(|location| location.stable).count(),
            strong_privacy_count: locations.iter().filter(|location| location.strong_privacy).count(),
            locations,
        }
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
    let mut result = LocationsResult::of(countries(&state.providers, asker));
    result.groups = GROUPS
        .iter()
        .filter(|group| group.is_promoted)
        .map(|group| GroupEntry { location_group_id: group.id(), name: group.name, promoted: true })
        .collect();
    Ok(Json(result))
}

#[cfg(test)]
mod tests;
