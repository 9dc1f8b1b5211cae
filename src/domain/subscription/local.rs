//! This server's own billing: cards that are test cards, and invoices that the operator collects.
//!
//! Each of its operations is one transaction: the money, the invoice, the plan and the note of what is to be given
//! change together or not at all. What becomes of a plan afterwards is in [`super::course`].

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::billing::{Begun, Billing, BillingError, Card, Payer, ShownInvoice, Source, Wish};
use super::card;
use super::course::{CancelPlan, make_way, settle};
use super::discount::reduced;
use super::due::{self, PaidPeriod};
use super::invoice::{self, Invoice, ListOwnInvoices, Payment, ReadOwnInvoice};
use super::record::{self, LocalPlan, ReceiptType, SUBSCRIBERS, Subscription};
use crate::domain::balance::Market;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::service::Service;
use crate::ids::{NetworkId, RecordId, UserId};
use crate::time::Timestamp;

const ID_PREFIX: &str = "sub_local_";

/// What operations answer: an outcome, or why there is none.
pub(super) type Outcome<T> = Result<Result<T, BillingError>, DomainError>;

/// This server's own billing.
pub struct LocalBilling {
    service: Arc<Service>,
}

impl LocalBilling {
    /// Keeps its books through `service`.
    pub fn new(service: Arc<Service>) -> Self {
        Self { service }
    }

    async fn run<O: Operation<Output = Result<T, BillingError>>, T: Send>(
        &self,
        operation: O,
    ) -> Result<T, BillingError> {
        self.service.run(&operation).await?
    }
}

impl Billing for LocalBilling {
    fn make_customer(&self, _: Payer) -> BoxFuture<'_, Result<Option<String>, BillingError>> {
        Box::pin(async { Ok(None) })
    }

    fn card_page(&self, _: Payer, _: String) -> BoxFuture<'_, Result<Option<String>, BillingError>> {
        Box::pin(async { Ok(None) })
    }

    fn cards(&self, payer: Payer) -> BoxFuture<'_, Result<Vec<Card>, BillingError>> {
        Box::pin(async move { Ok(self.service.run(&ListCards(payer.user_id)).await?) })
    }

    fn add_card(&self, payer: Payer, source: Source) -> BoxFuture<'_, Result<Card, BillingError>> {
        Box::pin(self.run(AddCard { user_id: payer.user_id, source }))
    }

    fn set_default(&self, payer: Payer, card: String) -> BoxFuture<'_, Result<(), BillingError>> {
        Box::pin(self.run(SetDefault { user_id: payer.user_id, card }))
    }

    fn delete_card(&self, payer: Payer, card: String) -> BoxFuture<'_, Result<(), BillingError>> {
        Box::pin(self.run(DeleteCard { user_id: payer.user_id, card }))
    }

    fn subscribe(&self, payer: Payer, wish: Wish) -> BoxFuture<'_, Result<Begun, BillingError>> {
        Box::pin(self.run(Subscribe { payer, wish }))
    }

    fn cancel(&self, payer: Payer, receipt_id: String, reason: String) -> BoxFuture<'_, Result<(), BillingError>> {
        Box::pin(self.run(CancelPlan { user_id: payer.user_id, receipt_id, reason }))
    }

    fn end(&self, _: String) -> BoxFuture<'_, Result<(), BillingError>> {
        // Its plans went with the user.
        Box::pin(async { Ok(()) })
    }

    fn invoices(&self, payer: Payer) -> BoxFuture<'_, Result<Vec<ShownInvoice>, BillingError>> {
        Box::pin(async move { Ok(self.service.read(&ListOwnInvoices(payer.user_id))?) })
    }

    fn invoice(&self, payer: Payer, id: String) -> BoxFuture<'_, Result<Option<ShownInvoice>, BillingError>> {
        Box::pin(async move { Ok(self.service.read(&ReadOwnInvoice { user_id: payer.user_id, id })?) })
    }

    fn takes_invoices(&self) -> bool {
        true
    }
}

struct ListCards(UserId);

impl Operation for ListCards {
    type Output = Vec<Card>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Card>, DomainError> {
        card::cards(tx, &self.0)
    }
}

struct AddCard {
    user_id: UserId,
    source: Source,
}

impl Operation for AddCard {
    type Output = Result<Card, BillingError>;

