//! WebSocket clients of a relay in this process. Without sockets bytes are copied into memory and out of it, which costs
//! what is left of a system call without the kernel. The clients run on the caller's thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::http::Request;
use parking_lot::Mutex;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use warren::config::Config;
use warren::domain::presence::Presence;
use warren::ids::{ClientId, InstanceId, NetworkId};
use warren::relay::ports::{
    AuthFailure, Authenticate, ContractGate, HandleControl, Identity, PortFuture, Proof, Resync, Traffic,
};
use warren::relay::{Relay, RelayParts};
use warren::time::{Clock, Timestamp};
use warren::wire::messages::{Ack, Frame, Pack, TransferFrame, TransferPath};

/// The token of a client is its id.
struct ByName;

impl Authenticate for ByName {
    fn authenticate<'a>(&'a self, proof: &'a Proof) -> PortFuture<'a, Result<Identity, AuthFailure>> {
        let client_id = match proof {
            Proof::Token(token) => token.parse().map_err(|_| AuthFailure::Rejected),
            Proof::Certificate(_) => Err(AuthFailure::Rejected),
        };
        let identity = client_id.map(|client_id| Identity { client_id, network_id: NetworkId::default() });
        Box::pin(std::future::ready(identity))
    }
}

/// Every pair has a contract.
struct OpenGate;

#[derive(Default)]
struct OpenTraffic(std::sync::atomic::AtomicU64);

impl ContractGate for OpenGate {
    fn admit(&self, _: ClientId, _: ClientId, _: Timestamp) -> Option<Arc<dyn Traffic>> {
        Some(Arc::<OpenTraffic>::default())
    }
}

impl Traffic for OpenTraffic {
    fn record(&self, bytes: usize, _: Timestamp) {
        self.0.fetch_add(bytes as u64, std::sync::atomic::Ordering::Relaxed);
    }
    fn is_live(&self, _: Timestamp) -> bool {
        true
    }
    fn last_frame(&self) -> Timestamp {
        Timestamp::ZERO
    }
}

/// There is nothing in any list.
struct NoLists;

impl Resync for NoLists {
    fn resync(&self, _: ClientId) {}
}

/// A relay, and the register of its clients.
pub fn relay(config: Config, control: Arc<dyn HandleControl>) -> (Arc<Relay>, Arc<Presence>) {
    let clock = Clock::system();
    let presence = Presence::new(clock.clone());
    let relay = Relay::new(RelayParts {
        config: Arc::new(config),
        clock,
        authenticator: Arc::new(ByName),
        control,
        gate: Arc::new(OpenGate),
        presence: Arc::clone(&presence),
        peers: Arc::new(NoLists),
        streams: Arc::new(NoLists),
        metrics: warren::relay::metrics(&mut prometheus_client::registry::Registry::default()),
    });
    (relay, presence)
}

/// One connection, as the server and its client see it.
#[derive(Default)]
struct Pipe {
    to_server: Mutex<(BytesMut, Option<Waker>)>,
    to_client: Mutex<BytesMut>,
}

