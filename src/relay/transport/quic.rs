//! Raw QUIC: one bidirectional stream opened by the client, messages behind the 4-byte header of
//! [`crate::wire::framer`]. Datagrams are declined, which clients take as "stream only".

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::server::ResolvesServerCert;
use tokio::io::AsyncRead;

use super::buffer::ReadBuffer;
use super::{FrameReader, FrameWriter, MAX_WRITE_BYTES, Message};
use crate::relay::drop_reason::EndReason;
use crate::wire::framer;

/// Clients use 20 s; the smaller of the two counts.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Keeps address translators open; the keepalive messages of the stream usually come first.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Bytes a client may have on its way to us, and we to it: bounds the memory of one connection.
const WINDOW_BYTES: u32 = 1 << 20;

/// The settings of the QUIC listener, over the certificates of the TCP listener: TLS 1.3, no ALPN (clients offer
/// none, and rustls refuses a server that asks for one), no early data (a refused one fails the client's attempt).
pub fn server_config(certificates: Arc<dyn ResolvesServerCert>) -> Result<quinn::ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    tls.alpn_protocols = Vec::new();
    tls.max_early_data_size = 0;
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls)
        .map_err(|_| rustls::Error::General("no cipher suite for QUIC".to_owned()))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport_config()));
    Ok(config)
}

fn transport_config() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(VarInt::from_u32(WINDOW_BYTES))
        .receive_window(VarInt::from_u32(WINDOW_BYTES))
        .send_window(u64::from(WINDOW_BYTES))
        .send_fairness(false)
        .datagram_receive_buffer_size(None);
    transport
}

/// Reads framed messages.
#[derive(Debug)]
pub struct QuicReader<R> {
    io: R,
    buffer: ReadBuffer,
}

impl<R: AsyncRead + Unpin + Send + 'static> QuicReader<R> {
    /// Reads from the client's stream.
    pub fn new(io: R) -> Self {
        Self { io, buffer: ReadBuffer::default() }
    }
}

impl<R: AsyncRead + Unpin + Send + 'static> FrameReader for QuicReader<R> {
    // Only an empty message is not a frame here.
    const MAX_CONTROL_BYTES: usize = 0;

    #[inline]
    fn next(&mut self) -> Result<Option<Message>, EndReason> {
        match framer::decode(&mut self.buffer.bytes) {
            Ok(message) => Ok(message.map(Message::Data)),
            Err(framer::TooLarge(_)) => Err(EndReason::Oversize),
        }
    }

    async fn fill(&mut self) -> Result<(), EndReason> {
        self.buffer.fill(&mut self.io).await
    }

    fn shrink(&mut self) {
        self.buffer.shrink();
    }
}

/// Writes framed messages.
#[derive(Debug)]
pub struct QuicWriter {
    stream: quinn::SendStream,
    connection: quinn::Connection,
}

impl QuicWriter {
    /// Writes to the client's stream.
    pub fn new(stream: quinn::SendStream, connection: quinn::Connection) -> Self {
        Self { stream, connection }
    }
}

/// Frames messages off the front of `batch`, up to [`MAX_WRITE_BYTES`]. One piece of memory per write: quinn keeps
/// it until acknowledged and searches its pieces one by one when it fills a packet.
fn encode_batch(batch: &mut VecDeque<Bytes>) -> Bytes {
    let bytes: usize = batch.iter().map(|message| framer::HEADER_BYTES + message.len()).sum();
    let mut out = BytesMut::with_capacity(bytes.min(MAX_WRITE_BYTES));
    while let Some(message) = batch.front() {
        if !out.is_empty() && out.len() + framer::HEADER_BYTES + message.len() > MAX_WRITE_BYTES {
            break;
        }
        framer::encode(message, &mut out);
        batch.pop_front();
    }
    out.freeze()
}

impl FrameWriter for QuicWriter {
    async fn write(&mut self, batch: &mut VecDeque<Bytes>) -> Result<(), EndReason> {
        self.stream.write_chunk(encode_batch(batch)).await.map_err(|_| EndReason::PeerClosed)
    }

    async fn write_pong(&mut self, _payload: Bytes) -> Result<(), EndReason> {
        Ok(())
    }

    /// Sends CONNECTION_CLOSE with code 0, the only one clients know.
    async fn close(&mut self, _reason: EndReason) {
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_framed_as_one_piece_of_bounded_size() {
        let mut batch: VecDeque<Bytes> = [Bytes::new(), Bytes::from_static(b"ab")].into();
        assert_eq!(&encode_batch(&mut batch)[..], [0, 0, 0, 0, 0, 2, 0, 0, b'a', b'b']);
        let mut batch: VecDeque<Bytes> = (0..20).map(|_| vec![1; 4096].into()).collect();
        assert_eq!(encode_batch(&mut batch).len(), 15 * 4100);
        assert_eq!(batch.len(), 5);
    }

    #[tokio::test]
    async fn messages_are_read_until_one_is_too_large() {
        let mut stream = BytesMut::new();
        framer::encode(b"", &mut stream);
        framer::encode(b"frame", &mut stream);
        stream.extend_from_slice(&[0x10, 0x01, 0, 0]);
        let mut reader = QuicReader::new(std::io::Cursor::new(stream));
        reader.fill().await.unwrap();
        assert_eq!(reader.next(), Ok(Some(Message::Data(Bytes::new()))));
        assert_eq!(reader.next(), Ok(Some(Message::Data(Bytes::from_static(b"frame")))));
        assert_eq!(reader.next(), Err(EndReason::Oversize));
    }
}
