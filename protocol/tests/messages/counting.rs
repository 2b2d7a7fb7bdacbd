//! An allocator that counts what a thread asks for, to see what a decoder reserves.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static REQUESTED: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    REQUESTED.with(|requested| requested.set(requested.get() + bytes));
}

// SAFETY: every call goes to the system's allocator as it came; the counter is a cell without a destructor, so touching it
// neither allocates nor outlives the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What the call answers, and the bytes that this thread asked the allocator for meanwhile.
pub(crate) fn requested<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = REQUESTED.get();
    let answer = call();
    (answer, REQUESTED.get() - before)
}
