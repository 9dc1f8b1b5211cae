//! The two machines together: scripts of what opens, closes and is said.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use prost::Message;

use super::key::{Hop, pair};
use super::members::{Choice, ContractKind, LIFETIME, MAX_INTERMEDIARIES, Members, StreamWish, TooManyStreams};
use super::*;
use crate::domain::testing::id;
use crate::ids::Id;
use crate::time::Timestamp;
use crate::wire::messages::Pack;

mod model;

fn wish(is_forced: bool, between: &[u8]) -> StreamWish {
    StreamWish { is_forced, intermediary_ids: between.iter().map(|node| id(*node)).collect() }
}

fn number<I: Id>(number: u64) -> I {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    I::from_bytes(bytes)
}

/// Both machines. Streams are numbered from 1 as they are made.
struct Script {
    members: Members,
    hops: Hops,
    now: Timestamp,
    streams: u64,
    contracts: BTreeMap<u64, Stream>,
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Stream, previous node and next one; 0 for none.
    Open(u64, u8, u8),
    Close(u64),
    Reset(Vec<(u64, u8, u8)>),
}
use Said::{Close, Open, Reset};

fn node(id: Option<&bytes::Bytes>) -> u8 {
    id.map_or(0, |id| id[0])
}

fn stream_number(id: &[u8]) -> u64 {
    u64::from_be_bytes(*id.first_chunk().unwrap())
}

fn said(push: &Push) -> Said {
    let hop = |open: &crate::wire::messages::StreamOpen| {
        (stream_number(&open.stream_id), node(open.source_id.as_ref()), node(open.destination_id.as_ref()))
    };
    match push {
        Push::StreamOpen(open) => {
            let (stream, previous, next) = hop(open);
            Open(stream, previous, next)
        }
        Push::StreamClose(close) => Close(stream_number(&close.stream_id)),
        Push::StreamReset(reset) => Reset(reset.streams.iter().map(hop).collect()),
        other => panic!("unexpected {other:?}"),
    }
}

impl Script {
    fn new() -> Self {
        let (members, hops) = (Members::default(), Hops::default());
        Self { members, hops, now: Timestamp::from_secs(1_000_000), streams: 0, contracts: BTreeMap::new() }
    }

    /// Makes a contract; says which stream it entered, 0 for none.
    fn create(&mut self, contract: u64, ends: (u8, u8), kind: ContractKind, wish: StreamWish) -> u64 {
        self.try_create(contract, (id(ends.0), id(ends.1)), kind, &wish).unwrap()
    }

    fn try_create(
        &mut self,
        contract: u64,
        ends: (ClientId, ClientId),
        kind: ContractKind,
        wish: &StreamWish,
    ) -> Result<u64, TooManyStreams> {
        let choice = self.members.choose(self.now, ends, kind, wish)?;
        let stream = self.members.enter(self.now, number(contract), choice, || {
            self.streams += 1;
            number(self.streams)
        });
        let entered = stream.as_ref().map_or(0, |stream| stream_number(stream.id.as_bytes()));
        self.contracts.extend(stream.map(|stream| (contract, stream)));
        Ok(entered)
    }

    fn close(&mut self, contract: u64) {
        if let Some(stream) = self.contracts.remove(&contract) {
            self.members.leave(number(contract), &stream);
        }
    }

    fn wait(&mut self, by: Duration) {
        self.now = self.now + by;
        self.members.expire(self.now);
    }

    fn publish(&mut self) {
        self.hops.handle_events(self.members.take_events());
    }

    /// Checks that exactly these packs leave, in this order.
    #[track_caller]
    fn expect<const N: usize>(&mut self, packs: [(u8, Vec<Said>); N]) {
        self.publish();
        let mut left = Vec::new();
        while let Some((client_id, pushes)) = self.hops.pop_output() {
            left.push((client_id.as_bytes()[0], pushes.iter().map(said).collect::<Vec<_>>()));
        }
        assert_eq!(left, packs);
    }
}

const FORCED: fn() -> StreamWish = || wish(true, &[]);
const PLAIN: fn() -> StreamWish = || wish(false, &[]);
use ContractKind::{Companion, Network, Public};

#[test]
fn the_first_contract_opens_and_the_last_one_closes() {
    let mut script = Script::new();
    assert_eq!(script.create(1, (2, 1), Public, FORCED()), 1);
    script.expect([(1, vec![Open(1, 0, 2)]), (2, vec![Open(1, 1, 0)])]);
    assert_eq!(script.create(2, (1, 2), Public, FORCED()), 1, "the other direction is the same stream");
    script.close(1);
    script.expect([]);
    script.close(2);
    script.expect([(1, vec![Close(1)]), (2, vec![Close(1)])]);
    assert_eq!(script.hops.stream_count(), 0);
}

