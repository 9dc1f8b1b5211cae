//! The money side of the plain model: codes, grants by key, refunds, resolutions, payments, and time that lets
//! balances go. What is granted, used, earned and paid must add up after every step, and nothing happens twice.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::codes::{BALANCE_CODES, CancelOutcome, CodeRefusal, NewCodes, Secret};
use super::super::grants::{GRANT_KEYS, GrantOnce, GrantOutcome, Sku};
use super::super::payout::{PAYMENTS, Payment, PaymentRecord, PaymentRefusal, PaymentState, PayoutRun};
use super::super::record::Party;
use super::super::resolve::ResolveError;
use super::super::restore::for_each;
use super::model::Run;
use super::reference::{Bucket, Reference};
use super::*;
use crate::domain::balance::Market;
use crate::ids::RecordId;
use crate::time::DAY;

/// One step. Codes, balances, contracts and payments are named by position, modulo how many there are.
#[derive(Clone, Debug)]
pub(super) enum MoneyStep {
    MakeCode {
        event: u8,
        bytes: i64,
        revenue: i64,
        days: u64,
    },
    Redeem {
        code: usize,
        network: u8,
    },
    CancelCode {
        code: usize,
    },
    Grant {
        key: u8,
        network: u8,
        bytes: i64,
        revenue: i64,
        lasts: u64,
        sku: Sku,
    },
    Revoke {
        key: u8,
    },
    ClawBack {
        balance: usize,
    },
    Resolve {
        contract: usize,
        party: Party,
    },
    Plan {
        minimum: i64,
        bonus_per_gib: i64,
    },
    Record {
        payment: usize,
    },
    Complete {
        payment: usize,
    },
    CancelPayment {
        payment: usize,
    },
    /// Long enough for old balances to go; without the sweeper some of them are still reserved.
    Expire {
        days: u64,
        is_swept: bool,
    },
}

pub(super) fn step() -> impl Strategy<Value = MoneyStep> {
    let bytes = || 1..2000 * MIB;
    let revenue = || 0..1_000_000i64;
    let code = (0..12u8, bytes(), revenue(), 0..9u64);
    let sku = prop_oneof![Just(Sku::Data), Just(Sku::Subscription)];
    let grant = (0..6u8, 1..=3u8, 0..2000 * MIB, revenue(), 1..1_000_000u64, sku);
    let party = prop_oneof![Just(Party::Source), Just(Party::Destination)];
    prop_oneof![
        2 => code.prop_map(|(event, bytes, revenue, days)| MoneyStep::MakeCode { event, bytes, revenue, days }),
        3 => (any::<usize>(), 1..=3u8).prop_map(|(code, network)| MoneyStep::Redeem { code, network }),
        1 => any::<usize>().prop_map(|code| MoneyStep::CancelCode { code }),
        2 => grant.prop_map(|(key, network, bytes, revenue, lasts, sku)| {
            MoneyStep::Grant { key, network, bytes, revenue, lasts, sku }
        }),
        1 => (0..6u8).prop_map(|key| MoneyStep::Revoke { key }),
        1 => any::<usize>().prop_map(|balance| MoneyStep::ClawBack { balance }),
        3 => (any::<usize>(), party).prop_map(|(contract, party)| MoneyStep::Resolve { contract, party }),
        3 => (prop_oneof![Just(0i64), Just(1), 0..100_000i64], prop_oneof![Just(0i64), 0..1_000_000i64])
            .prop_map(|(minimum, bonus_per_gib)| MoneyStep::Plan { minimum, bonus_per_gib }),
        2 => any::<usize>().prop_map(|payment| MoneyStep::Record { payment }),
        2 => any::<usize>().prop_map(|payment| MoneyStep::Complete { payment }),
        2 => any::<usize>().prop_map(|payment| MoneyStep::CancelPayment { payment }),
        1 => (1..12u64, any::<bool>()).prop_map(|(days, is_swept)| MoneyStep::Expire { days, is_swept }),
    ]
}

#[derive(Clone, Debug)]
struct Code {
    id: RecordId,
    secret: Secret,
    event: String,
    bytes: i64,
    revenue: i64,
    lasts: Duration,
    redeemed: Option<BalanceId>,
    is_cancelled: bool,
}

#[derive(Clone, Debug)]
struct Paying {
    id: RecordId,
    network: NetworkId,
    bytes: i64,
    revenue: i64,
    state: PaymentState,
}

impl Paying {
    fn is_open(&self) -> bool {
        matches!(self.state, PaymentState::Planned | PaymentState::Recorded)
    }
}

