//! The frame road allocates nothing once it is warm.
//!
//! A test binary of its own, because its allocator counts what every thread allocates.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests may fail like tests")]
#![allow(unsafe_code, reason = "an allocator that counts can be written in no other way")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

mod road;
mod server;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// Where this thread's allocations are counted together with those of others.
    static SHARED: Cell<Option<&'static AtomicU64>> = const { Cell::new(None) };
}

// SAFETY: hands everything to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        if let Some(shared) = SHARED.get() {
            shared.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

/// Counts what this thread allocates from now on in `shared` too.
fn count_in(shared: &'static AtomicU64) {
    SHARED.set(Some(shared));
}
