//! What is left of a request's body once the request is answered.
//!
//! An answer that needs no body (an unknown path, a missing token) is ready before the body has arrived. HTTP/1 would then
//! close the connection without a word, and a client that keeps it fails its next request. So a short rest is read and
//! thrown away; before a long one the answer says that the connection ends.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, Version, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// The longest rest that is read.
const MOST_BYTES: u64 = 256 << 10;

/// The longest wait for a rest.
const PATIENCE: Duration = Duration::from_secs(1);

/// The unread rest of one body, once it is known.
pub(super) struct Unread {
    rest: Option<oneshot::Receiver<Body>>,
    /// The client sends its body only when asked to.
    waits_to_be_asked: bool,
}

/// Keeps an eye on the body of a request: whoever drops it unread leaves it to [`Unread::settle`].
pub(super) fn watch(request: Request) -> (Request, Unread) {
    // Other versions end a request's stream without ending the connection.
    if request.version() > Version::HTTP_11 || request.body().is_end_stream() {
        return (request, Unread { rest: None, waits_to_be_asked: false });
    }
    let waits_to_be_asked = request.headers().contains_key(header::EXPECT);
    let (leave, rest) = oneshot::channel();
    let request = request.map(|body| Body::new(Watched { body, leave: Some(leave) }));
    (request, Unread { rest: Some(rest), waits_to_be_asked })
}

impl Unread {
    /// Reads what is left of the body before its answer leaves, or has the answer say that the connection ends.
    pub(super) async fn settle(self, response: &mut Response) {
        let Some(body) = self.rest.and_then(|mut rest| rest.try_recv().ok()) else { return };
        let is_read = !self.waits_to_be_asked
            && body.size_hint().lower() <= MOST_BYTES
            && tokio::time::timeout(PATIENCE, discard(body)).await.unwrap_or(false);
        if !is_read {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Reads a body to its end; says whether it got there.
async fn discard(mut body: Body) -> bool {
    let mut left = MOST_BYTES;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        match left.checked_sub(length) {
            Some(still) => left = still,
            None => return false,
        }
    }
    true
}

/// A body that is left behind when it is dropped before its end.
struct Watched {
    body: Body,
    leave: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) {
            self.leave = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take().filter(|_| !self.body.is_end_stream()) {
            // Nobody takes it when the request itself was given up.
            let _ = leave.send(std::mem::take(&mut self.body));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use futures_util::stream;

    use super::*;

    /// Answers without reading the body; says whether the answer ends the connection.
    async fn ends(body: Body, change: impl FnOnce(&mut Request)) -> bool {
        let mut request = Request::new(body);
        change(&mut request);
        let (request, unread) = watch(request);
        drop(request);
        let mut response = StatusCode::NOT_FOUND.into_response();
        unread.settle(&mut response).await;
        response.headers().contains_key(header::CONNECTION)
    }

    fn chunks(count: usize) -> Body {
        let chunk = || Ok::<_, std::io::Error>(Bytes::from_static(&[0; 64 << 10]));
        Body::from_stream(stream::iter((0..count).map(move |_| chunk())))
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_rest_is_read_and_a_long_one_ends_the_connection() {
        assert!(!ends(Body::empty(), |_| ()).await);
        assert!(!ends(Body::from("{}"), |_| ()).await);
        assert!(!ends(chunks(4), |_| ()).await);
        assert!(ends(chunks(5), |_| ()).await, "beyond the bound");
        assert!(ends(Body::from(vec![0; 300 << 10]), |_| ()).await, "announced beyond the bound");
        assert!(ends(Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()), |_| ()).await, "silent");
        let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("broken"))]);
        assert!(ends(Body::from_stream(broken), |_| ()).await, "broken");
    }

    #[tokio::test]
    async fn a_client_that_waits_to_be_asked_is_not_asked() {
        let expecting = |request: &mut Request| {
            request.headers_mut().insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        };
        assert!(ends(Body::from("{}"), expecting).await);
        assert!(!ends(Body::from("{}"), |request| *request.version_mut() = Version::HTTP_2).await);
    }

    #[tokio::test]
    async fn a_body_that_was_read_leaves_nothing() {
        let (request, unread) = watch(Request::new(chunks(9)));
        request.into_body().collect().await.unwrap();
        let mut response = StatusCode::OK.into_response();
        unread.settle(&mut response).await;
        assert!(!response.headers().contains_key(header::CONNECTION));
    }
}
