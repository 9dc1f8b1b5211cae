//! `[subscription]`: plans that are paid period after period. Their prices are those of `[purchase]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::duration;

/// Settings of subscriptions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subscription {
    /// How long a first subscription may be tried before its card is charged; 0s for no trials.
    #[serde(with = "duration")]
    pub trial: Duration,
    /// How long a renewal that is not paid is waited for before the subscription ends.
    #[serde(with = "duration")]
    pub grace: Duration,
}

impl Default for Subscription {
    fn default() -> Self {
        Self { trial: Duration::from_secs(7 * 86_400), grace: Duration::from_secs(3 * 86_400) }
    }
}
