//! The space of a segment file ahead of its end: how far it is allocated, and how far it holds written zeros.
//!
//! ```text
//!  0              end        written            allocated
//!  |   records ..  |  zeros, written  |  allocated, never written  |
//! ```
//! A durable write into space that was only allocated waits for the file system to note in its journal that the space
//! is now in use; one over zeros that are on the device already does not. Small appends are where that wait is most of
//! the time, so a file that gets many of them has zeros written ahead of it, in the background; readers and recovery
//! see zeros behind the end either way.
//!
//! Not here: any IO (`files.rs`). Invariant: nothing is appended at or behind the beginning of a range while zeros are
//! being written there.

use std::ops::Range;

use crate::disk::blocks::up_to_block;

/// Space is allocated ahead in steps as large as the file already is, from this on: a partition with few records takes
/// little, a busy one rarely stops to allocate.
const ALLOCATE_BYTES_MIN: u64 = 64 << 10;

/// The largest step: one journal transaction every 64 MiB is too rare to be seen.
const ALLOCATE_BYTES_MAX: u64 = 64 << 20;

/// Zeros are written in ranges of this size: half a millisecond of a device, 30 writes of a busy partition.
const ZEROS_BYTES: u64 = 512 << 10;

/// Fewer zeros than this ahead: time for more.
const ZEROS_BYTES_LOW: u64 = ZEROS_BYTES / 2;

/// Larger appends gain little, and zeros would double what the device has to write.
const SMALL_APPEND_BYTES_MAX: usize = 64 << 10;

/// Small appends that a file must have seen since it was opened: the many that see few are left alone.
const SMALL_APPENDS_MIN: u32 = 16;

/// Of large appends that many fewer outweigh them.
const LARGE_APPEND_WEIGHT: u32 = 4;

/// What lies ahead of a file's end.
#[derive(Debug)]
pub(crate) struct Ahead {
    allocated: u64,
    written: u64,
    /// The range into which zeros are being written, or will be in a moment.
    zeroing: Option<Range<u64>>,
    small_appends: u32,
    /// No zeros any more: the file is being given up, or writing them failed.
    ended: bool,
}

impl Ahead {
    /// A file of `bytes` bytes whose records end at `end`.
    pub(crate) fn new(bytes: u64, end: u64) -> Self {
        Self { allocated: bytes, written: up_to_block(end), zeroing: None, small_appends: 0, ended: false }
    }

    /// Whether an append up to `end` neither needs space nor meets zeros under way.
    pub(crate) fn is_ready_for(&self, end: u64) -> bool {
        end <= self.allocated && self.zeroing.as_ref().is_none_or(|range| end <= range.start)
    }

    /// The range to allocate before an append up to `end`.
    pub(crate) fn to_allocate(&self, end: u64) -> Option<Range<u64>> {
        (end > self.allocated).then(|| self.allocated..end + self.allocated.clamp(ALLOCATE_BYTES_MIN, ALLOCATE_BYTES_MAX))
    }

    /// Space is allocated up to `end`; [`u64::MAX`] if the file system does not know what that is.
    pub(crate) fn allocated(&mut self, end: u64) {
        self.allocated = end;
    }

    /// A durable write of `bytes` bytes ended before `end`. Answers with the range that is to be zeroed now.
    pub(crate) fn appended(&mut self, end: u64, bytes: usize) -> Option<Range<u64>> {
        self.written = self.written.max(up_to_block(end));
        if bytes > SMALL_APPEND_BYTES_MAX {
            self.small_appends = self.small_appends.saturating_sub(LARGE_APPEND_WEIGHT);
            return None;
        }
        self.small_appends = (self.small_appends + 1).min(2 * SMALL_APPENDS_MIN);
        let enough = self.written >= end + ZEROS_BYTES_LOW;
        if enough || self.ended || self.zeroing.is_some() || self.small_appends < SMALL_APPENDS_MIN {
            return None;
        }
        // The next appends find room before the range, or wait for it.
        let from = self.written;
        let to = (from + ZEROS_BYTES).min(self.allocated);
        if to < from + ZEROS_BYTES_LOW {
            return None;
        }
        self.zeroing = Some(from..to);
        self.zeroing.clone()
    }

