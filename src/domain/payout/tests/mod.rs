//! Payments as their receivers see them: whatever fails and wherever a crash falls, each is made once, or its credit is
//! unpaid again.

mod crashes;
mod rounds;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::drive::Payouts;
use super::{ChainTransfer, PayoutSender, SendOutcome, SenderUnreachable, SentState};
use crate::config::Config;
use crate::domain::contract::Ledger;
use crate::domain::contract::payout::{ListPayments, Payment, PayoutRun};
use crate::domain::network::{NETWORKS, NetworkRecord};
use crate::domain::operation::Operation;
use crate::domain::seal::SealKey;
use crate::domain::service::Service;
use crate::domain::testing::{NoEffects, id};
use crate::domain::wallet::account_wallet::AddWallet;
use crate::domain::wallet::address::Chain;
use crate::domain::wallet::journal::WalletOwner;
use crate::domain::wallet::local::{InitWallet, ReadWallet};
use crate::ids::{NetworkId, RecordId};
use crate::store::cache::RowCache;
use crate::store::memory::MemoryStore;
use crate::store::table::{Table, TableKey, TableValue};
use crate::store::{Commit, CommitFuture, Key, Row, Store, StoreError};
use crate::time::{Clock, Timestamp};

/// Paid into a wallet of this server.
const HERE: u8 = 1;
/// Paid on Solana.
const THERE: u8 = 2;
/// Has named no wallet.
const NOWHERE: u8 = 3;

const SOLANA: &str = "DgTYzxzYRpkGQ8e3Un71GoQf494VLDBnyqXNXB38MP73";
const RUN: PayoutRun = PayoutRun { minimum: 1, bonus_per_gib: 0 };

/// What the company does with the next thing it is to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Takes and sends it.
    Send,
    /// Takes it; it fails on the chain.
    Fail,
    /// Takes and sends it; its answer gets lost.
    SendUnheard,
    /// The request gets lost.
    Lose,
    /// Refuses it.
    Refuse,
}

/// The company.
#[derive(Default)]
struct FakeSender(Mutex<FakeState>);

#[derive(Default)]
struct FakeState {
    moods: VecDeque<Mood>,
    /// What was taken, by key.
    taken: HashMap<String, Taken>,
}

struct Taken {
    amount: i64,
    is_sent: bool,
    is_unclear: bool,
    looks: u32,
}

impl FakeSender {
    fn next(&self, mood: Mood) {
        self.0.lock().moods.push_back(mood);
    }

    fn delivered(&self) -> i64 {
        self.0.lock().taken.values().filter(|taken| taken.is_sent).map(|taken| taken.amount).sum()
    }
}

impl PayoutSender for FakeSender {
    fn pays_on(&self, chain: Chain) -> bool {
        chain == Chain::Solana
    }

    fn send(&self, transfer: ChainTransfer) -> BoxFuture<'_, Result<SendOutcome, SenderUnreachable>> {
        let mut state = self.0.lock();
        assert_eq!((transfer.amount % 1000, transfer.amount > 0), (0, true));
        let known = state.taken.contains_key(&transfer.key);
        let mood = state.moods.pop_front().unwrap_or(Mood::Send);
        if !known && matches!(mood, Mood::Send | Mood::Fail | Mood::SendUnheard) {
            let is_sent = mood != Mood::Fail;
            let taken = Taken { amount: transfer.amount, is_sent, is_unclear: false, looks: 0 };
            state.taken.insert(transfer.key.clone(), taken);
        }
        let outcome = match mood {
            Mood::Send | Mood::Fail => Ok(SendOutcome::Sent(transfer.key)),
            Mood::SendUnheard | Mood::Lose => Err(SenderUnreachable),
            Mood::Refuse => Ok(SendOutcome::Refused),
        };
        Box::pin(std::future::ready(outcome))
    }

    fn state(&self, sent_id: String) -> BoxFuture<'_, Result<SentState, SenderUnreachable>> {
        let mut state = self.0.lock();
        let taken = state.taken.get_mut(&sent_id).expect("it was taken");
        taken.looks += 1;
        let state = match taken {
            Taken { is_unclear: true, .. } => SentState::Unclear,
            Taken { looks: 1, .. } => SentState::UnderWay,
            Taken { is_sent: true, .. } => SentState::Complete(format!("hash of {sent_id}")),
            Taken { is_sent: false, .. } => SentState::Failed,
        };
        Box::pin(std::future::ready(Ok(state)))
    }
}

/// A store that loses power: after so many commits everything fails, the first of them perhaps unheard only.
struct Failing {
    store: Arc<MemoryStore>,
    left: AtomicUsize,
    is_last_kept: bool,
}

