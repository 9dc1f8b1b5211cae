//! Opens one authenticated transport: WebSocket with header or first-message authentication, or raw QUIC.
//!
//! It dials once and says why it failed; `link` decides when to dial again.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::{StatusCode, Uri};
use prost::Message as _;
use quinn::crypto::rustls::QuicClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_websockets::ClientBuilder;

use super::tls::{ClientIdentity, Trust, TrustError};
use super::transport::{self, QuicGuard, Reader, Socket, TransportError, Writer};
use crate::ids::InstanceId;
use crate::wire::control_message::frame;
use crate::wire::envelope;
use crate::wire::messages::{Auth, Frame, MessageType};

/// Time for a TCP connection, its TLS handshake and the upgrade together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for the answer to an authentication message.
const AUTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Silence after which QUIC gives the connection up.
const QUIC_IDLE: Duration = Duration::from_secs(20);

/// Datagrams that wait until they are looked at.
const DATAGRAM_BUFFER_BYTES: usize = 1024 * 1024;

/// Probes of the server that this client understands.
const TRANSPORT_VERSION: &str = "2";

/// How this client names itself to the server.
pub const APP_VERSION: &str = concat!("warren ", env!("CARGO_PKG_VERSION"));

/// Where and how to reach the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `ws://` or `wss://`, identified by the headers of the upgrade: current clients.
    WebSocket(String),
    /// `ws://` or `wss://`, identified by the first message: clients before 2025.
    WebSocketFirstMessage(String),
    /// `host:port` of the raw QUIC relay, its stream alone.
    Quic(String),
    /// `host:port` of the raw QUIC relay, with the offer to carry small messages in datagrams: current clients.
    QuicDatagrams(String),
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket(url) | Self::WebSocketFirstMessage(url) => f.write_str(url),
            Self::Quic(address) | Self::QuicDatagrams(address) => write!(f, "quic://{address}"),
        }
    }
}

/// Who the client is.
#[derive(Clone)]
pub struct Credentials {
    /// The client's token, as `/network/auth-client` gave it; empty for one that shows a certificate.
    pub token: String,
    /// What the client shows in TLS handshakes.
    pub certificate: Option<Arc<ClientIdentity>>,
    /// This run of the client; all its transports share it.
    pub instance: InstanceId,
}

