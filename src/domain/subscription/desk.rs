//! The front door of subscriptions: joins plans, who bills them, the stores of phones, and what is given.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::billing::{Begun, Billing, BillingError, Card, Payer, ShownInvoice, Source, Wish};
use super::discount::ReadDiscount;
use super::due::{Due, END_PREFIX, ForgetDue, PaidPeriod, ReadDue};
use super::local::LocalBilling;
use super::plan::PlanType;
use super::receipt::{MAX_RECEIPT_BYTES, ReceiptProblem, ReceiptVerifier, StoreReceipt};
use super::record::{ListPlans, ReadSubscriber, ReceiptType, Subscription};
use super::signed_receipt::{ReceiptKey, SignedReceipts};
use super::store::TakeReceipt;
use super::{due, record};
use crate::domain::balance::Market;
use crate::domain::contract::Ledger;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::purchase::checkout::{PlanReport, PutCustomer, PutReferences, ReadCustomer};
use crate::domain::purchase::delivery::Delivery;
use crate::domain::service::Service;
use crate::ids::{NetworkId, UserId};

/// The companies that take part; what is absent is done here.
#[derive(Clone, Default)]
pub struct Outside {
    /// Takes cards.
    pub billing: Option<Arc<dyn Billing>>,
    /// Apple's store.
    pub ios: Option<Arc<dyn ReceiptVerifier>>,
    /// Google's store.
    pub android: Option<Arc<dyn ReceiptVerifier>>,
}

/// Plans, cards, invoices and receipts.
pub struct Subscriptions {
    pub(super) service: Arc<Service>,
    delivery: Delivery,
    billing: Arc<dyn Billing>,
    ios: Arc<dyn ReceiptVerifier>,
    android: Arc<dyn ReceiptVerifier>,
    receipt_key: ReceiptKey,
    /// Users whose payment is under way: two clicks are one plan.
    busy: Mutex<HashSet<UserId>>,
}

/// Who asks: a user and their network.
pub type Member = (UserId, NetworkId);

/// What a user wants to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPlan {
    /// Which plan.
    pub plan: PlanType,
    /// What pays.
    pub source: Source,
    /// Whether it shall be tried first.
    pub trial: bool,
    /// Whether its owner has just confirmed this payment to their bank.
    pub is_3ds: bool,
}

impl Subscriptions {
    /// Over the state of `service`, giving through `ledger`.
    pub fn new(service: Arc<Service>, ledger: Arc<Ledger>, outside: Outside, receipt_key: ReceiptKey) -> Self {
        let signed = |receipt_type| Arc::new(SignedReceipts::new(receipt_type, receipt_key.clone()));
        Self {
            delivery: Delivery::new(Arc::clone(&service), ledger),
            billing: outside.billing.unwrap_or_else(|| Arc::new(LocalBilling::new(Arc::clone(&service)))),
            ios: outside.ios.unwrap_or_else(|| signed(ReceiptType::Ios)),
            android: outside.android.unwrap_or_else(|| signed(ReceiptType::Android)),
            receipt_key,
            busy: Mutex::default(),
            service,
        }
    }

    /// Signs receipts that stand in for those of stores.
    pub fn receipt_key(&self) -> &ReceiptKey {
        &self.receipt_key
    }

    /// Whether a plan may also be paid by an invoice that the operator collects.
    pub fn takes_invoices(&self) -> bool {
        self.billing.takes_invoices()
    }

    /// The plans of a user, newest end first.
    pub fn plans(&self, user_id: UserId) -> Result<Vec<(String, Subscription)>, DomainError> {
        self.service.read(&ListPlans(user_id))
    }

    /// Those of them that count now.
    pub fn active_plans(&self, user_id: UserId) -> Result<Vec<(String, Subscription)>, DomainError> {
        let now = self.service.clock().now();
        Ok(self.plans(user_id)?.into_iter().filter(|(_, plan)| plan.is_active(now)).collect())
    }

    /// Whether a user has a plan for every device, so that there is nothing more to have.
    pub fn has_all(&self, user_id: UserId) -> Result<bool, DomainError> {
        let now = self.service.clock().now();
        Ok(self.plans(user_id)?.iter().any(|(_, plan)| plan.is_whole(now)))
    }

    /// What is taken off the price of a network, in percent.
    pub fn discount(&self, network_id: NetworkId) -> Result<u8, DomainError> {
        self.service.read(&ReadDiscount(network_id))
    }

    /// Whether a user may try a plan.
    pub fn may_try(&self, user_id: UserId) -> Result<bool, DomainError> {
        let has_trials = !self.service.config().subscription.trial.is_zero();
        Ok(has_trials && !self.service.read(&ReadSubscriber(user_id))?.had_plan)
    }

