//! The front door of a TCP listener: decides which part answers a request.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::http::address::PeerAddr;

/// What answers the requests of one listener.
pub struct Front {
    router: Router,
}

impl Front {
    /// A front door that hands everything to a router.
    pub fn to_router(router: Router) -> Self {
        Self { router }
    }

    /// Answers one request from `peer`.
    pub async fn answer(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        request.extensions_mut().insert(PeerAddr(peer));
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }
}
