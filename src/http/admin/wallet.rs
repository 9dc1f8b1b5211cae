//! Wallets of this server and orders on it: credit a wallet, tell what became of transfers to a chain, approve orders.

use axum::Router;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Command, find_network, not_found, route};
use crate::domain::purchase::order::{Method, PayOrder, RejectOrder as Reject};
use crate::domain::wallet::challenge::{Challenge, ChallengeStatus};
use crate::domain::wallet::operator::{CreditWallet as Credit, ListQueued, MarkSent, RejectTransfer as GiveBack};
use crate::http::error::ApiError;
use crate::http::state::ApiState;
use crate::ids::{ChallengeId, NetworkId, WalletId};
use crate::money::NanoCents;
use crate::time::Timestamp;

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    Router::new()
        .merge(route::<CreditWallet>())
        .merge(route::<ListTransfers>())
        .merge(route::<SentTransfer>())
        .merge(route::<RejectTransfer>())
        .merge(route::<PayForOrder>())
        .merge(route::<RejectOrder>())
}

/// Credits the wallet of a network's user.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct CreditWallet {
    /// Id or name of the network
    pub network: String,
    /// How much, in dollars, such as 5 or 4.99
    #[arg(value_name = "USD")]
    pub amount: NanoCents,
    /// What for
    #[arg(long, default_value = "")]
    #[serde(default)]
    pub memo: String,
}

/// What was credited.
#[derive(Debug, Serialize, Deserialize)]
pub struct Credited {
    /// The network.
    pub network_id: NetworkId,
    /// Its wallet.
    pub wallet_id: WalletId,
    /// How much, in nano-cents.
    pub amount: NanoCents,
}

impl Command for CreditWallet {
    const PATH: &'static str = "/wallet/credit";
    type Answer = Credited;

    async fn run(self, state: &ApiState) -> Result<Credited, ApiError> {
        let (network_id, _) = find_network(state, &self.network)?;
        let credit = Credit { network_id, amount: self.amount.0, memo: self.memo };
        let wallet_id = state.service.run(&credit).await?;
        Ok(Credited { network_id, wallet_id, amount: self.amount })
    }
}

/// Lists the transfers to a chain that wait to be sent, oldest first.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ListTransfers {}

/// Transfers that wait.
#[derive(Debug, Serialize, Deserialize)]
pub struct Transfers {
    /// Oldest first.
    pub transfers: Vec<WaitingTransfer>,
}

/// A transfer that waits.
#[derive(Debug, Serialize, Deserialize)]
pub struct WaitingTransfer {
    /// Names it.
    pub challenge_id: ChallengeId,
    /// Whose.
    pub network_id: NetworkId,
    /// Where to.
    pub to_address: String,
    /// How much, in nano-cents.
    pub amount: NanoCents,
    /// When it was begun.
    pub create_time: Timestamp,
}

impl Command for ListTransfers {
    const PATH: &'static str = "/wallet/transfers";
    type Answer = Transfers;

    async fn run(self, state: &ApiState) -> Result<Transfers, ApiError> {
        let entry = |(challenge_id, transfer): (ChallengeId, Challenge)| WaitingTransfer {
            challenge_id,
            network_id: transfer.network_id,
            to_address: transfer.to_address,
            amount: NanoCents(transfer.amount),
            create_time: transfer.create_time,
        };
        let waiting = state.service.read(&ListQueued)?;
        Ok(Transfers { transfers: waiting.into_iter().map(entry).collect() })
    }
}

/// Records that a transfer was sent: its amount leaves the wallet.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct SentTransfer {
    /// Id of the transfer
    pub challenge: ChallengeId,
    /// Hash of the transaction on the chain
    #[arg(long, value_name = "HASH")]
    pub tx: String,
}

/// How a transfer stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct TransferState {
    /// Names it.
    pub challenge_id: ChallengeId,
    /// `COMPLETE` or `FAILED`.
    pub status: ChallengeStatus,
}

impl Command for SentTransfer {
    const PATH: &'static str = "/wallet/sent";
    type Answer = TransferState;

    async fn run(self, state: &ApiState) -> Result<TransferState, ApiError> {
        let status = state.service.run(&MarkSent { id: self.challenge, tx_hash: self.tx }).await?;
        Ok(TransferState { challenge_id: self.challenge, status })
    }
}

/// Refuses a transfer that waits: its amount goes back.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct RejectTransfer {
    /// Id of the transfer
    pub challenge: ChallengeId,
    /// Also one that a company may have sent already
    #[arg(long)]
    #[serde(default)]
    pub force: bool,
}

impl Command for RejectTransfer {
    const PATH: &'static str = "/wallet/reject";
    type Answer = TransferState;

    async fn run(self, state: &ApiState) -> Result<TransferState, ApiError> {
        let status = state.service.run(&GiveBack { id: self.challenge, is_forced: self.force }).await?;
        Ok(TransferState { challenge_id: self.challenge, status })
    }
}

/// Approves an order, which counts as paid.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct PayForOrder {
    /// Id of the order, `cs_local_…`
    pub order: String,
}

/// How an order stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct OrderState {
    /// Names it.
    pub order: String,
    /// `granted`, `expired` or `rejected`.
    pub status: String,
}

impl Command for PayForOrder {
    const PATH: &'static str = "/order/pay";
    type Answer = OrderState;

    async fn run(self, state: &ApiState) -> Result<OrderState, ApiError> {
        let payment = PayOrder { id: self.order.clone(), network_id: None, method: Method::Approved };
        let paid = state.shop.pay(payment).await?;
        let order = paid.map_err(|refusal| ApiError::bad_request(format!("{}: {refusal}", self.order)))?;
        Ok(OrderState { order: self.order, status: order.status.name().into() })
    }
}

/// Refuses an order that was not paid.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct RejectOrder {
    /// Id of the order, `cs_local_…`
    pub order: String,
}

impl Command for RejectOrder {
    const PATH: &'static str = "/order/reject";
    type Answer = OrderState;

    async fn run(self, state: &ApiState) -> Result<OrderState, ApiError> {
        let status = state.service.run(&Reject { id: self.order.clone() }).await?;
        let status = status.ok_or_else(|| not_found(format!("there is no order {}", self.order)))?;
        Ok(OrderState { order: self.order, status: status.name().into() })
    }
}
