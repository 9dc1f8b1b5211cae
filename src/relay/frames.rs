//! Neighbouring messages in one piece of memory: what one read brought for one destination. References are counted,
//! queues are entered and, over QUIC, bytes are copied once for all of them.
//!
//! ```text
//!   read buffer   |head|message|head|..|message|head|message|        head: length of the message, bytes between the two
//!   Walk           \_____ kept __________________/\_current_/
//! ```
//!
//! The head is that of [`framer`]. Over QUIC messages come that way already; over WebSocket their own header is written
//! over with it, and what is left of that lies between head and message.

use bytes::{Buf, Bytes};

use crate::wire::framer::HEADER_BYTES;

/// Messages that travel together, one or more.
#[derive(Clone, Debug)]
pub struct Frames {
    bytes: Bytes,
    layout: Layout,
    count: u32,
    payload_bytes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One message and nothing else.
    Alone,
    /// As on a QUIC stream: head and message in turn.
    Packed,
    /// The same with bytes that mean nothing in between.
    Padded,
}

/// A head: how many bytes lie between it and its message is written where [`framer`](crate::wire::framer) has the hint
/// that nobody reads.
pub fn head(length: u16, padding: u8) -> [u8; HEADER_BYTES] {
    let [high, low] = length.to_be_bytes();
    [high, low, 0, padding]
}

impl Layout {
    /// Where in `rest` the first message begins, and its length.
    #[inline]
    fn first(self, rest: &[u8]) -> Option<(usize, usize)> {
        if self == Layout::Alone {
            return Some((0, rest.len()));
        }
        let &[high, low, _, padding] = rest.first_chunk::<HEADER_BYTES>()?;
        let padding = if self == Layout::Padded { usize::from(padding) } else { 0 };
        Some((HEADER_BYTES + padding, usize::from(u16::from_be_bytes([high, low]))))
    }
}

impl Frames {
    /// A single message.
    pub fn alone(message: Bytes) -> Self {
        let payload_bytes = message.len() as u32;
        Self { bytes: message, layout: Layout::Alone, count: 1, payload_bytes }
    }

    /// `count` messages of `payload_bytes` together, framed as QUIC streams are.
    pub fn packed(bytes: Bytes, count: u32, payload_bytes: u32) -> Self {
        Self { bytes, layout: Layout::Packed, count, payload_bytes }
    }

    /// The same with padding behind the heads.
    pub fn padded(bytes: Bytes, count: u32, payload_bytes: u32) -> Self {
        Self { bytes, layout: Layout::Padded, count, payload_bytes }
    }

    /// How many there are.
    #[inline]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Their bytes together, without what frames them.
    #[inline]
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes as usize
    }

    /// All of them as a QUIC stream carries them, if that is how they lie in memory.
    #[inline]
    pub fn as_packed(&self) -> Option<&Bytes> {
        (self.layout == Layout::Packed).then_some(&self.bytes)
    }

    /// The first message.
    #[inline]
    pub fn first(&self) -> Option<&[u8]> {
        if self.count == 0 {
            return None;
        }
        let (start, length) = self.layout.first(&self.bytes)?;
        self.bytes.get(start..start + length)
    }

    /// Gives up the first message.
    #[inline]
    pub fn skip_first(&mut self) {
        if self.count > 0
            && let Some((start, length)) = self.layout.first(&self.bytes)
        {
            self.bytes.advance((start + length).min(self.bytes.len()));
            self.count -= 1;
            self.payload_bytes -= length as u32;
        }
    }

    /// The messages in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let (layout, mut rest) = (self.layout, &self.bytes[..]);
        (0..self.count).map_while(move |_| {
            let (start, length) = layout.first(rest)?;
            let (taken, after) = rest.split_at_checked(start + length)?;
            rest = after;
            taken.get(start..)
        })
    }

    /// Splits off the messages in front that are at most `count` and `bytes` together; the others stay.
    pub fn split_fitting(&mut self, count: usize, bytes: usize) -> Option<Frames> {
        let mut total = 0;
        let fits = |message: &&[u8]| {
            total += message.len();
            total <= bytes
        };
        let count = self.iter().take(count).take_while(fits).count();
        let mut walk = Walk::new(self.clone());
        for _ in 0..count {
            walk.step();
        }
        walk.step();
        let front = walk.cut();
        *self = walk.rest();
        front
    }

    /// The first message, sharing memory; empty when there is none.
    pub fn into_first(self) -> Bytes {
        let mut walk = Walk::new(self);
        walk.step();
        walk.take()
    }

    /// The same messages in memory of their own.
    pub fn copied(&self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), ..self.clone() }
    }
}

