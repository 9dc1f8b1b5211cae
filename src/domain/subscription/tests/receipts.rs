//! Receipts of stores, as this server signs them itself.

use super::*;
use crate::domain::account::delete::DeleteNetwork;
use crate::domain::account::guest::{self, Opened};
use crate::domain::auth::method;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::portal::profile::PROFILES;
use crate::domain::subscription::receipt::ReceiptProblem;
use crate::domain::subscription::record::{ReadSubscriber, ReceiptType};
use crate::domain::subscription::signed_receipt::SignedReceipt;
use crate::ids::UserId;

impl Bench {
    fn sign(&self, receipt_id: &str, change: impl FnOnce(&mut SignedReceipt)) -> String {
        let mut receipt = SignedReceipt {
            receipt_type: ReceiptType::Ios,
            receipt_id: receipt_id.into(),
            plan: "ios-monthly".into(),
            start: self.now(),
            end: self.now().months_later(1),
            in_trial: false,
            renews: true,
            is_pending: false,
        };
        change(&mut receipt);
        self.key.sign(receipt)
    }

    async fn open_by(&self, receipt: &str, partner: Option<&str>) -> Result<Opened, ReceiptProblem> {
        guest::open(&self.domain.service, &self.desk, ReceiptType::Ios, receipt, partner).await
    }
}

struct CountMethods(UserId);

impl Operation for CountMethods {
    type Output = usize;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<usize, DomainError> {
        Ok(method::methods(tx, &self.0)?.len())
    }
}

#[tokio::test]
async fn a_receipt_opens_an_account_once_and_finds_it_again() {
    let bench = Bench::new();
    let receipt = bench.sign("r-1", |_| {});
    let first = bench.open_by(&receipt, Some("acme-")).await.unwrap();
    assert!(first.is_new);
    assert_eq!(bench.domain.service.read(&CountMethods(first.user_id)).unwrap(), 0, "no other way to sign in");
    let known = bench.domain.service.read(&ReadSubscriber(first.user_id)).unwrap();
    assert!(known.had_plan);
    let profile = bench.domain.get(&PROFILES, &first.user_id).unwrap();
    assert_eq!(profile.partner.as_deref(), Some("acme-"));
    let member = (first.user_id, first.network_id);
    assert!(bench.is_active(member) && bench.balance(member).await.is_pro);
    assert_eq!(bench.paid_balances(member).await, 1);
    let again = bench.open_by(&receipt, Some("other-1")).await.unwrap();
    assert_eq!(again, Opened { is_new: false, ..first });
    assert_eq!(bench.paid_balances(member).await, 1, "the same period brings nothing twice");
    let plan = bench.plan_of(member);
    assert_eq!((plan.plan.name(), plan.receipt_type.name(), plan.renews), ("ios-monthly", "ios", true));
}

#[tokio::test]
async fn a_later_receipt_renews_and_an_older_one_takes_nothing_away() {
    let bench = Bench::new();
    let old = bench.sign("r-1", |_| {});
    let first = bench.open_by(&old, None).await.unwrap();
    let member = (first.user_id, first.network_id);
    bench.days(31).await;
    assert!(!bench.is_active(member));
    let new = bench.sign("r-1", |receipt| receipt.renews = false);
    bench.desk.refresh(member, ReceiptType::Ios, &new).await.unwrap();
    assert!(bench.is_active(member) && !bench.plan_of(member).renews);
    bench.desk.refresh(member, ReceiptType::Ios, &old).await.unwrap();
    assert!(bench.is_active(member));
    assert_eq!(bench.desk.plans(member.0).unwrap().len(), 1);
}

#[tokio::test]
async fn a_receipt_is_of_whom_handed_it_in_first() {
    let bench = Bench::new();
    let (ada, ben) = (bench.member(1).await, bench.member(2).await);
    let receipt = bench.sign("r-1", |_| {});
    bench.desk.refresh(ada, ReceiptType::Ios, &receipt).await.unwrap();
    let theirs = bench.desk.refresh(ben, ReceiptType::Ios, &receipt).await.unwrap_err();
    assert_eq!(theirs.code(), Some(26));
    assert!(!bench.is_active(ben));
    assert_eq!(bench.open_by(&receipt, None).await.unwrap().user_id, ada.0, "and signs them in");
    // With the account it is free again.
    bench.domain.run(&DeleteNetwork { network_id: ada.1 }).await.unwrap();
    assert!(bench.open_by(&receipt, None).await.unwrap().is_new);
}

#[tokio::test]
async fn what_is_wrong_with_a_receipt_has_its_number() {
    let bench = Bench::new();
    let code = async |receipt_type, text: String| {
        bench.desk.verify(receipt_type, &text).await.err().and_then(|problem| problem.code())
    };
    assert_eq!(code(ReceiptType::Ios, "  ".into()).await, Some(5));
    assert_eq!(code(ReceiptType::Ios, "x".into()).await, Some(9));
    assert_eq!(code(ReceiptType::Android, "%".into()).await, Some(65));
    assert_eq!(code(ReceiptType::Android, "x".repeat((256 << 10) + 1)).await, Some(65));
    assert_eq!(code(ReceiptType::Android, bench.sign("r", |_| {})).await, Some(66), "of the other store");
    let expired = bench.sign("r-2", |receipt| receipt.end = receipt.start);
    let opened = bench.open_by(&expired, None).await.unwrap();
    assert!(!bench.is_active((opened.user_id, opened.network_id)));
}

#[tokio::test]
async fn a_tried_receipt_brings_pro_and_no_balance_of_a_paid_month() {
    let bench = Bench::new();
    let opened = bench.open_by(&bench.sign("r-1", |receipt| receipt.in_trial = true), None).await.unwrap();
    let member = (opened.user_id, opened.network_id);
    assert!(bench.balance(member).await.is_pro && bench.plan_of(member).in_trial);
    assert_eq!(bench.paid_balances(member).await, 0);
    assert!(!bench.desk.may_try(member.0).unwrap());
}
