//! Settle, crash and count on in any order: the days say what the archive says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::super::follow;
use super::super::record::{PEER_DAYS, PROVIDER_DAYS, ProviderDay, ProviderHour, TRANSFER_DAYS, TransferDay};
use super::super::window::Window;
use super::*;
use crate::domain::contract::record::{ARCHIVE_MARKS, ARCHIVE_START, ArchivePosition, Credit, NETWORK_DAYS};
use crate::store::Committed;
use crate::store::table::TableKey;
use crate::time::DAY;

/// One step of a run. Open contracts are named by position, modulo how many there are.
#[derive(Clone, Debug)]
enum Step {
    Make {
        source: u8,
        destination: u8,
        payer: Option<bool>,
    },
    /// Settles some open contracts in one archive row.
    Settle {
        contracts: Vec<(usize, i64, i64)>,
    },
    Pass {
        minutes: u64,
    },
    /// Counts one small page.
    Count {
        rows: usize,
    },
    /// Counts a page that never becomes durable.
    CountInVain {
        rows: usize,
    },
    Flush,
    /// Takes a snapshot of the open contracts and compares an answer with what should be.
    Ask,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let make = (1..5u8, 1..5u8, prop::option::of(any::<bool>()));
    let settle = prop::collection::vec((any::<usize>(), prop_oneof![Just(0), 0..GIB], 0..2_000_000_000i64), 1..5);
    prop_oneof![
        8 => make.prop_map(|(source, destination, payer)| Step::Make { source, destination, payer }),
        5 => settle.prop_map(|contracts| Step::Settle { contracts }),
        3 => prop_oneof![0..90u64, Just(1440)].prop_map(|minutes| Step::Pass { minutes }),
        2 => (1..8usize).prop_map(|rows| Step::Count { rows }),
        2 => (1..8usize).prop_map(|rows| Step::CountInVain { rows }),
        1 => Just(Step::Flush),
        2 => Just(Step::Ask),
        1 => Just(Step::Crash),
    ]
}

struct Run {
    world: World,
    open: Vec<(ContractId, ContractRecord)>,
    settled: Vec<Settled>,
    made: u64,
}