/// What the plain model knows of money besides buckets and credits.
#[derive(Clone, Debug, Default)]
pub(super) struct Money {
    codes: Vec<Code>,
    keys: BTreeMap<String, Option<BalanceId>>,
    payments: Vec<Paying>,
}

impl Money {
    /// Bytes and revenue of a network's payments in some state.
    fn in_payments(&self, network: NetworkId, is_meant: impl Fn(&Paying) -> bool) -> (i128, i128) {
        let meant = self.payments.iter().filter(|payment| payment.network == network && is_meant(payment));
        meant.fold((0, 0), |sum, payment| (sum.0 + i128::from(payment.bytes), sum.1 + i128::from(payment.revenue)))
    }

    /// The rows of a store in which everything is durable.
    pub(super) fn check_rows(&self, store: &dyn Store) {
        let mut states = BTreeMap::new();
        for_each(store, &PAYMENTS, None, 7, |(network, id), payment| {
            states.insert(id, (network, payment.bytes, payment.revenue, payment.state()));
        })
        .unwrap();
        let expected = self.payments.iter().map(|p| (p.id, (p.network, p.bytes, p.revenue, p.state)));
        assert_eq!(states, expected.collect());
        let mut keys = BTreeMap::new();
        for_each(store, &GRANT_KEYS, None, 7, |key, given| {
            keys.insert(key, given.balance_id);
        })
        .unwrap();
        assert_eq!(keys, self.keys);
        let mut codes = 0;
        for_each(store, &BALANCE_CODES, None, 7, |_, _| codes += 1).unwrap();
        assert_eq!(codes, self.codes.len());
    }
}

impl Reference {
    fn bucket(&mut self, id: BalanceId, network: NetworkId, window: (Timestamp, Timestamp), size: (i64, i64)) {
        let ((start, end), (bytes, revenue)) = (window, size);
        self.buckets.push(Bucket { id, network, start, end, start_bytes: bytes, bytes, revenue });
    }

    fn claw_back(&mut self, id: BalanceId) {
        let bucket = self.buckets.iter_mut().find(|bucket| bucket.id == id).unwrap();
        bucket.end = bucket.end.min(self.now);
    }

    fn unpaid(&self, network: NetworkId) -> (i128, i128) {
        let (bytes, revenue, _) = self.credits.get(&network).copied().unwrap_or_default();
        let taken = self.money.in_payments(network, |payment| payment.state != PaymentState::Cancelled);
        (i128::from(bytes) - taken.0, i128::from(revenue) - taken.1)
    }
}

fn nth<T>(list: &[T], at: usize) -> Option<usize> {
    at.checked_rem(list.len())
}

/// A secret that is the same in every run.
fn secret(number: usize) -> Secret {
    let digits = format!("{number:026}");
    Secret::parse(&digits.bytes().map(|digit| char::from(b'A' + (digit - b'0'))).collect::<String>()).unwrap()
}

impl Run {
    pub(super) fn apply_money(&mut self, step: &MoneyStep) {
        match step {
            MoneyStep::MakeCode { event, bytes, revenue, days } => {
                self.make_code(format!("event {event}"), *bytes, *revenue, DAY * *days as u32);
            }
            MoneyStep::Redeem { code, network: by } => self.redeem(*code, network(*by)),
            MoneyStep::CancelCode { code } => self.cancel_code(*code),
            MoneyStep::Grant { key, network: to, bytes, revenue, lasts, sku } => {
                let start = self.state.now;
                self.grant(&GrantOnce {
                    network_id: network(*to),
                    sku: *sku,
                    market: Market::Manual,
                    key: format!("key {key}"),
                    start,
                    end: start + Duration::from_secs(*lasts),
                    bytes: *bytes,
                    revenue: *revenue,
                    is_pro: *sku == Sku::Subscription,
                });
            }
            MoneyStep::Revoke { key } => {
                let key = format!("key {key}");
                let expected = self.reference.money.keys.get(&key).copied();
                assert_eq!(self.state.revoke(&key).map(|given| given.balance_id), expected);
                if let Some(balance) = expected.flatten() {
                    self.reference.claw_back(balance);
                }
            }
            MoneyStep::ClawBack { balance } => {
                let Some(at) = nth(&self.reference.buckets, *balance) else { return };
                let id = self.reference.buckets[at].id;
                if self.state.claw_back(id) {
                    self.reference.claw_back(id);
                }
            }
            MoneyStep::Resolve { contract, party } => self.resolve(*contract, *party),
            MoneyStep::Plan { minimum, bonus_per_gib } => {
                self.plan(PayoutRun { minimum: *minimum, bonus_per_gib: *bonus_per_gib });
            }
            MoneyStep::Record { payment } => {
                let record = PaymentRecord { reference: "transfer".into(), ..PaymentRecord::default() };
                self.pay(*payment, PaymentState::Recorded, |state, id| state.record_payment(id, record));
            }
            MoneyStep::Complete { payment } => {
                self.pay(*payment, PaymentState::Completed, |state, id| state.complete_payment(id, "tx".into()));
            }
            MoneyStep::CancelPayment { payment } => {
                self.pay(*payment, PaymentState::Cancelled, |state, id| state.cancel_payment(id));
            }
            MoneyStep::Expire { days, is_swept } => {
                self.pass(days * 86_400);
                if *is_swept {
                    while self.state.sweep(7).1 {}
                    self.reference.sweep();
                }
                while self.state.forget_old(3) {}
            }
        }
    }

