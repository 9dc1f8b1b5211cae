//! `[plan]` and `[contracts]`: what a network is granted, and how contracts are signed and closed.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units::ByteSize;

/// Bytes granted, or no bound at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// So many bytes; 0 grants nothing.
    Bytes(ByteSize),
    /// Nothing is reserved or debited; use is still metered.
    Unlimited,
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Grant::Bytes(bytes) => bytes.serialize(serializer),
            Grant::Unlimited => serializer.serialize_str("unlimited"),
        }
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "unlimited" {
            return Ok(Grant::Unlimited);
        }
        text.parse().map(Grant::Bytes).map_err(serde::de::Error::custom)
    }
}

/// What a network is granted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// The free plan.
    pub free: FreePlan,
    /// The plan of subscribers.
    pub pro: ProPlan,
    /// What bringing others earns.
    pub referral: ReferralPlan,
}

/// The free plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FreePlan {
    /// Transfer balance granted per network and day (UTC).
    pub bytes: Grant,
}

impl Default for FreePlan {
    fn default() -> Self {
        Self { bytes: Grant::Bytes(ByteSize::tib(1)) }
    }
}

/// The plan of networks with a subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProPlan {
    /// Transfer balance granted per network and month (UTC).
    pub bytes: ByteSize,
}

impl Default for ProPlan {
    fn default() -> Self {
        Self { bytes: ByteSize::tib(10) }
    }
}

/// What a network is granted for those it brought, and they for having come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReferralPlan {
    /// Transfer balance granted per link and day (UTC) to either end.
    pub bytes: ByteSize,
    /// Links that count for the network that brought the others.
    pub max: u32,
}

impl Default for ReferralPlan {
    fn default() -> Self {
        Self { bytes: ByteSize(0), max: 20 }
    }
}

/// What settles a contract whose two ends counted differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dispute {
    /// The mean of the two counts, once the sweeper comes.
    Average,
    /// What the relay carried and a tenth, where that is known; else the mean.
    Relay,
}

/// The form of a contract's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HmacForm {
    /// HMAC-SHA256 over the contract: clients of 2026-05-13 and later.
    Standard,
    /// A constant per secret, forgeable: only for fleets older than that.
    Legacy,
}

/// Settings of contracts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Contracts {
    /// The form of a contract's signature.
    pub hmac: HmacForm,
    /// Open contracts of one source client.
    pub open_per_client: usize,
    /// Open contracts of one ordered pair.
    pub open_per_pair: usize,
    /// Bytes reserved by companions of one ordered pair.
    pub companion_bytes_per_pair: ByteSize,
    /// Days that a settled contract is kept for a closer look.
    pub archive_days: u32,
    /// What settles a contract whose two ends counted differently.
    pub dispute: Dispute,
}

impl Default for Contracts {
    fn default() -> Self {
        Self {
            hmac: HmacForm::Standard,
            open_per_client: 65_536,
            open_per_pair: 1024,
            companion_bytes_per_pair: ByteSize::gib(8),
            archive_days: 7,
            dispute: Dispute::Average,
        }
    }
}
