//! Joins what is for sale, who pays for it, and what is given.

use std::sync::Arc;
use std::time::Duration;

use super::checkout::{
    Checkout, CheckoutError, CoinShop, FindPurchases, Intents, PutCustomer, PutReferences, ReadCustomer, ReportError,
    ShopEvent,
};
use super::code_sale::CodeSale;
use super::delivery::{Delivery, Given, Purchase, Redeemed};
use super::item::Item;
use super::order::{MarkGranted, Order, OrderStatus, PaidOrders, PayOrder, PayRefusal, ReadOrder};
use super::solana::{ChainPayment, ConsumeIntent, MatchPayment};
use super::store_report::{
    AppStore, CountReport, LinkStore, PlayStore, Receipt, ReceiptState, ReportStatus, StoreError, is_voucher,
};
use crate::domain::balance::Market;
use crate::domain::caller::Caller;
use crate::domain::contract::Ledger;
use crate::domain::error::DomainError;
use crate::domain::payment_id::FindPayer;
use crate::domain::service::Service;
use crate::ids::NetworkId;
use crate::time::Timestamp;

/// Time between two looks for what was paid and not given.
const ROUND: Duration = Duration::from_secs(30);

/// Share of a price that is left when the shop has taken its own, in percent.
const NET_PERCENT: i64 = 70;

/// The companies that take part; all may be absent.
#[derive(Clone, Default)]
pub struct Companies {
    /// Takes cards.
    pub checkout: Option<Arc<dyn Checkout>>,
    /// Google Play.
    pub play: Option<Arc<dyn PlayStore>>,
    /// The App Store.
    pub apple: Option<Arc<dyn AppStore>>,
    /// Takes coins.
    pub coins: Option<Arc<dyn CoinShop>>,
}

/// Sells.
pub struct Shop {
    service: Arc<Service>,
    delivery: Delivery,
    companies: Companies,
}

/// Why a receipt got no answer that the phone may keep.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The store cannot be asked, or is not configured.
    #[error("The store cannot be reached. Try again later.")]
    Unreachable,
    /// The server itself.
    #[error(transparent)]
    Domain(#[from] DomainError),
}

impl Shop {
    /// A shop with these companies.
    pub fn new(service: Arc<Service>, ledger: Arc<Ledger>, companies: Companies) -> Self {
        Self { delivery: Delivery::new(Arc::clone(&service), ledger), service, companies }
    }

    /// Takes cards, if anyone does.
    pub fn checkout(&self) -> Option<&Arc<dyn Checkout>> {
        self.companies.checkout.as_ref()
    }

