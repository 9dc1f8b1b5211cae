//! Random steps against the store and against a plain model of it, with the rules of the books after every step and a
//! crash at any of them: the journal sums to zero, nothing goes below zero, each hold is given back or spent once.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::challenge::{
    CHALLENGES, ChallengeStatus, DueChallenges, LIFETIME, MeetDeadline, OPEN_TRANSFERS, QUEUED_TRANSFERS,
};
use super::confirm::{Cancel, Confirm};
use super::custody::{TransferRefusal, TransferRequest};
use super::journal::{self, Account, LEDGER_WALLETS, POSTINGS, WALLET_POSTINGS, WalletOwner};
use super::local::{InitWallet, MAX_OPEN_TRANSFERS, ReadWallet, TransferOut};
use super::operator::{CreditWallet, ListQueued, MarkSent, RejectTransfer};
use super::transfer_limit::MAX_CALLS_PER_HOUR;
use crate::config::store::Store as StoreSettings;
use crate::domain::error::DomainError;
use crate::domain::network::{NETWORKS, NetworkRecord};
use crate::domain::operation::{Operation, Tx};
use crate::domain::seal::SealKey;
use crate::domain::service::Service;
use crate::domain::testing::{NoEffects, TestDomain, id};
use crate::ids::{ChallengeId, Id, NetworkId, WalletId};
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::store::sled::SledStore;
use crate::time::{Clock, Timestamp};

const CHAIN_ADDRESS: &str = "DgTYzxzYRpkGQ8e3Un71GoQf494VLDBnyqXNXB38MP73";

/// One step of a run. Transfers are named by position, modulo how many there are.
#[derive(Clone, Debug)]
enum Step {
    Init(u8),
    Credit(u8, i64),
    Transfer { from: u8, to: Option<u8>, units: i64 },
    Confirm { transfer: usize, is_token_right: bool },
    Cancel { transfer: usize, is_owner: bool },
    Sent { transfer: usize },
    Reject { transfer: usize },
    Pass { secs: u64 },
    MeetDeadlines,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let transfer = (1..=3u8, prop::option::of(1..=3u8), -1..40i64);
    prop_oneof![
        1 => (1..=3u8).prop_map(Step::Init),
        3 => (1..=3u8, 1..30i64).prop_map(|(network, units)| Step::Credit(network, units)),
        6 => transfer.prop_map(|(from, to, units)| Step::Transfer { from, to, units }),
        5 => (any::<usize>(), prop::bool::weighted(0.9))
            .prop_map(|(transfer, is_token_right)| Step::Confirm { transfer, is_token_right }),
        2 => (any::<usize>(), prop::bool::weighted(0.9))
            .prop_map(|(transfer, is_owner)| Step::Cancel { transfer, is_owner }),
        3 => any::<usize>().prop_map(|transfer| Step::Sent { transfer }),
        2 => any::<usize>().prop_map(|transfer| Step::Reject { transfer }),
        3 => prop_oneof![1..120u64, 600..1000u64, 3000..4000u64].prop_map(|secs| Step::Pass { secs }),
        2 => Just(Step::MeetDeadlines),
        1 => Just(Step::Crash),
    ]
}

/// What the books should say.
#[derive(Default)]
struct Model {
    /// Money of each network that has a wallet, holds included.
    money: BTreeMap<u8, i64>,
    transfers: Vec<Transfer>,
    calls: BTreeMap<u8, Vec<Timestamp>>,
    credited: i64,
    left: i64,
}

struct Transfer {
    id: ChallengeId,
    token: String,
    from: u8,
    to: Option<u8>,
    amount: i64,
    begun: Timestamp,
    status: ChallengeStatus,
}

impl Model {
    fn expire(&mut self, now: Timestamp) {
        for transfer in &mut self.transfers {
            if transfer.status == ChallengeStatus::Pending && transfer.begun + LIFETIME <= now {
                transfer.status = ChallengeStatus::Expired;
            }
        }
    }

