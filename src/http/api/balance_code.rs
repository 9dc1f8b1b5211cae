//! Balance codes: what one is worth, turning it into a balance, and the ones a network has had.

use crate::http::answer::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::contract::codes::{BalanceCode, RedeemOutcome};
use crate::http::error::{ApiResult, ErrorMessage};
use crate::http::extract::{ApiOrigin, Body, Session};
use crate::http::state::ApiState;
use crate::ids::{BalanceId, RecordId};
use crate::time::Timestamp;

const UNKNOWN: &str = "Unknown balance code.";
const REDEEMED: &str = "Balance code already redeemed.";

/// The routes of this group.
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(check_balance_code))
        .routes(routes!(redeem_balance_code))
        .routes(routes!(balance_codes))
}

/// A balance code.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
struct CodeArgs {
    /// Its 26 letters and digits, in either case.
    #[schema(required)]
    secret: String,
}

/// What a code is worth.
#[derive(Default, Serialize, ToSchema)]
struct CheckResult {
    /// The balance it gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<CodeBalance>,
    /// It gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// The balance of a code that is not redeemed yet. Its times tell how long it lasts, not from when.
#[derive(Serialize, ToSchema)]
struct CodeBalance {
    /// The day on which the code was made.
    start_time: Timestamp,
    /// So much later.
    end_time: Timestamp,
    /// Its size.
    balance_byte_count: i64,
}

/// Tells what a code is worth, without redeeming it.
#[utoipa::path(
    post,
    path = "/subscription/check-balance-code",
    tag = "subscription",
    security(("bearer" = [])),
    request_body = CodeArgs,
    responses((status = 200, body = CheckResult))
)]
async fn check_balance_code(
    State(state): State<ApiState>,
    Session(caller): Session,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<CodeArgs>,
) -> ApiResult<CheckResult> {
    let attempt = state.accounts.guess_balance_code(&origin, &caller)?;
    let Some(code) = state.ledger.check_code(&args.secret).await? else {
        return Ok(Json(CheckResult { error: Some(UNKNOWN.into()), ..CheckResult::default() }));
    };
    attempt.withdraw();
    let BalanceCode { start_time, end_time, bytes, .. } = code;
    let balance = Some(CodeBalance { start_time, end_time, balance_byte_count: bytes });
    Ok(Json(CheckResult { balance, ..CheckResult::default() }))
}

/// What a code gave.
#[derive(Default, Serialize, ToSchema)]
struct RedeemResult {
    /// The balance of the caller's network.
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer_balance: Option<RedeemedBalance>,
    /// It gave none. The network's own list of codes tells whether it was redeemed there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

/// A balance that came from a code.
#[derive(Serialize, ToSchema)]
struct RedeemedBalance {
    /// Names it.
    transfer_balance_id: BalanceId,
    /// Usable from here.
    start_time: Timestamp,
    /// Until just before here.
    end_time: Timestamp,
    /// Its size.
    balance_byte_count: i64,
}

/// Turns a code into a balance of the caller's network.
///
/// Of several who try at once exactly one gets it.
#[utoipa::path(
    post,
    path = "/subscription/redeem-balance-code",
    tag = "subscription",
    security(("bearer" = [])),
    request_body = CodeArgs,
    responses((status = 200, body = RedeemResult))
)]
async fn redeem_balance_code(
    State(state): State<ApiState>,
    Session(caller): Session,
    ApiOrigin(origin): ApiOrigin,
    Body(args): Body<CodeArgs>,
) -> ApiResult<RedeemResult> {
    let attempt = state.accounts.guess_balance_code(&origin, &caller)?;
    let outcome = state.ledger.redeem_code(caller.network_id, &args.secret).await?;
    if outcome != RedeemOutcome::Unknown {
        attempt.withdraw();
    }
    Ok(Json(outcome.into()))
}

impl From<RedeemOutcome> for RedeemResult {
    fn from(outcome: RedeemOutcome) -> Self {
        let refused = |message: &str| Self { error: Some(message.into()), ..Self::default() };
        match outcome {
            RedeemOutcome::Redeemed(balance) => {
                let transfer_balance = RedeemedBalance {
                    transfer_balance_id: balance.balance_id,
                    start_time: balance.start_time,
                    end_time: balance.end_time,
                    balance_byte_count: balance.bytes,
                };
                Self { transfer_balance: Some(transfer_balance), ..Self::default() }
            }
            RedeemOutcome::Unknown => refused(UNKNOWN),
            RedeemOutcome::AlreadyRedeemed => refused(REDEEMED),
        }
    }
}

