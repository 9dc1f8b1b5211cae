//! Feedback to the operator.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::feedback::Feedback;
use crate::http::answer::Json;
use crate::http::error::ApiResult;
use crate::http::extract::{ApiOrigin, Body, Session};
use crate::http::state::ApiState;
use crate::ids::RecordId;

/// What somebody says. Apps of today send `needs.other` and `star_count` only.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct SendFeedbackArgs {
    /// What they use the product for.
    uses: Uses,
    /// What they need.
    needs: Needs,
    /// How many stars they give.
    star_count: Option<i32>,
}

/// Boxes to tick: what the product is used for.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Uses {
    /// At home.
    personal: bool,
    /// At work.
    business: bool,
}

/// Boxes to tick: what is needed; and words.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Needs {
    /// Privacy.
    private: bool,
    /// Safety.
    safe: bool,
    /// The whole world.
    global: bool,
    /// Working together.
    collaborate: bool,
    /// A say over apps.
    app_control: bool,
    /// No data brokers.
    block_data_brokers: bool,
    /// No advertisements.
    block_ads: bool,
    /// Fewer distractions.
    focus: bool,
    /// A way to servers.
    connect_servers: bool,
    /// Servers of one's own.
    run_servers: bool,
    /// No attacks.
    prevent_cyber: bool,
    /// A record of what happens.
    audit: bool,
    /// Trust in nobody.
    zero_trust: bool,
    /// A picture of what happens.
    visualize: bool,
    /// In their own words; cut at 16 KiB.
    other: String,
}

/// The feedback is kept.
#[derive(Serialize, ToSchema)]
pub struct SendFeedbackResult {
    /// Names it; a log may be sent with it.
    feedback_id: RecordId,
}

/// Tells the operator something.
#[utoipa::path(
    post,
    path = "/feedback/send-feedback",
    tag = "account",
    security(("bearer" = [])),
    request_body = SendFeedbackArgs,
    responses((status = 200, body = SendFeedbackResult))
)]
pub async fn send_feedback(
    State(state): State<ApiState>,
    Session(caller): Session,
    ApiOrigin(origin): ApiOrigin,
    Body(mut args): Body<SendFeedbackArgs>,
) -> ApiResult<SendFeedbackResult> {
    let text = std::mem::take(&mut args.needs.other);
    let (uses, needs) = (ticked(&args.uses), ticked(&args.needs));
    let feedback = Feedback { uses, needs, text, star_count: args.star_count };
    let feedback_id = state.accounts.send_feedback(&origin, &caller, feedback).await?;
    Ok(Json(SendFeedbackResult { feedback_id }))
}

/// The names of the fields that are true.
fn ticked(boxes: &impl Serialize) -> Vec<String> {
    let boxes = serde_json::to_value(boxes).unwrap_or_default();
    let is_ticked = |(_, ticked): &(&String, &serde_json::Value)| **ticked == serde_json::Value::Bool(true);
    boxes.as_object().into_iter().flatten().filter(is_ticked).map(|(name, _)| name.clone()).collect()
}
