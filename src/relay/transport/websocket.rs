//! WebSocket, server side (RFC 6455), for the messages of this protocol: unfragmented binary messages of at most
//! [`MAX_FRAME_BYTES`] are unmasked in place and split off the read buffer. No extensions.
//!
//! Our own codec, because the relay spends most of its time here: it reads and writes many messages per system
//! call and copies each once. Rare parts of the RFC (fragments, pings, text) are read, slowly.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::buffer::ReadBuffer;
use super::{FrameReader, FrameWriter, MAX_WRITE_BYTES, Message, pool};
use crate::relay::drop_reason::EndReason;
use crate::relay::frames::{self, Frames};
use crate::wire::framer::HEADER_BYTES;
use crate::wire::{MAX_FRAME_BYTES, MAX_TRANSPORT_CONTROL_BYTES};

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const MAX_CONTROL_FRAME_BYTES: usize = 125;
/// Header of a server's frame at its longest: two bytes and a 16-bit length.
const MAX_HEADER_BYTES: usize = 4;

/// Reads masked messages.
#[derive(Debug)]
pub struct WebSocketReader<R> {
    io: R,
    buffer: ReadBuffer,
    fragments: Option<Fragments>,
}

#[derive(Debug)]
struct Fragments {
    is_text: bool,
    payload: BytesMut,
}

impl<R: AsyncRead + Unpin + Send + 'static> WebSocketReader<R> {
    /// Reads from `io`, of which `ahead` was read together with the upgrade request.
    pub fn new(io: R, ahead: &[u8]) -> Self {
        Self { io, buffer: ReadBuffer::with(ahead), fragments: None }
    }

    fn fragment(&mut self, first: u8, payload: BytesMut) -> Result<Option<Message>, EndReason> {
        let is_last = first & FIN != 0;
        let fragments = match (first & 0x0f, &mut self.fragments) {
            (CONTINUATION, Some(fragments)) => fragments,
            (TEXT | BINARY, none @ None) => {
                none.insert(Fragments { is_text: first & 0x0f == TEXT, payload: BytesMut::new() })
            }
            _ => return Err(EndReason::Protocol),
        };
        if fragments.payload.len() + payload.len() > MAX_FRAME_BYTES {
            return Err(EndReason::Oversize);
        }
        fragments.payload.extend_from_slice(&payload);
        if !is_last {
            return Ok(None);
        }
        let whole = self.fragments.take();
        Ok(whole.map(|whole| match whole.is_text {
            true => Message::Text,
            false => Message::Frames(Frames::alone(whole.payload.freeze())),
        }))
    }
}

impl<R: AsyncRead + Unpin + Send + 'static> FrameReader for WebSocketReader<R> {
    const MAX_CONTROL_BYTES: usize = MAX_TRANSPORT_CONTROL_BYTES;

    #[inline]
    fn next(&mut self, at_most: u32) -> Result<Option<Message>, EndReason> {
        loop {
            if self.fragments.is_none()
                && let Some(frames) = split_binary(&mut self.buffer.bytes, at_most)?
            {
                return Ok(Some(Message::Frames(frames)));
            }
            let Some((first, mut payload)) = split_frame(&mut self.buffer.bytes)? else {
                return Ok(None);
            };
            match first & 0x0f {
                CONTINUATION | TEXT | BINARY => {
                    if let Some(message) = self.fragment(first, std::mem::take(&mut payload))? {
                        return Ok(Some(message));
                    }
                }
                PING => return Ok(Some(Message::Ping(payload.freeze()))),
                PONG => {}
                CLOSE => return Err(EndReason::PeerClosed),
                _ => return Err(EndReason::Protocol),
            }
        }
    }

    async fn fill(&mut self) -> Result<(), EndReason> {
        self.buffer.fill(&mut self.io).await
    }

    fn shrink(&mut self) {
        self.buffer.shrink();
    }
}

/// What stands in front of a client's payload.
struct Header {
    first: u8,
    mask: [u8; 4],
    /// Its own bytes, the mask among them.
    bytes: usize,
    payload_bytes: usize,
}

/// The header of the frame at the front of `buffer`, when the whole frame is there.
#[inline]
fn header(buffer: &[u8]) -> Result<Option<Header>, EndReason> {
    let &[first, second, ..] = buffer else {
        return Ok(None);
    };
    let is_control = first & 0x08 != 0;
    // Clients mask, extensions were not agreed on, and control frames are neither fragmented nor long.
    if second & MASKED == 0 || first & RESERVED != 0 || (is_control && first & FIN == 0) {
        return Err(EndReason::Protocol);
    }
    let (payload_bytes, length_end) = match second & !MASKED {
        126 => match buffer[2..].first_chunk() {
            Some(length) => (usize::from(u16::from_be_bytes(*length)), 4),
            None => return Ok(None),
        },
        127 => match buffer[2..].first_chunk() {
            Some(length) => (usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX), 10),
            None => return Ok(None),
        },
        short => (usize::from(short), 2),
    };
    if is_control && payload_bytes > MAX_CONTROL_FRAME_BYTES {
        return Err(EndReason::Protocol);
    }
    if payload_bytes > MAX_FRAME_BYTES {
        return Err(EndReason::Oversize);
    }
    let Some(&mask) = buffer[length_end..].first_chunk::<4>() else {
        return Ok(None);
    };
    let bytes = length_end + mask.len();
    Ok((buffer.len() >= bytes + payload_bytes).then_some(Header { first, mask, bytes, payload_bytes }))
}

