//! Providers: who is connected and offers to carry traffic.

use axum::Router;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Command, PAGE_MAX, cut, route};
use crate::http::error::ApiError;
use crate::http::state::ApiState;
use crate::ids::{ClientId, NetworkId};

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    route::<ListProviders>()
}

/// Lists the connected providers by client id, those included that are not offered yet.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ListProviders {
    /// Most providers to list
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=PAGE_MAX as i64))]
    pub limit: u32,
    /// Only those behind this one, the last of the list before
    #[arg(long, value_name = "CLIENT_ID")]
    pub after: Option<ClientId>,
}

/// A page of providers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Providers {
    /// The providers.
    pub providers: Vec<ListedProvider>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<ClientId>,
}

/// A provider.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListedProvider {
    /// The client.
    pub client_id: ClientId,
    /// Its network.
    pub network_id: NetworkId,
    /// Whether everyone may use it, or only its own network.
    pub is_public: bool,
    /// Its country; absent when that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Its region and city, as far as they are known.
    pub place: String,
}

impl Command for ListProviders {
    const PATH: &'static str = "/provider/list";
    type Answer = Providers;

    async fn run(self, state: &ApiState) -> Result<Providers, ApiError> {
        let limit = self.limit.min(PAGE_MAX);
        let mut providers = state.providers.with_candidates(|candidates| {
            candidates
                .page(self.after, limit as usize + 1)
                .into_iter()
                .map(|(client_id, candidate)| {
                    let place = candidate.located.as_ref().map(|located| &located.place);
                    let parts = place.map(|place| [place.region.as_str(), place.city.as_str()]).unwrap_or_default();
                    ListedProvider {
                        client_id,
                        network_id: candidate.network_id,
                        is_public: candidate.is_public,
                        country: place.map(|place| place.country.clone()),
                        place: parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "),
                    }
                })
                .collect::<Vec<_>>()
        });
        let next = cut(&mut providers, limit, |provider| provider.client_id);
        Ok(Providers { providers, next })
    }
}
