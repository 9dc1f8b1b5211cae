//! Cards, trials, renewals, invoices, refunds and discounts of this server's own billing.

use super::*;
use crate::domain::account::delete::DeleteNetwork;
use crate::domain::subscription::card::CARDS;
use crate::domain::subscription::due::DUE_DELIVERIES;
use crate::domain::subscription::invoice::INVOICES;
use crate::domain::subscription::record::{SUBSCRIBERS, SUBSCRIPTION_CHECKS, SUBSCRIPTIONS};
use crate::domain::wallet::journal::POSTINGS;

fn rows(bench: &Bench) -> [usize; 6] {
    let count = |number: u16| {
        crate::store::Store::scan(&*bench.domain.store, &number.to_be_bytes(), None, 10_000).unwrap().len()
    };
    [
        count(SUBSCRIBERS.number),
        count(SUBSCRIPTIONS.number),
        count(SUBSCRIPTION_CHECKS.number),
        count(CARDS.number),
        count(INVOICES.number),
        count(DUE_DELIVERIES.number),
    ]
}

#[tokio::test]
async fn a_card_pays_now_and_every_month() {
    let bench = Bench::new();
    let ada = bench.member(1).await;
    bench.subscribe(ada, "tok_visa", false).await.unwrap();
    let plan = bench.plan_of(ada);
    assert_eq!((plan.in_trial, plan.renews, plan.expiration), (false, true, bench.now().months_later(1)));
    assert!(bench.balance(ada).await.is_pro);
    assert_eq!(bench.paid_balances(ada).await, 1);
    // Until the month is over nothing happens, however often it is looked at.
    bench.days(29).await;
    assert_eq!(bench.states().await, ["paid"]);
    bench.days(63).await;
    assert_eq!(bench.states().await, ["paid"; 4]);
    assert!(bench.is_active(ada));
    let invoices = bench.invoices().await;
    for pair in invoices.windows(2) {
        assert_eq!(pair[0].1.period.unwrap().1, pair[1].1.period.unwrap().0, "no gap and no overlap");
    }
    assert!(invoices.iter().all(|(_, invoice)| invoice.amount == 5 * USD));
}

#[tokio::test]
async fn a_plan_is_tried_once_and_charged_when_the_trial_ends() {
    let bench = Bench::new();
    let ada = bench.member(1).await;
    bench.subscribe(ada, "tok_visa", true).await.unwrap();
    let plan = bench.plan_of(ada);
    assert!(plan.in_trial && bench.is_active(ada));
    assert_eq!(plan.expiration.since(bench.now()), DAY * 7);
    assert!(bench.balance(ada).await.is_pro, "the month of Pro comes with it");
    assert_eq!(bench.paid_balances(ada).await, 0, "what is paid for does not");
    assert_eq!(bench.states().await.len(), 0);
    bench.days(7).await;
    assert_eq!(bench.states().await, ["paid"]);
    assert!(!bench.plan_of(ada).in_trial);
    let receipt = bench.desk.plans(ada.0).unwrap()[0].0.clone();
    bench.desk.cancel(ada, receipt, String::new()).await.unwrap();
    bench.days(40).await;
    assert!(!bench.is_active(ada));
    assert!(!bench.desk.may_try(ada.0).unwrap());
    let again = bench.subscribe(ada, "tok_visa", true).await;
    assert!(matches!(again, Err(BillingError::SecondTrial)), "{again:?}");
    bench.subscribe(ada, "tok_visa", false).await.unwrap();
}

#[tokio::test]
async fn a_refused_card_leaves_nothing_behind() {
    let bench = Bench::new();
    let ada = bench.member(1).await;
    for source in ["tok_chargeDeclined", "tok_chargeCustomerFail", "tok_threeDSecure2Required", "tok_none", "card_1"] {
        let refused = bench.subscribe(ada, source, false).await;
        assert!(matches!(refused, Err(BillingError::Refused(_) | BillingError::NoCard)), "{source}: {refused:?}");
        assert_eq!(rows(&bench), [0; 6], "{source}");
    }
    let asked =
        NewPlan { plan: plan("all-annual"), source: named("tok_threeDSecure2Required"), trial: true, is_3ds: true };
    bench.desk.subscribe(ada, asked).await.unwrap();
    assert!(!bench.plan_of(ada).in_trial, "what is confirmed is paid");
    assert_eq!(bench.plan_of(ada).expiration, bench.now().months_later(12));
    let twice = bench.subscribe(ada, "tok_visa", false).await;
    assert!(matches!(twice, Err(BillingError::AlreadyActive)));
}

