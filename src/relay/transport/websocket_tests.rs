use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use tokio::io::AsyncReadExt;
use tokio_websockets::{ClientBuilder, Message as PeerMessage};

use super::*;

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut frame = match payload.len() {
        length @ 0..=125 => vec![first, MASKED | length as u8],
        length => vec![first, MASKED | 126, (length >> 8) as u8, length as u8],
    };
    frame.extend(mask);
    let at = frame.len();
    frame.extend(payload);
    unmask(&mut frame[at..], mask);
    frame
}

fn alone(message: impl Into<Bytes>) -> Message {
    Message::Frames(Frames::alone(message.into()))
}

/// Everything the reader makes of `bytes`, and how it ends.
async fn read(bytes: Vec<u8>) -> (Vec<Message>, EndReason) {
    let mut reader = WebSocketReader::new(std::io::Cursor::new(bytes), &[]);
    let mut messages = Vec::new();
    loop {
        match reader.next(u32::MAX) {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => {
                if let Err(reason) = reader.fill().await {
                    return (messages, reason);
                }
            }
            Err(reason) => return (messages, reason),
        }
    }
}

#[tokio::test]
async fn fragments_become_one_message_with_control_frames_between() {
    let parts = [
        masked(BINARY, b"first "),
        masked(FIN | PING, b"are you there"),
        masked(FIN | PONG, b""),
        masked(FIN | CONTINUATION, b"second"),
        masked(TEXT, b"te"),
        masked(FIN | CONTINUATION, b"xt"),
        masked(FIN | TEXT, b""),
    ];
    let (messages, end) = read(parts.concat()).await;
    let data = alone("first second");
    let ping = Message::Ping(Bytes::from_static(b"are you there"));
    assert_eq!(messages, [ping, data, Message::Text, Message::Text]);
    assert_eq!(end, EndReason::PeerClosed);
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_connection() {
    let unmasked = vec![FIN | BINARY, 0];
    let mut huge = vec![FIN | BINARY, MASKED | 127];
    huge.extend(u64::MAX.to_be_bytes());
    let halves = [masked(BINARY, &[0; 4096]), masked(FIN | CONTINUATION, &[0])].concat();
    let table = [
        (unmasked, EndReason::Protocol),
        (masked(FIN | 0x40 | BINARY, b""), EndReason::Protocol),
        (masked(FIN | 0x3, b""), EndReason::Protocol),
        (masked(PING, b""), EndReason::Protocol),
        (masked(FIN | PING, &[0; 126]), EndReason::Protocol),
        (masked(FIN | CONTINUATION, b""), EndReason::Protocol),
        ([masked(BINARY, b""), masked(FIN | BINARY, b"")].concat(), EndReason::Protocol),
        (masked(FIN | BINARY, &[0; 4097]), EndReason::Oversize),
        (huge, EndReason::Oversize),
        (halves, EndReason::Oversize),
        (masked(FIN | CLOSE, &[3, 232]), EndReason::PeerClosed),
    ];
    for (bytes, expected) in table {
        assert_eq!(read(bytes.clone()).await, (vec![], expected), "{bytes:02x?}");
    }
}

#[tokio::test]
async fn a_client_of_another_make_understands_and_is_understood() {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (read_half, write_half) = tokio::io::split(server);
    let mut reader = WebSocketReader::new(read_half, &[]);
    let mut writer = WebSocketWriter::new(write_half, Vec::new());
    let mut client = ClientBuilder::new().take_over(client);

    let lengths = [0usize, 1, 16, 125, 126, 1400, 4096];
    for length in lengths {
        client.send(PeerMessage::binary(vec![length as u8; length])).await.unwrap();
    }
    for length in lengths {
        let message = loop {
            match reader.next(1).unwrap() {
                Some(message) => break message,
                None => reader.fill().await.unwrap(),
            }
        };
        assert_eq!(message, alone(vec![length as u8; length]));
    }
    let mut batch: VecDeque<Frames> = lengths.iter().map(|length| Frames::alone(vec![9; *length].into())).collect();
    writer.write(&mut batch).await.unwrap();
    assert!(batch.is_empty());
    for length in lengths {
        let message = client.next().await.unwrap().unwrap();
        assert!(message.is_binary());
        assert_eq!(message.as_payload().len(), length);
    }
    writer.close(EndReason::Oversize).await;
    let close = client.next().await.unwrap().unwrap();
    assert_eq!(close.as_close().map(|(code, _)| u16::from(code)), Some(1009));
}

#[tokio::test]
async fn one_write_carries_at_most_its_share_of_a_batch() {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let mut writer = WebSocketWriter::new(server, Vec::new());
    // Ten of their own, and ten together, of which five are left.
    let mut stream: BytesMut = masked(FIN | BINARY, &[1; 4096]).repeat(10)[..].into();
    let together = split_binary(&mut stream, u32::MAX).unwrap().unwrap();
    let mut batch: VecDeque<Frames> = (0..10).map(|_| Frames::alone(vec![1; 4096].into())).collect();
    batch.push_back(together);
    writer.write(&mut batch).await.unwrap();
    let left: Vec<usize> = batch.iter().map(Frames::count).collect();
    assert_eq!(left, [5], "15 messages of 4100 bytes fit into 64 KiB");
    let mut written = vec![0; 15 * 4100];
    client.read_exact(&mut written).await.unwrap();
    assert!(written.chunks(4100).all(|message| message[..5] == [FIN | BINARY, 126, 0x10, 0, 1]));
}

#[test]
fn binary_messages_are_split_off_together_up_to_what_is_none() {
    let parts = [
        masked(FIN | BINARY, b"short"),
        masked(FIN | BINARY, b""),
        masked(FIN | BINARY, &[7; 300]),
        masked(FIN | PING, b"ping"),
        masked(FIN | BINARY, b"behind"),
    ];
    let mut buffer = BytesMut::from(&parts.concat()[..]);
    let first = split_binary(&mut buffer, 1).unwrap().unwrap();
    assert!(first.iter().eq([&b"short"[..]]));
    let more = split_binary(&mut buffer, u32::MAX).unwrap().unwrap();
    assert!(more.iter().eq([&b""[..], &[7; 300]]));
    assert_eq!(split_binary(&mut buffer, u32::MAX), Ok(None), "a ping is in front");
    assert_eq!(split_frame(&mut buffer).unwrap().unwrap().0, FIN | PING);
    buffer.extend_from_slice(&[FIN | BINARY, 0]);
    let last = split_binary(&mut buffer, u32::MAX).unwrap().unwrap();
    assert!(last.iter().eq([&b"behind"[..]]), "what came before an offence");
    assert_eq!(split_binary(&mut buffer, u32::MAX), Err(EndReason::Protocol));
}

proptest! {
    #[test]
    fn messages_cut_anywhere_come_out_whole(
        lengths in prop::collection::vec(0usize..600, 1..20),
        cuts in prop::collection::vec(1usize..200, 1..50),
    ) {
        let sent: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(at, length)| vec![at as u8; *length]).collect();
        let stream: Vec<u8> = sent.iter().flat_map(|payload| masked(FIN | BINARY, payload)).collect();
        let mut buffer = BytesMut::new();
        let (mut got, mut rest, mut cuts) = (Vec::new(), &stream[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            buffer.extend_from_slice(piece);
            rest = after;
            while let Some(frames) = split_binary(&mut buffer, u32::MAX).unwrap() {
                got.extend(frames.iter().map(<[u8]>::to_vec));
            }
        }
        prop_assert_eq!(got, sent);
    }

    #[test]
    fn damaged_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(bytes));
    }
}
