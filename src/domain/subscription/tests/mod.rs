//! Plans as scripts: who subscribes, what time passes, what is paid, and what the network has from it.

use std::sync::Arc;
use std::time::Duration;

use super::billing::{BillingError, Source};
use super::collect::{PayInvoice, RefundInvoice};
use super::desk::{Member, NewPlan, Outside, Subscriptions};
use super::invoice::{Invoice, ListInvoices};
use super::plan::PlanType;
use super::record::Subscription;
use super::signed_receipt::ReceiptKey;
use crate::config::Config;
use crate::domain::balance::BalanceView;
use crate::domain::contract::Ledger;
use crate::domain::network::{NETWORKS, NetworkRecord, REFERRALS, USERS, UserRecord};
use crate::domain::testing::{TestDomain, id};
use crate::ids::RecordId;
use crate::time::{DAY, Timestamp};

mod billing;
mod model;
mod receipts;

/// A dollar.
const USD: i64 = 1_000_000_000;

/// The domain with subscriptions, over a store that outlives them.
struct Bench {
    domain: TestDomain,
    ledger: Arc<Ledger>,
    desk: Subscriptions,
    key: ReceiptKey,
}

impl Bench {
    /// A month costs 5 USD, a year 50.
    fn new() -> Self {
        let mut config = Config::default();
        config.purchase.monthly_usd = "5".parse().unwrap();
        config.purchase.yearly_usd = "50".parse().unwrap();
        Self::with_config(config)
    }

    fn with_config(config: Config) -> Self {
        let (domain, key) = (TestDomain::with_config(config), ReceiptKey::generate());
        let (ledger, desk) = Self::open(&domain, &key);
        Self { domain, ledger, desk, key }
    }

    fn open(domain: &TestDomain, key: &ReceiptKey) -> (Arc<Ledger>, Subscriptions) {
        let (service, config) = (domain.service.clone(), domain.service.config().clone());
        let ledger = Ledger::open(service.clone(), domain.store.clone(), domain.clock.clone(), config).unwrap();
        let desk = Subscriptions::new(service, ledger.clone(), Outside::default(), key.clone());
        (ledger, desk)
    }

    /// What a crash leaves: the rows.
    async fn crash(&mut self) {
        self.ledger.shutdown().await;
        (self.ledger, self.desk) = Self::open(&self.domain, &self.key);
    }

    /// A user with a network.
    async fn member(&self, byte: u8) -> Member {
        let member: Member = (id(byte), id(byte));
        let (user_id, network_id) = member;
        let now = self.now();
        let network = NetworkRecord {
            name: format!("network-{byte}"),
            admin_user_id: user_id,
            create_time: now,
            referral_code: format!("CODE{byte:02}"),
            referred_by: None,
            former_names: Vec::new(),
        };
        let user = UserRecord { network_id, user_name: String::new(), create_time: now, credential_change_time: now };
        self.domain.put(&NETWORKS, &network_id, &network).await;
        self.domain.put(&USERS, &user_id, &user).await;
        member
    }

    /// Notes that one network was brought by another.
    async fn refer(&self, child: Member, parent: Member) {
        let network = self.domain.get(&NETWORKS, &child.1).unwrap();
        let network = NetworkRecord { referred_by: Some(parent.1), ..network };
        self.domain.put(&NETWORKS, &child.1, &network).await;
        self.domain.put(&REFERRALS, &(parent.1, child.1), &()).await;
    }

    fn now(&self) -> Timestamp {
        self.domain.clock.now()
    }

    async fn subscribe(&self, member: Member, source: &str, trial: bool) -> Result<String, BillingError> {
        let new = NewPlan { plan: plan("all-monthly"), source: named(source), trial, is_3ds: false };
        self.desk.subscribe(member, new).await
    }

    /// Lets time pass, a day at a time, with what is due on each.
    async fn days(&self, days: u32) {
        for _ in 0..days {
            self.domain.clock.advance(DAY);
            self.desk.once().await.unwrap();
        }
    }

    fn plan_of(&self, member: Member) -> Subscription {
        self.desk.plans(member.0).unwrap().into_iter().next().map(|(_, plan)| plan).expect("a plan")
    }

    fn is_active(&self, member: Member) -> bool {
        !self.desk.active_plans(member.0).unwrap().is_empty()
    }

    /// Every invoice, oldest first.
    async fn invoices(&self) -> Vec<(RecordId, Invoice)> {
        let listed = self.domain.service.read(&ListInvoices { user_id: None }).unwrap();
        listed.into_iter().rev().map(|(_, id, invoice)| (id, invoice)).collect()
    }

    /// The states of all invoices, oldest first.
    async fn states(&self) -> Vec<&'static str> {
        self.invoices().await.iter().map(|(_, invoice)| invoice.state().name()).collect()
    }

    async fn balance(&self, member: Member) -> BalanceView {
        self.ledger.balance(member.1).await.unwrap()
    }

    /// The balances that came with paid periods and can be used now.
    async fn paid_balances(&self, member: Member) -> usize {
        let pro = i64::try_from(self.domain.service.config().purchase.pro_bytes.0).unwrap();
        // The one of the calendar's month has another size.
        let came_with_pay = |bytes: i64| bytes == pro || bytes == 12 * pro;
        self.balance(member).await.buckets.iter().filter(|bucket| came_with_pay(bucket.start_bytes)).count()
    }

    async fn pay(&self, id: RecordId) {
        self.domain.run(&PayInvoice { id, memo: "transfer 7".into() }).await.unwrap().unwrap();
        self.desk.deliver().await.unwrap();
    }

    async fn refund(&self, id: RecordId) {
        self.domain.run(&RefundInvoice { id }).await.unwrap().unwrap();
        self.desk.deliver().await.unwrap();
    }
}

fn plan(name: &str) -> PlanType {
    PlanType::parse(name).unwrap()
}

fn named(source: &str) -> Source {
    Source::Named(source.into())
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}
