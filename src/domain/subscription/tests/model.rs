//! Random runs: subscribe, renew, pay, fail, cancel, refund, with crashes at the worst moments. Money adds up, and each
//! paid period brings its balance once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::contract::grants::GRANT_KEYS;
use crate::domain::subscription::billing::{Billing, InvoiceState, Payer, Wish};
use crate::domain::subscription::local::LocalBilling;
use crate::domain::wallet::journal::{Account, POSTINGS};
use crate::store::Store;
use crate::store::table::{TableKey, TableValue};

const USERS_IN_RUN: u8 = 3;

#[derive(Clone, Debug)]
enum Step {
    Subscribe { user: u8, source: u8, annual: bool, trial: bool, is_3ds: bool, dies: bool },
    Card { user: u8, source: u8 },
    Cancel { user: u8 },
    Pay { invoice: usize, dies: bool },
    Refund { invoice: usize, dies: bool },
    Pass { days: u32 },
    Crash,
}

/// One that pays, one that fails later, one that asks the bank, one that is refused, and an invoice.
const SOURCES: [&str; 5] =
    ["tok_visa", "tok_chargeCustomerFail", "tok_threeDSecure2Required", "tok_chargeDeclined", Source::INVOICE];

fn step() -> impl Strategy<Value = Step> {
    let user = || 1..=USERS_IN_RUN;
    prop_oneof![
        4 => (user(), 0..5u8, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(user, source, annual, trial, is_3ds, dies)| Step::Subscribe { user, source, annual, trial, is_3ds, dies }
        ),
        2 => (user(), 0..3u8).prop_map(|(user, source)| Step::Card { user, source }),
        1 => user().prop_map(|user| Step::Cancel { user }),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(invoice, dies)| Step::Pay { invoice, dies }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(invoice, dies)| Step::Refund { invoice, dies }),
        4 => (0..40u32).prop_map(|days| Step::Pass { days }),
        1 => Just(Step::Crash),
    ]
}

fn all<K: TableKey, V: TableValue>(bench: &Bench, table: &crate::store::table::Table<K, V>) -> Vec<(K, V)> {
    let mut found = Vec::new();
    let prefix = table.prefix(&());
    let see = |key, value| {
        found.push((key, value));
        std::ops::ControlFlow::Continue(())
    };
    table.each(&*bench.domain.store as &dyn Store, &prefix, None, 1000, see).unwrap();
    found
}

async fn apply(bench: &mut Bench, step: &Step) {
    match step {
        Step::Subscribe { user, source, annual, trial, is_3ds, dies } => {
            let member: Member = (id(*user), id(*user));
            let plan = plan(if *annual { "all-annual" } else { "all-monthly" });
            let source = named(SOURCES[usize::from(*source)]);
            if *dies {
                // Straight to the books, and nobody is left to give what was paid.
                let billing = LocalBilling::new(bench.domain.service.clone());
                let trial_end = (*trial && !*is_3ds).then(|| bench.now() + DAY * 7);
                let percent = bench.desk.discount(member.1).unwrap();
                let wish = Wish { plan, source, trial_end, is_3ds: *is_3ds, percent };
                let payer = Payer { user_id: member.0, network_id: member.1, customer: None };
                let _ = billing.subscribe(payer, wish).await;
                bench.crash().await;
            } else {
                let _ = bench.desk.subscribe(member, NewPlan { plan, source, trial: *trial, is_3ds: *is_3ds }).await;
            }
        }
        Step::Card { user, source } => {
            let member: Member = (id(*user), id(*user));
            if let Ok(card) = bench.desk.add_card(member, named(SOURCES[usize::from(*source)])).await {
                bench.desk.set_default_card(member, card.id).await.unwrap();
            }
        }
        Step::Cancel { user } => {
            let member: Member = (id(*user), id(*user));
            if let Some((receipt, _)) = bench.desk.plans(member.0).unwrap().into_iter().next() {
                bench.desk.cancel(member, receipt, String::new()).await.unwrap();
            }
        }
        Step::Pay { invoice, dies } => {
            let invoices = bench.invoices().await;
            if let Some((id, _)) = invoices.get(invoice % invoices.len().max(1)) {
                let _ = bench.domain.run(&PayInvoice { id: *id, memo: String::new() }).await.unwrap();
                after(bench, *dies).await;
            }
        }
        Step::Refund { invoice, dies } => {
            let invoices = bench.invoices().await;
            if let Some((id, _)) = invoices.get(invoice % invoices.len().max(1)) {
                let _ = bench.domain.run(&RefundInvoice { id: *id }).await.unwrap();
                after(bench, *dies).await;
            }
        }
        Step::Pass { days } => {
            bench.domain.clock.advance(DAY * *days);
            bench.desk.once().await.unwrap();
        }
        Step::Crash => bench.crash().await,
    }
}