    fn open(&self, network: u8) -> impl Iterator<Item = &Transfer> {
        let is_open = |status| matches!(status, ChallengeStatus::Pending | ChallengeStatus::Queued);
        self.transfers.iter().filter(move |transfer| transfer.from == network && is_open(transfer.status))
    }

    fn available(&self, network: u8) -> i64 {
        self.money[&network] - self.open(network).map(|transfer| transfer.amount).sum::<i64>()
    }

    fn transfer(&mut self, now: Timestamp, (from, to, amount): (u8, Option<u8>, i64)) -> Result<(), TransferRefusal> {
        if !self.money.contains_key(&from) {
            return Err(TransferRefusal::NoWallet);
        }
        if amount <= 0 {
            return Err(TransferRefusal::Amount);
        }
        if to.is_some_and(|to| to == from || !self.money.contains_key(&to)) {
            return Err(TransferRefusal::Address);
        }
        let open = self.open(from).count();
        let calls = self.calls.entry(from).or_default();
        calls.retain(|time| now.since(*time) < Duration::from_secs(3600));
        if open >= MAX_OPEN_TRANSFERS || calls.len() >= MAX_CALLS_PER_HOUR {
            return Err(TransferRefusal::TooMany);
        }
        calls.push(now);
        if self.available(from) < amount { Err(TransferRefusal::Balance) } else { Ok(()) }
    }
}

/// The store under test, which a crash opens anew.
struct Books {
    folder: Option<tempfile::TempDir>,
    store: std::sync::Arc<dyn Store>,
    service: Service,
    clock: Clock,
}

impl Books {
    fn new(folder: Option<tempfile::TempDir>) -> Self {
        let clock = Clock::manual(Timestamp::from_secs(1_700_000_000));
        Self::open(folder, clock, None)
    }

    fn open(folder: Option<tempfile::TempDir>, clock: Clock, memory: Option<std::sync::Arc<dyn Store>>) -> Self {
        let settings = |folder: &tempfile::TempDir| StoreSettings { path: folder.path().into(), ..Default::default() };
        let store: std::sync::Arc<dyn Store> = match (&folder, memory) {
            (Some(folder), _) => std::sync::Arc::new(SledStore::open(&settings(folder)).unwrap()),
            (None, Some(memory)) => memory,
            (None, None) => std::sync::Arc::new(MemoryStore::new()),
        };
        let config = std::sync::Arc::default();
        let service =
            Service::new(store.clone(), clock.clone(), config, SealKey::ephemeral(), std::sync::Arc::new(NoEffects));
        Self { folder, store, service, clock }
    }

    /// Forgets everything that is not in the store.
    fn crash(self) -> Self {
        let Self { folder, store, service, clock } = self;
        drop(service);
        // A store in memory is what survives of one.
        let memory = folder.is_none().then_some(store);
        Self::open(folder, clock, memory)
    }

    async fn run<O: Operation>(&self, operation: &O) -> O::Output {
        self.service.run(operation).await.unwrap()
    }

    fn balance(&self, network: u8) -> Option<i64> {
        let view = self.service.read(&ReadWallet { owner: owner(network) }).unwrap();
        view.map(|view| view.balance)
    }

    fn wallet_id(&self, network: u8) -> Option<WalletId> {
        let view = self.service.read(&ReadWallet { owner: owner(network) }).unwrap();
        view.map(|view| view.wallet_id.parse().unwrap())
    }
}

fn owner(network: u8) -> WalletOwner {
    WalletOwner { network_id: id(network), user_id: id(network) }
}

/// Networks whose administrators have the same byte as id.
struct MakeNetworks;

impl Operation for MakeNetworks {
    type Output = ();
    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        for network in 1..=3 {
            let record = NetworkRecord {
                name: format!("network-{network}"),
                admin_user_id: id(network),
                create_time: tx.now,
                referral_code: String::new(),
                referred_by: None,
                former_names: Vec::new(),
            };
            tx.put(&NETWORKS, &id::<NetworkId>(network), &record)?;
        }
        Ok(())
    }
}