struct ReadHalf(Arc<Pipe>);
struct WriteHalf(Arc<Pipe>);

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (bytes, waker) = &mut *self.0.to_server.lock();
        if bytes.is_empty() {
            *waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let length = bytes.len().min(into.remaining());
        into.put_slice(&bytes[..length]);
        bytes.advance(length);
        if bytes.is_empty() {
            *bytes = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.to_client.lock().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What the bytes pass.
#[derive(Clone, Copy)]
pub enum Over {
    Memory,
    /// TCP on loopback.
    Sockets,
}

/// The client's side of it.
enum Wire {
    Memory(Arc<Pipe>),
    Socket { stream: TcpStream, rest: BytesMut },
}

/// The far end of a connection.
pub struct Client {
    pub id: ClientId,
    wire: Wire,
    /// Packs sent so far.
    sent: u64,
    /// Packs acknowledged so far.
    pub acked: u64,
}

/// What a client has received.
#[derive(Default)]
pub struct Received {
    /// Packs of the control id.
    pub packs: Vec<Pack>,
    /// Acks of the control id.
    pub acks: usize,
    /// Frames of other clients.
    pub relayed: usize,
}

impl Client {
    /// Connects; the client is served on `runtime`, and routable a little later.
    pub fn connect(runtime: &Handle, relay: &Arc<Relay>, id: ClientId, over: Over) -> Self {
        let request = Request::builder()
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("authorization", format!("Bearer {id}"))
            .header("x-ur-instanceid", InstanceId::new([1; 16]).to_string());
        let request = request.body(()).unwrap().into_parts().0;
        let (_, ticket) = relay.websocket_response(&request, [127, 0, 0, 1].into(), None).unwrap();
        let wire = match over {
            Over::Memory => {
                let pipe = Arc::<Pipe>::default();
                runtime.spawn(relay.serve_websocket(ReadHalf(pipe.clone()), WriteHalf(pipe.clone()), &[], ticket));
                Wire::Memory(pipe)
            }
            Over::Sockets => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (far, _) = listener.accept().unwrap();
                for end in [&stream, &far] {
                    end.set_nodelay(true).unwrap();
                    end.set_nonblocking(true).unwrap();
                }
                let _context = runtime.enter();
                let (read, write) = tokio::net::TcpStream::from_std(far).unwrap().into_split();
                runtime.spawn(relay.serve_websocket(read, write, &[], ticket));
                Wire::Socket { stream, rest: BytesMut::new() }
            }
        };
        Self { id, wire, sent: 0, acked: 0 }
    }

    /// Writes messages at once.
    pub fn write(&mut self, messages: &[Vec<u8>]) {
        let mut bytes = Vec::new();
        for message in messages {
            let length = message.len() as u16;
            match length {
                ..=125 => bytes.extend_from_slice(&[0x82, 0x80 | length as u8]),
                _ => bytes.extend_from_slice(&[0x82, 0x80 | 126, (length >> 8) as u8, length as u8]),
            }
            // A mask of zeros leaves the bytes as they are.
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(message);
        }
        match &mut self.wire {
            Wire::Memory(pipe) => {
                let mut to_server = pipe.to_server.lock();
                to_server.0.extend_from_slice(&bytes);
                let waker = to_server.1.take();
                drop(to_server);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            // What a bench writes at once finds room.
            Wire::Socket { stream, .. } => stream.write_all(&bytes).unwrap(),
        }
    }

    /// The bytes that have come, up to the end of the last whole message.
    fn take_bytes(&mut self) -> Bytes {
        match &mut self.wire {
            Wire::Memory(pipe) => std::mem::take(&mut *pipe.to_client.lock()).freeze(),
            Wire::Socket { stream, rest } => {
                let mut part = [0; 4096];
                loop {
                    let read = stream.read(&mut part);
                    if read.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                        break;
                    }
                    let length = read.unwrap();
                    assert!(length > 0, "the server has closed the connection");
                    rest.extend_from_slice(&part[..length]);
                }
                let mut end = 0;
                while let Some(next) = message_end(&rest[end..]) {
                    end += next;
                }
                rest.split_to(end).freeze()
            }
        }
    }

    /// A frame to the control id or another client.
    fn frame(&self, to: Option<ClientId>, frame: TransferFrame) -> Vec<u8> {
        let path = TransferPath {
            source_id: Some(self.id.into()),
            destination_id: to.map(Bytes::from),
            ..TransferPath::default()
        };
        TransferFrame { transfer_path: Some(path), ..frame }.encode_to_vec()
    }

    /// The next pack to the control id.
    pub fn pack(&mut self, message: Frame) -> Vec<u8> {
        self.sent += 1;
        let pack = Pack {
            message_id: self.sent.to_be_bytes().repeat(2).into(),
            sequence_id: Bytes::from_static(&[0xb0; 16]),
            sequence_number: self.sent - 1,
            head: self.sent == self.acked + 1,
            frames: vec![message],
            tag: Some(warren::wire::messages::Tag { send_time: 1_700_000_000_001 }),
            ..Pack::default()
        };
        self.frame(None, TransferFrame { pack: Some(pack), ..TransferFrame::default() })
    }

    /// Acks a pack of the control id and all before it.
    pub fn ack(&self, pack: &Pack) -> Vec<u8> {
        let ack = Ack {
            message_id: pack.message_id.clone(),
            sequence_id: pack.sequence_id.clone(),
            tag: pack.tag,
            ..Ack::default()
        };
        self.frame(None, TransferFrame { ack: Some(ack), ..TransferFrame::default() })
    }

    /// A frame of `bytes` bytes to another client.
    pub fn relayed(&self, to: ClientId, bytes: usize) -> Vec<u8> {
        let sealed = |length| Some(Bytes::from(vec![7; length]));
        let empty = TransferFrame { encrypted_transfer_frame: sealed(64), ..TransferFrame::default() };
        let around = self.frame(Some(to), empty).len() - 64;
        let frame = TransferFrame {
            encrypted_transfer_frame: sealed(bytes.saturating_sub(around)),
            ..TransferFrame::default()
        };
        self.frame(Some(to), frame)
    }

    /// Everything that has come.
    pub fn receive(&mut self) -> Received {
        let mut bytes = self.take_bytes();
        let mut received = Received::default();
        while !bytes.is_empty() {
            let mut message = bytes.split_to(message_end(&bytes).unwrap());
            message.advance(header_bytes(&message));
            let frame = TransferFrame::decode(message).unwrap();
            received.packs.extend(frame.pack);
            if let Some(ack) = frame.ack {
                received.acks += 1;
                self.acked = self.acked.max(u64::from_be_bytes(*ack.message_id.first_chunk().unwrap()));
            } else if frame.encrypted_transfer_frame.is_some() {
                received.relayed += 1;
            }
        }
        received
    }
}

/// What stands in front of a message of the server.
fn header_bytes(bytes: &[u8]) -> usize {
    if bytes[1] == 126 { 4 } else { 2 }
}

/// Where the first message ends, if all of it is there.
fn message_end(bytes: &[u8]) -> Option<usize> {
    let end = match *bytes {
        [_, 126, high, low, ..] => 4 + usize::from(u16::from_be_bytes([high, low])),
        [_, length, ..] if length != 126 => 2 + usize::from(length),
        _ => return None,
    };
    (bytes.len() >= end).then_some(end)
}

/// User and system time of all threads but the first, which the clients run on.
pub fn server_cpu() -> Duration {
    let first = std::process::id().to_string();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let spent = tasks.filter_map(|task| {
        let task = task.ok()?;
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok().filter(|_| task.file_name() != first.as_str())
    });
    Duration::from_nanos(spent.sum())
}