    fn make_code(&mut self, event: String, bytes: i64, revenue: i64, lasts: Duration) {
        let new = NewCodes {
            count: 1,
            bytes,
            net_revenue: revenue,
            duration: lasts,
            purchase_event_id: Some(event.clone()),
            purchase_record: String::new(),
            purchase_email: String::new(),
        };
        let codes = &mut self.reference.money.codes;
        let secret = secret(codes.len());
        let made = self.state.create_codes(&new, vec![secret.clone()]);
        if codes.iter().any(|code| code.event == event) {
            assert_eq!(made, Err(CodeRefusal::EventTaken));
            return;
        }
        let id = made.unwrap()[0].code_id;
        let lasts = lasts + DAY;
        codes.push(Code { id, secret, event, bytes, revenue, lasts, redeemed: None, is_cancelled: false });
    }

    fn redeem(&mut self, at: usize, by: NetworkId) {
        let Some(at) = nth(&self.reference.money.codes, at) else { return };
        let code = self.reference.money.codes[at].clone();
        let redeemed = self.state.redeem(by, &code.secret);
        assert_eq!(redeemed.is_some(), code.redeemed.is_none() && !code.is_cancelled, "{code:?}");
        let Some(redeemed) = redeemed else { return };
        let (now, id) = (self.state.now, redeemed.balance_id);
        self.reference.bucket(id, by, (now, now + code.lasts), (code.bytes, code.revenue));
        self.reference.money.codes[at].redeemed = Some(id);
    }

    fn cancel_code(&mut self, at: usize) {
        let Some(at) = nth(&self.reference.money.codes, at) else { return };
        let code = &mut self.reference.money.codes[at];
        let expected = match code.redeemed {
            _ if code.is_cancelled => CancelOutcome::Already,
            Some(balance) => CancelOutcome::ClawedBack(balance),
            None => CancelOutcome::Cancelled,
        };
        code.is_cancelled = true;
        assert_eq!(self.state.cancel_code(code.id), expected);
        if let CancelOutcome::ClawedBack(balance) = expected {
            self.reference.claw_back(balance);
        }
    }

    fn grant(&mut self, grant: &GrantOnce) {
        let before = self.reference.money.keys.get(&grant.key).copied();
        match self.state.grant_once(grant) {
            GrantOutcome::Already(given) => assert_eq!(Some(given.balance_id), before),
            GrantOutcome::Malformed => assert!(before.is_none() && grant.bytes == 0 && grant.sku == Sku::Data),
            GrantOutcome::Granted(given) => {
                assert_eq!((before, given.balance_id.is_some()), (None, grant.bytes > 0));
                if let Some(id) = given.balance_id {
                    let window = (grant.start, grant.end);
                    self.reference.bucket(id, grant.network_id, window, (grant.bytes, grant.revenue));
                }
                self.reference.money.keys.insert(grant.key.clone(), given.balance_id);
            }
        }
    }

    fn resolve(&mut self, at: usize, party: Party) {
        let Some(contract) = self.pick(at) else { return };
        let expected = self.reference.resolve(contract.id, party as usize);
        match self.state.resolve(contract.id, party) {
            Ok(used) => assert_eq!(expected, Ok(used)),
            Err(ResolveError::NotDisputed(_)) => assert_eq!(expected, Err(true)),
            // Which of the two is a matter of memory only.
            Err(ResolveError::NotFound(_) | ResolveError::AlreadyClosed(..)) => assert_eq!(expected, Err(false)),
        }
    }

