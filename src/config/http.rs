//! `[http]`: the TCP listener of the API and the WebSocket relay.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address_range::AddressRange;
use super::units::{ByteSize, duration};

/// Settings of the API listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address of the listener for the API and the WebSocket relay; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Networks whose forwarding headers are believed, as `address/bits`.
    pub trusted_proxies: Vec<AddressRange>,
    /// `Access-Control-Allow-Origin` of every answer.
    pub cors_origin: String,
    /// Path prefix in front of every route, for clients that carry an environment secret; empty for none.
    pub path_prefix: String,
    /// Largest request body of an ordinary route.
    pub body_limit: ByteSize,
    /// Time for the TLS handshake and for the headers of a request.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// Time for one request, WebSocket sessions excepted.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// Time after which a connection without a request is closed, WebSocket sessions excepted.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// TCP connections open at once, WebSocket sessions included; more are closed as they come.
    pub max_connections: usize,
    /// TLS handshakes under way at once, those that wait for their turn included; more are closed as they come.
    pub max_handshakes: usize,
    /// Time that requests and transports get to end when the server stops.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            trusted_proxies: AddressRange::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8)
                .into_iter()
                .chain(AddressRange::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 128))
                .collect(),
            cors_origin: "*".into(),
            path_prefix: String::new(),
            body_limit: ByteSize::mib(1),
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(120),
            max_connections: 131_072,
            max_handshakes: 4096,
            drain_timeout: Duration::from_secs(10),
        }
    }
}
