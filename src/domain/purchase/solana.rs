//! Payments in USDC on Solana: an app announces a reference, the chain's watcher reports a payment that carries it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::item::Item;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::wallet::address::solana;
use crate::ids::{NetworkId, RecordId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::{DAY, Timestamp};

/// Payments that were announced.
pub const SOLANA_INTENTS: Table<[u8; 32], SolanaIntent> = Table::new(278, "solana_intents");

/// The announced payments of a network that were not paid.
pub const OPEN_INTENTS: Table<(NetworkId, [u8; 32]), ()> = Table::guarded(279, "open_intents", 16);

/// Payments that were too small, for the operator.
pub const UNFULFILLED: Table<RecordId, Unfulfilled> = Table::new(280, "unfulfilled");

/// USDC on Solana.
pub const USDC_MINT: &str = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";

/// A payment may fall short of the price by this much: 0.01 USD.
const TOLERANCE: i64 = 10_000_000;

/// Announced payments a network may have; above it the oldest are forgotten once they are old.
const MAX_OPEN: usize = 100;

/// How long an announced payment is surely remembered: paying may be slow.
const KEPT: Duration = Duration::from_secs(30 * DAY.as_secs());

/// An announced payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SolanaIntent {
    /// Who will pay.
    pub network_id: NetworkId,
    /// For what.
    pub item: Item,
    /// The price that was quoted, in 10⁻⁹ USD.
    pub price: i64,
    /// When.
    pub create_time: Timestamp,
    /// Whether it was paid.
    #[serde(default)]
    pub paid: bool,
}
json_record!(SolanaIntent, 1);

/// A payment that was too small.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfulfilled {
    /// Who paid.
    pub network_id: NetworkId,
    /// The transaction.
    pub transaction: String,
    /// What was paid, in 10⁻⁹ USD.
    pub paid: i64,
    /// What it should have been.
    pub price: i64,
    /// When it was reported.
    pub time: Timestamp,
}
json_record!(Unfulfilled, 1);

/// Announces a payment.
pub struct CreateIntent {
    /// Who will pay.
    pub network_id: NetworkId,
    /// What the payment will carry: base58 of 32 bytes.
    pub reference: String,
    /// For what.
    pub item: Item,
}

impl Operation for CreateIntent {
    /// The price in 10⁻⁹ USD; `None` for a reference that cannot be one or is known, or too many of them.
    type Output = Option<i64>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<i64>, DomainError> {
        let Some(reference) = solana(&self.reference) else { return Ok(None) };
        let Some(price) = self.item.price(tx.config) else { return Ok(None) };
        if tx.get(&SOLANA_INTENTS, &reference)?.is_some() {
            return Ok(None);
        }
        let mut open = tx.scan(&OPEN_INTENTS, &self.network_id)?;
        let now = tx.now;
        for ((network_id, reference), ()) in std::mem::take(&mut open) {
            let intent = tx.get(&SOLANA_INTENTS, &reference)?;
            if intent.is_some_and(|intent| now.since(intent.create_time) < KEPT) {
                open.push(((network_id, reference), ()));
            } else {
                tx.delete(&OPEN_INTENTS, &(network_id, reference))?;
                tx.delete(&SOLANA_INTENTS, &reference)?;
            }
        }
        if open.len() >= MAX_OPEN {
            return Ok(None);
        }
        let network_id = self.network_id;
        let intent = SolanaIntent { network_id, item: self.item, price: price.0, create_time: now, paid: false };
        tx.put(&SOLANA_INTENTS, &reference, &intent)?;
        tx.put(&OPEN_INTENTS, &(network_id, reference), &())?;
        Ok(Some(price.0))
    }
}

/// A payment on the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainPayment {
    /// Its signature.
    pub transaction: String,
    /// What came in, in 10⁻⁹ USD.
    pub paid: i64,
    /// The accounts it names.
    pub accounts: Vec<String>,
}

/// Finds what a payment was announced for. One that is too small is noted for the operator.
pub(super) struct MatchPayment<'a>(pub(super) &'a ChainPayment);

impl Operation for MatchPayment<'_> {
    type Output = Option<([u8; 32], SolanaIntent)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let ChainPayment { transaction, paid, accounts } = self.0;
        for reference in accounts.iter().filter_map(|account| solana(account)) {
            let Some(intent) = tx.get(&SOLANA_INTENTS, &reference)?.filter(|intent| !intent.paid) else { continue };
            if *paid >= intent.price - TOLERANCE {
                return Ok(Some((reference, intent)));
            }
            let id: RecordId = tx.new_id();
            let (network_id, price, time) = (intent.network_id, intent.price, tx.now);
            let unfulfilled = Unfulfilled { network_id, transaction: transaction.clone(), paid: *paid, price, time };
            tx.put(&UNFULFILLED, &id, &unfulfilled)?;
            return Ok(None);
        }
        Ok(None)
    }
}

/// Notes that an announced payment was made and what it bought was given.
pub(super) struct ConsumeIntent(pub(super) [u8; 32]);

impl Operation for ConsumeIntent {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        if let Some(intent) = tx.get(&SOLANA_INTENTS, &self.0)? {
            tx.delete(&OPEN_INTENTS, &(intent.network_id, self.0))?;
            tx.put(&SOLANA_INTENTS, &self.0, &SolanaIntent { paid: true, ..intent })?;
        }
        Ok(())
    }
}