async fn after(bench: &mut Bench, dies: bool) {
    match dies {
        true => bench.crash().await,
        false => bench.desk.deliver().await.unwrap(),
    }
}

/// What must hold whatever happened, once what is due is done.
async fn check(bench: &Bench) {
    bench.desk.once().await.unwrap();
    let invoices = bench.invoices().await;
    let paid = |state| move |(_, invoice): &&(RecordId, Invoice)| invoice.state() == state;

    // The books: every posting sums to zero, and the sales are what is paid and not paid back.
    let mut sales = 0;
    for (_, posting) in all(bench, &POSTINGS) {
        assert_eq!(posting.legs.iter().map(|(_, change)| change).sum::<i64>(), 0);
        sales += posting.legs.iter().filter(|(side, _)| *side == Account::Sales).map(|(_, change)| change).sum::<i64>();
    }
    let earned: i64 = invoices.iter().filter(paid(InvoiceState::Paid)).map(|(_, invoice)| invoice.amount).sum();
    assert_eq!(sales, earned, "money is lost or made");

    // One grant for each paid period, to the network that paid, and none for anything else.
    let given: BTreeMap<String, _> =
        all(bench, &GRANT_KEYS).into_iter().filter(|(key, _)| key.starts_with("invoice:")).collect();
    for (id, invoice) in &invoices {
        let grant = given.get(&format!("invoice:{id}"));
        match invoice.state() {
            InvoiceState::Paid => {
                assert_eq!(grant.expect("a paid period was not given").network_id, invoice.network_id)
            }
            InvoiceState::Open | InvoiceState::Void => assert!(grant.is_none(), "given without being paid"),
            InvoiceState::Refunded => {}
        }
    }
    let settled = invoices.iter().filter(|(_, invoice)| invoice.payment.is_some()).count();
    assert!(given.len() <= settled);

    // The paid periods of a plan follow each other without a gap.
    let mut periods: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (_, invoice) in &invoices {
        if let Some(period) = invoice.period {
            periods.entry(&invoice.receipt_id).or_default().push(period);
        }
    }
    for (receipt, periods) in &periods {
        assert!(periods.windows(2).all(|pair| pair[0].1 == pair[1].0), "{receipt}: {periods:?}");
    }
    for user in 1..=USERS_IN_RUN {
        let member: Member = (id(user), id(user));
        assert!(bench.desk.active_plans(member.0).unwrap().len() <= 1, "two plans at once");
        let open =
            invoices.iter().filter(paid(InvoiceState::Open)).filter(|(_, invoice)| invoice.network_id == member.1);
        assert!(open.count() <= 1, "two invoices to be paid at once");
        let has_paid = invoices.iter().filter(paid(InvoiceState::Paid)).any(|(_, invoice)| {
            invoice.network_id == member.1
                && invoice.period.is_some_and(|(start, end)| start <= bench.now() && bench.now() < end)
        });
        assert!(!has_paid || bench.balance(member).await.is_pro, "paid, and not Pro");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn money_adds_up_and_each_paid_period_is_given_once(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new();
            for user in 1..=USERS_IN_RUN {
                bench.member(user).await;
            }
            bench.refer((id(2), id(2)), (id(1), id(1))).await;
            for step in &steps {
                apply(&mut bench, step).await;
                check(&bench).await;
            }
            bench.ledger.shutdown().await;
        });
    }
}