    /// The cards of a user, the default first.
    pub async fn cards(&self, member: Member) -> Result<Vec<Card>, BillingError> {
        self.billing.cards(self.payer(member).await?).await
    }

    /// A page of a company that takes a new card; none when this server takes it itself.
    pub async fn card_page(&self, member: Member, back: String) -> Result<Option<String>, BillingError> {
        self.billing.card_page(self.payer(member).await?, back).await
    }

    /// Adds a card.
    pub async fn add_card(&self, member: Member, source: Source) -> Result<Card, BillingError> {
        self.billing.add_card(self.payer(member).await?, source).await
    }

    /// Makes a card the one that is charged.
    pub async fn set_default_card(&self, member: Member, card: String) -> Result<(), BillingError> {
        self.billing.set_default(self.payer(member).await?, card).await
    }

    /// Deletes a card.
    pub async fn delete_card(&self, member: Member, card: String) -> Result<(), BillingError> {
        self.billing.delete_card(self.payer(member).await?, card).await
    }

    /// The last invoices of a user, newest first.
    pub async fn invoices(&self, member: Member) -> Result<Vec<ShownInvoice>, BillingError> {
        self.billing.invoices(self.payer(member).await?).await
    }

    /// An invoice of a user.
    pub async fn invoice(&self, member: Member, id: String) -> Result<Option<ShownInvoice>, BillingError> {
        self.billing.invoice(self.payer(member).await?, id).await
    }

    /// Begins a plan; gives its receipt.
    pub async fn subscribe(&self, member: Member, new: NewPlan) -> Result<String, BillingError> {
        let (user_id, network_id) = member;
        let _busy = Busy::begin(&self.busy, user_id)?;
        if self.has_all(user_id)? {
            return Err(BillingError::AlreadyActive);
        }
        let NewPlan { plan, source, trial, is_3ds } = new;
        let trial = trial && !is_3ds;
        if trial && !self.may_try(user_id)? {
            return Err(BillingError::SecondTrial);
        }
        let percent = self.discount(network_id)?;
        let trial_end = trial.then(|| self.service.clock().now() + self.service.config().subscription.trial);
        let wish = Wish { plan, source, trial_end, is_3ds, percent };
        let begun = self.billing.subscribe(self.payer(member).await?, wish).await?;
        let receipt_id = begun.receipt_id.clone();
        if let Some(charge) = &begun.charge {
            // Known before it is given: a refund finds it even after a crash in between.
            self.service.run(&PutReferences { key: &charge.key, references: &charge.references }).await?;
        }
        self.service.run(&PutBegun { member, begun: &begun }).await?;
        self.deliver().await?;
        Ok(receipt_id)
    }

    /// Lets a plan that is billed by card or invoice end with what is paid.
    pub async fn cancel(&self, member: Member, receipt_id: String, reason: String) -> Result<(), BillingError> {
        let (user_id, _) = member;
        let plans = self.plans(user_id)?;
        let plan = plans.iter().find(|(known, _)| *known == receipt_id).map(|(_, plan)| plan);
        if plan.is_none_or(|plan| plan.receipt_type != ReceiptType::Stripe) {
            return Err(BillingError::NoSubscription);
        }
        self.billing.cancel(self.payer(member).await?, receipt_id.clone(), reason).await?;
        self.service.run(&PutNotRenewing { key: (user_id, receipt_id) }).await?;
        Ok(())
    }

    /// What a receipt of a store is.
    pub async fn verify(&self, receipt_type: ReceiptType, receipt: &str) -> Result<StoreReceipt, ReceiptProblem> {
        let receipt = receipt.trim();
        if receipt.is_empty() {
            return Err(ReceiptProblem::Missing);
        }
        let now = self.service.clock().now();
        match receipt_type {
            _ if receipt.len() > MAX_RECEIPT_BYTES => Err(ReceiptProblem::Undecodable),
            ReceiptType::Ios => self.ios.verify(receipt.to_owned(), now).await,
            ReceiptType::Android => self.android.verify(receipt.to_owned(), now).await,
            ReceiptType::Stripe => Err(ReceiptProblem::Field("cards have no receipts".into())),
        }
    }

    /// Asks a store again about a plan that was bought there.
    pub(super) async fn look_again(
        &self,
        receipt_type: ReceiptType,
        proof: String,
    ) -> Result<StoreReceipt, ReceiptProblem> {
        let now = self.service.clock().now();
        match receipt_type {
            ReceiptType::Ios => self.ios.look_again(proof, now).await,
            ReceiptType::Android => self.android.look_again(proof, now).await,
            ReceiptType::Stripe => Err(ReceiptProblem::Unreachable),
        }
    }

