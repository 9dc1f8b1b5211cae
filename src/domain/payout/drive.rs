//! Carries payments and queued transfers on, a round every half minute.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::destination::{Destination, FindDestination, Place};
use super::into_wallet::PayIntoWallet;
use super::run::TakeRun;
use super::{ChainTransfer, PayoutSender, SendOutcome, SentState};
use crate::domain::contract::Ledger;
use crate::domain::contract::payout::{Payer, Payment, PaymentRecord, PayoutRun};
use crate::domain::error::DomainError;
use crate::domain::service::Service;
use crate::domain::wallet::account_wallet::USDC;
use crate::domain::wallet::address::Chain;
use crate::domain::wallet::challenge::Challenge;
use crate::domain::wallet::custody::ON_CHAIN_UNIT;
use crate::domain::wallet::operator::{ListQueued, MarkSent, RejectTransfer, sending_id};
use crate::domain::wallet::sending::{BeginTry, ForgetSending, ListSendings, NoteTry, ReadSending, TryEnd};
use crate::ids::{ChallengeId, NetworkId, RecordId};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(30);

/// Makes payments.
pub struct Payouts {
    service: Arc<Service>,
    ledger: Arc<Ledger>,
    sender: Option<Arc<dyn PayoutSender>>,
}

/// How far something is that is sent on a chain.
enum Progress {
    UnderWay,
    Done(String),
    Failed,
}

impl Payouts {
    /// Payments by `sender` where the ledger of this server does not reach.
    pub fn new(service: Arc<Service>, ledger: Arc<Ledger>, sender: Option<Arc<dyn PayoutSender>>) -> Self {
        Self { service, ledger, sender }
    }

