//! What is for sale.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::domain::contract::grants::Sku;
use crate::money::NanoCents;
use crate::time::{DAY, Timestamp};

/// A subscription reaches this far beyond its end, so that a late renewal leaves no gap.
const GRACE: Duration = DAY;

/// Days that bought data is good for.
const DATA_DAYS: u32 = 365;

/// Something for sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A month of Pro.
    ProMonthly,
    /// A year of Pro.
    ProYearly,
    /// 1 TiB of data.
    #[serde(rename = "data_1tib")]
    Data1Tib,
    /// 10 TiB of data.
    #[serde(rename = "data_10tib")]
    Data10Tib,
}

impl Item {
    /// The item of a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "pro_monthly" => Some(Item::ProMonthly),
            "pro_yearly" => Some(Item::ProYearly),
            "data_1tib" => Some(Item::Data1Tib),
            "data_10tib" => Some(Item::Data10Tib),
            _ => None,
        }
    }

    /// The item of a plan, `monthly` or `yearly`.
    pub fn of_plan(plan: &str) -> Option<Self> {
        match plan {
            "monthly" => Some(Item::ProMonthly),
            "yearly" => Some(Item::ProYearly),
            _ => None,
        }
    }

    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Item::ProMonthly => "Pro, one month",
            Item::ProYearly => "Pro, one year",
            Item::Data1Tib => "1 TiB of data",
            Item::Data10Tib => "10 TiB of data",
        }
    }

    /// Whether it makes a network Pro.
    pub fn is_pro(self) -> bool {
        matches!(self, Item::ProMonthly | Item::ProYearly)
    }

    /// What the ledger books it as.
    pub fn sku(self) -> Sku {
        if self.is_pro() { Sku::Subscription } else { Sku::Data }
    }

    /// Its price; `None` when it is not for sale.
    pub fn price(self, config: &Config) -> Option<NanoCents> {
        let prices = &config.purchase;
        let price = match self {
            Item::ProMonthly => prices.monthly_usd,
            Item::ProYearly => prices.yearly_usd,
            Item::Data1Tib => prices.data_1tib_usd,
            Item::Data10Tib => prices.data_10tib_usd,
        };
        (price.0 > 0).then_some(price)
    }

    /// Size of the balance that comes with it.
    pub fn bytes(self, config: &Config) -> i64 {
        let pro = i64::try_from(config.purchase.pro_bytes.0).unwrap_or(i64::MAX);
        match self {
            Item::ProMonthly => pro,
            Item::ProYearly => pro.saturating_mul(12),
            Item::Data1Tib => 1 << 40,
            Item::Data10Tib => 10 << 40,
        }
    }

    /// When what was bought `from` then on ends.
    pub fn end(self, from: Timestamp) -> Timestamp {
        match self {
            Item::ProMonthly => Self::period_end(from + DAY * 30),
            Item::ProYearly => Self::period_end(from + DAY * 365),
            Item::Data1Tib | Item::Data10Tib => from + DAY * DATA_DAYS,
        }
    }

    /// When a paid period of a subscription ends here.
    pub fn period_end(paid_until: Timestamp) -> Timestamp {
        paid_until + GRACE
    }
}
