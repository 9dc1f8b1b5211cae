//! From a client's request to a contract the ledger can make: the checks, the parties, the mode, the size.

use std::collections::HashSet;

use super::create::{NewContract, Payment};
use super::record::Side;
use crate::domain::client::{self, ClientRecord};
use crate::domain::client_key::{PublishedKeys, published_keys};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::provide::{ProvideSet, provide_set};
use crate::domain::service::Service;
use crate::domain::stream::members::{MAX_INTERMEDIARIES, StreamWish};
use crate::ids::ClientId;
use crate::wire::messages::{ContractError, CreateContract, ProvideMode};

/// Smallest contract.
pub const MIN_CONTRACT_BYTES: u64 = 1 << 20;

/// Largest contract; clients ask for up to half of it.
pub const MAX_CONTRACT_BYTES: u64 = 256 << 20;

/// A request that may be granted, and what its answer is made of.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) new: NewContract,
    /// The secret of the destination for the mode.
    pub(super) secret: Vec<u8>,
    pub(super) keys: PublishedKeys,
    /// The source's identity, for contracts within a network only.
    pub(super) roles: Vec<String>,
    pub(super) principal: String,
}

/// Checks a request of `source` against what is known of both clients.
pub(super) fn grant(
    service: &Service,
    source_id: ClientId,
    request: &CreateContract,
) -> Result<Granted, ContractError> {
    let destination_id = ClientId::from_slice(request.destination_id()).ok_or(ContractError::Invalid)?;
    if destination_id.is_control() || destination_id == source_id {
        return Err(ContractError::Invalid);
    }
    let stream = stream_wish(source_id, destination_id, request)?;
    let intermediary_ids = stream.as_ref().map_or(&[][..], |wish| &wish.intermediary_ids);
    let hop_count = 1 + intermediary_ids.len() as i64;
    let parties = service.read(&ReadParties { source_id, destination_id, intermediary_ids }).map_err(|error| {
        tracing::error!(%error, "the parties of a contract cannot be read");
        ContractError::Setup
    })?;
    let Parties { source, destination, provides, keys, has_intermediaries } =
        parties.ok_or(ContractError::NoPermission)?;
    if !has_intermediaries {
        return Err(ContractError::Setup);
    }
    let is_same_network = source.network_id == destination.network_id;
    let relationship = if is_same_network { ProvideMode::Network } else { ProvideMode::Public };
    let mode = choose_mode(relationship, request.companion, &provides).ok_or(ContractError::NoPermission)?;
    let secret = provides.secret(mode).ok_or(ContractError::NoPermission)?.to_vec();
    let payment = match mode {
        ProvideMode::Network => Payment::None,
        ProvideMode::Stream => Payment::Companion,
        _ => Payment::Source,
    };
    let new = NewContract {
        source: Side { client_id: source_id, network_id: source.network_id },
        destination: Side { client_id: destination_id, network_id: destination.network_id },
        transfer_bytes: granted_bytes(request.transfer_byte_count) * hop_count,
        provide_mode: mode,
        payment,
        stream,
    };
    // Anyone else would learn who the source is.
    let (roles, principal) = match mode {
        ProvideMode::Network => (source.roles, source.principal),
        _ => Default::default(),
    };
    Ok(Granted { new, secret, keys, roles, principal })
}

/// The mode to sign with, out of what the destination provides. Stream means a companion: a reply to a contract in the
/// other direction, which is also how clients that provide nothing but Stream get their replies.
fn choose_mode(relationship: ProvideMode, companion: bool, provides: &ProvideSet) -> Option<ProvideMode> {
    let is_direct = provides.contains(relationship) && (!companion || relationship == ProvideMode::Network);
    let mode = if is_direct { relationship } else { ProvideMode::Stream };
    provides.contains(mode).then_some(mode)
}

/// The size granted; compared unsigned, so that a huge request gets the largest.
fn granted_bytes(requested: u64) -> i64 {
    requested.clamp(MIN_CONTRACT_BYTES, MAX_CONTRACT_BYTES) as i64
}