#[test]
fn every_node_of_a_way_hears_of_its_neighbours() {
    let mut script = Script::new();
    assert_eq!(script.create(1, (9, 2), Network, wish(false, &[7, 5])), 1);
    script.expect([
        (2, vec![Open(1, 0, 5)]),
        (5, vec![Open(1, 2, 7)]),
        (7, vec![Open(1, 5, 9)]),
        (9, vec![Open(1, 7, 0)]),
    ]);
    assert_eq!(script.create(2, (2, 9), Network, wish(false, &[5, 7])), 1, "the way back");
    assert_eq!(script.create(3, (2, 9), Network, wish(false, &[7, 5])), 2, "another way");
}

#[test]
fn contracts_within_a_network_join_any_stream_of_their_pair() {
    let mut script = Script::new();
    assert_eq!(script.create(1, (1, 2), Network, PLAIN()), 0);
    assert_eq!(script.create(2, (1, 2), Network, wish(false, &[5])), 1);
    assert_eq!(script.create(3, (2, 1), Network, PLAIN()), 1);
    assert_eq!(script.create(4, (2, 1), Network, FORCED()), 1, "any stream will do");
    assert_eq!(script.create(5, (1, 2), Public, FORCED()), 2, "a paid one wants exactly its nodes");
    assert_eq!(script.create(6, (1, 2), Network, PLAIN()), 2, "the shortest way of several");
    assert_eq!(script.create(7, (1, 3), Network, FORCED()), 3, "none of another pair");
}

#[test]
fn paid_contracts_have_a_stream_only_if_they_ask_for_it() {
    let mut script = Script::new();
    assert_eq!(script.create(1, (1, 2), Public, FORCED()), 1);
    assert_eq!(script.create(2, (1, 2), Public, PLAIN()), 0);
    assert_eq!(script.create(3, (1, 2), Public, wish(false, &[5])), 2);
}

#[test]
fn replies_join_the_stream_of_their_origin_or_any_of_the_pair_but_open_none() {
    let mut script = Script::new();
    assert_eq!(script.create(1, (2, 1), Companion(None), FORCED()), 0);
    assert_eq!(script.create(2, (1, 2), Public, FORCED()), 1);
    assert_eq!(script.create(3, (1, 2), Public, wish(false, &[5])), 2);
    assert_eq!(script.create(4, (2, 1), Companion(Some(number(2))), PLAIN()), 2);
    assert_eq!(script.create(5, (2, 1), Companion(None), PLAIN()), 1);
    script.close(3);
    script.close(4);
    assert_eq!(script.create(6, (2, 1), Companion(Some(number(2))), PLAIN()), 1, "its origin's stream is gone");
}

#[test]
fn a_dead_stream_is_never_joined() {
    let mut script = Script::new();
    assert_eq!(script.create(1, (1, 2), Public, FORCED()), 1);
    // Chosen, but not entered before it died: what the ledger cannot do, and must not matter.
    let choice = script.members.choose(script.now, (id(1), id(2)), Public, &FORCED()).unwrap();
    assert_eq!(choice, Choice::Join(number(1)));
    script.close(1);
    assert_eq!(script.members.enter(script.now, number(2), choice, || unreachable!()), None);
    assert_eq!(script.create(3, (1, 2), Public, FORCED()), 2);
    script
        .expect([(1, vec![Open(1, 0, 2), Close(1), Open(2, 0, 2)]), (2, vec![Open(1, 1, 0), Close(1), Open(2, 1, 0)])]);
}

#[test]
fn eight_hours_after_its_newest_contract_a_stream_closes() {
    let mut script = Script::new();
    script.create(1, (1, 2), Public, FORCED());
    script.wait(LIFETIME / 2);
    script.create(2, (1, 2), Public, FORCED());
    script.wait(LIFETIME - Duration::from_millis(1));
    script.publish();
    assert_eq!(script.hops.stream_count(), 1);
    script.wait(Duration::from_millis(1));
    script.publish();
    assert_eq!((script.hops.stream_count(), script.members.iter().count()), (0, 0));
    assert_eq!(script.create(3, (1, 2), Public, FORCED()), 2);
    for contract in [1, 2] {
        script.close(contract);
    }
    script.publish();
    assert_eq!(script.hops.stream_count(), 1, "contracts of the dead stream do not close its successor");
}

#[test]
fn time_that_passed_unnoticed_counts_before_a_stream_is_joined() {
    let mut script = Script::new();
    script.create(1, (1, 2), Public, FORCED());
    script.now = script.now + LIFETIME;
    assert_eq!(script.create(2, (1, 2), Network, PLAIN()), 0);
}