impl Run {
    async fn apply(&mut self, step: &Step) {
        match step {
            Step::Make { source, destination, payer } => {
                self.made += 1;
                let payer = payer.map(|by_source| if by_source { *source } else { *destination });
                let record = contract(*source, *destination, payer, self.world.now());
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&self.made.to_be_bytes());
                self.world.open(ContractId::new(bytes), &record).await;
                self.open.push((ContractId::new(bytes), record));
            }
            Step::Settle { contracts } => {
                let mut row = Vec::new();
                for (at, bytes, revenue) in contracts {
                    let Some(at) = at.checked_rem(self.open.len()) else { continue };
                    let (id, record) = self.open.swap_remove(at);
                    row.push(settled(id, record, self.world.now(), *bytes, *revenue));
                }
                self.settled.extend(row.iter().cloned());
                if !row.is_empty() {
                    self.world.archive(row).await;
                }
            }
            Step::Pass { minutes } => self.world.domain.clock.advance(Duration::from_secs(60 * minutes)),
            Step::Count { rows } => {
                // A second counter beside the one in memory must not confuse it: it starts from the stored place.
                self.world.crash().await;
                if let Some(page) = follow::next_page(self.world.store(), *rows).unwrap() {
                    assert_eq!(self.world.store().commit(page.commit).await.unwrap(), Committed::Yes);
                }
            }
            Step::CountInVain { rows } => drop(follow::next_page(self.world.store(), *rows).unwrap()),
            Step::Flush => self.world.stats.flush().await.unwrap(),
            Step::Ask => self.ask().await,
            Step::Crash => self.world.crash().await,
        }
    }

    /// Whatever is counted already and whatever is not: contracts are told as they were made, each once. A snapshot may
    /// be half a minute old, but contracts made in that time come into it only by being settled.
    async fn ask(&self) {
        self.world.domain.clock.advance(super::super::open::SNAPSHOT_AGE);
        for flush in [false, true] {
            if flush {
                self.world.stats.flush().await.unwrap();
            }
            let window = Window::asked(0.0, 366, DAY, self.world.now());
            for provider in 1..5 {
                let network = id(network_of(provider));
                let report = self.world.stats.provider(network, id(provider), window).await.unwrap();
                let told: u64 = report.days.values().map(|(_, figures)| figures.contracts).sum();
                let contracts = self.settled.iter().map(|settled| &settled.contract);
                let contracts = contracts.chain(self.open.iter().map(|(_, record)| record));
                let mine: Vec<_> = contracts.filter(|record| paid_to(record) == Some(id(provider))).collect();
                assert_eq!(told, mine.len() as u64);
                let mut clients: BTreeMap<u32, BTreeSet<ClientId>> = BTreeMap::new();
                for record in mine {
                    let both = BTreeSet::from([record.source.client_id, record.destination.client_id]);
                    let other = both.iter().find(|client| **client != id(provider)).or(both.first()).unwrap();
                    clients.entry(record.create_time.day_number()).or_default().insert(*other);
                }
                for (day, (_, figures)) in report.days {
                    assert_eq!(figures.clients, clients.get(&day).map_or(0, BTreeSet::len) as u64);
                }
            }
        }
    }

    /// The days by a count that shares nothing with the one under test.
    fn expected(&self) -> (BTreeMap<(u32, ClientId), ProviderDay>, BTreeMap<u32, TransferDay>) {
        let (mut providers, mut transfers) = (BTreeMap::new(), BTreeMap::<u32, TransferDay>::new());
        let mut clients = BTreeSet::new();
        for settled in &self.settled {
            let (record, closed) = (&settled.contract, settled.close_time);
            let day = transfers.entry(closed.day_number()).or_default();
            *day = TransferDay { bytes: day.bytes + settled.used_bytes, contracts: day.contracts + 1 };
            let Some(provider) = paid_to(record) else { continue };
            let mut add = |at: Timestamp, more: ProviderHour| {
                let day: &mut ProviderDay = providers.entry((at.day_number(), provider)).or_default();
                let hour = &mut day.hours.0[(at.as_secs() / 3600 % 24) as usize];
                *hour = ProviderHour {
                    bytes: hour.bytes + more.bytes,
                    revenue: hour.revenue + more.revenue,
                    contracts: hour.contracts + more.contracts,
                };
            };
            add(record.create_time, ProviderHour { contracts: 1, ..ProviderHour::default() });
            if settled.used_bytes > 0 {
                let revenue = settled.payouts[0].revenue;
                add(closed, ProviderHour { bytes: settled.used_bytes, revenue, contracts: 0 });
            }
            let day = record.create_time.day_number();
            if clients.insert((day, record.source.client_id, record.destination.client_id, provider)) {
                let mirrored = (day, record.destination.client_id, record.source.client_id, provider);
                let is_new = record.source.client_id == record.destination.client_id || !clients.contains(&mirrored);
                providers.get_mut(&(day, provider)).unwrap().clients += u32::from(is_new);
            }
        }
        (providers, transfers)
    }
}

/// The client that earns, said once more in other words.
fn paid_to(record: &ContractRecord) -> Option<ClientId> {
    let payer = record.payer?;
    let by_source = payer == record.source.network_id;
    Some(if by_source { record.destination.client_id } else { record.source.client_id })
}

fn rows<K: TableKey + Ord, V: TableValue>(world: &World, table: &crate::store::table::Table<K, V>) -> BTreeMap<K, V> {
    let mut rows = BTreeMap::new();
    let see = |key, value| {
        rows.insert(key, value);
        std::ops::ControlFlow::Continue(())
    };
    table.each(world.store(), &table.prefix(&()), None, 7, see).unwrap();
    rows
}

async fn run(steps: &[Step]) {
    let mut run = Run { world: World::new(), open: Vec::new(), settled: Vec::new(), made: 0 };
    for client in 1..5 {
        run.world.provider(client, network_of(client), &[ProvideMode::Public]).await;
    }
    for step in steps {
        run.apply(step).await;
    }
    run.world.stats.flush().await.unwrap();
    let (providers, transfers) = run.expected();
    assert_eq!(rows(&run.world, &PROVIDER_DAYS), providers);
    assert_eq!(rows(&run.world, &TRANSFER_DAYS), transfers);
    // The ledger's own totals, which nobody keeps here.
    let mut credits: BTreeMap<(u32, NetworkId), Credit> = BTreeMap::new();
    for settled in run.settled.iter().filter(|settled| settled.used_bytes > 0) {
        let (record, day) = (&settled.contract, settled.close_time.day_number());
        let Some(payer) = record.payer else { continue };
        credits.entry((day, payer)).or_default().used_bytes += settled.used_bytes;
        let payee = credits.entry((day, record.payee())).or_default();
        payee.provided_bytes += settled.used_bytes;
        payee.provided_revenue += settled.payouts[0].revenue;
        payee.provided_contracts += 1;
    }
    for (key, credit) in &credits {
        run.world.domain.put(&NETWORK_DAYS, key, credit).await;
    }
    let recount = run.world.stats.recount(false).await.unwrap();
    assert_eq!(recount.differences, [], "{recount:?}");
    assert_eq!((recount.difference_count, recount.contract_count), (0, run.settled.len() as u64));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]
    #[test]
    fn the_days_say_what_the_archive_says_whatever_happened_between(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(&steps));
    }
}

