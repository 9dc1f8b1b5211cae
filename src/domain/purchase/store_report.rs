//! Receipts of phone stores, reported by the phone that bought something.
//!
//! All answers but `pending` end the matter: the phone then finalises the purchase and throws the proof away. So a
//! store that cannot be asked, or is not configured, is an error, never `invalid`.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::checkout::ReportError;
use super::item::Item;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::{NetworkId, RecordId, UserId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// When a user last reported receipts.
pub const STORE_REPORTS: Table<UserId, StoreReports> = Table::new(276, "store_reports");

/// The network that first reported a subscription of a store which carries no account.
pub const STORE_LINKS: Table<String, StoreLink> = Table::new(277, "store_links");

/// Reports of one user in an hour.
pub const MAX_REPORTS_PER_HOUR: usize = 30;

const HOUR: Duration = Duration::from_secs(3600);

/// When a user last reported receipts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReports {
    /// Oldest first.
    pub times: Vec<Timestamp>,
}
json_record!(StoreReports, 1);

/// Whose subscription it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreLink {
    /// The network.
    pub network_id: NetworkId,
}
json_record!(StoreLink, 1);

/// What a store says of a purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Names the paid period.
    pub key: String,
    /// Names the subscription over all its periods.
    pub subscription: String,
    /// Who bought it, as the app told the store.
    pub account: Option<RecordId>,
    /// What.
    pub item: Item,
    /// Whether it is paid.
    pub state: ReceiptState,
    /// Begin and end of the period.
    pub period: (Timestamp, Timestamp),
}

/// Whether a purchase is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptState {
    /// It is.
    Active,
    /// It may be later.
    Pending,
    /// It was, and was paid back.
    Revoked,
    /// It is not, or no more.
    Over,
}

/// Why there is no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store knows of no such purchase, or it is not of this app.
    #[error("not a receipt of this app")]
    Invalid,
    /// The store does not answer; the cause is in the log.
    #[error("The store cannot be reached. Try again later.")]
    Unreachable,
}

/// The store of Android phones.
pub trait PlayStore: Send + Sync + 'static {
    /// What a purchase token stands for.
    fn look_up(&self, token: String) -> BoxFuture<'_, Result<Receipt, StoreError>>;

    /// Tells the store that the purchase was delivered; else it pays it back after three days.
    fn acknowledge(&self, item: Item, token: String) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Whether a purchase is of this app, as far as the phone says.
    fn is_ours(&self, package: &str, product: &str) -> bool;

    /// Whether the store pushes what happens to purchases.
    fn takes_pushes(&self) -> bool;

    /// Checks a push and reads which purchase it is about, if it is about one.
    fn read_push(
        &self,
        authorization: String,
        body: bytes::Bytes,
    ) -> BoxFuture<'_, Result<Option<PlayPush>, ReportError>>;
}

/// What Google Play pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayPush {
    /// The purchase.
    pub token: String,
    /// It was taken back from its buyer.
    pub is_revocation: bool,
}

/// The store of Apple's phones, whose receipts prove themselves.
pub trait AppStore: Send + Sync + 'static {
    /// Checks a signed transaction.
    fn verify(&self, signed_transaction: &str, now: Timestamp) -> Result<Receipt, StoreError>;

    /// Checks a notification of the store, and gives the receipt it is about, if it is about one.
    fn verify_notification(&self, signed_payload: &str, now: Timestamp) -> Result<Option<Receipt>, StoreError>;
}

/// What a report leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportStatus {
    /// Given now, usable until this time.
    Credited(Timestamp),
    /// Given before.
    AlreadyCredited,
    /// Not paid yet.
    Pending,
    /// Not a purchase of anything.
    Invalid,
    /// Bought for another network.
    WrongNetwork,
}

impl ReportStatus {
    /// What clients call it.
    pub fn name(self) -> &'static str {
        match self {
            ReportStatus::Credited(_) => "credited",
            ReportStatus::AlreadyCredited => "already_credited",
            ReportStatus::Pending => "pending",
            ReportStatus::Invalid => "invalid",
            ReportStatus::WrongNetwork => "wrong_network",
        }
    }
}

/// Counts a report of a user against the hour.
pub(super) struct CountReport(pub(super) UserId);

impl Operation for CountReport {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let mut reports = tx.get(&STORE_REPORTS, &self.0)?.unwrap_or_default();
        let now = tx.now;
        reports.times.retain(|time| now.since(*time) < HOUR);
        if reports.times.len() >= MAX_REPORTS_PER_HOUR {
            let retry_after = reports.times.first().map_or(HOUR, |oldest| HOUR.saturating_sub(now.since(*oldest)));
            return Err(DomainError::TooMany { retry_after });
        }
        reports.times.push(now);
        Ok(tx.put(&STORE_REPORTS, &self.0, &reports)?)
    }
}

/// The network a subscription belongs to: the first to report it.
pub(super) struct LinkStore<'a> {
    pub(super) subscription: &'a String,
    pub(super) network_id: Option<NetworkId>,
}

impl Operation for LinkStore<'_> {
    type Output = Option<NetworkId>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        if let Some(link) = tx.get(&STORE_LINKS, self.subscription)? {
            return Ok(Some(link.network_id));
        }
        if let Some(network_id) = self.network_id {
            tx.put(&STORE_LINKS, self.subscription, &StoreLink { network_id })?;
        }
        Ok(self.network_id)
    }
}

/// Whether a token is a voucher of the operator: the form of a balance code.
pub fn is_voucher(token: &str) -> bool {
    token.len() == 26 && token.bytes().all(|letter| letter.is_ascii_uppercase() || (b'2'..=b'7').contains(&letter))
}