    fn apply(&self, tx: &mut Tx<'_>) -> Outcome<Card> {
        match card::of_source(tx, &self.user_id, &self.source)? {
            Ok((None, found)) => Ok(card::add(tx, &self.user_id, &found)?.map(|(_, card)| card)),
            // It is there already.
            Ok((Some(id), _)) => {
                let cards = card::cards(tx, &self.user_id)?;
                Ok(cards.into_iter().find(|card| card.id == card::text_id(id)).ok_or(BillingError::NoCard))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }
}

struct SetDefault {
    user_id: UserId,
    card: String,
}

impl Operation for SetDefault {
    type Output = Result<(), BillingError>;

    fn apply(&self, tx: &mut Tx<'_>) -> Outcome<()> {
        card::set_default(tx, &self.user_id, &self.card)
    }
}

struct DeleteCard {
    user_id: UserId,
    card: String,
}

impl Operation for DeleteCard {
    type Output = Result<(), BillingError>;

    fn apply(&self, tx: &mut Tx<'_>) -> Outcome<()> {
        card::delete(tx, &self.user_id, &self.card)
    }
}

/// Begins a plan.
struct Subscribe {
    payer: Payer,
    wish: Wish,
}

impl Operation for Subscribe {
    type Output = Result<Begun, BillingError>;

    fn apply(&self, tx: &mut Tx<'_>) -> Outcome<Begun> {
        let (Payer { user_id, network_id, .. }, wish) = (&self.payer, &self.wish);
        let Some(price) = wish.plan.item().price(tx.config) else { return Ok(Err(BillingError::NotForSale)) };
        // Looked at again inside the transaction: two clicks are one plan.
        let plans = record::plans(tx, user_id)?;
        if plans.iter().any(|(_, plan)| plan.is_whole(tx.now)) {
            return Ok(Err(BillingError::AlreadyActive));
        }
        if wish.trial_end.is_some() && tx.get(&SUBSCRIBERS, user_id)?.unwrap_or_default().had_plan {
            return Ok(Err(BillingError::SecondTrial));
        }
        let by_invoice = wish.source == Source::Named(Source::INVOICE.into());
        let trial_end = wish.trial_end.filter(|_| !by_invoice);
        let amount = reduced(price.0, wish.percent);
        // A refusal is still a commit, so nothing is written before the last one.
        let card = match by_invoice {
            true => None,
            false => match card::of_source(tx, user_id, &wish.source)? {
                Ok((known, card)) => {
                    if trial_end.is_none()
                        && amount > 0
                        && let Err(refusal) = card.charge(wish.is_3ds, tx.now)
                    {
                        return Ok(Err(refusal));
                    }
                    let id = match known {
                        Some(id) => id,
                        None => match card::add(tx, user_id, &card)? {
                            Ok((id, _)) => id,
                            Err(refusal) => return Ok(Err(refusal)),
                        },
                    };
                    // What was just chosen is what renewals are charged to.
                    card::put_default(tx, user_id, Some(id))?;
                    Some(card)
                }
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        make_way(tx, *user_id, plans)?;
        let key = (*user_id, format!("{ID_PREFIX}{}", hex::encode(tx.new_id::<RecordId>().as_bytes())));
        let invoice = Invoice::new((*network_id, &key.1), wish.plan, tx.now, (price.0, wish.percent));
        let plan = Subscription {
            plan: wish.plan,
            receipt_type: ReceiptType::Stripe,
            create_time: tx.now,
            expiration: tx.now,
            cancellation: None,
            in_trial: false,
            renews: true,
            check_time: None,
            local: Some(LocalPlan { anchor: tx.now, periods: 0, by_invoice, open_invoice: None }),
        };
        let Some(card) = card else {
            wait_for_operator(tx, &key, plan, &invoice)?;
            return Ok(Ok(Begun { receipt_id: key.1, record: None, charge: None }));
        };
        if let Some(end) = trial_end {
            begin_trial(tx, &key, *network_id, plan, end)?;
        } else {
            let id = invoice::create(tx, *user_id, &invoice)?;
            settle(tx, (&key, plan), (id, &invoice), Payment::by_card(tx.now, &card.name()))?;
        }
        Ok(Ok(Begun { receipt_id: key.1, record: None, charge: None }))
    }
}

/// A plan that begins when the operator has the money.
fn wait_for_operator(
    tx: &mut Tx<'_>,
    key: &(UserId, String),
    mut plan: Subscription,
    invoice: &Invoice,
) -> Result<(), DomainError> {
    let id = invoice::create(tx, key.0, invoice)?;
    if invoice.amount == 0 {
        return settle(tx, (key, plan), (id, invoice), Payment::free(tx.now));
    }
    plan.local = plan.local.map(|local| LocalPlan { open_invoice: Some(id), ..local });
    record::put(tx, key, &plan)
}

fn begin_trial(
    tx: &mut Tx<'_>,
    key: &(UserId, String),
    network_id: NetworkId,
    mut plan: Subscription,
    end: Timestamp,
) -> Result<(), DomainError> {
    plan.in_trial = true;
    plan.expiration = end;
    plan.check_time = Some(end);
    plan.local = plan.local.map(|local| LocalPlan { anchor: end, ..local });
    let period = PaidPeriod {
        network_id,
        market: Market::Manual,
        item: plan.plan.item(),
        is_trial: true,
        start: tx.now,
        end,
        revenue: 0,
    };
    due::give(tx, &format!("trial:{}", key.1), period)?;
    record::put(tx, key, &plan)
}