    /// Gives what was paid and not given, a round every half minute, the first at once; runs until dropped.
    pub async fn drive(&self) {
        loop {
            if let Err(error) = self.give_paid_orders().await {
                tracing::warn!(%error, "paid orders could not be granted; the next round tries again");
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Gives what was paid and not given.
    pub async fn give_paid_orders(&self) -> Result<(), DomainError> {
        for id in self.service.read(&PaidOrders)? {
            self.give_order(&id).await?;
        }
        Ok(())
    }

    /// Pays an order and gives what it buys.
    pub async fn pay(&self, payment: PayOrder) -> Result<Result<Order, PayRefusal>, DomainError> {
        let order = match self.service.run(&payment).await? {
            Ok(order) => order,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if order.status == OrderStatus::Paid {
            self.give_order(&payment.id).await?;
            return Ok(Ok(Order { status: OrderStatus::Granted, ..order }));
        }
        Ok(Ok(order))
    }

    async fn give_order(&self, id: &str) -> Result<(), DomainError> {
        let order = self.service.read(&ReadOrder { id: id.into() })?;
        if let Some(purchase) = order.and_then(|order| order.purchase(id)) {
            self.delivery.give(purchase).await?;
        }
        self.service.run(&MarkGranted { id: id.into() }).await
    }

    /// What an app needs to take a card.
    pub async fn payment_intents(
        &self,
        checkout: &Arc<dyn Checkout>,
        network_id: NetworkId,
    ) -> Result<Result<Intents, CheckoutError>, DomainError> {
        let known = self.service.read(&ReadCustomer(network_id))?;
        let intents = match checkout.payment_intents(network_id, known.clone()).await {
            Ok(intents) => intents,
            Err(error) => return Ok(Err(error)),
        };
        if known.as_ref() != Some(&intents.customer_id) {
            self.service.run(&PutCustomer(network_id, intents.customer_id.clone())).await?;
        }
        Ok(Ok(intents))
    }

    /// A page on which a network manages its subscriptions; `None` when it has bought nothing by card.
    pub async fn portal(&self, network_id: NetworkId) -> Result<Option<Result<String, CheckoutError>>, DomainError> {
        let Some(checkout) = self.checkout() else { return Ok(None) };
        let Some(customer) = self.service.read(&ReadCustomer(network_id))? else { return Ok(None) };
        Ok(Some(checkout.portal(customer).await))
    }

    /// Takes a report of the shop for cards.
    pub async fn take_report(
        &self,
        checkout: &Arc<dyn Checkout>,
        (signature, body): (String, bytes::Bytes),
    ) -> Result<Result<(), ReportError>, DomainError> {
        let now = self.service.clock().now();
        let events = match checkout.read_report(signature, body, now).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(%error, "a report of the shop for cards was refused");
                return Ok(Err(error));
            }
        };
        for event in events {
            self.take_event(event, now).await?;
        }
        Ok(Ok(()))
    }

    async fn take_event(&self, event: ShopEvent, now: Timestamp) -> Result<(), DomainError> {
        match event {
            ShopEvent::Customer(network_id, customer) => {
                self.service.run(&PutCustomer(network_id, customer)).await?;
            }
            ShopEvent::Paid { key, network_id, item, quantity, period, paid, references } => {
                let end = |until| if item.is_pro() { Item::period_end(until) } else { until };
                let (start, end) = period.map_or((now, item.end(now)), |(start, until)| (start, end(until)));
                // Known before it is given: a refund finds it even after a crash in between.
                self.service.run(&PutReferences { key: &key, references: &references }).await?;
                let purchase = Purchase {
                    network_id,
                    market: Market::Stripe,
                    key,
                    item,
                    quantity,
                    start,
                    end,
                    revenue: net(paid),
                };
                self.delivery.give(purchase).await?;
            }
            ShopEvent::SoldByMail { sale, references } => {
                self.service.run(&PutReferences { key: &sale.key, references: &references }).await?;
                self.delivery.sell(&CodeSale { revenue: net(sale.revenue), ..sale }).await?;
            }
            ShopEvent::Refunded { references } => {
                let keys = self.service.read(&FindPurchases(&references))?;
                if keys.is_empty() {
                    tracing::warn!(?references, "a refund belongs to no purchase that is known here");
                }
                for key in keys {
                    self.delivery.take_back(key).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes a report of the shop for coins; `None` when there is none.
    pub async fn take_coin_report(
        &self,
        signature: &str,
        body: &[u8],
    ) -> Result<Option<Result<(), ReportError>>, DomainError> {
        let Some(coins) = &self.companies.coins else { return Ok(None) };
        match coins.read_report(signature, body) {
            Ok(Some(sale)) => self.delivery.sell(&sale).await?,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "a report of the shop for coins was refused");
                return Ok(Some(Err(error)));
            }
        }
        Ok(Some(Ok(())))
    }

    /// Takes payments on Solana. What belongs to nothing is skipped.
    pub async fn take_chain_payments(&self, payments: &[ChainPayment]) -> Result<usize, DomainError> {
        let mut given = 0;
        for payment in payments {
            let Some((reference, intent)) = self.service.run(&MatchPayment(payment)).await? else { continue };
            let now = self.service.clock().now();
            let purchase = Purchase {
                network_id: intent.network_id,
                market: Market::Solana,
                key: format!("solana:{}", hex::encode(reference)),
                item: intent.item,
                quantity: 1,
                start: now,
                end: intent.item.end(now),
                revenue: payment.paid,
            };
            self.delivery.give(purchase).await?;
            self.service.run(&ConsumeIntent(reference)).await?;
            given += 1;
        }
        Ok(given)
    }

    /// Takes the receipt of an Android phone.
    pub async fn take_play_receipt(
        &self,
        caller: &Caller,
        (package, product, token): (&str, &str, &str),
    ) -> Result<ReportStatus, ReceiptError> {
        if token.is_empty() || token.len() > 4096 {
            return Ok(ReportStatus::Invalid);
        }
        if is_voucher(token) {
            return self.take_voucher(caller, token).await;
        }
        let play = self.companies.play.as_ref().ok_or(ReceiptError::Unreachable)?;
        if !play.is_ours(package, product) {
            return Ok(ReportStatus::Invalid);
        }
        self.service.run(&CountReport(caller.user_id)).await?;
        let receipt = match play.look_up(token.into()).await {
            Ok(receipt) => receipt,
            Err(StoreError::Invalid) => return Ok(ReportStatus::Invalid),
            Err(StoreError::Unreachable) => return Err(ReceiptError::Unreachable),
        };
        let status = self.take_receipt(caller.network_id, &receipt, Market::Google).await?;
        if matches!(status, ReportStatus::Credited(_) | ReportStatus::AlreadyCredited)
            && play.acknowledge(receipt.item, token.into()).await.is_err()
        {
            // Given, and the phone's next report acknowledges it.
            return Err(ReceiptError::Unreachable);
        }
        Ok(status)
    }

    /// Takes a push of Google Play; `None` when none are taken. What it says is looked up before it is believed.
    pub async fn take_play_push(
        &self,
        (authorization, body): (String, bytes::Bytes),
    ) -> Result<Option<Result<(), ReportError>>, DomainError> {
        let Some(play) = self.companies.play.as_ref().filter(|play| play.takes_pushes()) else { return Ok(None) };
        let push = match play.read_push(authorization, body).await {
            Ok(Some(push)) => push,
            Ok(None) => return Ok(Some(Ok(()))),
            Err(error) => {
                tracing::warn!(%error, "a push of Google Play was refused");
                return Ok(Some(Err(error)));
            }
        };
        let receipt = match play.look_up(push.token.clone()).await {
            Ok(receipt) => receipt,
            // Nothing that sending it again would change.
            Err(StoreError::Invalid) => return Ok(Some(Ok(()))),
            Err(StoreError::Unreachable) => return Ok(Some(Err(ReportError::Unreachable))),
        };
        match receipt.state {
            ReceiptState::Active => {
                let Some(network_id) = self.owner(&receipt, None).await? else {
                    tracing::warn!(purchase = receipt.key, "Google Play reported a purchase of nobody known here");
                    return Ok(Some(Ok(())));
                };
                self.give_receipt(network_id, &receipt, Market::Google).await?;
                if play.acknowledge(receipt.item, push.token).await.is_err() {
                    return Ok(Some(Err(ReportError::Unreachable)));
                }
            }
            ReceiptState::Revoked | ReceiptState::Over if push.is_revocation => {
                self.delivery.take_back(receipt.key).await?;
            }
            ReceiptState::Pending | ReceiptState::Over | ReceiptState::Revoked => {}
        }
        Ok(Some(Ok(())))
    }

    /// Takes the receipt of one of Apple's phones.
    pub async fn take_apple_receipt(&self, caller: &Caller, signed: &str) -> Result<ReportStatus, ReceiptError> {
        if signed.is_empty() || signed.len() > 64 << 10 {
            return Ok(ReportStatus::Invalid);
        }
        if is_voucher(signed) {
            return self.take_voucher(caller, signed).await;
        }
        let apple = self.companies.apple.as_ref().ok_or(ReceiptError::Unreachable)?;
        self.service.run(&CountReport(caller.user_id)).await?;
        match apple.verify(signed, self.service.clock().now()) {
            Ok(receipt) => self.take_receipt(caller.network_id, &receipt, Market::Apple).await,
            Err(StoreError::Invalid) => Ok(ReportStatus::Invalid),
            Err(StoreError::Unreachable) => Err(ReceiptError::Unreachable),
        }
    }

    /// Takes a notification of the App Store; `None` when the store is not configured.
    pub async fn take_apple_notification(&self, payload: &str) -> Result<Option<Result<(), StoreError>>, DomainError> {
        let Some(apple) = &self.companies.apple else { return Ok(None) };
        let receipt = match apple.verify_notification(payload, self.service.clock().now()) {
            Ok(Some(receipt)) => receipt,
            Ok(None) => return Ok(Some(Ok(()))),
            Err(error) => {
                tracing::warn!(%error, "a notification of the App Store was refused");
                return Ok(Some(Err(error)));
            }
        };
        match receipt.state {
            // Whoever it belongs to, now or later.
            ReceiptState::Revoked => self.delivery.take_back(receipt.key).await?,
            ReceiptState::Active => match self.owner(&receipt, None).await? {
                Some(network_id) => {
                    self.give_receipt(network_id, &receipt, Market::Apple).await?;
                }
                None => {
                    tracing::warn!(purchase = receipt.key, "the App Store reported a purchase of nobody known here");
                }
            },
            ReceiptState::Pending | ReceiptState::Over => {}
        }
        Ok(Some(Ok(())))
    }

    async fn take_voucher(&self, caller: &Caller, code: &str) -> Result<ReportStatus, ReceiptError> {
        self.service.run(&CountReport(caller.user_id)).await?;
        Ok(match self.delivery.redeem(caller.network_id, code).await? {
            Redeemed::Now(end) => ReportStatus::Credited(end),
            Redeemed::Before(owner) if owner == caller.network_id => ReportStatus::AlreadyCredited,
            Redeemed::Before(_) => ReportStatus::WrongNetwork,
            Redeemed::Unknown => ReportStatus::Invalid,
        })
    }

    async fn take_receipt(
        &self,
        network_id: NetworkId,
        receipt: &Receipt,
        market: Market,
    ) -> Result<ReportStatus, ReceiptError> {
        let is_past = receipt.period.1 <= self.service.clock().now();
        match receipt.state {
            ReceiptState::Pending => return Ok(ReportStatus::Pending),
            ReceiptState::Active if is_past => return Ok(ReportStatus::Invalid),
            ReceiptState::Over | ReceiptState::Revoked => return Ok(ReportStatus::Invalid),
            ReceiptState::Active => {}
        }
        if self.owner(receipt, Some(network_id)).await? != Some(network_id) {
            return Ok(ReportStatus::WrongNetwork);
        }
        Ok(self.give_receipt(network_id, receipt, market).await?)
    }

    /// Whose purchase it is: as the app told the store, else the first to report it.
    async fn owner(&self, receipt: &Receipt, reporter: Option<NetworkId>) -> Result<Option<NetworkId>, DomainError> {
        let told = match receipt.account {
            Some(account) => self.service.read(&FindPayer(account))?,
            None => None,
        };
        self.service.run(&LinkStore { subscription: &receipt.subscription, network_id: told.or(reporter) }).await
    }

    /// Gives what a receipt is for.
    async fn give_receipt(
        &self,
        network_id: NetworkId,
        receipt: &Receipt,
        market: Market,
    ) -> Result<ReportStatus, DomainError> {
        let (start, paid_until) = receipt.period;
        let end = Item::period_end(paid_until);
        let price = receipt.item.price(self.service.config()).map_or(0, |price| price.0);
        let purchase = Purchase {
            network_id,
            market,
            key: receipt.key.clone(),
            item: receipt.item,
            quantity: 1,
            start,
            end,
            revenue: net(price),
        };
        Ok(match self.delivery.give(purchase).await? {
            Given::Now => ReportStatus::Credited(end),
            Given::Before(owner) if owner == network_id => ReportStatus::AlreadyCredited,
            Given::Before(_) => ReportStatus::WrongNetwork,
            Given::Nothing => ReportStatus::Invalid,
        })
    }
}

/// What is left of a price when the shop has taken its share.
fn net(paid: i64) -> i64 {
    paid.max(0) / 100 * NET_PERCENT
}
