//! The front door of a TCP listener: decides which part answers a request.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, Version, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::{Parts, downcast};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, Join};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::listeners::{Held, WriteHalf};
use super::tls::stream::{TlsReader, TlsWriter};
use super::upgrade::{HttpWriter, Next, Upgrade};
use crate::config::Config;
use crate::http::address::{PeerAddr, client_address};
use crate::http::layers::clean_path;
use crate::relay::Relay;
use crate::relay::accept::WebSocketTicket;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct RemoteEnd {
    /// Its address.
    pub address: SocketAddr,
    /// What it showed in its TLS handshake.
    pub certificate: Option<CertificateDer<'static>>,
}

/// What answers the requests of one listener.
pub struct Front {
    router: Router,
    relay: Option<RelayDoor>,
}

/// The way to the relay: `GET /` with an upgrade.
struct RelayDoor {
    relay: Arc<Relay>,
    config: Arc<Config>,
    tasks: TaskTracker,
}

impl Front {
    /// A front door that hands everything to a router.
    pub fn to_router(router: Router) -> Self {
        Self { router, relay: None }
    }

    /// A front door that hands upgrades to the relay and everything else to a router. Upgraded connections run as tasks
    /// of `tasks`.
    pub fn to_router_and_relay(router: Router, relay: Arc<Relay>, config: Arc<Config>, tasks: TaskTracker) -> Self {
        Self { router, relay: Some(RelayDoor { relay, config, tasks }) }
    }

    /// Answers one request from `peer`. Says in `next` when it is the last.
    pub async fn answer(&self, mut request: Request<Incoming>, peer: &RemoteEnd, next: &Next) -> Response<Body> {
        if let Some(door) = &self.relay
            && door.is_meant(&request)
        {
            return door.answer(request, peer, next);
        }
        request.extensions_mut().insert(PeerAddr(peer.address));
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }

    /// Goes on with a connection for which HTTP has ended, in a task that keeps nothing else. How it ends is counted by
    /// the relay itself.
    pub async fn go_on(&self, Upgrade { http, ticket }: Upgrade) {
        let Some(door) = &self.relay else { return };
        match http.await {
            Ok(upgraded) => door.serve(upgraded, ticket),
            Err(error) => tracing::debug!(%error, "a connection broke before it was a WebSocket"),
        }
    }
}

impl RelayDoor {
    fn is_meant(&self, request: &Request<Incoming>) -> bool {
        let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
        request.method() == Method::GET
            && request.version() == Version::HTTP_11
            && upgrade.is_some_and(|protocols| {
                protocols.split(',').any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
            })
            && clean_path(request.uri().path(), &self.config.http.path_prefix) == "/"
    }

    fn answer(&self, mut request: Request<Incoming>, peer: &RemoteEnd, next: &Next) -> Response<Body> {
        let address = match client_address(request.headers(), peer.address, &self.config.http.trusted_proxies) {
            Ok(address) => address,
            Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        };
        let http = hyper::upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        let certificate = peer.certificate.as_ref();
        match self.relay.websocket_response(&parts, address.ip(), certificate) {
            Ok((response, ticket)) => {
                next.agree(Upgrade { http, ticket });
                response.map(|()| Body::empty())
            }
            Err(refusal) => (*refusal).map(Body::from),
        }
    }

    /// Hands a connection to the relay as the two halves that it was made of.
    fn serve(&self, upgraded: Upgraded, ticket: WebSocketTicket) {
        match downcast::<TokioIo<Join<TlsReader<Held>, HttpWriter<TlsWriter<WriteHalf>>>>>(upgraded) {
            Ok(Parts { io, read_buf, .. }) => self.spawn(io.into_inner().into_inner(), &read_buf, ticket),
            Err(upgraded) => match downcast::<TokioIo<Join<Held, HttpWriter<WriteHalf>>>>(upgraded) {
                Ok(Parts { io, read_buf, .. }) => self.spawn(io.into_inner().into_inner(), &read_buf, ticket),
                Err(_) => tracing::error!("no listener makes connections of this kind"),
            },
        }
    }

    fn spawn<R, W>(&self, (reader, writer): (R, HttpWriter<W>), ahead: &[u8], ticket: WebSocketTicket)
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (writer, answer) = writer.into_parts();
        self.tasks.spawn(self.relay.serve_websocket(reader, writer, ahead, ticket.owing(answer)));
    }
}