/// What a request says about streams; `None` from a client that knows none. Refused is a way that cannot be gone: too
/// long, not all ids, a node twice, or asked for by a client that would not hear of its stream.
fn stream_wish(
    source: ClientId,
    destination: ClientId,
    request: &CreateContract,
) -> Result<Option<StreamWish>, ContractError> {
    let knows_streams = request.stream_version() >= 1;
    let count = request.intermediary_ids.len();
    if count > MAX_INTERMEDIARIES || (count > 0 && !knows_streams) {
        return Err(ContractError::Setup);
    }
    let mut nodes = HashSet::from([ClientId::CONTROL, source, destination]);
    let between = request.intermediary_ids.iter().map(|id| ClientId::from_slice(id).filter(|id| nodes.insert(*id)));
    let intermediary_ids = between.collect::<Option<Vec<_>>>().ok_or(ContractError::Setup)?;
    Ok(knows_streams.then(|| StreamWish { is_forced: request.force_stream(), intermediary_ids }))
}

/// What is known of the two clients of a contract, and of those between them.
struct Parties {
    source: ClientRecord,
    destination: ClientRecord,
    provides: ProvideSet,
    keys: PublishedKeys,
    /// Every client between them is active.
    has_intermediaries: bool,
}

/// Reads both clients; `None` when either is unknown or removed.
struct ReadParties<'a> {
    source_id: ClientId,
    destination_id: ClientId,
    intermediary_ids: &'a [ClientId],
}

impl Operation for ReadParties<'_> {
    type Output = Option<Parties>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Parties>, DomainError> {
        let Some(source) = client::active(tx, &self.source_id)? else { return Ok(None) };
        let Some(destination) = client::active(tx, &self.destination_id)? else { return Ok(None) };
        let provides = provide_set(tx, self.destination_id)?;
        let keys = published_keys(tx, &self.destination_id)?;
        let mut has_intermediaries = true;
        for id in self.intermediary_ids {
            has_intermediaries &= client::active(tx, id)?.is_some();
        }
        Ok(Some(Parties { source, destination, provides, keys, has_intermediaries }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provides(modes: &[ProvideMode]) -> ProvideSet {
        let mut set = ProvideSet::default();
        for mode in modes {
            set.insert(*mode, vec![1; 32]);
        }
        set
    }

    #[test]
    fn every_subset_of_modes_gives_the_documented_mode() {
        use ProvideMode::{Network, Public, Stream};
        for bits in 0..8u8 {
            let chosen: Vec<_> =
                [Network, Public, Stream].into_iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).collect();
            let set = provides(&chosen.iter().map(|(_, mode)| *mode).collect::<Vec<_>>());
            let stream = set.contains(Stream).then_some(Stream);
            let network = set.contains(Network).then_some(Network);
            let public = set.contains(Public).then_some(Public);
            assert_eq!(choose_mode(Network, false, &set), network.or(stream), "same network, {set:?}");
            assert_eq!(choose_mode(Network, true, &set), network.or(stream), "same network, companion, {set:?}");
            assert_eq!(choose_mode(Public, false, &set), public.or(stream), "other network, {set:?}");
            assert_eq!(choose_mode(Public, true, &set), stream, "other network, companion, {set:?}");
        }
    }

    #[test]
    fn public_stream_and_friends_are_never_chosen() {
        let set = provides(&[ProvideMode::FriendsAndFamily, ProvideMode::PublicStream]);
        for relationship in [ProvideMode::Network, ProvideMode::Public] {
            for companion in [false, true] {
                assert_eq!(choose_mode(relationship, companion, &set), None);
            }
        }
    }

    #[test]
    fn sizes_are_clamped_unsigned() {
        const MIB: u64 = 1 << 20;
        let cases = [
            (0, MIB),
            (1, MIB),
            (MIB - 1, MIB),
            (MIB + 1, MIB + 1),
            (256 * MIB + 1, 256 * MIB),
            (1 << 63, 256 * MIB),
            (u64::MAX, 256 * MIB),
        ];
        for (requested, granted) in cases {
            assert_eq!(granted_bytes(requested), granted as i64, "{requested}");
        }
    }
}