impl Store for Failing {
    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.store.get(key)
    }

    fn cache(&self) -> &RowCache {
        self.store.cache()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Key, Row)>, StoreError> {
        self.store.scan(prefix, after, limit)
    }

    fn commit(&self, commit: Commit) -> CommitFuture {
        match self.left.load(Ordering::Relaxed) {
            0 => {}
            1 => {
                self.left.store(0, Ordering::Relaxed);
                if self.is_last_kept {
                    drop(self.store.commit(commit));
                }
            }
            left => {
                self.left.store(left - 1, Ordering::Relaxed);
                return self.store.commit(commit);
            }
        }
        Box::pin(std::future::ready(Err(StoreError::Failed("no power".into()))))
    }
}

/// What survives a crash.
struct World {
    store: Arc<MemoryStore>,
    clock: Clock,
    config: Arc<Config>,
    sender: Arc<FakeSender>,
}

/// A process.
struct Machine {
    service: Arc<Service>,
    ledger: Arc<Ledger>,
    payouts: Payouts,
}

impl World {
    async fn new() -> (Self, Machine) {
        Self::with_config(Config::default()).await
    }

    async fn with_config(config: Config) -> (Self, Machine) {
        let world = Self {
            store: Arc::new(MemoryStore::new()),
            clock: Clock::manual(Timestamp::from_secs(1_700_000_000)),
            config: Arc::new(config),
            sender: Arc::default(),
        };
        for network in [HERE, THERE, NOWHERE] {
            let record = NetworkRecord {
                name: format!("network-{network}"),
                admin_user_id: id(network),
                create_time: world.clock.now(),
                referral_code: String::new(),
                referred_by: None,
                former_names: Vec::new(),
            };
            world.put(&NETWORKS, &id::<NetworkId>(network), &record).await;
        }
        let machine = world.start();
        machine.service.run(&InitWallet { owner: owner(HERE) }).await.unwrap();
        let add = AddWallet {
            network_id: id(THERE),
            blockchain: "SOL".into(),
            address: SOLANA.into(),
            token_type: "USDC".into(),
        };
        machine.service.run(&add).await.unwrap().unwrap();
        (world, machine)
    }

    fn start(&self) -> Machine {
        self.start_on(Arc::<MemoryStore>::clone(&self.store))
    }

    /// A process that loses power.
    fn start_failing(&self, commits: usize, is_last_kept: bool) -> Machine {
        let store = Arc::clone(&self.store);
        self.start_on(Arc::new(Failing { store, left: AtomicUsize::new(commits + 1), is_last_kept }))
    }

    fn start_on(&self, store: Arc<dyn Store>) -> Machine {
        let (clock, config) = (self.clock.clone(), Arc::clone(&self.config));
        let effects = Arc::new(NoEffects);
        let service = Arc::new(Service::new(
            Arc::clone(&store),
            clock.clone(),
            Arc::clone(&config),
            SealKey::ephemeral(),
            effects,
        ));
        let ledger = Ledger::open(Arc::clone(&service), store, clock, config).unwrap();
        let sender: Arc<dyn PayoutSender> = Arc::<FakeSender>::clone(&self.sender);
        let payouts = Payouts::new(Arc::clone(&service), Arc::clone(&ledger), Some(sender));
        Machine { service, ledger, payouts }
    }

    async fn put<K: TableKey, V: TableValue>(&self, table: &Table<K, V>, key: &K, value: &V) {
        let writes = vec![(table.key(key), Some(value.encode().into()))];
        self.store.commit(Commit { reads: Vec::new(), writes }).await.unwrap();
    }

    /// What a network has in its hands.
    fn received(&self, machine: &Machine, network: u8) -> i64 {
        if network == THERE {
            return self.sender.delivered();
        }
        let wallet = machine.service.read(&ReadWallet { owner: owner(network) }).unwrap();
        wallet.map_or(0, |wallet| wallet.balance)
    }
}

impl Machine {
    /// Rounds, an hour apart.
    async fn rounds(&self, world: &World, count: usize) {
        for _ in 0..count {
            self.payouts.round().await.unwrap();
            world.clock.advance(Duration::from_secs(3600));
        }
    }

    /// Newest first.
    fn payments(&self, network: u8) -> Vec<(RecordId, Payment)> {
        let all = self.service.read(&ListPayments { network_id: Some(id(network)) }).unwrap();
        all.into_iter().map(|(_, id, payment)| (id, payment)).collect()
    }

    /// What was earned and what of it was paid.
    async fn credit(&self, network: u8) -> (i64, i64) {
        let view = self.ledger.balance(id(network)).await.unwrap();
        (view.provided_revenue, view.paid_revenue)
    }
}

fn owner(network: u8) -> WalletOwner {
    WalletOwner { network_id: id(network), user_id: id(network) }
}

/// What an operation reads.
fn read<O: Operation>(machine: &Machine, operation: &O) -> O::Output {
    machine.service.read(operation).unwrap()
}
