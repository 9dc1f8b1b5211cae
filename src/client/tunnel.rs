//! The way out: a client that has found a provider, proven the path to it, and sends IP packets through it.
//!
//! A packet travels raw in a frame, of one type towards the provider and of another one back. A ping is a frame too; the
//! peer's acknowledgement of it is the answer, which proves transport, contract and the provider's check of it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt;
use tokio::time::timeout;

use super::api::{Api, ApiError, AuthClient, ClientToken, FoundProvider, ProviderSpec};
use super::datagram::{Datagram, MAX_PAYLOAD_BYTES};
use super::dial::Route;
use super::key::{AccessKey, WayOut};
use super::session::{Client, ClientError, ClientOptions, Inbox, Totals};
use super::tls::Trust;
use crate::wire::messages::{Frame, MessageType, ProvideMode};

/// Time for a transport to the relay.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for a provider to answer a ping, the contract with it included.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the answer to a datagram.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Providers tried, one after the other.
const PROVIDERS_TRIED: usize = 3;

/// The address of this end inside the tunnel; every app has the same.
const TUNNEL_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 1);

/// Ports that answers come back to.
const PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

/// Why there is no way out.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The API refused or failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No transport in time.
    #[error("no transport to the relay at {0} within {CONNECT_TIMEOUT:?}")]
    NotConnected(String),
    /// Nobody provides there.
    #[error("there is no provider at the place that the key names now; choose another server")]
    NoProvider,
    /// Nobody answered.
    #[error("{tried} providers were tried and none answered: {last}")]
    NoAnswer {
        /// How many.
        tried: usize,
        /// What happened with the last one.
        last: String,
    },
    /// Too much for one packet.
    #[error("a datagram of {0} bytes does not fit a packet; {MAX_PAYLOAD_BYTES} is the most")]
    TooLarge(usize),
    /// The provider, or what is behind it, did not answer.
    #[error("no answer from {0} within {ANSWER_TIMEOUT:?}")]
    Silent(SocketAddrV4),
}

/// An open way out.
#[derive(Debug)]
pub struct Tunnel {
    device: Api,
    client: Client,
    inbox: Inbox,
    provider: FoundProvider,
    ping: Duration,
}

impl Tunnel {
    /// Connects with a key and finds a provider that answers. Must be called within a tokio runtime.
    ///
    /// It goes out as a client of its own, derived from that of the key, as apps do: a provider may still be talking to
    /// the one that went out before, under secrets that are gone.
    pub async fn open(key: &AccessKey, trust: &Trust) -> Result<Self, TunnelError> {
        let device = Api::new(&key.api_url(), trust)?.with_token(&key.token);
        let identity = device.auth_client(&AuthClient::default()).await?;
        let opened = Self::go_out(key, trust, &device, &identity).await;
        if opened.is_err() {
            // It would be forgotten in a few days; the reason for the error is what counts.
            drop(device.remove_client(identity.client_id).await);
        }
        opened
    }

    async fn go_out(key: &AccessKey, trust: &Trust, device: &Api, identity: &ClientToken) -> Result<Self, TunnelError> {
        let api = device.with_token(&identity.by_client_jwt);
        let mut options = ClientOptions::new(api.clone(), identity.client_id);
        options.routes = vec![Route::WebSocket(key.relay_url())];
        options.trust = trust.clone();
        options.asks_ahead = false;
        let (client, inbox) = Client::start(options)?;
        client.provide(&[ProvideMode::Network, ProvideMode::Stream]).await?;
        let found = api.find_providers(spec(key.wanted), PROVIDERS_TRIED).await?;
        let connected = timeout(CONNECT_TIMEOUT, client.connected()).await;
        connected.map_err(|_| TunnelError::NotConnected(key.relay_url()))??;
        let (mut tried, mut last) = (0, None);
        for provider in found {
            tried += 1;
            let since = Instant::now();
            let answered = timeout(PING_TIMEOUT, client.send_acked(provider.client_id, vec![ping()])).await;
            match answered {
                Ok(Ok(())) => {
                    return Ok(Self { device: device.clone(), client, inbox, provider, ping: since.elapsed() });
                }
                Ok(Err(error)) => last = Some(error.to_string()),
                Err(_) => last = Some(format!("no answer within {PING_TIMEOUT:?}")),
            }
        }
        Err(last.map_or(TunnelError::NoProvider, |last| TunnelError::NoAnswer { tried, last }))
    }

    /// The provider.
    pub fn provider(&self) -> &FoundProvider {
        &self.provider
    }

    /// How long the first ping took, the contract included.
    pub fn first_ping(&self) -> Duration {
        self.ping
    }

    /// How long a ping takes now.
    pub async fn ping(&self) -> Result<Duration, TunnelError> {
        let since = Instant::now();
        match timeout(PING_TIMEOUT, self.client.send_acked(self.provider.client_id, vec![ping()])).await {
            Ok(answered) => answered.map(|()| since.elapsed()).map_err(TunnelError::from),
            Err(_) => {
                let last = format!("no answer within {PING_TIMEOUT:?}");
                Err(TunnelError::NoAnswer { tried: 1, last })
            }
        }
    }

    /// Sends one datagram out and waits for what comes back; says how long that took.
    pub async fn ask(&mut self, to: SocketAddrV4, payload: Bytes) -> Result<(Bytes, Duration), TunnelError> {
        let from = SocketAddrV4::new(TUNNEL_ADDRESS, rand::rng().random_range(PORTS));
        let bytes = payload.len();
        let packet = Datagram { from, to, payload }.encode().ok_or(TunnelError::TooLarge(bytes))?;
        let since = Instant::now();
        self.client.send(self.provider.client_id, vec![raw(MessageType::IpIpPacketToProvider, packet)]).await?;
        let answer = async {
            loop {
                let received = self.inbox.recv().await.ok_or(ClientError::Closed)?;
                if received.from != self.provider.client_id {
                    continue;
                }
                let wanted = i32::from(MessageType::IpIpPacketFromProvider);
                let packets = received.frames.iter().filter(|frame| frame.message_type == wanted && frame.raw);
                let mut datagrams = packets.filter_map(|frame| Datagram::decode(&frame.message_bytes));
                if let Some(answer) = datagrams.find(|answer| (answer.from, answer.to) == (to, from)) {
                    return Ok((answer.payload, since.elapsed()));
                }
            }
        };
        timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| TunnelError::Silent(to))?
    }

    /// Ends it; every contract is reported as closed, and the client that went out is removed.
    pub async fn close(self) -> Result<Totals, TunnelError> {
        let totals = self.client.close().await?;
        self.device.remove_client(self.client.id()).await?;
        Ok(totals)
    }
}

fn spec(wanted: WayOut) -> ProviderSpec {
    match wanted {
        WayOut::Any => ProviderSpec::BestAvailable(true),
        WayOut::Location(id) => ProviderSpec::LocationId(id),
        WayOut::Provider(id) => ProviderSpec::ClientId(id),
    }
}

fn ping() -> Frame {
    raw(MessageType::IpIpPing, Bytes::new())
}

fn raw(message_type: MessageType, message_bytes: Bytes) -> Frame {
    Frame { message_type: message_type.into(), message_bytes, raw: true }
}