/// Everything in the books at once.
struct Audit;

#[derive(Debug, Default, PartialEq)]
struct Audited {
    operator: i64,
    chain: i64,
    /// By network: posted, held.
    wallets: BTreeMap<u8, (i64, i64)>,
}

impl Operation for Audit {
    type Output = Audited;
    fn apply(&self, tx: &mut Tx<'_>) -> Result<Audited, DomainError> {
        let (mut audited, mut sums) = (Audited::default(), BTreeMap::<WalletId, i64>::new());
        for (posting_id, posting) in tx.scan_snapshot(&POSTINGS, &())? {
            assert_eq!(posting.legs.iter().map(|(_, amount)| amount).sum::<i64>(), 0, "{posting:?}");
            for (account, amount) in posting.legs {
                match account {
                    Account::Wallet(wallet_id) => {
                        *sums.entry(wallet_id).or_default() += amount;
                        assert!(tx.get(&WALLET_POSTINGS, &(wallet_id, posting_id))?.is_some());
                    }
                    Account::Operator => audited.operator += amount,
                    Account::Chain => audited.chain += amount,
                    Account::Sales => unreachable!("nothing is sold here"),
                }
            }
        }
        for (wallet_id, wallet) in tx.scan_snapshot(&LEDGER_WALLETS, &())? {
            assert!(wallet.held >= 0 && wallet.available() >= 0, "{wallet:?}");
            assert_eq!(wallet.posted, sums.get(&wallet_id).copied().unwrap_or(0), "posted is the sum of the journal");
            let mut held = 0;
            for ((_, challenge_id), ()) in tx.scan(&OPEN_TRANSFERS, &wallet_id)? {
                let challenge = tx.get(&CHALLENGES, &challenge_id)?.unwrap();
                let is_queued = tx.get(&QUEUED_TRANSFERS, &challenge_id)?.is_some();
                assert_eq!(challenge.status == ChallengeStatus::Queued, is_queued);
                held += challenge.amount;
            }
            assert_eq!(wallet.held, held, "what is held is what open transfers move");
            audited.wallets.insert(wallet.network_id.to_bytes()[0], (wallet.posted, wallet.held));
        }
        Ok(audited)
    }
}