    fn plan(&mut self, run: PayoutRun) {
        let known: Vec<_> = self.state.open_payments().keys().copied().collect();
        let plan = self.state.plan_payout(run);
        let networks: Vec<_> = self.reference.credits.keys().copied().collect();
        let mut expected = Vec::new();
        for network in networks {
            let (bytes, revenue) = self.reference.unpaid(network);
            let bonus = bytes * i128::from(run.bonus_per_gib) / (1 << 30);
            if (bytes > 0 || revenue > 0) && revenue + bonus >= i128::from(run.minimum) {
                expected.push((network, bytes, revenue, bonus));
            }
        }
        let amount: i128 = expected.iter().map(|(_, _, revenue, bonus)| revenue + bonus).sum();
        assert_eq!((plan.payments, i128::from(plan.amount), plan.left), (expected.len(), amount, 0));
        let made = self.state.open_payments().iter().filter(|(id, _)| !known.contains(id));
        let mut found = Vec::new();
        for (id, (network, payment)) in made {
            let Payment { bytes, revenue, bonus, .. } = *payment;
            found.push((*network, i128::from(bytes), i128::from(revenue), i128::from(bonus)));
            let (id, network, state) = (*id, *network, PaymentState::Planned);
            self.reference.money.payments.push(Paying { id, network, bytes, revenue, state });
        }
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    /// Moves a payment on, if it may.
    fn pay(
        &mut self,
        at: usize,
        to: PaymentState,
        change: impl FnOnce(&mut State, RecordId) -> Result<(), PaymentRefusal>,
    ) {
        let Some(at) = nth(&self.reference.money.payments, at) else { return };
        let payment = &mut self.reference.money.payments[at];
        let id = payment.id;
        let expected = match (payment.state, to) {
            (PaymentState::Completed | PaymentState::Cancelled, _) => Err(PaymentRefusal::NotOpen(id)),
            (PaymentState::Recorded, PaymentState::Recorded) => Err(PaymentRefusal::AlreadyRecorded(id)),
            (PaymentState::Planned, PaymentState::Completed) => Err(PaymentRefusal::NotRecorded(id)),
            _ => Ok(()),
        };
        assert_eq!(change(&mut self.state, id), expected);
        if expected.is_ok() {
            payment.state = to;
        }
    }

    /// What is granted, earned and paid adds up, and nothing is below zero.
    pub(super) fn check_money(&self) {
        let (state, reference) = (&self.state, &self.reference);
        for network in [network(CONSUMER), network(PROVIDER)] {
            let lifetime = reference.credits.get(&network).copied().unwrap_or_default();
            let (credit, totals) =
                (state.accounts.get(&network)).map(|account| (account.credit, account.payout)).unwrap_or_default();
            let unpaid = totals.unpaid(&credit);
            let open = reference.money.in_payments(network, Paying::is_open);
            let paid = reference.money.in_payments(network, |payment| payment.state == PaymentState::Completed);
            let wide = |pair: (i64, i64)| (i128::from(pair.0), i128::from(pair.1));
            assert_eq!(wide((totals.planned_bytes, totals.planned_revenue)), open);
            assert_eq!(wide((totals.paid_bytes, totals.paid_revenue)), paid);
            assert_eq!(wide(unpaid), reference.unpaid(network));
            assert!(unpaid.0 >= 0 && unpaid.1 >= 0, "{unpaid:?}");
            let all = (wide(unpaid).0 + open.0 + paid.0, wide(unpaid).1 + open.1 + paid.1);
            assert_eq!(all, wide((lifetime.0, lifetime.1)), "unpaid, in payment and paid are the lifetime credit");
        }
        let mut open: Vec<_> = reference.money.payments.iter().filter(|p| p.is_open()).map(|p| p.id).collect();
        open.sort_unstable();
        assert_eq!(state.open_payments().keys().copied().collect::<Vec<_>>(), open);

        for bucket in &reference.buckets {
            assert!((0..=bucket.start_bytes).contains(&bucket.bytes), "{bucket:?}");
            let is_old = bucket.end + DAY * 7 <= reference.now && reference.reserved(bucket.id) == 0;
            assert!(state.balances.key(bucket.id).is_some() || is_old, "only old ones go: {bucket:?}");
        }
        let balances = reference.money.codes.iter().filter_map(|code| code.redeemed);
        let mut balances: Vec<_> = balances.chain(reference.money.keys.values().flatten().copied()).collect();
        let count = balances.len();
        balances.sort_unstable();
        balances.dedup();
        assert_eq!(balances.len(), count, "one balance for each code and each key");
        for code in &reference.money.codes {
            let stored = state.code_by_id(code.id).unwrap();
            let redeemed = stored.redemption.as_ref().map(|redemption| redemption.balance_id);
            assert_eq!((redeemed, stored.cancel_time.is_some()), (code.redeemed, code.is_cancelled));
        }
    }
}