impl Credentials {
    /// Those of a client with a token.
    pub fn of_token(token: impl Into<String>, instance: InstanceId) -> Self {
        Self { token: token.into(), certificate: None, instance }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// Why no transport came about.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The route cannot be understood.
    #[error("{0} is not an address of a relay: expected ws://host, wss://host or host:port")]
    BadRoute(String),
    /// The host name has no address.
    #[error("cannot resolve {0}")]
    Unresolved(String),
    /// TLS settings that cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// TCP or TLS failed.
    #[error("cannot connect: {0}")]
    Io(#[from] std::io::Error),
    /// The server answered the upgrade with this status.
    #[error("the server answered the upgrade with {0}")]
    Upgrade(StatusCode),
    /// The upgrade failed otherwise.
    #[error("websocket: {0}")]
    WebSocket(#[from] tokio_websockets::Error),
    /// The QUIC connection could not be started.
    #[error("quic: {0}")]
    QuicStart(#[from] quinn::ConnectError),
    /// The QUIC connection failed.
    #[error("quic: {0}")]
    Quic(#[from] quinn::ConnectionError),
    /// The transport ended during authentication: the token was not accepted.
    #[error("the server did not accept the client: {0}")]
    Rejected(#[from] TransportError),
    /// The server answered authentication with something else than it should.
    #[error("the server answered the authentication wrongly")]
    BadAnswer,
    /// No transport in time.
    #[error("no connection within {DIAL_TIMEOUT:?}")]
    TimedOut,
}

/// Dials one route for one client.
#[derive(Debug, Clone)]
pub struct Dialer {
    route: Route,
    credentials: Credentials,
    tls: Tls,
}

#[derive(Debug, Clone)]
enum Tls {
    None,
    Tcp(Arc<rustls::ClientConfig>),
    Quic(quinn::ClientConfig),
}

impl Dialer {
    /// Prepares the TLS settings that the route needs.
    pub fn new(route: Route, credentials: Credentials, trust: &Trust) -> Result<Self, DialError> {
        let tls = match &route {
            Route::WebSocket(url) | Route::WebSocketFirstMessage(url) if url.starts_with("ws://") => Tls::None,
            Route::WebSocket(_) | Route::WebSocketFirstMessage(_) => {
                Tls::Tcp(Arc::new(trust.client_config(&["http/1.1"], credentials.certificate.as_deref())?))
            }
            Route::Quic(_) | Route::QuicDatagrams(_) => {
                let takes_datagrams = matches!(route, Route::QuicDatagrams(_));
                Tls::Quic(quic_config(trust, credentials.certificate.as_deref(), takes_datagrams)?)
            }
        };
        Ok(Self { route, credentials, tls })
    }

    /// Where this dialer goes.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Dials and authenticates once.
    ///
    /// With header authentication the server never says whether it accepted the client: a rejected one sees the
    /// transport end soon after.
    pub async fn dial(&self) -> Result<(Reader, Writer), DialError> {
        let dialed = async {
            match &self.route {
                Route::WebSocket(url) => {
                    let mut builder = ClientBuilder::new();
                    if !self.credentials.token.is_empty() {
                        let token = HeaderValue::try_from(format!("Bearer {}", self.credentials.token));
                        builder = builder.add_header(AUTHORIZATION, token.map_err(|_| DialError::BadAnswer)?)?;
                    }
                    let instance = HeaderValue::try_from(self.credentials.instance.to_string());
                    for (name, value) in [
                        ("x-ur-appversion", HeaderValue::from_static(APP_VERSION)),
                        ("x-ur-instanceid", instance.map_err(|_| DialError::BadAnswer)?),
                        ("x-ur-transportversion", HeaderValue::from_static(TRANSPORT_VERSION)),
                    ] {
                        builder = builder.add_header(HeaderName::from_static(name), value)?;
                    }
                    Ok(transport::over_websocket(self.upgrade(url, builder).await?))
                }
                Route::WebSocketFirstMessage(url) => {
                    let socket = self.upgrade(url, ClientBuilder::new()).await?;
                    let (mut reader, mut writer) = transport::over_websocket(socket);
                    let question = encoded(&self.auth());
                    if exchange(&mut reader, &mut writer, question.clone()).await? != question {
                        return Err(DialError::BadAnswer);
                    }
                    Ok((reader, writer))
                }
                Route::Quic(address) => self.dial_quic(address, 0).await,
                Route::QuicDatagrams(address) => self.dial_quic(address, envelope::VERSION.into()).await,
            }
        };
        tokio::time::timeout(DIAL_TIMEOUT, dialed).await.map_err(|_| DialError::TimedOut)?
    }

    async fn upgrade(&self, url: &str, builder: ClientBuilder<'_>) -> Result<Socket, DialError> {
        let bad_route = || DialError::BadRoute(url.into());
        let uri: Uri = url.parse().map_err(|_| bad_route())?;
        let (host, default_port) = match (uri.host(), uri.scheme_str()) {
            (Some(host), Some("ws")) => (host, 80),
            (Some(host), Some("wss")) => (host, 443),
            _ => return Err(bad_route()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(default_port))).await?;
        stream.set_nodelay(true)?;
        let stream: std::pin::Pin<Box<dyn transport::Io>> = match &self.tls {
            Tls::Tcp(config) => {
                let name = ServerName::try_from(host).map_err(|_| bad_route())?;
                Box::pin(TlsConnector::from(config.clone()).connect(name, stream).await?)
            }
            _ => Box::pin(stream),
        };
        let (config, limits) = transport::websocket_limits();
        let builder = builder.uri(url).map_err(|_| bad_route())?.config(config).limits(limits);
        match builder.connect_on(stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tokio_websockets::Error::Upgrade(tokio_websockets::upgrade::Error::DidNotSwitchProtocols(status))) => {
                Err(DialError::Upgrade(StatusCode::from_u16(status).unwrap_or_default()))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn dial_quic(&self, address: &str, offer: u32) -> Result<(Reader, Writer), DialError> {
        let Tls::Quic(config) = &self.tls else { return Err(DialError::BadRoute(address.into())) };
        let (host, _) = address.rsplit_once(':').ok_or_else(|| DialError::BadRoute(address.into()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let unresolved = || DialError::Unresolved(address.into());
        let found: Vec<SocketAddr> = tokio::net::lookup_host(address).await.map_err(|_| unresolved())?.collect();
        // IPv4 first, as the apps do.
        let peer = *found.iter().find(|peer| peer.is_ipv4()).or(found.first()).ok_or_else(unresolved)?;
        let local = match peer {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let endpoint = quinn::Endpoint::client(local)?;
        let connection = endpoint.connect_with(config.clone(), peer, host)?.await?;
        let guard = QuicGuard { connection: connection.clone(), _endpoint: endpoint };
        let (send, receive) = connection.open_bi().await?;
        let (mut reader, mut writer) = transport::over_quic(send, receive, guard);
        let question = Auth { h3_datagram_version: offer, ..self.auth() };
        let answer = exchange(&mut reader, &mut writer, encoded(&question)).await?;
        // The answer is the question, possibly encoded anew, and says whether the offer is accepted.
        let answer = Frame::decode(answer).ok().and_then(|frame| Auth::decode(frame.message_bytes).ok());
        let accepted = answer.as_ref().map_or(0, |answer| answer.h3_datagram_accepted_version);
        let expected = Auth { h3_datagram_accepted_version: accepted, ..question };
        if answer != Some(expected) || ![0, offer].contains(&accepted) {
            return Err(DialError::BadAnswer);
        }
        if accepted > 0 {
            if connection.max_datagram_size().is_none() {
                return Err(DialError::BadAnswer);
            }
            transport::use_datagrams(&mut reader, &mut writer, &connection);
        }
        Ok((reader, writer))
    }

    fn auth(&self) -> Auth {
        Auth {
            by_jwt: self.credentials.token.clone(),
            app_version: APP_VERSION.into(),
            instance_id: self.credentials.instance.into(),
            ..Auth::default()
        }
    }
}

fn encoded(auth: &Auth) -> Bytes {
    frame(MessageType::TransferAuth, auth).encode_to_vec().into()
}

/// Sends the authentication message and waits for its answer.
async fn exchange(reader: &mut Reader, writer: &mut Writer, question: Bytes) -> Result<Bytes, TransportError> {
    writer.write(&mut vec![question]).await?;
    reader.next_message(AUTH_TIMEOUT).await
}

/// QUIC as the relay wants it: TLS 1.3, no application protocol, one stream opened by us.
fn quic_config(
    trust: &Trust,
    identity: Option<&ClientIdentity>,
    takes_datagrams: bool,
) -> Result<quinn::ClientConfig, DialError> {
    let tls = trust.client_config(&[], identity)?;
    let crypto = QuicClientConfig::try_from(tls)
        .map_err(|error| TrustError::Rustls(rustls::Error::General(error.to_string())))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    let mut parameters = quinn::TransportConfig::default();
    parameters
        .keep_alive_interval(Some(transport::KEEPALIVE))
        .max_idle_timeout(Some(QUIC_IDLE.try_into().expect("20 s fit the field")))
        .max_concurrent_bidi_streams(0u32.into())
        .max_concurrent_uni_streams(0u32.into())
        .datagram_receive_buffer_size(takes_datagrams.then_some(DATAGRAM_BUFFER_BYTES));
    config.transport_config(Arc::new(parameters));
    Ok(config)
}

#[cfg(test)]
mod tests;