async fn take(books: Books, model: &mut Model, step: &Step) -> Books {
    let now = books.clock.now();
    let chosen = |model: &Model, at: usize| (!model.transfers.is_empty()).then(|| at % model.transfers.len());
    model.expire(now);
    match step.clone() {
        Step::Init(network) => {
            books.run(&InitWallet { owner: owner(network) }).await;
            model.money.entry(network).or_default();
        }
        Step::Credit(network, units) => {
            let amount = units * 1000;
            books.run(&CreditWallet { network_id: id(network), amount, memo: "gift".into() }).await;
            *model.money.entry(network).or_default() += amount;
            model.credited += amount;
        }
        Step::Transfer { from, to, units } => {
            let amount = units * 1000;
            let to_address = match to {
                None => CHAIN_ADDRESS.into(),
                Some(to) => journal::address(books.wallet_id(to).unwrap_or(id(99))),
            };
            let request = TransferRequest { to_address, amount, has_accepted_terms: true };
            let found = books.run(&TransferOut { owner: owner(from), request }).await;
            let expected = model.transfer(now, (from, to, amount));
            assert_eq!(found.as_ref().map(|_| ()), expected.as_ref().map(|_| ()), "{step:?}");
            if let Ok(issued) = found {
                model.transfers.push(Transfer {
                    id: issued.challenge_id.parse().unwrap(),
                    token: issued.user_token,
                    from,
                    to,
                    amount,
                    begun: now,
                    status: ChallengeStatus::Pending,
                });
            }
        }
        Step::Confirm { transfer, is_token_right } => {
            let Some(at) = chosen(model, transfer) else { return books };
            let Transfer { id, from, to, amount, begun, .. } = model.transfers[at];
            let user_token = if is_token_right { model.transfers[at].token.clone() } else { "wrong".into() };
            let network_id = Some(owner(from).network_id);
            let found = books.run(&Confirm { network_id, id, user_token }).await.ok();
            let is_accepted = is_token_right && now.since(begun) < super::challenge::TOKEN_LIFETIME;
            let expected = match (is_accepted, model.transfers[at].status, to) {
                (false, ..) | (_, ChallengeStatus::Expired | ChallengeStatus::Cancelled, _) => None,
                (_, ChallengeStatus::Pending, None) => Some(ChallengeStatus::Queued),
                (_, ChallengeStatus::Pending, Some(to)) => {
                    *model.money.get_mut(&from).unwrap() -= amount;
                    *model.money.get_mut(&to).unwrap() += amount;
                    Some(ChallengeStatus::Complete)
                }
                (_, status, _) => Some(status),
            };
            assert_eq!(found, expected, "{step:?}");
            model.transfers[at].status = expected.unwrap_or(model.transfers[at].status);
        }
        Step::Cancel { transfer, is_owner } => {
            let Some(at) = chosen(model, transfer) else { return books };
            let transfer = &mut model.transfers[at];
            let network_id = if is_owner { owner(transfer.from).network_id } else { id(77) };
            let found = books.run(&Cancel { network_id, id: transfer.id }).await.is_ok();
            let is_over = now.since(transfer.begun) > Duration::from_secs(86_400);
            let can_cancel = matches!(transfer.status, ChallengeStatus::Pending | ChallengeStatus::Cancelled);
            assert!(found == (is_owner && can_cancel) || is_over, "{step:?}");
            if is_owner && transfer.status == ChallengeStatus::Pending {
                transfer.status = ChallengeStatus::Cancelled;
            }
        }
        Step::Sent { transfer } | Step::Reject { transfer } => {
            let Some(at) = chosen(model, transfer) else { return books };
            let is_sent = matches!(step, Step::Sent { .. });
            let transfer = &mut model.transfers[at];
            let found = match is_sent {
                true => books.service.run(&MarkSent { id: transfer.id, tx_hash: "hash".into() }).await,
                false => books.service.run(&RejectTransfer { id: transfer.id, is_forced: false }).await,
            };
            let expected = match transfer.status {
                ChallengeStatus::Queued if is_sent => {
                    *model.money.get_mut(&transfer.from).unwrap() -= transfer.amount;
                    model.left += transfer.amount;
                    Some(ChallengeStatus::Complete)
                }
                ChallengeStatus::Queued => Some(ChallengeStatus::Failed),
                status @ (ChallengeStatus::Complete | ChallengeStatus::Failed) => Some(status),
                _ => None,
            };
            assert_eq!(found.ok(), expected, "{step:?}");
            transfer.status = expected.unwrap_or(transfer.status);
        }
        Step::Pass { secs } => books.clock.advance(Duration::from_secs(secs)),
        Step::MeetDeadlines => {
            for due in books.service.read(&DueChallenges).unwrap() {
                books.run(&MeetDeadline(due)).await;
                // A second one finds nothing to do.
                books.run(&MeetDeadline(due)).await;
            }
        }
        Step::Crash => return books.crash(),
    }
    books
}

async fn replay(steps: &[Step], folder: Option<tempfile::TempDir>) {
    let (mut books, mut model) = (Books::new(folder), Model::default());
    books.run(&MakeNetworks).await;
    for step in steps {
        books = take(books, &mut model, step).await;
        model.expire(books.clock.now());
        let audited = books.service.read(&Audit).unwrap();
        assert_eq!((audited.operator, audited.chain), (-model.credited, model.left), "{step:?}");
        let posted: i64 = audited.wallets.values().map(|(posted, _)| posted).sum();
        assert_eq!(audited.operator + audited.chain + posted, 0, "the books sum to zero");
        for network in 1..=3 {
            let expected = model.money.contains_key(&network).then(|| model.available(network));
            assert_eq!(books.balance(network), expected, "network {network} after {step:?}");
            assert_eq!(audited.wallets.get(&network).map(|(posted, _)| posted), model.money.get(&network));
        }
    }
}