/// Splits the whole binary messages in front, `at_most` so many, off `buffer`, unmasked in place. What breaks the
/// protocol is an error once it stands in front.
#[inline]
fn split_binary(buffer: &mut BytesMut, at_most: u32) -> Result<Option<Frames>, EndReason> {
    let (mut end, mut count, mut payload_bytes) = (0, 0, 0);
    while count < at_most {
        let header = match header(&buffer[end..]) {
            Ok(Some(header)) if header.first == FIN | BINARY => header,
            Err(reason) if count == 0 => return Err(reason),
            _ => break,
        };
        let frame = &mut buffer[end..end + header.bytes + header.payload_bytes];
        let (head, payload) = frame.split_at_mut(header.bytes);
        unmask(payload, header.mask);
        // In place of the header, which is never shorter, and never longer than 14 bytes.
        let padding = header.bytes - HEADER_BYTES;
        head[..HEADER_BYTES].copy_from_slice(&frames::head(header.payload_bytes as u16, padding as u8));
        end += header.bytes + header.payload_bytes;
        count += 1;
        payload_bytes += header.payload_bytes as u32;
    }
    if count == 0 {
        return Ok(None);
    }
    Ok(Some(Frames::padded(buffer.split_to(end).freeze(), count, payload_bytes)))
}

/// Splits the next complete frame off `buffer`: its first byte, and its payload unmasked in place.
fn split_frame(buffer: &mut BytesMut) -> Result<Option<(u8, BytesMut)>, EndReason> {
    let Some(header) = header(buffer)? else {
        return Ok(None);
    };
    buffer.advance(header.bytes);
    let mut payload = buffer.split_to(header.payload_bytes);
    unmask(&mut payload, header.mask);
    Ok(Some((header.first, payload)))
}

#[inline]
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// Writes unmasked messages.
#[derive(Debug)]
pub struct WebSocketWriter<W> {
    io: W,
    /// One of the [`pool`] while something is written, else none; before the first write what goes in front of it.
    buffer: Vec<u8>,
}

impl<W: AsyncWrite + Unpin + Send + 'static> WebSocketWriter<W> {
    /// Writes to `io`, which stands right behind the upgrade response, but for the part of it that is `owed`.
    pub fn new(io: W, owed: Vec<u8>) -> Self {
        Self { io, buffer: owed }
    }

    async fn send(&mut self) -> Result<(), EndReason> {
        let written = async {
            self.io.write_all(&self.buffer).await?;
            self.io.flush().await
        };
        let result = written.await;
        pool::give_empty(std::mem::take(&mut self.buffer));
        result.map_err(|_: std::io::Error| EndReason::PeerClosed)
    }

    fn begin(&mut self) {
        let owed = std::mem::replace(&mut self.buffer, pool::take_empty());
        self.buffer.extend_from_slice(&owed);
    }
}

/// Appends one frame of `kind`.
#[inline]
fn encode(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    // Nothing longer than MAX_FRAME_BYTES is ever queued, so 16 bits hold every length.
    match u16::try_from(payload.len()) {
        Ok(length) if length > 125 => {
            let [high, low] = length.to_be_bytes();
            out.put_slice(&[FIN | kind, 126, high, low]);
        }
        Ok(length) => out.put_slice(&[FIN | kind, length as u8]),
        Err(_) => return,
    }
    out.put_slice(payload);
}

impl<W: AsyncWrite + Unpin + Send + 'static> FrameWriter for WebSocketWriter<W> {
    async fn write(&mut self, batch: &mut VecDeque<Frames>) -> Result<(), EndReason> {
        self.begin();
        'full: while let Some(frames) = batch.front_mut() {
            while let Some(message) = frames.first() {
                let room = MAX_WRITE_BYTES.saturating_sub(self.buffer.len() + MAX_HEADER_BYTES);
                if message.len() > room && !self.buffer.is_empty() {
                    break 'full;
                }
                encode(BINARY, message, &mut self.buffer);
                frames.skip_first();
            }
            batch.pop_front();
        }
        self.send().await
    }

    fn owes(&self) -> bool {
        !self.buffer.is_empty()
    }

    async fn write_pong(&mut self, payload: Bytes) -> Result<(), EndReason> {
        self.begin();
        encode(PONG, &payload, &mut self.buffer);
        self.send().await
    }

    async fn close(&mut self, reason: EndReason) {
        let code: u16 = match reason {
            EndReason::Drained => 1001,
            EndReason::Protocol => 1002,
            EndReason::Oversize => 1009,
            _ => 1000,
        };
        self.begin();
        encode(CLOSE, &code.to_be_bytes(), &mut self.buffer);
        // The peer may be gone already; there is nobody left to tell.
        let _ = self.send().await;
        let _ = self.io.shutdown().await;
    }
}

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