#[test]
fn contracts_of_before_a_restart_bring_their_streams_back() {
    let mut script = Script::new();
    script.create(1, (1, 2), Public, FORCED());
    script.wait(LIFETIME / 2);
    script.create(2, (2, 1), Public, FORCED());
    script.create(3, (1, 3), Public, FORCED());
    script.close(3);
    let start = script.now.before(LIFETIME / 2);
    let kept = std::mem::take(&mut script.contracts);
    (script.members, script.hops) = (Members::default(), Hops::default());
    for (contract, stream) in &kept {
        script.members.restore(number(*contract), stream, if *contract == 1 { start } else { script.now });
    }
    script.contracts = kept;
    script.wait(LIFETIME / 2);
    script.publish();
    while script.hops.pop_output().is_some() {}
    assert_eq!(script.create(4, (1, 2), Network, PLAIN()), 1);
    script.hops.handle_resync(id(2));
    script.hops.handle_resync(id(3));
    script.expect([(2, vec![Reset(vec![(1, 1, 0)])]), (3, vec![Reset(vec![])])]);
    for contract in [1, 2, 4] {
        script.close(contract);
    }
    script.expect([(1, vec![Close(1)]), (2, vec![Close(1)])]);
}

#[test]
fn a_stream_that_died_before_the_restart_stays_dead() {
    let mut script = Script::new();
    script.create(1, (1, 2), Public, FORCED());
    let old = script.contracts[&1].clone();
    script.wait(LIFETIME);
    script.create(2, (1, 2), Public, FORCED());
    let young = script.contracts[&2].clone();
    script.members = Members::default();
    script.members.restore(number(1), &old, script.now.before(LIFETIME));
    script.members.restore(number(2), &young, script.now);
    script.members.expire(script.now);
    let live: Vec<_> = script.members.iter().map(|(stream, ..)| stream).collect();
    assert_eq!(live, [number(2)]);
    assert_eq!(script.create(3, (1, 2), Public, FORCED()), 2);
}

#[test]
fn a_long_list_comes_as_a_reset_and_opens_behind_it_in_packs_of_3000_bytes() {
    let mut script = Script::new();
    for peer in 1..=120 {
        let ends = (id(0xff), number(peer));
        script.try_create(peer, ends, Public, &FORCED()).unwrap();
    }
    script.publish();
    while script.hops.pop_output().is_some() {}
    script.hops.handle_resync(id(0xff));
    let mut hops = HashSet::new();
    for at in 0.. {
        let Some((client_id, pack)) = script.hops.pop_output() else { break };
        assert_eq!(client_id, id(0xff));
        let frames: Vec<_> = pack.iter().map(Push::to_frame).collect();
        assert!(Pack { frames, ..Pack::default() }.encoded_len() <= 3000, "{}", pack.len());
        for push in &pack {
            match push {
                Push::StreamReset(reset) => {
                    assert_eq!((at, pack.len(), reset.streams.len()), (0, 1, 50));
                    hops.extend(reset.streams.iter().map(|open| open.stream_id.clone()));
                }
                Push::StreamOpen(open) => drop(hops.insert(open.stream_id.clone())),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
    assert_eq!(hops.len(), 120);
}

#[test]
fn a_pack_of_hops_with_two_neighbours_fits_too() {
    let mut script = Script::new();
    for ends in 1..=100 {
        let way = wish(false, &[0xff]);
        script.try_create(ends, (number(2 * ends), number(2 * ends + 1)), Network, &way).unwrap();
    }
    script.publish();
    while let Some((client_id, pack)) = script.hops.pop_output() {
        let frames: Vec<_> = pack.iter().map(Push::to_frame).collect();
        let bytes = Pack { frames, ..Pack::default() }.encoded_len();
        assert!(bytes <= 3000, "{bytes}");
        assert!(client_id != id(0xff) || bytes > 200, "many in one pack");
    }
    script.hops.handle_resync(id(0xff));
    let reset = script.hops.pop_output().unwrap().1;
    assert!(Pack { frames: vec![reset[0].to_frame()], ..Pack::default() }.encoded_len() <= 3000);
}

#[test]
fn nobody_is_named_in_more_streams_than_its_list_can_hold() {
    let mut script = Script::new();
    let way = wish(false, &[0xff]);
    for ends in 1..=1024 {
        script.try_create(ends, (number(2 * ends), number(2 * ends + 1)), Network, &way).unwrap();
    }
    let more = (number::<ClientId>(9000), number(9001));
    assert_eq!(script.try_create(2000, more, Network, &way), Err(TooManyStreams));
    assert_eq!(script.try_create(2001, (number(2), number(3)), Network, &way), Ok(1), "no new stream");
    assert!(script.try_create(2002, (id(0xff), number(9001)), Network, &FORCED()).is_ok(), "its own are its own");
    script.close(1024);
    assert!(script.try_create(2003, more, Network, &way).is_ok());
}