fn run_to_end(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn the_books_agree_with_a_plain_model(steps in prop::collection::vec(step(), 1..80)) {
        run_to_end(replay(&steps, None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]
    #[test]
    fn the_books_survive_a_crash_of_the_real_store(steps in prop::collection::vec(step(), 20..60)) {
        run_to_end(replay(&steps, Some(tempfile::tempdir().unwrap())));
    }
}

#[tokio::test]
async fn of_two_transfers_at_once_only_what_is_there_is_held() {
    let domain = TestDomain::new();
    domain.run(&MakeNetworks).await.unwrap();
    domain.run(&CreditWallet { network_id: id(1), amount: 5_000_000_000, memo: String::new() }).await.unwrap();
    let request =
        |_| TransferRequest { to_address: CHAIN_ADDRESS.into(), amount: 4_000_000_000, has_accepted_terms: true };
    let [first, second] = [0, 1].map(|at| TransferOut { owner: owner(1), request: request(at) });
    let (first, second) = tokio::join!(domain.run(&first), domain.run(&second));
    let outcomes = [first.unwrap().err(), second.unwrap().err()];
    assert!(outcomes.contains(&None) && outcomes.contains(&Some(TransferRefusal::Balance)), "{outcomes:?}");
}

#[tokio::test]
async fn the_tables_do_not_grow_for_ever() {
    let domain = TestDomain::new();
    domain.run(&MakeNetworks).await.unwrap();
    for _ in 0..5 {
        domain.run(&InitWallet { owner: owner(1) }).await.unwrap();
    }
    let count = || domain.service.read(&CountChallenges).unwrap();
    assert_eq!(count(), 1, "a new token replaces the old one");
    domain.run(&CreditWallet { network_id: id(1), amount: 1000, memo: String::new() }).await.unwrap();
    let request = TransferRequest { to_address: CHAIN_ADDRESS.into(), amount: 1000, has_accepted_terms: true };
    let issued = domain.run(&TransferOut { owner: owner(1), request }).await.unwrap().unwrap();
    let id: ChallengeId = issued.challenge_id.parse().unwrap();
    domain.run(&Confirm { network_id: None, id, user_token: issued.user_token }).await.unwrap().unwrap();
    assert_eq!(domain.service.read(&ListQueued).unwrap().len(), 1);
    domain.run(&RejectTransfer { id, is_forced: false }).await.unwrap();
    domain.clock.advance(Duration::from_secs(31 * 86_400));
    assert_eq!(super::jobs::meet_deadlines(&domain.service).await.unwrap(), 1);
    assert_eq!(count(), 1);
    assert!(domain.service.read(&DueChallenges).unwrap().is_empty());
}

struct CountChallenges;

impl Operation for CountChallenges {
    type Output = usize;
    fn apply(&self, tx: &mut Tx<'_>) -> Result<usize, DomainError> {
        Ok(tx.scan_snapshot(&CHALLENGES, &())?.len())
    }
}

#[tokio::test]
async fn credits_to_nobody_and_of_nothing_are_refused() {
    let domain = TestDomain::new();
    domain.run(&MakeNetworks).await.unwrap();
    let credit = |network: u8, amount| CreditWallet { network_id: id(network), amount, memo: String::new() };
    assert!(matches!(domain.run(&credit(9, 1)).await, Err(DomainError::NotFound(_))));
    for amount in [0, -1, i64::MIN, i64::MAX, journal::MAX_AMOUNT + 1] {
        assert!(matches!(domain.run(&credit(1, amount)).await, Err(DomainError::BadRequest(_))), "{amount}");
    }
    domain.run(&credit(1, journal::MAX_AMOUNT)).await.unwrap();
    assert!(matches!(domain.run(&credit(1, 1)).await, Err(DomainError::BadRequest(_))), "a wallet can be full");
}