/// The codes a network has redeemed.
#[derive(Serialize, ToSchema)]
struct BalanceCodesResult {
    /// Those whose balance has not ended, soonest end first, at most 2000.
    balance_codes: Vec<RedeemedCode>,
}

/// A redeemed code.
#[derive(Serialize, ToSchema)]
struct RedeemedCode {
    /// Names it.
    balance_code_id: RecordId,
    /// Size of its balance.
    balance_byte_count: i64,
    /// When it was redeemed.
    redeem_time: Timestamp,
    /// When its balance ends.
    end_time: Timestamp,
    /// The whole secret: apps look here for "already redeemed by you".
    secret: String,
}

/// Lists the codes that the caller's network has redeemed.
#[utoipa::path(
    get,
    path = "/account/balance-codes",
    tag = "subscription",
    security(("bearer" = [])),
    responses((status = 200, body = BalanceCodesResult))
)]
async fn balance_codes(State(state): State<ApiState>, Session(caller): Session) -> ApiResult<BalanceCodesResult> {
    let codes = state.ledger.redeemed_codes(caller.network_id).await?;
    let listed = codes.into_iter().filter_map(|code| {
        let redemption = code.redemption?;
        Some(RedeemedCode {
            balance_code_id: code.code_id,
            balance_byte_count: code.bytes,
            redeem_time: redemption.time,
            end_time: code.end_time,
            secret: redemption.secret.as_str().to_owned(),
        })
    });
    Ok(Json(BalanceCodesResult { balance_codes: listed.collect() }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::domain::contract::codes::{DEFAULT_DURATION, MadeCode, NewCodes};
    use crate::http::testing::{START, TestApi};
    use crate::time::DAY;

    const MONTH: Duration = Duration::from_secs(30 * 86_400);

    async fn make_code(api: &TestApi, duration: Duration) -> MadeCode {
        let new = NewCodes {
            count: 1,
            bytes: 1 << 40,
            net_revenue: 5_000_000_000,
            duration,
            purchase_event_id: None,
            purchase_record: String::new(),
            purchase_email: "buyer@example.com".into(),
        };
        api.state.ledger.create_codes(new).await.unwrap().unwrap().pop().unwrap()
    }

    #[tokio::test]
    async fn checking_tells_the_worth_and_redeems_nothing() {
        let api = TestApi::new();
        let made = make_code(&api, DEFAULT_DURATION).await;
        let body = json!({"secret": made.secret.as_str()});
        for _ in 0..2 {
            let answer = api.post("/subscription/check-balance-code", body.clone()).token(&api.client_token).await;
            answer.golden(200, "worth");
            assert_eq!(answer.body["balance"]["start_time"], "2026-02-03T00:00:00Z");
            assert_eq!(answer.body["balance"]["end_time"], "2027-02-04T00:00:00Z", "a year and a day");
        }
        api.post("/subscription/check-balance-code", json!({})).token(&api.user_token).await.golden(200, "no_secret");
        let unknown = json!({"secret": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"});
        api.post("/subscription/check-balance-code", unknown).token(&api.user_token).await.golden(200, "unknown");
        api.post("/subscription/check-balance-code", body).await.expect(401);
    }

    #[tokio::test]
    async fn a_code_gives_its_balance_once_and_is_listed_with_its_secret() {
        let api = TestApi::new();
        let made = make_code(&api, MONTH).await;
        let (path, list) = ("/subscription/redeem-balance-code", "/account/balance-codes");
        api.get(list).token(&api.user_token).await.golden(200, "none");
        let typed = format!(" {}\n", made.secret.as_str().to_lowercase());
        let answer = api.post(path, json!({ "secret": typed })).token(&api.client_token).await;
        answer.golden(200, "redeemed");
        let balance = &answer.body["transfer_balance"];
        assert_eq!(balance["start_time"], START.to_rfc3339());
        assert_eq!(balance["end_time"], (START + MONTH + DAY).to_rfc3339());

        let again = json!({"secret": made.secret.as_str()});
        api.post(path, again.clone()).token(&api.user_token).await.golden(200, "redeemed_before");
        let answer = api.post("/subscription/check-balance-code", again).token(&api.user_token).await;
        answer.golden(200, "redeemed_before");

        let answer = api.get(list).token(&api.user_token).await;
        answer.golden(200, "one");
        assert_eq!(answer.body["balance_codes"][0]["secret"], made.secret.as_str());

        let view = api.get("/subscription/balance").token(&api.user_token).await.expect(200);
        let bought = view["active_transfer_balances"].as_array().unwrap().last().unwrap();
        assert_eq!(bought["balance_id"], balance["transfer_balance_id"]);
        assert_eq!((&bought["paid"], &bought["pro"]), (&json!(true), &json!(false)), "paid, never Pro");
        assert!(view.get("current_subscription").is_none());

        api.clock.advance(MONTH + DAY);
        assert_eq!(api.get(list).token(&api.user_token).await.expect(200)["balance_codes"], json!([]), "its end");
        api.get(list).await.expect(401);
    }

    #[tokio::test]
    async fn of_fifty_requests_at_once_one_gets_the_balance() {
        let api = TestApi::new();
        let made = make_code(&api, DEFAULT_DURATION).await;
        let body = json!({"secret": made.secret.as_str()});
        let tries = (0..50).map(|_| {
            let call = api.post("/subscription/redeem-balance-code", body.clone()).token(&api.user_token);
            tokio::spawn(call.into_future())
        });
        let tries: Vec<_> = tries.collect();
        let (mut won, mut lost) = (0, 0);
        for tried in tries {
            let answer = tried.await.unwrap();
            match answer.body.get("transfer_balance") {
                Some(_) => won += 1,
                None if answer.body["error"]["message"] == REDEEMED => {
                    answer.golden(200, "lost_the_race");
                    lost += 1;
                }
                None => assert_eq!(answer.body["error"]["message"], UNKNOWN),
            }
        }
        assert!(won == 1 && lost > 0, "{won} won, {lost} saw the code and came too late");
        let listed = api.get("/account/balance-codes").token(&api.user_token).await.expect(200);
        assert_eq!(listed["balance_codes"].as_array().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_cancelled_code_is_unknown_and_takes_its_balance_along() {
        let api = TestApi::new();
        let (first, second) = (make_code(&api, MONTH).await, make_code(&api, MONTH).await);
        let path = "/subscription/redeem-balance-code";
        let body = |made: &MadeCode| json!({"secret": made.secret.as_str()});
        api.state.ledger.cancel_code(first.code_id).await.unwrap();
        api.post(path, body(&first)).token(&api.user_token).await.golden(200, "cancelled");
        api.post(path, body(&second)).token(&api.user_token).await.expect(200);
        api.clock.advance(Duration::from_secs(1));
        api.state.ledger.cancel_code(second.code_id).await.unwrap();
        let listed = api.get("/account/balance-codes").token(&api.user_token).await.expect(200);
        assert_eq!(listed["balance_codes"], json!([]));
        let view = api.get("/subscription/balance").token(&api.user_token).await.expect(200);
        assert_eq!(view["active_transfer_balances"].as_array().unwrap().len(), 1, "the free one");
    }

    #[tokio::test]
    async fn what_cannot_be_a_secret_is_an_unknown_code() {
        let api = TestApi::new();
        for wrong in ["", "A", "ABCDEFGHIJKLMNOPQRSTUVWXY", "ABCDEFGHIJKLMNOPQRSTUVWXYZA", "0189ABCDEFGHIJKLMNOPQRSTUV"]
        {
            for path in ["/subscription/check-balance-code", "/subscription/redeem-balance-code"] {
                let answer = api.post(path, json!({ "secret": wrong })).token(&api.user_token).await;
                assert_eq!(answer.expect(200)["error"]["message"], UNKNOWN, "{wrong}");
            }
        }
        let answer = api.post("/subscription/redeem-balance-code", json!({})).token(&api.user_token).await;
        answer.golden(200, "no_secret");
        api.post("/subscription/redeem-balance-code", json!({})).await.expect(401);
    }
}