    /// A round every half minute, the first at once; runs until dropped.
    pub async fn drive(&self) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "payments could not be carried on; the next round tries again");
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Plans payments when that is due, and carries everything on that is under way.
    pub async fn round(&self) -> Result<(), DomainError> {
        if self.service.run(&TakeRun).await? {
            let settings = &self.service.config().payout;
            let run = PayoutRun { minimum: settings.min_usd.0, bonus_per_gib: settings.usd_per_gib.0 };
            let plan = self.ledger.plan_payout(run).await?;
            tracing::info!(plan = %plan.plan_id, payments = plan.payments, "payments were planned");
        }
        let (payments, transfers) = (self.ledger.open_payments().await?, self.service.read(&ListQueued)?);
        let open: HashSet<RecordId> = payments.iter().map(|(id, _, _)| *id).collect();
        let waiting: HashSet<RecordId> = transfers.iter().map(|(id, _)| sending_id(*id)).collect();
        for id in self.service.read(&ListSendings)? {
            if !open.contains(&id) && !waiting.contains(&id) {
                self.service.run(&ForgetSending(id)).await?;
            }
        }
        let mut is_reachable = true;
        for (id, network, payment) in payments {
            self.advance(id, (network, payment), &mut is_reachable).await?;
        }
        for (id, transfer) in transfers {
            self.send_transfer(id, transfer, &mut is_reachable).await?;
        }
        Ok(())
    }

    async fn advance(
        &self,
        id: RecordId,
        (network, payment): (NetworkId, Payment),
        is_reachable: &mut bool,
    ) -> Result<(), DomainError> {
        let amount = payment.amount();
        let record = match payment.record {
            Some(record) => record,
            None => match self.claim(id, network, amount).await? {
                Some(record) => record,
                None => return Ok(()),
            },
        };
        let progress = match record.payer {
            Payer::Operator => return Ok(()),
            Payer::Ledger => {
                let pay = PayIntoWallet { payment_id: id, address: &record.wallet_address, amount };
                if self.service.run(&pay).await? { Progress::Done(String::new()) } else { Progress::Failed }
            }
            Payer::Chain => match Chain::parse(&record.blockchain) {
                Some(chain) => {
                    self.send((id, None), (chain, &record.wallet_address, on_chain(amount)), is_reachable).await?
                }
                None => Progress::UnderWay,
            },
        };
        // Whoever was faster has ended it in the same way, or by force.
        match progress {
            Progress::UnderWay => {}
            Progress::Done(tx_hash) => {
                let _ = self.ledger.complete_payment(id, tx_hash).await?;
            }
            Progress::Failed => {
                tracing::warn!(payment = %id, %network, "a payment was not made; its credit is unpaid again");
                let _ = self.ledger.return_payment(id).await?;
            }
        }
        Ok(())
    }

    /// Takes a planned payment on, when it can be made from here.
    async fn claim(&self, id: RecordId, network: NetworkId, amount: i64) -> Result<Option<PaymentRecord>, DomainError> {
        let Some(destination) = self.service.read(&FindDestination(network))? else { return Ok(None) };
        let Destination { blockchain, address: wallet_address, place } = destination;
        let is_sent = |chain| self.sender.as_ref().is_some_and(|sender| sender.pays_on(chain));
        let payer = match place {
            Place::Ledger => Payer::Ledger,
            Place::Chain(chain) if is_sent(chain) && on_chain(amount) > 0 => Payer::Chain,
            Place::Chain(_) => return Ok(None),
        };
        let record =
            PaymentRecord { reference: id.to_string(), token_type: USDC.into(), wallet_address, blockchain, payer };
        Ok(self.ledger.record_payment(id, record.clone()).await?.is_ok().then_some(record))
    }

    async fn send_transfer(
        &self,
        id: ChallengeId,
        transfer: Challenge,
        is_reachable: &mut bool,
    ) -> Result<(), DomainError> {
        let chain = Chain::parse(&self.service.config().wallet.chain);
        let Some(chain) = chain.filter(|chain| self.sender.as_ref().is_some_and(|sender| sender.pays_on(*chain)))
        else {
            return Ok(());
        };
        match self
            .send((sending_id(id), Some(id)), (chain, &transfer.to_address, transfer.amount), is_reachable)
            .await?
        {
            Progress::UnderWay => {}
            Progress::Done(tx_hash) => {
                self.service.run(&MarkSent { id, tx_hash }).await?;
            }
            Progress::Failed => {
                self.service.run(&RejectTransfer { id, is_forced: false }).await?;
            }
        }
        Ok(())
    }

    /// Sends something on a chain, or asks how far it is. A company that does not answer is not asked again in this
    /// round.
    async fn send(
        &self,
        (id, transfer): (RecordId, Option<ChallengeId>),
        (chain, address, amount): (Chain, &str, i64),
        is_reachable: &mut bool,
    ) -> Result<Progress, DomainError> {
        let sending = self.service.read(&ReadSending(id))?;
        if sending.has_failed {
            return Ok(Progress::Failed);
        }
        let Some(sender) = self.sender.as_ref().filter(|_| *is_reachable) else { return Ok(Progress::UnderWay) };
        if let Some(sent_id) = sending.sent_id {
            match sender.state(sent_id).await {
                Ok(SentState::Complete(tx_hash)) => return Ok(Progress::Done(tx_hash)),
                Ok(SentState::Failed) => return self.fail(id).await,
                Ok(SentState::Unclear) => {
                    tracing::error!(payment = %id, "a payment was given up that may have been made; look at it");
                }
                Ok(SentState::UnderWay) => {}
                Err(_) => *is_reachable = false,
            }
            return Ok(Progress::UnderWay);
        }
        if self.service.clock().now() < sending.next_try {
            return Ok(Progress::UnderWay);
        }
        let Some(tries) = self.service.run(&BeginTry { id, transfer }).await? else { return Ok(Progress::UnderWay) };
        match sender.send(ChainTransfer { key: id.to_string(), chain, address: address.into(), amount }).await {
            Ok(SendOutcome::Sent(sent_id)) => {
                self.service.run(&NoteTry { id, end: TryEnd::Sent(sent_id) }).await?;
            }
            Ok(SendOutcome::Refused) if tries == 1 => return self.fail(id).await,
            // An earlier try whose answer was lost may have been taken.
            Ok(SendOutcome::Refused) => {
                tracing::error!(payment = %id, tries, "a payment is refused that may have been made; look at it");
            }
            Err(_) => *is_reachable = false,
        }
        Ok(Progress::UnderWay)
    }

    async fn fail(&self, id: RecordId) -> Result<Progress, DomainError> {
        self.service.run(&NoteTry { id, end: TryEnd::Failed }).await?;
        Ok(Progress::Failed)
    }
}

/// The part of an amount that a chain can hold. What is cut off is less than a millionth of a dollar.
fn on_chain(amount: i64) -> i64 {
    amount - amount % ON_CHAIN_UNIT
}
