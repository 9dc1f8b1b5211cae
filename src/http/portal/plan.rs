//! The plan of an account, as its page shows it.

use serde::Serialize;

use super::error::PortalError;
use super::session::PortalUser;
use crate::domain::balance::BalanceView;
use crate::http::state::ApiState;

/// What an account pays for.
#[derive(Debug, Default, Serialize)]
pub struct Plan {
    /// Whether it is Pro.
    pub is_pro: bool,
    /// The day it ends or is renewed; none when it does neither.
    pub renewal: Option<String>,
}

/// The plan of an account: Pro as long as a balance says so.
pub async fn of(_state: &ApiState, _user: &PortalUser, balance: &BalanceView) -> Result<Plan, PortalError> {
    let end = balance.buckets.iter().filter(|bucket| bucket.is_pro).map(|bucket| bucket.end_time).max();
    Ok(Plan { is_pro: balance.is_pro, renewal: end.map(|end| end.to_date()) })
}