    /// Takes a receipt that a user hands in.
    pub async fn refresh(
        &self,
        (user_id, _): Member,
        receipt_type: ReceiptType,
        receipt: &str,
    ) -> Result<(), ReceiptProblem> {
        let receipt = self.verify(receipt_type, receipt).await?;
        if !self.service.run(&TakeReceipt { user_id, receipt: &receipt }).await? {
            return Err(ReceiptProblem::NotTheirs);
        }
        self.deliver().await?;
        self.acknowledge(receipt).await
    }

    /// Tells a store that what it sold was delivered.
    pub async fn acknowledge(&self, receipt: StoreReceipt) -> Result<(), ReceiptProblem> {
        match receipt.receipt_type {
            ReceiptType::Ios => self.ios.acknowledge(receipt).await,
            ReceiptType::Android => self.android.acknowledge(receipt).await,
            ReceiptType::Stripe => Ok(()),
        }
    }

    /// Notes how plans stand at the company that bills them, as it has reported.
    pub async fn note_reports(&self, reports: &[PlanReport]) -> Result<(), DomainError> {
        for report in reports {
            self.service.run(&super::store::NoteReport { report }).await?;
        }
        Ok(())
    }

    /// Gives what is paid and not given, and takes back what was paid back.
    pub async fn deliver(&self) -> Result<(), DomainError> {
        for (key, due) in self.service.read(&ReadDue)? {
            match &due {
                Due::Give(period) => drop(self.delivery.give(period.purchase(&key)).await?),
                Due::TakeBack => self.delivery.take_back(key.clone()).await?,
                // Companies are slow; nobody waits for them here.
                Due::EndAtCompany => continue,
            }
            self.service.run(&ForgetDue { key: &key, done: &due }).await?;
        }
        Ok(())
    }

    /// Ends plans, at the company that bills them, whose users are gone.
    pub(super) async fn end_at_company(&self) -> Result<(), DomainError> {
        for (key, due) in self.service.read(&ReadDue)? {
            if due != Due::EndAtCompany {
                continue;
            }
            let receipt_id = key.strip_prefix(END_PREFIX).unwrap_or(&key).to_owned();
            match self.billing.end(receipt_id).await {
                Ok(()) => self.service.run(&ForgetDue { key: &key, done: &due }).await?,
                Err(BillingError::Domain(error)) => return Err(error),
                Err(error) => tracing::warn!(%error, plan = key, "a plan cannot be ended; the next round tries again"),
            }
        }
        Ok(())
    }

    async fn payer(&self, (user_id, network_id): Member) -> Result<Payer, BillingError> {
        let customer = self.service.read(&ReadCustomer(network_id))?;
        let payer = Payer { user_id, network_id, customer };
        if payer.customer.is_some() {
            return Ok(payer);
        }
        let Some(customer) = self.billing.make_customer(payer.clone()).await? else { return Ok(payer) };
        self.service.run(&PutCustomer(network_id, customer.clone())).await?;
        Ok(Payer { customer: Some(customer), ..payer })
    }
}

/// Notes what was begun at a company; what was begun here is noted already.
struct PutBegun<'a> {
    member: Member,
    begun: &'a Begun,
}

impl Operation for PutBegun<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let ((user_id, network_id), begun) = (self.member, self.begun);
        let Some(plan) = &begun.record else { return Ok(()) };
        if let Some(charge) = &begun.charge {
            let (start, end) = charge.period;
            let (item, revenue) = (plan.plan.item(), charge.paid);
            let market = Market::Stripe;
            let period = PaidPeriod { network_id, market, item, is_trial: false, start, end, revenue };
            due::give(tx, &charge.key, period)?;
        }
        let key = (user_id, begun.receipt_id.clone());
        // The company's own report may have come first, and knows better.
        match record::plan(tx, &key)? {
            Some(_) => Ok(()),
            None => record::put(tx, &key, plan),
        }
    }
}

/// Notes that a plan ends with what is paid.
struct PutNotRenewing {
    key: (UserId, String),
}

impl Operation for PutNotRenewing {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        match record::plan(tx, &self.key)? {
            Some(plan) if plan.renews => record::put(tx, &self.key, &Subscription { renews: false, ..plan }),
            _ => Ok(()),
        }
    }
}

/// A payment under way.
struct Busy<'a> {
    all: &'a Mutex<HashSet<UserId>>,
    user_id: UserId,
}

impl<'a> Busy<'a> {
    fn begin(all: &'a Mutex<HashSet<UserId>>, user_id: UserId) -> Result<Self, DomainError> {
        match all.lock().insert(user_id) {
            true => Ok(Self { all, user_id }),
            false => Err(DomainError::Unavailable),
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.user_id);
    }
}
