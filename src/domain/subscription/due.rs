//! What a payment brings and has not brought yet. It is noted in the transaction of the payment, and done afterwards,
//! again and again until it is.

use serde::{Deserialize, Serialize};

use crate::domain::balance::Market;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::purchase::delivery::Purchase;
use crate::domain::purchase::item::Item;
use crate::ids::NetworkId;
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// What is to be done, by the key of the purchase.
pub const DUE_DELIVERIES: Table<String, Due> = Table::new(290, "due_deliveries");

/// How the key of a plan begins that is to be ended.
pub(super) const END_PREFIX: &str = "end:";

/// What is done in one round.
const AT_ONCE: usize = 1000;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// Give a paid period.
    Give(PaidPeriod),
    /// Take it back.
    TakeBack,
    /// End a plan at the company that bills it.
    EndAtCompany,
}
json_record!(Due, 1);

/// A paid period of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidPeriod {
    /// Who gets what it brings.
    pub network_id: NetworkId,
    /// Where it was paid.
    pub market: Market,
    /// What it is in the shop.
    pub item: Item,
    /// Whether it is only tried: the plan runs, and no balance comes with it.
    #[serde(default)]
    pub is_trial: bool,
    /// From here.
    pub start: Timestamp,
    /// Until just before here.
    pub end: Timestamp,
    /// What was earned, in 10⁻⁹ USD.
    pub revenue: i64,
}

impl PaidPeriod {
    /// What is given.
    pub fn purchase(&self, key: &str) -> Purchase {
        Purchase {
            network_id: self.network_id,
            market: self.market,
            key: key.to_owned(),
            item: self.item,
            quantity: u32::from(!self.is_trial),
            start: self.start,
            end: Item::period_end(self.end),
            revenue: self.revenue,
        }
    }
}

/// Notes a paid period.
pub(super) fn give(tx: &mut Tx<'_>, key: &str, period: PaidPeriod) -> Result<(), DomainError> {
    Ok(tx.put(&DUE_DELIVERIES, &key.to_owned(), &Due::Give(period))?)
}

/// Notes that a period was paid back, given or not.
pub(super) fn take_back(tx: &mut Tx<'_>, key: &str) -> Result<(), DomainError> {
    Ok(tx.put(&DUE_DELIVERIES, &key.to_owned(), &Due::TakeBack)?)
}

/// Notes that a plan must end where it is billed.
pub(super) fn end_at_company(tx: &mut Tx<'_>, receipt_id: &str) -> Result<(), DomainError> {
    Ok(tx.put(&DUE_DELIVERIES, &format!("{END_PREFIX}{receipt_id}"), &Due::EndAtCompany)?)
}

/// What is to be done.
pub(super) struct ReadDue;

impl Operation for ReadDue {
    type Output = Vec<(String, Due)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        Ok(tx.page_snapshot(&DUE_DELIVERIES, None, AT_ONCE)?)
    }
}

/// Notes that something is done, unless it has changed meanwhile.
pub(super) struct ForgetDue<'a> {
    pub(super) key: &'a String,
    pub(super) done: &'a Due,
}

impl Operation for ForgetDue<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        if tx.get(&DUE_DELIVERIES, self.key)?.as_ref() == Some(self.done) {
            tx.delete(&DUE_DELIVERIES, self.key)?;
        }
        Ok(())
    }
}