#[tokio::test]
async fn a_card_that_fails_later_is_tried_daily_until_the_grace_ends() {
    let bench = Bench::new();
    let ada = bench.member(1).await;
    bench.subscribe(ada, "tok_chargeCustomerFail", true).await.unwrap();
    bench.days(8).await;
    assert!(!bench.is_active(ada) && bench.plan_of(ada).renews);
    let (_, open) = bench.invoices().await.remove(0);
    assert_eq!((open.state().name(), open.refusals), ("open", 2));
    bench.days(4).await;
    assert_eq!(bench.states().await, ["void"]);
    assert!(!bench.plan_of(ada).renews);
    assert_eq!(rows(&bench)[2], 0, "nothing is looked at any more");

    let ben = bench.member(2).await;
    bench.subscribe(ben, "tok_chargeCustomerFail", true).await.unwrap();
    bench.days(8).await;
    let good = bench.desk.add_card(ben, named("tok_visa")).await.unwrap();
    bench.desk.set_default_card(ben, good.id).await.unwrap();
    bench.days(1).await;
    assert!(bench.is_active(ben), "the next try is with the new card");
    assert_eq!(bench.states().await, ["void", "paid"]);
}

#[tokio::test]
async fn what_the_operator_collects_begins_when_it_is_paid() {
    let bench = Bench::new();
    let ada = bench.member(1).await;
    bench.subscribe(ada, Source::INVOICE, true).await.unwrap();
    assert!(!bench.is_active(ada) && !bench.balance(ada).await.is_pro);
    assert!(bench.desk.may_try(ada.0).unwrap(), "it was not tried");
    // Another wish takes its place.
    let annual = NewPlan { plan: plan("all-annual"), source: named(Source::INVOICE), trial: false, is_3ds: false };
    bench.desk.subscribe(ada, annual).await.unwrap();
    bench.subscribe(ada, Source::INVOICE, false).await.unwrap();
    assert_eq!((bench.states().await, bench.desk.plans(ada.0).unwrap().len()), (vec!["open"], 1));
    bench.days(2).await;
    let (id, _) = bench.invoices().await.remove(0);
    for _ in 0..2 {
        bench.pay(id).await;
    }
    assert_eq!(bench.plan_of(ada).expiration, bench.now().months_later(1), "from the payment on");
    assert_eq!(bench.paid_balances(ada).await, 1);
    // The next invoice comes a week ahead, and lapses with the grace.
    bench.days(25).await;
    assert_eq!(bench.states().await, ["paid", "open"]);
    assert!(bench.is_active(ada));
    bench.days(8).await;
    assert_eq!(bench.states().await, ["paid", "void"]);
    assert!(!bench.is_active(ada));
    let refused = bench.domain.run(&PayInvoice { id: bench.invoices().await[1].0, memo: String::new() }).await.unwrap();
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_refund_takes_back_what_was_given_and_ends_the_plan() {
    let bench = Bench::new();
    let ada = bench.member(1).await;
    bench.subscribe(ada, "tok_visa", false).await.unwrap();
    let (id, _) = bench.invoices().await.remove(0);
    for _ in 0..2 {
        bench.refund(id).await;
    }
    let plan = bench.plan_of(ada);
    assert_eq!((plan.cancellation, plan.renews), (Some(bench.now()), false));
    assert!(!bench.is_active(ada) && !bench.balance(ada).await.is_pro);
    assert_eq!(bench.paid_balances(ada).await, 0);
    bench.days(40).await;
    assert_eq!(bench.states().await, ["refunded"]);
    let postings = bench.domain.store.clone();
    let rows = crate::store::Store::scan(&*postings, &POSTINGS.number.to_be_bytes(), None, 100).unwrap();
    assert_eq!(rows.len(), 2, "one there and one back");
}

#[tokio::test]
async fn who_brings_others_and_was_brought_pays_less() {
    let bench = Bench::new();
    let (ada, parent) = (bench.member(1).await, bench.member(2).await);
    bench.refer(ada, parent).await;
    for byte in 3..=14 {
        let child = bench.member(byte).await;
        bench.refer(child, ada).await;
        if byte <= 4 {
            bench.subscribe(child, "tok_visa", false).await.unwrap();
        }
    }
    assert_eq!(bench.desk.discount(ada.1).unwrap(), 30);
    assert_eq!(bench.desk.discount(parent.1).unwrap(), 0, "who was brought has no plan");
    bench.subscribe(ada, "tok_visa", false).await.unwrap();
    let invoice = bench.invoices().await.pop().unwrap().1;
    assert_eq!((invoice.percent, invoice.price, invoice.amount), (30, 5 * USD, 35 * USD / 10));
    assert_eq!(bench.desk.discount(parent.1).unwrap(), 10);
    for byte in 5..=14 {
        bench.subscribe((id(byte), id(byte)), "tok_visa", false).await.unwrap();
    }
    assert_eq!(bench.desk.discount(ada.1).unwrap(), 100);
    bench.days(31).await;
    let last = bench.invoices().await.into_iter().rfind(|(_, invoice)| invoice.network_id == ada.1);
    let last = last.unwrap().1;
    assert_eq!((last.amount, last.state().name()), (0, "paid"), "free, and as good as paid");
}

#[tokio::test]
async fn cards_are_kept_without_their_numbers_and_never_all_deleted() {
    let bench = Bench::new();
    let ada = bench.member(1).await;
    let first = bench.desk.add_card(ada, named("tok_visa")).await.unwrap();
    assert!(matches!(bench.desk.delete_card(ada, first.id.clone()).await, Err(BillingError::LastCard)));
    let second = bench.desk.add_card(ada, named("tok_amex")).await.unwrap();
    assert_eq!((first.is_default, second.is_default), (true, false));
    assert!(matches!(bench.desk.delete_card(ada, first.id.clone()).await, Err(BillingError::DefaultCard)));
    bench.desk.set_default_card(ada, second.id.clone()).await.unwrap();
    let cards = bench.desk.cards(ada).await.unwrap();
    assert_eq!(cards.iter().map(|card| card.brand.as_str()).collect::<Vec<_>>(), ["American Express", "Visa"]);
    bench.desk.delete_card(ada, first.id.clone()).await.unwrap();
    for unknown in [first.id.as_str(), "card_", ""] {
        assert!(matches!(bench.desk.delete_card(ada, unknown.into()).await, Err(BillingError::NoCard)));
        assert!(matches!(bench.desk.set_default_card(ada, unknown.into()).await, Err(BillingError::NoCard)));
    }
    let other = bench.member(2).await;
    assert!(matches!(bench.desk.set_default_card(other, second.id).await, Err(BillingError::NoCard)));
    for _ in 1..16 {
        bench.desk.add_card(ada, named("tok_visa")).await.unwrap();
    }
    assert!(matches!(bench.desk.add_card(ada, named("tok_visa")).await, Err(BillingError::TooManyCards)));
    let rows = crate::store::Store::scan(&*bench.domain.store, &CARDS.number.to_be_bytes(), None, 100).unwrap();
    for (_, row) in rows {
        assert!(!String::from_utf8_lossy(&row.value).contains("424242"), "a number is in the store");
    }
}

#[tokio::test]
async fn a_cancelled_plan_lasts_until_its_end() {
    let bench = Bench::new();
    let (ada, ben) = (bench.member(1).await, bench.member(2).await);
    let receipt = bench.subscribe(ada, "tok_visa", true).await.unwrap();
    let theirs = bench.desk.cancel(ben, receipt.clone(), String::new()).await;
    assert!(matches!(theirs, Err(BillingError::NoSubscription)));
    for _ in 0..2 {
        bench.desk.cancel(ada, receipt.clone(), "too dear".into()).await.unwrap();
    }
    let plan = bench.plan_of(ada);
    assert!(plan.in_trial && !plan.renews && plan.cancellation.is_none() && bench.is_active(ada));
    bench.days(8).await;
    assert!(!bench.is_active(ada));
    assert_eq!(bench.states().await.len(), 0, "nothing is charged");
    let waiting = bench.subscribe(ben, Source::INVOICE, false).await.unwrap();
    bench.desk.cancel(ben, waiting, String::new()).await.unwrap();
    assert!(bench.desk.plans(ben.0).unwrap().is_empty(), "what never began is gone");
    assert_eq!(bench.states().await.len(), 0);
}

#[tokio::test]
async fn what_is_paid_before_a_crash_is_given_after_it_once() {
    let mut bench = Bench::new();
    let ada = bench.member(1).await;
    bench.subscribe(ada, Source::INVOICE, false).await.unwrap();
    let (id, _) = bench.invoices().await.remove(0);
    // It dies after the payment is on disk.
    bench.domain.run(&PayInvoice { id, memo: String::new() }).await.unwrap().unwrap();
    assert_eq!(rows(&bench)[5], 1);
    bench.crash().await;
    bench.desk.once().await.unwrap();
    assert_eq!((rows(&bench)[5], bench.paid_balances(ada).await), (0, 1));
    bench.crash().await;
    bench.desk.once().await.unwrap();
    assert_eq!(bench.paid_balances(ada).await, 1);
    // It dies after a refund, and after the payment is given again by mistake.
    bench.domain.run(&RefundInvoice { id }).await.unwrap().unwrap();
    bench.crash().await;
    bench.desk.once().await.unwrap();
    assert_eq!((rows(&bench)[5], bench.paid_balances(ada).await), (0, 0));
}

#[tokio::test]
async fn everything_goes_with_the_account_but_the_books() {
    let bench = Bench::new();
    let ada = bench.member(1).await;
    bench.subscribe(ada, "tok_visa", false).await.unwrap();
    bench.domain.run(&DeleteNetwork { network_id: ada.1 }).await.unwrap();
    assert_eq!(rows(&bench), [0; 6]);
    bench.days(40).await;
    assert_eq!(rows(&bench), [0; 6]);
}

#[tokio::test]
async fn plans_of_a_user_are_bounded() {
    let bench = Bench::new();
    let ada = bench.member(1).await;
    for _ in 0..40 {
        let receipt = bench.subscribe(ada, "tok_visa", false).await.unwrap();
        bench.desk.cancel(ada, receipt, String::new()).await.unwrap();
        bench.days(32).await;
        bench.desk.delete_card(ada, String::new()).await.unwrap_err();
        for card in bench.desk.cards(ada).await.unwrap().into_iter().filter(|card| !card.is_default) {
            bench.desk.delete_card(ada, card.id).await.unwrap();
        }
    }
    assert_eq!(bench.desk.plans(ada.0).unwrap().len(), 32);
    assert_eq!(bench.states().await.len(), 40, "invoices stay");
}

#[tokio::test]
async fn nothing_is_sold_without_a_price() {
    let bench = Bench::with_config(Config::default());
    let ada = bench.member(1).await;
    assert!(matches!(bench.subscribe(ada, "tok_visa", false).await, Err(BillingError::NotForSale)));
    let mut config = Config::default();
    config.purchase.monthly_usd = "5".parse().unwrap();
    config.subscription.trial = Duration::ZERO;
    let bench = Bench::with_config(config);
    let ada = bench.member(1).await;
    assert!(matches!(bench.subscribe(ada, "tok_visa", true).await, Err(BillingError::SecondTrial)));
    assert_eq!(rows(&bench), [0; 6]);
    bench.domain.clock.advance(hours(1));
    bench.subscribe(ada, "tok_visa", false).await.unwrap();
}
