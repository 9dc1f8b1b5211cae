//! Balance codes: make them to sell or to give away, list them, make one worthless.

use std::time::Duration;

use axum::Router;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Command, PAGE_MAX, not_found, route};
use crate::config::units::ByteSize;
use crate::domain::contract::codes::{BalanceCode, CancelOutcome, MAX_AT_ONCE, NewCodes};
use crate::http::error::ApiError;
use crate::http::state::ApiState;
use crate::ids::{BalanceId, NetworkId, RecordId};
use crate::money::NanoCents;
use crate::time::{DAY, Timestamp};

/// The commands of this file.
pub fn routes() -> Router<ApiState> {
    Router::new().merge(route::<CreateCodes>()).merge(route::<ListCodes>()).merge(route::<CancelCode>())
}

/// Makes balance codes. Whoever redeems one first gets its balance; the codes are shown this once.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct CreateCodes {
    /// How much each gives, such as 500GiB or 1TiB
    pub bytes: ByteSize,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MAX_AT_ONCE as i64))]
    pub count: u32,
    /// Days that the balance lasts once redeemed; one more is given
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: u32,
    /// What was paid for each, in dollars; providers share it per byte
    #[arg(long, value_name = "USD", default_value = "0")]
    pub revenue: NanoCents,
    /// Names the purchase; a second time with the same name makes none
    #[arg(long, value_name = "TEXT")]
    pub purchase: Option<String>,
    /// Who bought them
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pub email: String,
}

/// Codes that were made.
#[derive(Debug, Serialize, Deserialize)]
pub struct CreatedCodes {
    /// The codes.
    pub codes: Vec<CreatedCode>,
}

/// A new code.
#[derive(Debug, Serialize, Deserialize)]
pub struct CreatedCode {
    /// Names it.
    pub code_id: RecordId,
    /// What to hand out.
    pub secret: String,
}

impl Command for CreateCodes {
    const PATH: &'static str = "/balance-code/create";
    type Answer = CreatedCodes;

    async fn run(self, state: &ApiState) -> Result<CreatedCodes, ApiError> {
        let new = NewCodes {
            count: self.count,
            bytes: i64::try_from(self.bytes.0).unwrap_or(0),
            net_revenue: self.revenue.0,
            duration: Duration::from_secs(u64::from(self.days) * DAY.as_secs()),
            purchase_event_id: self.purchase,
            purchase_record: String::new(),
            purchase_email: self.email,
        };
        let made =
            state.ledger.create_codes(new).await?.map_err(|refusal| ApiError::bad_request(refusal.to_string()))?;
        let shown =
            made.into_iter().map(|code| CreatedCode { code_id: code.code_id, secret: code.secret.as_str().into() });
        Ok(CreatedCodes { codes: shown.collect() })
    }
}

/// Lists balance codes, newest first, without what redeems them.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ListCodes {
    /// Most codes to list
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=PAGE_MAX as i64))]
    pub limit: u32,
}

/// Balance codes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Codes {
    /// The codes.
    pub codes: Vec<ShownCode>,
    /// Whether the list was cut.
    pub is_more: bool,
}

/// A balance code.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShownCode {
    /// Names it.
    pub code_id: RecordId,
    /// When it was made.
    pub create_time: Timestamp,
    /// What it gives.
    pub bytes: i64,
    /// Revenue behind it.
    pub net_revenue: NanoCents,
    /// The purchase that made it.
    pub purchase: String,
    /// Who bought it.
    pub email: String,
    /// Who redeemed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_id: Option<NetworkId>,
    /// The balance it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_id: Option<BalanceId>,
    /// When it was redeemed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redeem_time: Option<Timestamp>,
    /// When it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_time: Option<Timestamp>,
}

impl From<BalanceCode> for ShownCode {
    fn from(code: BalanceCode) -> Self {
        let redemption = code.redemption.as_ref();
        Self {
            code_id: code.code_id,
            create_time: code.create_time,
            bytes: code.bytes,
            net_revenue: NanoCents(code.net_revenue),
            network_id: redemption.map(|by| by.network_id),
            balance_id: redemption.map(|by| by.balance_id),
            redeem_time: redemption.map(|by| by.time),
            purchase: code.purchase_event_id,
            email: code.purchase_email,
            cancel_time: code.cancel_time,
        }
    }
}

impl Command for ListCodes {
    const PATH: &'static str = "/balance-code/list";
    type Answer = Codes;

    async fn run(self, state: &ApiState) -> Result<Codes, ApiError> {
        let limit = self.limit.min(PAGE_MAX) as usize;
        let mut codes = state.ledger.codes(limit + 1).await?;
        let is_more = codes.len() > limit;
        codes.truncate(limit);
        Ok(Codes { codes: codes.into_iter().map(ShownCode::from).collect(), is_more })
    }
}

/// Makes a code worthless, as after a refund; the balance of one that was redeemed ends now.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct CancelCode {
    /// The code's id, not its letters
    pub code_id: RecordId,
}

/// A code that is worthless now.
#[derive(Debug, Serialize, Deserialize)]
pub struct CancelledCode {
    /// The code.
    pub code_id: RecordId,
    /// The balance that ended, when it was redeemed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_balance_id: Option<BalanceId>,
}

impl Command for CancelCode {
    const PATH: &'static str = "/balance-code/cancel";
    type Answer = CancelledCode;

    async fn run(self, state: &ApiState) -> Result<CancelledCode, ApiError> {
        let code_id = self.code_id;
        match state.ledger.cancel_code(code_id).await? {
            CancelOutcome::Cancelled => Ok(CancelledCode { code_id, ended_balance_id: None }),
            CancelOutcome::ClawedBack(balance) => Ok(CancelledCode { code_id, ended_balance_id: Some(balance) }),
            CancelOutcome::Already => Err(ApiError::bad_request(format!("the code {code_id} was cancelled before"))),
            CancelOutcome::Unknown => {
                Err(not_found(format!("there is no code {code_id}; `warren admin balance-code list` shows all")))
            }
        }
    }
}
