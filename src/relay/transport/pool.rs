//! Buffers of the worker threads. A connection takes one when it has something to read or write and gives it back when
//! that is done, so idle connections hold none, and busy ones take turns with memory that is in the cache.

use std::cell::RefCell;

use bytes::BytesMut;

/// Size of a buffer: what one turn of a busy connection reads or writes.
pub const BUFFER_BYTES: usize = 64 * 1024;
/// Shared buffers that a thread keeps, most of them lent to messages on their way.
const SHARED_KEPT: usize = 64;
/// Shared buffers looked at for one that is free again, those used last first.
const SHARED_LOOKS: usize = 8;
/// Other buffers that a thread keeps of each kind; each is in use only while a socket is read or written.
const PLAIN_KEPT: usize = 16;

thread_local! {
    static SHARED: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static FULL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static EMPTY: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for `room` bytes, to split messages off.
pub fn take_shared(room: usize) -> BytesMut {
    let pooled = SHARED.with_borrow_mut(|pool| {
        // The whole of it when its messages are gone, else what is left behind them.
        let is_usable = |buffer: &mut BytesMut| buffer.try_reclaim(BUFFER_BYTES) || buffer.capacity() >= room;
        let found = pool.iter_mut().rev().take(SHARED_LOOKS).position(is_usable)?;
        Some(pool.remove(pool.len() - 1 - found))
    });
    pooled.unwrap_or_else(|| BytesMut::with_capacity(BUFFER_BYTES))
}

/// Gives back what messages were split off. One that the pool does not keep lives as long as the messages.
pub fn give_shared(mut buffer: BytesMut) {
    buffer.clear();
    SHARED.with_borrow_mut(|pool| {
        if pool.len() == SHARED_KEPT {
            // Used longest ago: kept by a client that reads slowly.
            pool.remove(0);
        }
        pool.push(buffer);
    });
}

/// An empty buffer to gather what is written.
pub fn take_empty() -> Vec<u8> {
    EMPTY.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
}

/// Gives one back.
pub fn give_empty(mut buffer: Vec<u8>) {
    buffer.clear();
    EMPTY.with_borrow_mut(|pool| keep(pool, buffer));
}

/// A buffer of [`BUFFER_BYTES`] with something in it, to read into. A kind of its own: filling it again each time would
/// cost more than the read.
pub fn take_full() -> Vec<u8> {
    FULL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; BUFFER_BYTES])
}

/// Gives one back.
pub fn give_full(buffer: Vec<u8>) {
    if buffer.len() == BUFFER_BYTES {
        FULL.with_borrow_mut(|pool| keep(pool, buffer));
    }
}

fn keep(pool: &mut Vec<Vec<u8>>, buffer: Vec<u8>) {
    if pool.len() < PLAIN_KEPT {
        pool.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a buffer's memory begins.
    fn address(buffer: &BytesMut) -> usize {
        buffer.as_ptr() as usize
    }

    fn used(buffer: &mut BytesMut, length: usize) -> bytes::Bytes {
        buffer.resize(length, 7);
        buffer.split_to(length).freeze()
    }

    #[test]
    fn a_buffer_is_used_whole_once_its_messages_are_gone() {
        let mut buffer = take_shared(1000);
        let start = address(&buffer);
        drop(used(&mut buffer, 60_000));
        give_shared(buffer);
        let again = take_shared(1000);
        assert_eq!((address(&again), again.capacity()), (start, BUFFER_BYTES));
    }

    #[test]
    fn while_messages_live_the_next_reads_go_behind_them_and_then_elsewhere() {
        let mut buffer = take_shared(1000);
        let start = address(&buffer);
        let first = used(&mut buffer, 40_000);
        give_shared(buffer);
        let mut behind = take_shared(20_000);
        assert_eq!(address(&behind), start + 40_000);
        let second = used(&mut behind, 20_000);
        give_shared(behind);
        let elsewhere = take_shared(20_000);
        assert!(!(start..start + BUFFER_BYTES).contains(&address(&elsewhere)));
        assert!(first.iter().chain(&second).all(|byte| *byte == 7));
    }

    #[test]
    fn a_thread_keeps_few_buffers() {
        let taken: Vec<_> = (0..2 * SHARED_KEPT).map(|_| take_shared(BUFFER_BYTES)).collect();
        taken.into_iter().for_each(give_shared);
        assert_eq!(SHARED.with_borrow(Vec::len), SHARED_KEPT);
        let taken: Vec<_> = (0..2 * PLAIN_KEPT).map(|_| (take_empty(), take_full())).collect();
        for (empty, full) in taken {
            give_empty(empty);
            give_full(full);
        }
        assert_eq!((EMPTY.with_borrow(Vec::len), FULL.with_borrow(Vec::len)), (PLAIN_KEPT, PLAIN_KEPT));
    }
}