async fn some_days() -> World {
    let mut world = World::new();
    for number in 0..50u8 {
        let made = world.now();
        world.domain.clock.advance(Duration::from_secs(3600));
        let contract = contract(1 + number % 3, 9, Some(1 + number % 3), made);
        let settled = settled(id(number), contract, world.now(), GIB, 1_000_000_000);
        world.archive(vec![settled]).await;
    }
    world.stats.flush().await.unwrap();
    world
}

#[tokio::test]
async fn a_recount_tells_every_difference_and_mends_them() {
    let world = some_days().await;
    let day = world.now().day_number();
    let is_clean = async || {
        let recount = world.stats.recount(false).await.unwrap();
        // The ledger's totals were never written in this test.
        recount.differences.iter().all(|difference| difference.table == "network_days")
    };
    assert!(is_clean().await);
    let mut wrong = PROVIDER_DAYS.get(world.store(), &(day, id(9))).unwrap().unwrap();
    wrong.hours.0[0].bytes += 1;
    world.domain.put(&PROVIDER_DAYS, &(day, id(9)), &wrong).await;
    world.domain.put(&TRANSFER_DAYS, &day, &TransferDay::default()).await;
    world.domain.put(&PEER_DAYS, &(day, id(9), id(77)), &Default::default()).await;
    let lost = PEER_DAYS.key(&(day - 1, id(9), id(1)));
    world.store().commit(Commit { reads: Vec::new(), writes: vec![(lost, None)] }).await.unwrap();

    let recount = world.stats.recount(true).await.unwrap();
    let tables: Vec<_> = recount.differences.iter().map(|difference| difference.table.as_str()).collect();
    let mended = |table: &&&str| **table != "network_days";
    let mut mended: Vec<_> = tables.iter().filter(mended).copied().collect();
    mended.sort();
    assert_eq!(mended, ["peer_days", "peer_days", "provider_days", "transfer_days"]);
    assert_eq!(recount.fixed_count, 4);
    assert!(is_clean().await);
}

#[tokio::test]
async fn days_that_are_no_longer_complete_in_the_archive_are_left_alone() {
    let world = some_days().await;
    let days = rows(&world, &PROVIDER_DAYS);
    let (first, second) = (*days.keys().next().unwrap(), *days.keys().nth(1).unwrap());
    let start = ArchivePosition { hour: first.0 * 24 + 23, sequence: 0 };
    world.domain.put(&ARCHIVE_MARKS, &ARCHIVE_START, &start).await;
    for key in rows(&world, &ARCHIVE).keys().filter(|(hour, _)| *hour < start.hour) {
        let writes = vec![(ARCHIVE.key(key), None)];
        world.store().commit(Commit { reads: Vec::new(), writes }).await.unwrap();
    }
    let recount = world.stats.recount(true).await.unwrap();
    assert_eq!(recount.first_day, Timestamp::of_day(second.0).to_date());
    assert_eq!(recount.fixed_count, 0);
    assert_eq!(rows(&world, &PROVIDER_DAYS), days);
}

#[tokio::test]
async fn a_long_archive_is_counted_in_several_commits() {
    let mut world = World::new();
    for row in 0..40u64 {
        let contracts = (0..250u64).map(|number| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&(row * 250 + number).to_be_bytes());
            let mut contract = contract(1, 9, Some(1), world.now());
            contract.source.client_id = ClientId::new(bytes);
            settled(ContractId::new(bytes), contract, world.now(), 10, 0)
        });
        let contracts = contracts.collect();
        world.archive(contracts).await;
    }
    let page = follow::next_page(world.store(), follow::PAGE_ROWS).unwrap().unwrap();
    assert!(page.is_more && page.commit.writes.len() < follow::PAGE_ROWS + 1000, "{}", page.commit.writes.len());
    world.stats.flush().await.unwrap();
    let day = PROVIDER_DAYS.get(world.store(), &(world.now().day_number(), id(9))).unwrap().unwrap();
    assert_eq!(day.clients, 10_000);
    assert_eq!(day.hours.0.iter().map(|hour| hour.bytes).sum::<i64>(), 100_000);
}
