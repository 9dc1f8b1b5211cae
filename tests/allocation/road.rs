//! The frame road on one thread, without sockets and TLS: read, peek, route, deliver, write.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};
use warren::ids::{ClientId, InstanceId, NetworkId};
use warren::relay::admission::Flows;
use warren::relay::frames::{Frames, Walk};
use warren::relay::outbox::{Bounds, Outbox};
use warren::relay::ports::Identity;
use warren::relay::registry::Registry;
use warren::relay::road::Road;
use warren::relay::transport::quic::QuicReader;
use warren::relay::transport::websocket::{WebSocketReader, WebSocketWriter};
use warren::relay::transport::{FrameReader, FrameWriter, Message};
use warren::time::Timestamp;
use warren::wire::framer;

use crate::allocations;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const RECEIVERS: u8 = 8;
const FRAME_BYTES: usize = 1400;
const RUN: usize = 4;

fn id(client: u8) -> ClientId {
    ClientId::new([client; 16])
}

/// A frame from client 0xaa to `destination`.
fn frame(destination: u8) -> Vec<u8> {
    let mut frame = [&[0x0a, 36, 0x0a, 16][..], &[destination; 16], &[0x12, 16], &[0xaa; 16]].concat();
    let payload = FRAME_BYTES - frame.len() - 3;
    frame.extend([0x32, (payload & 0x7f) as u8 | 0x80, (payload >> 7) as u8]);
    frame.resize(FRAME_BYTES, 7);
    frame
}

/// A masked WebSocket message; the mask is zero, so that the bytes stay readable.
fn masked(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&[0x82, 0x80 | 126, length[0], length[1], 0, 0, 0, 0][..], payload].concat()
}

/// The same bytes again and again.
struct Endless {
    bytes: Vec<u8>,
    at: usize,
}

impl AsyncRead for Endless {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        while target.remaining() > 0 {
            let rest = &self.bytes[self.at..];
            let length = rest.len().min(target.remaining());
            target.put_slice(&rest[..length]);
            self.at = (self.at + length) % self.bytes.len();
        }
        Poll::Ready(Ok(()))
    }
}

fn now_or_never<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here should have to wait"),
    }
}

#[test]
fn a_warm_road_allocates_nothing_from_read_to_write() {
    let registry = Arc::new(Registry::default());
    let join = |client: u8| {
        let outbox = Arc::new(Outbox::new(Bounds { frames: 1024, bytes: 4 << 20 }));
        let identity = Identity { client_id: id(client), network_id: NetworkId::default() };
        (registry.join(identity, InstanceId::default(), &outbox, 16).resident, outbox)
    };
    let (source, _) = join(0xaa);
    let receivers: Vec<_> = (1..=RECEIVERS).map(join).collect();
    let flows = Flows::new(Arc::clone(&source), Arc::clone(&registry), None, 8192);
    let mut road = Road::new(source, flows);
    let metrics = warren::relay::metrics(&mut prometheus_client::registry::Registry::default());

    let bytes: Vec<u8> = (1..=RECEIVERS).flat_map(|receiver| masked(&frame(receiver)).repeat(RUN)).collect();
    let mut reader = WebSocketReader::new(Endless { bytes, at: 0 }, &[]);
    let mut writers: Vec<_> = receivers
        .iter()
        .map(|_| (WebSocketWriter::new(tokio::io::sink(), Vec::new()), VecDeque::<Frames>::new()))
        .collect();
    let mut frames = 0u64;
    let mut turn = || {
        now_or_never(reader.fill()).expect("an endless stream");
        while let Some(message) = reader.next(u32::MAX).expect("good messages") {
            let Message::Frames(read) = message else { panic!("binary messages only") };
            let mut walk = Walk::new(read);
            while walk.step() {
                frames += 1;
                road.take(&mut walk, NOW).expect("honest frames");
            }
            road.gather(&mut walk);
        }
        road.finish(NOW, &metrics);
        for ((_, outbox), (writer, batch)) in receivers.iter().zip(&mut writers) {
            let mut context = Context::from_waker(Waker::noop());
            while outbox.poll_take(&mut context, batch).is_ready() {
                while !batch.is_empty() {
                    now_or_never(writer.write(batch)).expect("room to write");
                }
            }
        }
    };
    // Buffers, queues and the flow table grow to the size they need.
    for _ in 0..100 {
        turn();
    }
    let counted = allocations(|| (0..200).for_each(|_| turn()));
    assert_eq!(counted, 0, "allocations while {frames} frames passed");
    assert!(frames > 5_000);
    assert_eq!(metrics.frames_relayed.get(), frames);
}

#[test]
fn a_warm_reader_of_quic_allocates_nothing_of_its_own() {
    let message = frame(1);
    let mut bytes = bytes::BytesMut::new();
    (0..RUN).for_each(|_| framer::encode(&message, &mut bytes));
    let mut reader = QuicReader::new(Endless { bytes: bytes.to_vec(), at: 0 }, None);
    let mut frames = 0u64;
    let mut turn = || {
        now_or_never(reader.fill()).expect("an endless stream");
        while let Some(message) = reader.next(u32::MAX).expect("good messages") {
            let Message::Frames(read) = message else { panic!("binary messages only") };
            assert!(read.iter().all(|frame| frame.len() == FRAME_BYTES));
            frames += read.count() as u64;
        }
    };
    (0..100).for_each(|_| turn());
    let counted = allocations(|| (0..200).for_each(|_| turn()));
    assert_eq!(counted, 0, "allocations while {frames} frames were read");
    assert!(frames > 5_000);
}
