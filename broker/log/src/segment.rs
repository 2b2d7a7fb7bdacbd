//! The two kinds of segments: those that are finished, and the one that is appended to.
//!
//! A finished segment is a few numbers; its indexes lie in files. The active one holds its indexes in memory and knows its
//! logical length, which is not the file's: space behind it is allocated ahead.

use std::sync::Arc;

use bytes::Bytes;
use strandline_protocol::ids::Offset;

use crate::config::LogConfig;
use crate::disk::FilePath;
use crate::index::{self, OffsetIndex};
use crate::names::SegmentFile;
use crate::time_index::{self, TimeIndex};
use crate::transactions::AbortedTransaction;

/// A largest timestamp that no record has: the segment is empty or its records carry none.
pub(crate) const NO_TIMESTAMP: i64 = -1;

/// The last offset and the length of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchEnd {
    pub(crate) last_offset: Offset,
    pub(crate) bytes: u32,
}

/// Where a batch goes and what the indexes keep of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) last_offset: Offset,
    pub(crate) bytes: u32,
    pub(crate) max_timestamp_ms: i64,
}

/// A finished segment.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) base: Offset,
    pub(crate) bytes: u64,
    /// Of its first batch; [`NO_TIMESTAMP`] if it has none, or if nobody looked.
    pub(crate) first_timestamp_ms: i64,
    /// [`NO_TIMESTAMP`] if no record carries one.
    pub(crate) largest_timestamp_ms: i64,
    /// Entries of its transaction index.
    pub(crate) aborted: u32,
    /// Whether its last record is known to lie right before the next segment: compaction leaves gaps.
    pub(crate) ends_at_next: bool,
    /// Its indexes, until they are written.
    pub(crate) unwritten: Option<Arc<Indexes>>,
    /// Under which names its files lie.
    pub(crate) place: Place,
}

/// Where the files of a finished segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Under their final names.
    Settled,
    /// Beside what they replace, with `.swap` behind their names.
    Swap,
}

/// Contents of the index files of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indexes {
    pub(crate) offsets: Bytes,
    pub(crate) times: Bytes,
    pub(crate) aborted: Vec<AbortedTransaction>,
}

/// The segment that is appended to.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) base: Offset,
    pub(crate) log: FilePath,
    /// Logical length, with what is not written yet.
    pub(crate) bytes: u64,
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
    pub(crate) aborted: Vec<AbortedTransaction>,
    bytes_since_entry: u64,
    /// Largest timestamp of the first batch; [`NO_TIMESTAMP`] if it has none.
    pub(crate) first_timestamp_ms: i64,
    /// The largest timestamp so far and the last offset of the first batch that has it.
    pub(crate) largest: time_index::Entry,
    created_ms: i64,
    /// Whether the index files lag behind.
    pub(crate) dirty: bool,
    /// Whether the file may be longer than `bytes`.
    pub(crate) padded: bool,
    /// Whether what a crash left behind `bytes` has to be cut off before the next append, so that nothing of it can ever
    /// look like records that follow.
    pub(crate) cut_first: bool,
}

impl Active {
    pub(crate) fn new(directory: &FilePath, base: Offset, now_ms: i64) -> Self {
        Self {
            base,
            log: directory.child(&SegmentFile::Log.name(base)),
            bytes: 0,
            offsets: OffsetIndex::default(),
            times: TimeIndex::default(),
            aborted: Vec::new(),
            bytes_since_entry: 0,
            first_timestamp_ms: NO_TIMESTAMP,
            largest: time_index::Entry { timestamp_ms: NO_TIMESTAMP, offset: base },
            created_ms: now_ms,
            dirty: false,
            padded: false,
            cut_first: false,
        }
    }

    /// A segment of which everything before `bytes`, where a batch begins, is known already.
    pub(crate) fn resume(self, bytes: u64, first_timestamp_ms: i64, offsets: OffsetIndex, times: TimeIndex) -> Self {
        let none = time_index::Entry { timestamp_ms: NO_TIMESTAMP, offset: self.base };
        let largest = times.last(self.base).unwrap_or(none);
        Self { bytes, first_timestamp_ms, offsets, times, largest, ..self }
    }

    /// Whether the segment has to end before `batch`.
    pub(crate) fn is_full_for(&self, batch: &Placed, config: &LogConfig, jitter_ms: i64, now_ms: i64) -> bool {
        if self.bytes == 0 {
            return !self.reaches(batch.last_offset);
        }
        let waited_ms = match self.first_timestamp_ms {
            first if first >= 0 => batch.max_timestamp_ms.saturating_sub(first),
            _ => now_ms.saturating_sub(self.created_ms),
        };
        let index_bytes = config.segment_index_bytes as usize;
        self.bytes + u64::from(batch.bytes) > u64::from(config.segment_bytes)
            || waited_ms > config.segment_ms.saturating_sub(jitter_ms)
            || self.offsets.entries() >= index_bytes / index::ENTRY_BYTES
            // One entry stays free for the largest timestamp, which is added when the segment ends.
            || self.times.entries() + 1 >= index_bytes / time_index::ENTRY_BYTES
            || !self.reaches(batch.last_offset)
    }

    fn reaches(&self, offset: Offset) -> bool {
        i32::try_from(offset.distance_from(self.base)).is_ok()
    }

    /// Notes a batch at the end of the segment.
    pub(crate) fn note(&mut self, batch: &Placed, index_interval_bytes: u32) {
        if self.bytes == 0 {
            self.first_timestamp_ms = batch.max_timestamp_ms;
        }
        if batch.max_timestamp_ms > self.largest.timestamp_ms {
            self.largest = time_index::Entry { timestamp_ms: batch.max_timestamp_ms, offset: batch.last_offset };
        }
        if self.bytes_since_entry > u64::from(index_interval_bytes) {
            self.add_index_entries(batch.last_offset);
        }
        self.bytes_since_entry += u64::from(batch.bytes);
        self.bytes += u64::from(batch.bytes);
        self.dirty = true;
        self.padded = true;
    }

    fn add_index_entries(&mut self, last_offset: Offset) {
        let position = u32::try_from(self.bytes).expect("segment.bytes fits in 32 bits");
        self.offsets.push(self.base, index::Entry { offset: last_offset, position });
        self.times.push(self.base, self.largest);
        self.bytes_since_entry = 0;
    }

    /// Contents of the index files: the time index ends with the largest timestamp, which it may not hold yet.
    pub(crate) fn indexes(&self) -> Indexes {
        let mut times = self.times.clone();
        times.push(self.base, self.largest);
        Indexes {
            offsets: Bytes::copy_from_slice(self.offsets.as_bytes()),
            times: Bytes::copy_from_slice(times.as_bytes()),
            aborted: self.aborted.clone(),
        }
    }

    /// Where to begin reading for `offset`.
    pub(crate) fn position_for(&self, offset: Offset) -> u64 {
        u64::from(index::lookup(self.offsets.as_bytes(), self.base, offset))
    }
}
