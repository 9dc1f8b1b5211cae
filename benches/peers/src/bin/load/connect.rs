//! Connects clients to a peer and proves who they are, each in the peer's own way.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use peers::machine::now_ns;
use peers::{Args, client_tls, udp_socket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::protocol::{Proto, bytes_field, nats_key, nats_public, warren_message, websocket_head, websocket_message};

type Read = Box<dyn AsyncRead + Unpin + Send>;
type Write = Box<dyn AsyncWrite + Unpin + Send>;

/// Clients of one UDP socket of the load.
const CLIENTS_PER_SOCKET: u64 = 10_000;

/// Who a client of Warren is.
struct Party {
    id: Vec<u8>,
    token: String,
}

/// Where the clients go, and who they are.
pub struct Generator {
    pub proto: Proto,
    to: SocketAddr,
    tls: tokio_rustls::TlsConnector,
    /// One after the other: a socket has room for so many packets on their way only.
    quic: Vec<quinn::Endpoint>,
    seed: u64,
    parties: Arc<[Party]>,
}

/// A connected client.
pub struct Connection {
    pub r: Read,
    pub w: Write,
    /// Read already, behind the handshake.
    pub left: Vec<u8>,
    _keep: Option<Box<dyn Any + Send>>,
}

impl Generator {
    pub fn new(args: &Args) -> Self {
        let proto = Proto::named(args.get("--proto").expect("--proto"));
        let quic = endpoints(proto, args.number("--clients", 1));
        let parties = args.get("--parties").filter(|_| proto.is_warren()).map_or_else(Arc::default, |file| {
            let text = std::fs::read_to_string(file).expect(file);
            let party = |line: &str| {
                let (id, token) = line.split_once(' ').expect("an id and a token");
                let id = data_encoding::HEXLOWER.decode(id.as_bytes()).expect("hex");
                Party { id, token: token.to_owned() }
            };
            text.lines().map(party).collect()
        });
        Self {
            proto,
            to: args.get("--to").expect("--to").parse().unwrap(),
            tls: tokio_rustls::TlsConnector::from(Arc::new(client_tls(alpn(proto)))),
            quic,
            seed: now_ns(),
            parties,
        }
    }

    /// The same clients with sockets of the runtime that this is called in.
    pub fn apart(&self, clients: u64) -> Self {
        Self {
            proto: self.proto,
            to: self.to,
            tls: self.tls.clone(),
            quic: endpoints(self.proto, clients),
            seed: self.seed,
            parties: self.parties.clone(),
        }
    }

    fn hash(&self, client: u64) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&client.to_le_bytes());
        hasher.finalize()
    }

    fn key(&self, client: u64) -> SigningKey {
        SigningKey::from_bytes(self.hash(client).as_bytes())
    }

    /// The address of a client in the peer's own form.
    pub fn id(&self, client: u64) -> Vec<u8> {
        match self.proto {
            Proto::WarrenWs | Proto::WarrenQuic => self.parties[client as usize].id.clone(),
            Proto::Iroh => self.key(client).verifying_key().as_bytes().to_vec(),
            Proto::Nats => data_encoding::HEXLOWER.encode(&self.hash(client).as_bytes()[..16]).into_bytes(),
            Proto::Ws | Proto::Quic => self.hash(client).as_bytes()[..16].to_vec(),
        }
    }

    pub async fn connect(&self, client: u64) -> io::Result<Connection> {
        if !self.quic.is_empty() {
            return self.connect_quic(&self.quic[client as usize % self.quic.len()], client).await;
        }
        let socket = tokio::net::TcpSocket::new_v4()?;
        // Spread over source addresses, so that ports in TIME_WAIT are never short.
        socket.bind(SocketAddr::from(([127, 0, 1, 1 + (client % 200) as u8], 0)))?;
        let mut socket = socket.connect(self.to).await?;
        socket.set_nodelay(true)?;
        let mut greeting = Vec::new();
        if self.proto == Proto::Nats {
            read_line(&mut socket, &mut greeting).await?;
        }
        let stream = self.tls.connect("localhost".try_into().unwrap(), socket).await?;
        let iroh_proof = (self.proto == Proto::Iroh).then(|| {
            let key = self.key(client);
            let public = key.verifying_key();
            let label = b"iroh-relay handshake v1";
            let material = stream.get_ref().1.export_keying_material([0u8; 32], label, Some(public.as_bytes()));
            let material = material.unwrap();
            let signature = key.sign(&material[..16]).to_bytes();
            data_encoding::BASE64URL_NOPAD
                .encode(&[&public.as_bytes()[..], &[64], &signature, &material[16..]].concat())
        });
        let (r, w) = tokio::io::split(stream);
        let mut connection = Connection { r: Box::new(r), w: Box::new(w), left: Vec::new(), _keep: None };
        match self.proto {
            Proto::Ws => connection.upgrade(&data_encoding::HEXLOWER.encode(&self.id(client)), "").await?,
            Proto::WarrenWs => {
                let headers = format!(
                    "Authorization: Bearer {}\r\nX-UR-InstanceId: {}\r\nX-UR-AppVersion: peers\r\n",
                    self.parties[client as usize].token,
                    data_encoding::HEXLOWER.encode(&self.hash(client).as_bytes()[..16])
                );
                connection.upgrade("", &headers).await?;
            }
            Proto::Iroh => self.enter_iroh(&mut connection, client, iroh_proof).await?,
            Proto::Nats => self.enter_nats(&mut connection, client, &greeting).await?,
            Proto::Quic | Proto::WarrenQuic => unreachable!("handled above"),
        }
        Ok(connection)
    }

    async fn connect_quic(&self, endpoint: &quinn::Endpoint, client: u64) -> io::Result<Connection> {
        let quic = endpoint.connect(self.to, "localhost").map_err(io::Error::other)?.await?;
        let (mut w, mut r) = quic.open_bi().await?;
        if self.proto == Proto::WarrenQuic {
            // A Frame of type TransferAuth (4) with an Auth: token and instance.
            let (mut auth, mut frame, mut message) = (Vec::new(), vec![0x08, 4], Vec::new());
            bytes_field(1, self.parties[client as usize].token.as_bytes(), &mut auth);
            bytes_field(3, &self.hash(client).as_bytes()[..16], &mut auth);
            bytes_field(2, &auth, &mut frame);
            warren_message(&frame, &mut message);
            w.write_all(&message).await?;
            let mut echo = vec![0; message.len()];
            r.read_exact(&mut echo).await.map_err(io::Error::other)?;
        } else {
            w.write_all(&self.id(client)).await?;
            r.read_exact(&mut [0]).await.map_err(io::Error::other)?;
        }
        Ok(Connection { r: Box::new(r), w: Box::new(w), left: Vec::new(), _keep: Some(Box::new(quic)) })
    }

    async fn enter_iroh(&self, connection: &mut Connection, client: u64, proof: Option<String>) -> io::Result<()> {
        let mut headers = "Sec-WebSocket-Protocol: iroh-relay-v2, iroh-relay-v1\r\n".to_owned();
        if let Some(proof) = proof {
            headers += &format!("x-iroh-relay-client-auth-v1: {proof}\r\n");
        }
        connection.upgrade("relay", &headers).await?;
        let mut message = connection.message().await?;
        if message.first() == Some(&0) {
            let key = self.key(client);
            let challenge = blake3::derive_key("iroh-relay handshake v1 challenge signature", &message[1..17]);
            let signature = key.sign(&challenge).to_bytes();
            let answer = [&[1], &key.verifying_key().as_bytes()[..], &[64], &signature].concat();
            let mut out = Vec::new();
            websocket_message(&answer, &mut out);
            connection.write(&out).await?;
            message = connection.message().await?;
        }
        if message.first() == Some(&2) { Ok(()) } else { Err(io::Error::other(format!("not confirmed: {message:?}"))) }
    }

    async fn enter_nats(&self, connection: &mut Connection, client: u64, greeting: &[u8]) -> io::Result<()> {
        let greeting = String::from_utf8_lossy(greeting).into_owned();
        let nonce = greeting.split_once("\"nonce\":\"").and_then(|(_, rest)| rest.split('"').next());
        let nonce = nonce.ok_or_else(|| io::Error::other("no nonce"))?;
        let key = nats_key();
        let signature = data_encoding::BASE64URL_NOPAD.encode(&key.sign(nonce.as_bytes()).to_bytes());
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"protocol\":1,\"tls_required\":true,\
             \"nkey\":\"{}\",\"sig\":\"{signature}\"}}\r\nSUB {} 1\r\nPING\r\n",
            nats_public(&key),
            String::from_utf8_lossy(&self.id(client))
        );
        connection.write(hello.as_bytes()).await?;
        while !connection.left.windows(6).any(|window| window == b"PONG\r\n") {
            connection.read().await?;
            if connection.left.windows(4).any(|window| window == b"-ERR") {
                return Err(io::Error::other(String::from_utf8_lossy(&connection.left).into_owned()));
            }
        }
        connection.left.clear();
        Ok(())
    }
}

