//! Logs that apps send after feedback: streamed, counted, and kept only if the operator wants them.

use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};
use utoipa::ToSchema;

use crate::domain::log_upload::{BeginLogUpload, BeginLogUploadOutcome, EndLogUpload, MAX_BYTES, SPAN};
use crate::http::answer::Json;
use crate::http::error::{ApiError, ApiResult, ErrorMessage};
use crate::http::extract::{PathText, Session};
use crate::http::layers::OwnTime;
use crate::http::log_folder::LogFile;
use crate::http::state::ApiState;
use crate::ids::RecordId;

/// Time for a whole log.
const PATIENCE: Duration = Duration::from_secs(600);

/// Empty, or why the log was not taken.
#[derive(Serialize, ToSchema)]
pub struct UploadLogResult {
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorMessage>,
}

impl UploadLogResult {
    fn too_long() -> Self {
        Self { error: Some("Log file exceeds the maximum upload size 100mb.".into()) }
    }
}

/// Takes the log of an app.
///
/// The body is the log itself, at most 100 MiB, of any content type. One log in five minutes.
#[utoipa::path(
    post,
    path = "/log/{feedbackId}/upload",
    tag = "account",
    security(("bearer" = [])),
    params(("feedbackId" = RecordId, Path, description = "The feedback it belongs to.")),
    request_body(content = crate::http::openapi::Bytes, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = UploadLogResult),
        (status = 403, body = crate::http::error::ErrorResult, description = "The feedback of another network."),
        (status = 404, body = crate::http::error::ErrorResult, description = "No such feedback.")
    )
)]
pub async fn upload(
    State(state): State<ApiState>,
    Session(caller): Session,
    PathText(feedback_id): PathText,
    own_time: OwnTime,
    request: Request,
) -> ApiResult<UploadLogResult> {
    let feedback_id: RecordId = feedback_id.parse().map_err(|_| ApiError::bad_request("invalid feedback id passed"))?;
    let network_id = caller.network_id;
    let text = |headers: &HeaderMap, name| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let begin = BeginLogUpload {
        caller,
        feedback_id,
        content_type: text(request.headers(), header::CONTENT_TYPE).unwrap_or_default(),
        declared_bytes: text(request.headers(), header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
    };
    let id = match state.service.run(&begin).await? {
        BeginLogUploadOutcome::Begun(id) => id,
        BeginLogUploadOutcome::TooLong => return Ok(Json(UploadLogResult::too_long())),
        BeginLogUploadOutcome::RateLimited => {
            let minutes = SPAN.as_secs() / 60;
            let message = format!("Rate limited. One log upload per network per {minutes}m0s.");
            return Ok(Json(UploadLogResult { error: Some(ErrorMessage { message }) }));
        }
    };
    own_time.take();
    let file = state.logs.create(network_id, id).await;
    let silence = state.config().http.request_timeout;
    let (byte_count, end) = receive(request.into_body().into_data_stream(), file, silence).await;
    let is_complete = end == End::Complete;
    state.service.run(&EndLogUpload { network_id, id, byte_count, is_complete }).await?;
    match end {
        End::Complete => Ok(Json(UploadLogResult { error: None })),
        End::TooLong => Ok(Json(UploadLogResult::too_long())),
        End::Early => Err(ApiError::bad_request("The request body ended early.")),
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All of it came.
    Complete,
    /// It went on above the limit.
    TooLong,
    /// The sender went away or silent.
    Early,
}

/// Takes a body chunk by chunk, and says how many bytes came.
async fn receive(mut body: BodyDataStream, mut file: Option<LogFile<'_>>, silence: Duration) -> (u64, End) {
    let deadline = Instant::now() + PATIENCE;
    let mut byte_count = 0;
    loop {
        let next = timeout_at(deadline, timeout(silence, body.next())).await;
        let chunk = match next {
            Ok(Ok(Some(Ok(chunk)))) => chunk,
            Ok(Ok(None)) => break,
            _ => return (byte_count, End::Early),
        };
        byte_count += chunk.len() as u64;
        if byte_count > MAX_BYTES {
            return (byte_count, End::TooLong);
        }
        if let Some(open) = &mut file
            && !open.write(&chunk).await
        {
            file = None;
        }
    }
    if let Some(open) = file {
        open.keep().await;
    }
    (byte_count, End::Complete)
}
