//! Block-aligned buffers, pooled: what direct writes leave from and direct reads arrive in.
//!
//! Direct IO wants memory, file positions and lengths in whole blocks. A [`Block`] is a buffer whose first byte lies on
//! a block boundary; it goes back to its pool when the last reader of its bytes lets go. Fresh pages cost more than the
//! write they carry, so buffers are kept while they are used and given back to the system when they were idle for a
//! while ([`Blocks::trim`]). Not here: what lies in a buffer, and who writes it where.
//!
//! Invariant: a buffer is in the pool or in one [`Block`], never in both; the free buffers hold at most
//! [`RETAINED_BYTES_MAX`].

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// The unit of direct IO. Every device that we know takes 4 KiB blocks, and a page is as large.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// Free buffers above this are given back at once: enough for the writes in flight of a busy broker.
const RETAINED_BYTES_MAX: usize = 64 << 20;

/// Sizes are powers of two from one block up to this; larger buffers are made to measure and not kept.
const POOLED_BYTES_MAX: usize = 8 << 20;

const CLASSES: usize = (POOLED_BYTES_MAX / BLOCK_BYTES).ilog2() as usize + 1;

/// Rounds up to whole blocks.
pub(crate) const fn up_to_block(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES as u64)
}

/// Rounds down to whole blocks.
pub(crate) const fn down_to_block(bytes: u64) -> u64 {
    bytes - bytes % BLOCK_BYTES as u64
}

/// Memory of which an aligned part is used: allocated one block larger than asked for.
struct Aligned {
    memory: Vec<u8>,
    offset: usize,
    capacity: usize,
}

impl Aligned {
    fn new(capacity: usize) -> Self {
        let memory = vec![0_u8; capacity + BLOCK_BYTES];
        let address = memory.as_ptr() as usize;
        let offset = address.next_multiple_of(BLOCK_BYTES) - address;
        Self { memory, offset, capacity }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.offset..self.offset + self.capacity]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.offset..self.offset + self.capacity]
    }
}

/// The free buffers of one size, and the fewest that were free since the last trim: those nobody needed.
#[derive(Default)]
struct Class {
    free: Vec<Aligned>,
    unused: usize,
}

#[derive(Default)]
struct Free {
    classes: [Class; CLASSES],
    bytes: usize,
}

/// The pool.
#[derive(Default)]
pub(crate) struct Blocks {
    free: Mutex<Free>,
}

impl Blocks {
    /// Hands out a buffer of at least `bytes` bytes, in whole blocks. Its contents are whatever was there before.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Block {
        let capacity = bytes.max(BLOCK_BYTES).next_power_of_two();
        if capacity > POOLED_BYTES_MAX {
            let exact = bytes.next_multiple_of(BLOCK_BYTES);
            return Block { aligned: Some(Aligned::new(exact)), pool: Arc::clone(self) };
        }
        let reused = self.lock().take(class_of(capacity));
        let aligned = reused.unwrap_or_else(|| Aligned::new(capacity));
        Block { aligned: Some(aligned), pool: Arc::clone(self) }
    }

    /// Gives back to the system what was free all the time since the last call.
    pub(crate) fn trim(&self) {
        let idle = self.lock().take_unused();
        drop(idle);
    }

    /// Bytes held in free buffers.
    #[cfg(test)]
    pub(crate) fn retained_bytes(&self) -> usize {
        self.lock().bytes
    }

    fn give_back(&self, aligned: Aligned) {
        if aligned.capacity.is_power_of_two() && aligned.capacity <= POOLED_BYTES_MAX {
            self.lock().put(aligned);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Free {
    fn take(&mut self, class: usize) -> Option<Aligned> {
        let class = &mut self.classes[class];
        let aligned = class.free.pop()?;
        class.unused = class.unused.min(class.free.len());
        self.bytes -= aligned.capacity;
        Some(aligned)
    }

    fn put(&mut self, aligned: Aligned) {
        if self.bytes + aligned.capacity <= RETAINED_BYTES_MAX {
            self.bytes += aligned.capacity;
            self.classes[class_of(aligned.capacity)].free.push(aligned);
        }
    }

    fn take_unused(&mut self) -> Vec<Aligned> {
        let mut idle = Vec::new();
        for class in &mut self.classes {
            idle.extend(class.free.drain(..class.unused));
            class.unused = class.free.len();
        }
        self.bytes -= idle.iter().map(|aligned| aligned.capacity).sum::<usize>();
        idle
    }
}

fn class_of(capacity: usize) -> usize {
    (capacity / BLOCK_BYTES).ilog2() as usize
}

/// A buffer taken from the pool.
pub(crate) struct Block {
    /// `None` only while it is dropped.
    aligned: Option<Aligned>,
    pool: Arc<Blocks>,
}

impl Block {
    pub(crate) fn capacity(&self) -> usize {
        self.bytes().len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.aligned.as_ref().map_or(&[], Aligned::bytes)
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.aligned.as_mut().map_or(&mut [], Aligned::bytes_mut)
    }

    /// Shares `range` of the buffer; the buffer returns to the pool when the last share is dropped.
    ///
    /// A range that is small beside the buffer is copied out instead: it would pin memory many times its size.
    pub(crate) fn share(self, range: Range<usize>) -> Bytes {
        if range.len() * 2 < self.capacity() {
            return Bytes::copy_from_slice(&self.bytes()[range]);
        }
        Bytes::from_owner(self).slice(range)
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(aligned) = self.aligned.take() {
            self.pool.give_back(aligned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_lies_on_a_block_boundary() {
        let pool = Arc::new(Blocks::default());
        for bytes in [1, 4096, 4097, 70_000, 9 << 20] {
            let block = pool.take(bytes);
            assert_eq!(block.bytes().as_ptr() as usize % BLOCK_BYTES, 0);
            assert!(block.capacity() >= bytes);
            assert_eq!(block.capacity() % BLOCK_BYTES, 0);
        }
    }

    #[test]
    fn a_block_returns_when_the_last_share_is_dropped() {
        let pool = Arc::new(Blocks::default());
        let first = pool.take(8192).share(10..8000);
        let second = first.slice(5..10);
        drop(first);
        assert_eq!(pool.retained_bytes(), 0);
        drop(second);
        assert_eq!(pool.retained_bytes(), 8192);
        assert_eq!(pool.take(5000).capacity(), 8192);
        assert_eq!(pool.retained_bytes(), 8192, "the same buffer went out and came back");
    }

    #[test]
    fn a_small_share_does_not_pin_its_block() {
        let pool = Arc::new(Blocks::default());
        let mut block = pool.take(4096);
        block.bytes_mut()[100] = 7;
        let share = block.share(100..200);
        assert_eq!((share[0], share.len()), (7, 100));
        assert_eq!(pool.retained_bytes(), 4096);
    }

    #[test]
    fn trimming_frees_only_what_nobody_took_since_the_last_trim() {
        let pool = Arc::new(Blocks::default());
        drop([pool.take(4096), pool.take(4096), pool.take(4096)]);
        pool.trim();
        assert_eq!(pool.retained_bytes(), 3 * 4096, "they were in use since the start");
        drop(pool.take(4096));
        pool.trim();
        assert_eq!(pool.retained_bytes(), 4096);
        pool.trim();
        assert_eq!(pool.retained_bytes(), 0);
    }
}
