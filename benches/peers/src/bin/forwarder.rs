//! What a relay costs that checks nothing: by id to a queue, over WebSocket or a QUIC stream, on one thread.
//!
//! forwarder ws|quic --addr ADDRESS [--cert FILE --key FILE] [--naive] [--provider ring|aws]
//!
//! It reads up to 128 KiB at once, hands each run of frames for one destination over as one buffer, and writes all that
//! is queued with one vectored write. `--naive` reads 8 KiB, and writes and flushes each frame.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use dashmap::DashMap;
use peers::{Args, Id, server_tls, udp_socket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

static ROUTES: LazyLock<DashMap<Id, mpsc::Sender<Bytes>>> = LazyLock::new(DashMap::new);

const QUEUE: usize = 64;
const MAX_READ: usize = 128 * 1024;

#[derive(Clone, Copy, PartialEq)]
enum Wire {
    /// Four bytes of length, the id, the payload.
    Length,
    /// A binary WebSocket message with the id and the payload.
    WebSocket,
}

fn main() {
    let args = Args::default();
    let address: SocketAddr = args.get("--addr").expect("--addr").parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match args.mode() {
            "ws" => websocket(address, &args).await,
            "quic" => quic(address, &args).await,
            other => panic!("mode {other:?}"),
        }
    });
}

async fn websocket(address: SocketAddr, args: &Args) {
    let naive = args.flag("--naive");
    let tls = args.get("--cert").map(|_| tokio_rustls::TlsAcceptor::from(Arc::new(server_tls(args, &[]))));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(4096).unwrap();
    socket.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(socket.into()).unwrap();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let tls = tls.clone();
        tokio::spawn(async move {
            let _ = socket.set_nodelay(true);
            match tls {
                Some(tls) => {
                    let (r, w) = tokio::io::split(tls.accept(socket).await?);
                    serve(r, w, naive).await
                }
                None => {
                    let (r, w) = socket.into_split();
                    serve(r, w, naive).await
                }
            }
        });
    }
}

/// Reads an upgrade request whose path is the id in hex, registers it, forwards.
async fn serve<R, W>(mut r: R, mut w: W, naive: bool) -> io::Result<()>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let mut buf = BytesMut::with_capacity(512);
    let mut id: Id = [0; 16];
    let end = loop {
        if let Some(at) = buf.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if buf.len() > 4096 || r.read_buf(&mut buf).await? == 0 {
            return Ok(());
        }
    };
    // "GET /<32 hex> HTTP/1.1"
    let hex = buf.get(5..37).ok_or(io::ErrorKind::InvalidData)?;
    data_encoding::HEXLOWER.decode_mut(hex, &mut id).map_err(|_| io::ErrorKind::InvalidData)?;
    buf.advance(end);
    w.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").await?;
    w.flush().await?;
    let (tx, rx) = mpsc::channel(QUEUE);
    ROUTES.insert(id, tx);
    tokio::spawn(async move {
        let _ = writer(w, rx, naive).await;
    });
    let ended = reader(r, buf, id, Wire::WebSocket, naive).await;
    ROUTES.remove(&id);
    ended
}

async fn writer<W: AsyncWrite + Unpin>(mut w: W, mut rx: mpsc::Receiver<Bytes>, naive: bool) -> io::Result<()> {
    let mut batch: Vec<Bytes> = Vec::new();
    loop {
        if rx.recv_many(&mut batch, QUEUE).await == 0 {
            return w.shutdown().await;
        }
        if naive {
            for b in batch.drain(..) {
                w.write_all(&b).await?;
                w.flush().await?;
            }
            continue;
        }
        let mut from = 0;
        while from < batch.len() {
            let n = std::future::poll_fn(|cx| {
                let mut io: [IoSlice; QUEUE] = [IoSlice::new(&[]); QUEUE];
                let mut k = 0;
                for b in &batch[from..] {
                    io[k] = IoSlice::new(b);
                    k += 1;
                }
                Pin::new(&mut w).poll_write_vectored(cx, &io[..k])
            })
            .await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let mut left = n;
            while left > 0 {
                let b = &mut batch[from];
                if left >= b.len() {
                    left -= b.len();
                    from += 1;
                } else {
                    b.advance(left);
                    left = 0;
                }
            }
        }
        batch.clear();
        w.flush().await?;
    }
}

async fn reader<R: AsyncRead + Unpin>(mut r: R, mut buf: BytesMut, src: Id, wire: Wire, naive: bool) -> io::Result<()> {
    let mut want = if naive { 8192 } else { 1024 };
    let mut runs: Vec<(Id, usize, usize)> = Vec::new();
    loop {
        buf.reserve(want);
        let room = (buf.capacity() - buf.len()).min(MAX_READ);
        if r.read_buf(&mut (&mut buf).limit(room)).await? == 0 {
            return Ok(());
        }
        if !naive && buf.len() * 2 > want && want < MAX_READ / 2 {
            want *= 4;
        }
        loop {
            runs.clear();
            let (used, need) = scan(&mut buf, &src, wire, naive, &mut runs)?;
            if used == 0 {
                if need > want {
                    buf.reserve(need - buf.len());
                }
                break;
            }
            let chunk = buf.split_to(used).freeze();
            for (dst, from, to) in runs.drain(..) {
                let tx = match ROUTES.get(&dst) {
                    Some(t) => t.value().clone(),
                    None => continue,
                };
                let _ = tx.send(chunk.slice(from..to)).await;
            }
            if !naive {
                break;
            }
        }
    }
}

