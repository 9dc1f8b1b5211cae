//! Reading the address of a frame: the peek against the full decoder, at the sizes that travel.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use warren::wire::messages::{Frame, MessageType, Pack, Tag, TransferFrame, TransferPath};
use warren::wire::path::peek_path;

fn frame(message_bytes: usize) -> Bytes {
    let id = |of: u8| Bytes::from(vec![of; 16]);
    let message = Frame {
        message_type: MessageType::IpIpPacketToProvider.into(),
        message_bytes: vec![7; message_bytes].into(),
        raw: true,
    };
    let pack = Pack {
        message_id: id(3),
        sequence_id: id(4),
        sequence_number: 100_000,
        frames: vec![message],
        tag: Some(Tag { send_time: 1_700_000_000_000 }),
        ..Pack::default()
    };
    let frame = TransferFrame {
        transfer_path: Some(TransferPath { destination_id: Some(id(1)), source_id: Some(id(2)), stream_id: None }),
        message_type: Some(MessageType::TransferPack.into()),
        pack: Some(pack),
        ..TransferFrame::default()
    };
    frame.encode_to_vec().into()
}

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("path");
    for message_bytes in [40, 1100, 3000] {
        let frame = frame(message_bytes);
        group.throughput(Throughput::Elements(1));
        group.bench_with_input(BenchmarkId::new("peek", message_bytes), &frame, |bencher, frame| {
            bencher.iter(|| peek_path(black_box(frame)));
        });
        group.bench_with_input(BenchmarkId::new("decode", message_bytes), &frame, |bencher, frame| {
            bencher.iter(|| TransferFrame::decode(black_box(frame.clone())));
        });
    }
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
