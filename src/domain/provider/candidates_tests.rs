use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;
use crate::domain::location::geoip::NetworkKind;
use crate::domain::location::place::LocationType;
use crate::domain::provider::pool::Weighting;
use crate::domain::provider::rank::Reliability;
use crate::domain::testing::id;

fn candidate(client: u8, city: u8, is_public: bool) -> Candidate {
    let located = (city > 0).then(|| {
        let place = Place::new("de", "", &format!("Region {}", city % 2), &format!("City {city}")).unwrap();
        Arc::new(Located { place, network: NetworkKind::default() })
    });
    let address = IpAddr::from([10, client % 7, 0, 1]);
    Candidate { is_public, ..Candidate::new(id(client), id(client % 3), address, located) }
}

fn members(candidates: &Candidates, pool: &Pool) -> BTreeSet<ClientId> {
    pool.shares(Weighting::Equal).map(|share| candidates.at(share.slot).unwrap().client_id).collect()
}

proptest! {
    /// Whatever comes, goes and changes: each candidate lies in its own pools and in no others.
    #[test]
    fn every_candidate_lies_in_its_pools(steps in proptest::collection::vec((0u8..4, 0u8..30, 0u8..6, any::<bool>()), 1..200)) {
        let mut candidates = Candidates::default();
        let mut there: HashMap<u8, Candidate> = HashMap::new();
        for (step, client, city, is_public) in steps {
            match step {
                0 => {
                    candidates.remove(id(client));
                    there.remove(&client);
                }
                1 => {
                    let shares = [f64::from(city) / 6.0; 3];
                    let health = Health { reliability: Reliability { shares, is_abnormal: false }, ..Health::UNKNOWN };
                    candidates.set_health(id(client), health);
                }
                _ => {
                    candidates.insert(candidate(client, city, is_public));
                    there.insert(client, candidate(client, city, is_public));
                }
            }
            candidates.announce(Timestamp::ZERO, usize::MAX);
        }
        let expected = |wanted: &dyn Fn(&Candidate) -> bool| -> BTreeSet<ClientId> {
            there.values().filter(|candidate| wanted(candidate)).map(|candidate| candidate.client_id).collect()
        };
        prop_assert_eq!(members(&candidates, candidates.public()), expected(&|candidate| candidate.is_public));
        for network in 0..3 {
            let private = candidates.private(id(network)).map(|pool| members(&candidates, pool)).unwrap_or_default();
            let own = expected(&|candidate| !candidate.is_public && candidate.network_id == id(network));
            prop_assert_eq!(private, own);
        }
        let place_ids: HashSet<_> = there.values().filter(|candidate| candidate.is_public).flat_map(|candidate| candidate.place_ids.clone()).collect();
        prop_assert_eq!(candidates.places().map(|(id, _)| id).collect::<HashSet<_>>(), place_ids.clone());
        for place in place_ids {
            let pool = &candidates.place(place).unwrap().providers;
            let inside = expected(&|candidate| candidate.is_public && candidate.place_ids.contains(&place));
            prop_assert_eq!(members(&candidates, pool), inside);
        }
        for (around, known) in candidates.places() {
            let largest = |kind: LocationType| {
                let inside = candidates.places().filter(|(id, other)| {
                    *id != around && other.level_ids.contains(&around) && other.place.location_type() == kind
                });
                let counted: BTreeSet<_> = inside.map(|(id, other)| (Reverse(other.providers.len()), id)).collect();
                counted.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
            };
            prop_assert_eq!(known.regions().collect::<Vec<_>>(), largest(LocationType::Region));
            prop_assert_eq!(known.cities().collect::<Vec<_>>(), largest(LocationType::City));
        }
    }
}

#[test]
fn candidates_wait_for_their_time_and_keep_their_turn_when_replaced() {
    let mut candidates = Candidates::default();
    let due = |at| Candidate { announce_time: Timestamp::from_secs(at), ..candidate(1, 1, true) };
    candidates.insert(due(10));
    assert!(!candidates.is_due(Timestamp::from_secs(9)) && candidates.public().is_empty());
    candidates.insert(due(20));
    assert!(candidates.is_due(Timestamp::from_secs(10)), "the earlier time counts");
    candidates.announce(Timestamp::from_secs(10), 1);
    assert_eq!(candidates.public().len(), 1);
    assert_eq!(candidates.take_fresh_places().len(), 3);
    assert!(!candidates.has_fresh_places());
}