/// Rewrites every complete frame in place for delivery (destination id becomes source id) and
/// lists runs of neighbouring frames with one destination. Returns bytes used, and the size of
/// the frame that is not complete yet.
fn scan(
    buf: &mut BytesMut,
    src: &Id,
    wire: Wire,
    one: bool,
    runs: &mut Vec<(Id, usize, usize)>,
) -> io::Result<(usize, usize)> {
    let b = &mut buf[..];
    let mut at = 0; // next unread byte
    let mut out = 0; // next byte to write in the current run
    loop {
        let left = b.len() - at;
        let (head, len) = match wire {
            Wire::Length => {
                if left < 4 {
                    return Ok((at, 0));
                }
                let n = u32::from_be_bytes(b[at..at + 4].try_into().unwrap()) as usize;
                (4, n)
            }
            Wire::WebSocket => {
                if left < 2 {
                    return Ok((at, 0));
                }
                match b[at + 1] & 127 {
                    126 if left >= 4 => (8, u16::from_be_bytes(b[at + 2..at + 4].try_into().unwrap()) as usize),
                    127 if left >= 10 => (14, u64::from_be_bytes(b[at + 2..at + 10].try_into().unwrap()) as usize),
                    126 | 127 => return Ok((at, 0)),
                    n => (6, n as usize),
                }
            }
        };
        if !(16..=1 << 20).contains(&len) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if left < head + len {
            return Ok((at, head + len));
        }
        let body = at + head;
        let mut dst: Id = [0; 16];
        let (start, end);
        match wire {
            Wire::Length => {
                dst.copy_from_slice(&b[body..body + 16]);
                b[body..body + 16].copy_from_slice(src);
                (start, end) = (at, body + len);
            }
            Wire::WebSocket => {
                let mask: [u8; 4] = b[body - 4..body].try_into().unwrap();
                for i in 0..16 {
                    dst[i] = b[body + i] ^ mask[i & 3];
                }
                let fresh = runs.last().is_none_or(|r| one || r.0 != dst);
                if fresh {
                    out = at;
                }
                start = out;
                let h = head - 4;
                b.copy_within(at..at + h, start);
                b[start] = 0x82;
                b[start + 1] &= 0x7f;
                unmask_down(b, body, start + h, len, mask);
                b[start + h..start + h + 16].copy_from_slice(src);
                end = start + h + len;
                out = end;
            }
        }
        match runs.last_mut() {
            Some(r) if !one && r.0 == dst && r.2 == start => r.2 = end,
            _ => runs.push((dst, start, end)),
        }
        at = body + len;
        if one {
            return Ok((at, 0));
        }
    }
}

/// XORs `len` bytes at `from` into `to` (`to + 4 <= from`), 32 bytes a step.
fn unmask_down(b: &mut [u8], from: usize, to: usize, len: usize, mask: [u8; 4]) {
    assert!(to + 4 <= from && from + len <= b.len());
    let m4 = u32::from_ne_bytes(mask) as u64;
    let m = m4 | m4 << 32;
    let p = b.as_mut_ptr();
    let mut i = 0;
    unsafe {
        while i + 32 <= len {
            let mut v: [u64; 4] = p.add(from + i).cast::<[u64; 4]>().read_unaligned();
            for x in &mut v {
                *x ^= m;
            }
            p.add(to + i).cast::<[u64; 4]>().write_unaligned(v);
            i += 32;
        }
    }
    while i < len {
        b[to + i] = b[from + i] ^ mask[i & 3];
        i += 1;
    }
}

async fn quic(address: SocketAddr, args: &Args) {
    let tls = server_tls(args, &[b"raw"]);
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let mut cfg = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let mut t = quinn::TransportConfig::default();
    t.max_idle_timeout(Some(Duration::from_secs(600).try_into().unwrap()));
    t.send_fairness(false);
    cfg.transport_config(Arc::new(t));
    let ep = quinn::Endpoint::new(
        quinn::EndpointConfig::default(),
        Some(cfg),
        udp_socket(address),
        Arc::new(quinn::TokioRuntime),
    )
    .unwrap();
    while let Some(inc) = ep.accept().await {
        tokio::spawn(async move {
            let Ok(conn) = inc.await else { return };
            let Ok((mut w, mut r)) = conn.accept_bi().await else {
                return;
            };
            let mut id: Id = [0; 16];
            if r.read_exact(&mut id).await.is_err() || w.write_all(&[1]).await.is_err() {
                return;
            }
            let (tx, mut rx) = mpsc::channel::<Bytes>(QUEUE);
            ROUTES.insert(id, tx);
            tokio::spawn(async move {
                let mut batch = Vec::new();
                while rx.recv_many(&mut batch, QUEUE).await > 0 {
                    if w.write_all_chunks(&mut batch).await.is_err() {
                        return;
                    }
                    batch.clear();
                }
            });
            let _ = reader(r, BytesMut::new(), id, Wire::Length, false).await;
            ROUTES.remove(&id);
            drop(conn);
        });
    }
}
