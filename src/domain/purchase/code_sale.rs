//! Data that was bought by nobody known here: its code goes out by mail, to whoever paid.
//!
//! The secret is written down first, then the ledger makes the code, then the mail leaves and the secret is forgotten. A
//! shop that is not answered reports again, and what is done already is not done twice.

use serde::{Deserialize, Serialize};

use super::item::Item;
use crate::domain::contract::codes::Secret;
use crate::domain::effect::{Effect, Message, MessageKind};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::json_record;
use crate::store::table::Table;

/// Codes that were bought, by purchase.
pub const SOLD_CODES: Table<String, SoldCode> = Table::new(221, "sold_codes");

/// Something that was paid for by mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeSale {
    /// Names the purchase: the same key sells nothing a second time.
    pub key: String,
    /// What; data only, because a code makes nobody Pro.
    pub item: Item,
    /// How often.
    pub quantity: u32,
    /// What was paid, in 10⁻⁹ USD, after the shop's share.
    pub revenue: i64,
    /// Who paid.
    pub address: String,
}

/// A code that was bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoldCode {
    /// Its secret, until the mail has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
}
json_record!(SoldCode, 1);

/// Writes a secret down for a purchase.
pub(super) struct ChooseSecret<'a>(pub(super) &'a String);

impl Operation for ChooseSecret<'_> {
    /// `None` when the mail has left already.
    type Output = Option<Secret>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Secret>, DomainError> {
        if let Some(sold) = tx.get(&SOLD_CODES, self.0)? {
            return Ok(sold.secret);
        }
        let secret = Secret::random();
        tx.put(&SOLD_CODES, self.0, &SoldCode { secret: Some(secret.clone()) })?;
        Ok(Some(secret))
    }
}

/// Sends the code of a purchase, once.
pub(super) struct MailCode<'a>(pub(super) &'a CodeSale);

impl Operation for MailCode<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let CodeSale { key, item, quantity, address, .. } = self.0;
        let Some(secret) = tx.get(&SOLD_CODES, key)?.and_then(|sold| sold.secret) else { return Ok(()) };
        let item = match quantity {
            1 => item.title().to_owned(),
            count => format!("{count} × {}", item.title()),
        };
        let kind = MessageKind::BalanceCode { code: secret.as_str().into(), item };
        tx.effect(Effect::Send(Message { to: address.clone(), kind }));
        Ok(tx.put(&SOLD_CODES, key, &SoldCode { secret: None })?)
    }
}