    /// Whether `range` is still to be zeroed: an append that could not wait may have taken it back.
    pub(crate) fn is_zeroing(&self, range: &Range<u64>) -> bool {
        self.zeroing.as_ref() == Some(range)
    }

    pub(crate) fn zeroed(&mut self, range: &Range<u64>, written: bool) {
        self.zeroing = None;
        if written {
            self.written = self.written.max(range.end);
        } else {
            self.ended = true;
        }
    }

    /// Takes back a range whose zeros nobody has begun to write.
    pub(crate) fn take_back(&mut self) {
        self.zeroing = None;
    }

    /// The file is given up: nothing more is written ahead.
    pub(crate) fn end(&mut self) {
        self.zeroing = None;
        self.ended = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 4096;

    /// A file with plenty of space that has seen small appends up to `end`.
    fn busy(end: u64) -> Ahead {
        let mut ahead = Ahead::new(64 << 20, end);
        for _ in 1..SMALL_APPENDS_MIN {
            assert_eq!(ahead.appended(end, 4096), None);
        }
        ahead
    }

    #[test]
    fn a_file_with_few_appends_is_left_alone() {
        let mut ahead = Ahead::new(64 << 20, 0);
        assert_eq!(ahead.appended(100, 4096), None);
        assert_eq!(ahead.appended(200, 1 << 20), None);
        assert!(ahead.is_ready_for(64 << 20));
    }

    #[test]
    fn zeros_begin_behind_what_is_written_and_nothing_flies_into_them() {
        let mut ahead = busy(5000);
        let range = ahead.appended(6000, 4096).unwrap();
        assert_eq!(range, 2 * BLOCK..2 * BLOCK + ZEROS_BYTES);
        assert!(ahead.is_ready_for(2 * BLOCK));
        assert!(!ahead.is_ready_for(2 * BLOCK + 1));
        assert_eq!(ahead.appended(7000, 4096), None, "one range at a time");
        ahead.zeroed(&range, true);
        assert!(ahead.is_ready_for(range.end + 1));
        assert_eq!(ahead.appended(7000, 4096), None, "enough zeros");
        let next = ahead.appended(range.end - ZEROS_BYTES_LOW + 1, 4096).unwrap();
        assert_eq!(next, range.end..range.end + ZEROS_BYTES);
    }

    #[test]
    fn large_appends_move_the_frontier_and_outweigh_small_ones() {
        let mut ahead = busy(0);
        assert_eq!(ahead.appended(1 << 20, 1 << 20), None);
        for _ in 1..=LARGE_APPEND_WEIGHT {
            assert_eq!(ahead.appended((1 << 20) + 10, 4096), None);
        }
        let from = up_to_block((1 << 20) + 10);
        assert_eq!(ahead.appended((1 << 20) + 10, 4096), Some(from..from + ZEROS_BYTES));
    }

    #[test]
    fn a_file_that_is_given_up_gets_no_zeros() {
        let mut ahead = busy(0);
        let range = ahead.appended(10, 4096).unwrap();
        ahead.end();
        assert!(!ahead.is_zeroing(&range));
        assert_eq!(ahead.appended(20, 4096), None);
    }

    #[test]
    fn zeros_stay_within_what_is_allocated() {
        let mut ahead = Ahead::new(64 << 10, 0);
        for _ in 0..100 {
            assert_eq!(ahead.appended(10, 4096), None);
        }
        assert_eq!(ahead.to_allocate(64 << 10), None);
        assert_eq!(ahead.to_allocate((64 << 10) + 1), Some(64 << 10..(128 << 10) + 1));
    }
}