impl PartialEq for Frames {
    /// The same messages, however they lie in memory.
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for Frames {}

/// A look at messages one by one, that cuts them into pieces without touching their bytes. What was looked at is kept for
/// the next piece unless it is taken out.
#[derive(Debug)]
pub struct Walk {
    /// What was kept, the current message, and what was not looked at yet.
    bytes: Bytes,
    layout: Layout,
    kept_bytes: usize,
    kept_count: u32,
    kept_payload_bytes: u32,
    current: Option<Current>,
    unseen_count: u32,
    unseen_payload_bytes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    start: usize,
    length: usize,
}

impl Walk {
    /// Stands before the first message.
    pub fn new(frames: Frames) -> Self {
        Self {
            bytes: frames.bytes,
            layout: frames.layout,
            kept_bytes: 0,
            kept_count: 0,
            kept_payload_bytes: 0,
            current: None,
            unseen_count: frames.count,
            unseen_payload_bytes: frames.payload_bytes,
        }
    }

    /// Keeps the current message and goes to the next; false when there is none.
    #[inline]
    pub fn step(&mut self) -> bool {
        if let Some(Current { start, length }) = self.current.take() {
            self.kept_bytes = start + length;
            self.kept_count += 1;
            self.kept_payload_bytes += length as u32;
        }
        if self.unseen_count == 0 {
            return false;
        }
        let Some((start, length)) = self.bytes.get(self.kept_bytes..).and_then(|rest| self.layout.first(rest)) else {
            return false;
        };
        let start = self.kept_bytes + start;
        if start + length > self.bytes.len() {
            return false;
        }
        self.unseen_count -= 1;
        self.unseen_payload_bytes -= length as u32;
        self.current = Some(Current { start, length });
        true
    }

    /// The current message; empty when there is none.
    #[inline]
    pub fn message(&self) -> &[u8] {
        self.current.and_then(|at| self.bytes.get(at.start..at.start + at.length)).unwrap_or_default()
    }

    /// Messages kept and not yet cut off.
    #[inline]
    pub fn kept_count(&self) -> usize {
        self.kept_count as usize
    }

    /// Cuts off what was kept, without the current message.
    #[inline]
    pub fn cut(&mut self) -> Option<Frames> {
        if self.kept_count == 0 {
            return None;
        }
        let bytes = self.bytes.split_to(self.kept_bytes);
        if let Some(current) = &mut self.current {
            current.start -= self.kept_bytes;
        }
        self.kept_bytes = 0;
        Some(Frames {
            bytes,
            layout: self.layout,
            count: std::mem::take(&mut self.kept_count),
            payload_bytes: std::mem::take(&mut self.kept_payload_bytes),
        })
    }

    /// Takes the current message out; what was kept must have been cut off before.
    pub fn take(&mut self) -> Bytes {
        debug_assert_eq!(self.kept_count, 0, "messages in front of it were not cut off");
        let Some(Current { start, length }) = self.current.take() else { return Bytes::new() };
        let mut message = self.bytes.split_to(start + length);
        message.advance(start);
        message
    }