fn alpn(proto: Proto) -> &'static [&'static [u8]] {
    match proto {
        Proto::WarrenWs => &[b"http/1.1"],
        Proto::Quic => &[b"raw"],
        _ => &[],
    }
}

/// UDP sockets for so many clients; none over TCP.
fn endpoints(proto: Proto, clients: u64) -> Vec<quinn::Endpoint> {
    let endpoint = |_| {
        let socket = udp_socket("127.0.0.1:0".parse().unwrap());
        let runtime = Arc::new(quinn::TokioRuntime);
        let mut endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime).unwrap();
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(client_tls(alpn(proto))).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        transport.max_idle_timeout(Some(Duration::from_secs(600).try_into().unwrap()));
        config.transport_config(Arc::new(transport));
        endpoint.set_default_client_config(config);
        endpoint
    };
    let sockets = if proto.is_quic() { clients.max(1).div_ceil(CLIENTS_PER_SOCKET) } else { 0 };
    (0..sockets).map(endpoint).collect()
}

impl Connection {
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.w.write_all(bytes).await?;
        self.w.flush().await
    }

    /// Reads more into `left`.
    async fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let length = self.r.read(&mut bytes).await?;
        self.left.extend_from_slice(&bytes[..length]);
        if length == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Becomes a WebSocket.
    async fn upgrade(&mut self, path: &str, headers: &str) -> io::Result<()> {
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        self.write(request.as_bytes()).await?;
        let end = loop {
            if let Some(at) = self.left.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.read().await?;
        };
        if !self.left.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::other(String::from_utf8_lossy(&self.left).into_owned()));
        }
        self.left.drain(..end);
        Ok(())
    }

    /// The next WebSocket message.
    async fn message(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some((head, length)) = websocket_head(&self.left)
                && self.left.len() >= head + length
            {
                let message = self.left[head..head + length].to_vec();
                self.left.drain(..head + length);
                return Ok(message);
            }
            self.read().await?;
        }
    }
}

async fn read_line(socket: &mut TcpStream, line: &mut Vec<u8>) -> io::Result<()> {
    // Byte by byte: what follows is the TLS handshake.
    while line.last() != Some(&b'\n') {
        line.push(socket.read_u8().await?);
    }
    Ok(())
}
