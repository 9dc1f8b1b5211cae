//! What any engine must do, run against each.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use warren::config::store::Store as Settings;
use warren::ids::{ClientId, NetworkId};
use warren::json_record;
use warren::store::memory::MemoryStore;
use warren::store::sled::SledStore;
use warren::store::table::Table;
use warren::store::transaction::Transaction;
use warren::store::{Commit, Committed, Store, Version};

/// Runs a check against every engine.
fn with_engines(check: impl Fn(Arc<dyn Store>)) {
    check(Arc::new(MemoryStore::new()));
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { path: folder.path().into(), ..Settings::default() };
    check(Arc::new(SledStore::open(&settings).unwrap()));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn put(key: &str, value: &str) -> Commit {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Commit { reads: vec![], writes: vec![(key.into(), Some(value))] }
}

#[test]
fn a_commit_is_refused_when_something_it_read_has_changed() {
    with_engines(|store| {
        runtime().block_on(async {
            assert_eq!(store.commit(put("a", "1")).await.unwrap(), Committed::Yes);
            let seen = store.get(b"a").unwrap().unwrap().version;
            let mut based_on_seen = put("b", "from 1");
            based_on_seen.reads.push((b"a".to_vec(), seen));
            assert_eq!(store.commit(put("a", "2")).await.unwrap(), Committed::Yes);
            assert_eq!(store.commit(based_on_seen).await.unwrap(), Committed::Conflict);
            assert_eq!(store.get(b"b").unwrap(), None);
        });
    });
}

#[test]
fn a_commit_that_read_nothing_there_is_refused_once_something_is() {
    with_engines(|store| {
        runtime().block_on(async {
            let mut first = put("a", "first");
            first.reads.push((b"a".to_vec(), Version::ABSENT));
            let second = Commit { writes: put("a", "second").writes, ..first.clone() };
            // Submitted together, so that one batch must see both.
            let (first, second) = (store.commit(first), store.commit(second));
            assert_eq!(first.await.unwrap(), Committed::Yes);
            assert_eq!(second.await.unwrap(), Committed::Conflict);
            assert_eq!(&store.get(b"a").unwrap().unwrap().value[..], b"first");
        });
    });
}

#[test]
fn deleted_and_made_again_is_not_the_same_row() {
    with_engines(|store| {
        runtime().block_on(async {
            store.commit(put("a", "1")).await.unwrap();
            let seen = store.get(b"a").unwrap().unwrap().version;
            store.commit(Commit { reads: vec![], writes: vec![(b"a".to_vec(), None)] }).await.unwrap();
            store.commit(put("a", "1")).await.unwrap();
            let mut late = put("b", "x");
            late.reads.push((b"a".to_vec(), seen));
            assert_eq!(store.commit(late).await.unwrap(), Committed::Conflict);
        });
    });
}

const MEMBERS: Table<(NetworkId, ClientId), ()> = Table::guarded(60_001, "members", 16);

#[test]
fn a_row_that_appears_under_a_scanned_prefix_is_a_conflict() {
    with_engines(|store| {
        runtime().block_on(async {
            let (network, other) = (NetworkId::new([1; 16]), NetworkId::new([2; 16]));
            let mut counting = Transaction::new(&*store);
            assert!(counting.scan(&MEMBERS, &network).unwrap().is_empty());
            counting.put(&MEMBERS, &(network, ClientId::new([1; 16])), &()).unwrap();
            let mut elsewhere = Transaction::new(&*store);
            assert!(elsewhere.scan(&MEMBERS, &other).unwrap().is_empty());
            elsewhere.put(&MEMBERS, &(other, ClientId::new([3; 16])), &()).unwrap();
            let mut joining = Transaction::new(&*store);
            joining.put(&MEMBERS, &(network, ClientId::new([2; 16])), &()).unwrap();
            assert_eq!(store.commit(joining.into_commit()).await.unwrap(), Committed::Yes);
            assert_eq!(store.commit(counting.into_commit()).await.unwrap(), Committed::Conflict);
            assert_eq!(store.commit(elsewhere.into_commit()).await.unwrap(), Committed::Yes);
        });
    });
}

#[test]
fn a_transaction_sees_its_own_writes() {
    with_engines(|store| {
        runtime().block_on(async {
            let network = NetworkId::new([1; 16]);
            let keys = [1u8, 2, 3].map(|byte| (network, ClientId::new([byte; 16])));
            let mut before = Transaction::new(&*store);
            before.put(&MEMBERS, &keys[0], &()).unwrap();
            before.put(&MEMBERS, &keys[1], &()).unwrap();
            store.commit(before.into_commit()).await.unwrap();
            let mut transaction = Transaction::new(&*store);
            transaction.delete(&MEMBERS, &keys[0]).unwrap();
            transaction.put(&MEMBERS, &keys[2], &()).unwrap();
            let seen: Vec<_> = transaction.scan(&MEMBERS, &network).unwrap().into_iter().map(|(key, ())| key).collect();
            assert_eq!(seen, [keys[1], keys[2]]);
            assert_eq!(transaction.get(&MEMBERS, &keys[0]).unwrap(), None);
        });
    });
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Count(u64);
json_record!(Count, 1);

const COUNTS: Table<ClientId, Count> = Table::new(60_002, "counts");

/// Adds one to a count; returns what it made of it, unless somebody else was faster.
async fn increment(store: &dyn Store, client: &ClientId) -> Option<u64> {
    let mut transaction = Transaction::new(store);
    let count = transaction.get(&COUNTS, client).unwrap().map_or(0, |count| count.0) + 1;
    transaction.put(&COUNTS, client, &Count(count)).unwrap();
    let committed = store.commit(transaction.into_commit()).await.unwrap();
    (committed == Committed::Yes).then_some(count)
}

#[test]
fn a_row_is_read_as_the_last_returned_commit_left_it() {
    with_engines(|store| {
        runtime().block_on(async {
            let client = ClientId::new([1; 16]);
            let read = || Transaction::new(&*store).get(&COUNTS, &client).unwrap();
            assert_eq!(read(), None);
            for count in 1..5 {
                assert_eq!(increment(&*store, &client).await, Some(count));
                assert_eq!(read(), Some(Count(count)));
            }
            let mut removing = Transaction::new(&*store);
            removing.delete(&COUNTS, &client).unwrap();
            store.commit(removing.into_commit()).await.unwrap();
            assert_eq!(read(), None);
        });
    });
}

#[test]
fn no_increment_is_lost_and_none_is_read_late_while_many_are_made() {
    const EACH: u64 = 50;
    with_engines(|store| {
        let client = ClientId::new([1; 16]);
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let store = Arc::clone(&store);
                std::thread::spawn(move || {
                    let runtime = runtime();
                    for _ in 0..EACH {
                        let made = std::iter::repeat_with(|| runtime.block_on(increment(&*store, &client)));
                        let made = made.flatten().next().unwrap();
                        let read = Transaction::new(&*store).get(&COUNTS, &client).unwrap().unwrap();
                        assert!(read.0 >= made, "{} was read after {made} had returned", read.0);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(Transaction::new(&*store).get(&COUNTS, &client).unwrap(), Some(Count(8 * EACH)));
    });
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    /// Reads a key now, lets `between` write another value, then commits a write based on the read.
    Stale(u8, Option<u8>),
    Scan(u8, Option<u8>, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..12u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0..12u8).prop_map(Step::Delete),
        2 => (0..12u8, proptest::option::of(0..12u8)).prop_map(|(key, other)| Step::Stale(key, other)),
        2 => (1..4u8, proptest::option::of(0..12u8), 0..6usize).prop_map(|(p, after, limit)| Step::Scan(p, after, limit)),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Keys of two bytes, so that prefixes of one byte are meaningful.
fn key(number: u8) -> Vec<u8> {
    vec![1 + number % 3, number]
}

async fn check_history(store: &dyn Store, steps: &[Step]) {
    let mut model: BTreeMap<Vec<u8>, u8> = BTreeMap::new();
    let write = |number: u8, value: Option<u8>| Commit {
        reads: vec![],
        writes: vec![(key(number), value.map(|value| Bytes::copy_from_slice(&[value])))],
    };
    for step in steps {
        match *step {
            Step::Put(number, value) => {
                assert_eq!(store.commit(write(number, Some(value))).await.unwrap(), Committed::Yes);
                model.insert(key(number), value);
            }
            Step::Delete(number) => {
                assert_eq!(store.commit(write(number, None)).await.unwrap(), Committed::Yes);
                model.remove(&key(number));
            }
            Step::Stale(number, other) => {
                let version = store.get(&key(number)).unwrap().map_or(Version::ABSENT, |row| row.version);
                if let Some(other) = other {
                    store.commit(write(other, Some(77))).await.unwrap();
                    model.insert(key(other), 77);
                }
                let based = Commit { reads: vec![(key(number), version)], ..write(number, Some(99)) };
                let expected = if other == Some(number) { Committed::Conflict } else { Committed::Yes };
                assert_eq!(store.commit(based).await.unwrap(), expected);
                if expected == Committed::Yes {
                    model.insert(key(number), 99);
                }
            }
            Step::Scan(prefix, after, limit) => {
                let after = after.map(key);
                let found = store.scan(&[prefix], after.as_deref(), limit).unwrap();
                let found: Vec<_> = found.into_iter().map(|(key, row)| (key, row.value[0])).collect();
                let expected: Vec<_> = model
                    .iter()
                    .filter(|(key, _)| key[0] == prefix && after.as_ref().is_none_or(|after| *key > after))
                    .take(limit)
                    .map(|(key, value)| (key.clone(), *value))
                    .collect();
                assert_eq!(found, expected);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn engines_agree_with_a_sorted_map(steps in steps()) {
        with_engines(|store| runtime().block_on(check_history(&*store, &steps)));
    }
}