    /// The current message and those that were not looked at; what was kept must have been cut off before.
    fn rest(self) -> Frames {
        let length = self.current.map(|current| current.length as u32);
        Frames {
            bytes: self.bytes,
            layout: self.layout,
            count: self.unseen_count + u32::from(length.is_some()),
            payload_bytes: self.unseen_payload_bytes + length.unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same messages in each layout that can hold them.
    fn layouts(messages: &[Vec<u8>]) -> Vec<Frames> {
        let payload_bytes = messages.iter().map(Vec::len).sum::<usize>() as u32;
        let framed = |paddings: &[u8]| {
            let paddings = paddings.iter().cycle();
            let framed = messages.iter().zip(paddings).flat_map(|(message, padding)| {
                let head = head(message.len() as u16, *padding);
                [&head[..], &vec![0xee; usize::from(*padding)], message].concat()
            });
            Bytes::from(framed.collect::<Vec<u8>>())
        };
        let count = messages.len() as u32;
        let mut layouts = vec![
            Frames::packed(framed(&[0]), count, payload_bytes),
            Frames::padded(framed(&[2, 4, 10]), count, payload_bytes),
        ];
        if let [message] = messages {
            layouts.push(Frames::alone(message.clone().into()));
        }
        layouts
    }

    fn read(frames: &Frames) -> Vec<Vec<u8>> {
        let messages: Vec<Vec<u8>> = frames.iter().map(<[u8]>::to_vec).collect();
        assert_eq!(messages.len(), frames.count());
        assert_eq!(messages.iter().map(Vec::len).sum::<usize>(), frames.payload_bytes());
        messages
    }

    fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20)
    }

    proptest! {
        #[test]
        fn messages_come_out_of_each_layout_and_one_by_one(messages in messages()) {
            for frames in layouts(&messages) {
                prop_assert_eq!(&read(&frames), &messages);
                prop_assert_eq!(&frames, &frames.copied());
                let mut rest = frames.clone();
                for at in 0..messages.len() {
                    prop_assert_eq!(rest.first(), Some(&messages[at][..]));
                    prop_assert_eq!(&read(&rest), &messages[at..]);
                    rest.skip_first();
                }
                prop_assert_eq!((rest.first(), rest.count(), rest.payload_bytes()), (None, 0, 0));
            }
        }

        /// 0: kept; 1: what was kept is cut off before it; 2: taken out.
        #[test]
        fn a_walk_cuts_anywhere_and_loses_nothing(messages in messages(), steps in prop::collection::vec(0..3u8, 20)) {
            for frames in layouts(&messages) {
                let mut walk = Walk::new(frames);
                let mut pieces: Vec<Vec<u8>> = Vec::new();
                let mut at = 0;
                while walk.step() {
                    prop_assert_eq!(walk.message(), &messages[at][..]);
                    if steps[at] > 0 {
                        pieces.extend(walk.cut().iter().flat_map(read));
                    }
                    if steps[at] == 2 {
                        pieces.push(walk.take().to_vec());
                    }
                    at += 1;
                }
                pieces.extend(walk.cut().iter().flat_map(read));
                prop_assert_eq!(&pieces, &messages);
                prop_assert!(walk.cut().is_none() && !walk.step() && walk.message().is_empty());
            }
        }

        #[test]
        fn what_fits_is_split_off_and_the_rest_stays(messages in messages(), count in 0..25usize, bytes in 0..400usize) {
            for frames in layouts(&messages) {
                let mut rest = frames;
                let front = rest.split_fitting(count, bytes).map_or(Vec::new(), |front| read(&front));
                let size = |messages: &[Vec<u8>]| messages.iter().map(Vec::len).sum::<usize>();
                prop_assert!(front.len() <= count && size(&front) <= bytes);
                let next = front.len() + 1;
                prop_assert!(next > messages.len() || next > count || size(&messages[..next]) > bytes, "more would fit");
                prop_assert_eq!([front, read(&rest)].concat(), messages.clone());
            }
        }

        #[test]
        fn a_count_that_is_wrong_and_damaged_heads_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), count in 1..9u32) {
            let mut frames = Frames::packed(bytes.into(), count, u32::MAX);
            for message in frames.iter() {
                prop_assert!(message.len() < 60);
            }
            let mut walk = Walk::new(frames.clone());
            while walk.step() {}
            let _ = frames.split_fitting(3, 30);
            let _ = frames.first();
            frames.skip_first();
        }
    }

    #[test]
    fn packed_messages_can_be_sent_as_they_are() {
        let message = vec![b"ab".to_vec()];
        let packed: Vec<Option<Vec<u8>>> =
            layouts(&message).iter().map(|frames| frames.as_packed().map(|packed| packed.to_vec())).collect();
        assert_eq!(packed, [Some(vec![0, 2, 0, 0, b'a', b'b']), None, None]);
    }
}
