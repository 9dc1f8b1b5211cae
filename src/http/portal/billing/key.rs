//! What opens the apps for who pays: a client certificate.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::domain::subscription::plan::Platform;
use crate::http::portal::Route;
use crate::http::portal::error::{PortalError, PortalResult};
use crate::http::portal::rate::Limit;
use crate::http::portal::session::SignedPost;
use crate::http::state::ApiState;

/// There is no subscription that runs.
const NO_PLAN: i32 = 6;

/// The routes of this file.
pub fn routes(state: &ApiState) -> Vec<Route> {
    vec![("/get-key", Limit::new("get_key", |limits| limits.get_key).on(state, post(get_key)))]
}

/// The code of a plan that does not open a platform.
fn not_covered(platform: Platform) -> PortalError {
    match platform {
        Platform::Mac | Platform::Windows => PortalError::refused(38, "error.no_desktop_plan"),
        Platform::Android => PortalError::refused(51, "error.no_android_plan"),
        Platform::Ios => PortalError::refused(52, "error.no_ios_plan"),
    }
}

/// Apps get text to take apart, browsers (`browser`, from the form of `/clients`) a file to keep.
async fn get_key(State(state): State<ApiState>, post: SignedPost) -> PortalResult {
    let is_file = post.fields.flag("browser");
    give_key(&state, &post, is_file).await.map_err(|error| if is_file { error.at("/clients") } else { error })
}

async fn give_key(state: &ApiState, post: &SignedPost, is_file: bool) -> PortalResult {
    let user_id = post.user.user_id;
    let platform = Platform::parse(post.fields.text("platform"));
    let platform = platform.ok_or_else(|| PortalError::field("error.platform"))?;
    let plans = state.subscriptions.active_plans(user_id)?;
    if plans.is_empty() {
        return Err(PortalError::said(NO_PLAN, "error.no_active_subscription"));
    }
    if !plans.iter().any(|(_, plan)| plan.plan.opens(platform)) {
        return Err(not_covered(platform));
    }
    let bundle = state.certificates.hand_out(user_id).await?;
    let bundle = bundle.ok_or_else(|| PortalError::field("error.no_room_for_device"))?;
    if is_file {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/x-pkcs12")),
            (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"certificate.p12\"")),
        ];
        return Ok((headers, bundle.pkcs12).into_response());
    }
    let answer = json!({"id": hex::encode(user_id.as_bytes()), "b64": BASE64_STANDARD.encode(&bundle.pkcs12)});
    Ok(Json(answer).into_response())
}
