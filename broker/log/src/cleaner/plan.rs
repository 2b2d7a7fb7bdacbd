//! Which part of a log may be compacted, how dirty it is, and the beginning of a round.
//!
//! Never touched: the active segment; a segment that reaches the last stable offset or lies behind it; from the first dirty one on, what is
//! younger than `min.compaction.lag.ms`; anything while output of the last round waits for its final names.
//!
//! Source: Kafka's `LogCleanerManager.cleanableOffsets`, `LogToClean`, KIP-58, KIP-354.

use std::collections::BTreeMap;

use strandline_protocol::ids::Offset;

use super::filter::LastRecord;
use super::hash::Seed;
use super::map::OffsetMap;
use super::round::{Limits, Round, Source};
use crate::log::{Log, State};
use crate::names::SegmentFile;
use crate::segment::{NO_TIMESTAMP, Place, Sealed};
use crate::transactions::AbortedIndex;

/// What may be compacted of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanable {
    /// Where the dirty part begins.
    pub dirty_from: Offset,
    /// Where the first segment begins that is not touched.
    pub bound: Offset,
    /// Bytes of segments that begin below the dirty part.
    pub clean_bytes: u64,
    /// Bytes of the dirty part that may be compacted.
    pub dirty_bytes: u64,
    /// Whether some dirty record is older than `max.compaction.lag.ms`.
    pub is_overdue: bool,
}

impl Cleanable {
    /// The part of the log that is dirty, from 0 to 1.
    pub fn ratio(&self) -> f64 {
        let bytes = self.clean_bytes + self.dirty_bytes;
        if bytes == 0 { 0.0 } else { self.dirty_bytes as f64 / bytes as f64 }
    }
}

/// What a round may take and how it works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundOptions {
    /// Memory for the offsets of keys.
    pub map_bytes_max: usize,
    /// The part of that memory that is used, from 0 to 1.
    pub map_load_factor: f64,
    /// Bytes that a step reads.
    pub step_bytes: usize,
    /// What the hashes of keys depend on; drawn for this round.
    pub seed: Seed,
}

impl Log {
    /// Below this the log was compacted; `None` if it never was.
    pub fn cleaned_below(&self) -> Option<Offset> {
        self.cleaned_below
    }

    /// Tells how far the log was compacted: what the checkpoint says, or the round that ended.
    pub fn set_cleaned_below(&mut self, offset: Option<Offset>) {
        self.cleaned_below = offset;
    }

    /// What may be compacted now; `None` if nothing is.
    pub fn cleanable(&self, now_ms: i64, last_stable: Offset) -> Option<Cleanable> {
        if self.state != State::Open || !self.config.compacts || self.has_swaps() {
            return None;
        }
        let dirty_from = self.dirty_from();
        let first_dirty = self.sealed.partition_point(|segment| segment.base <= dirty_from).saturating_sub(1);
        let end = self.cleanable_segments(now_ms, last_stable, first_dirty);
        if end <= first_dirty {
            return None;
        }
        let bytes = |segments: &[Sealed]| segments.iter().map(|segment| segment.bytes).sum::<u64>();
        let begun = self.sealed.partition_point(|segment| segment.base < dirty_from);
        let found = Cleanable {
            dirty_from,
            bound: self.base_after(end - 1),
            clean_bytes: bytes(&self.sealed[..begun]),
            dirty_bytes: bytes(&self.sealed[first_dirty..end]),
            is_overdue: self.is_overdue(now_ms, first_dirty),
        };
        (found.dirty_from < found.bound && found.dirty_bytes > 0).then_some(found)
    }

    /// Whether what may be compacted is enough to begin a round.
    pub fn is_worth_cleaning(&self, cleanable: &Cleanable) -> bool {
        cleanable.is_overdue || cleanable.ratio() > self.config.min_cleanable_ratio
    }

    /// Begins a round over what may be compacted.
    pub fn begin_cleaning(&self, now_ms: i64, cleanable: &Cleanable, options: RoundOptions) -> Round {
        let end = self.sealed.partition_point(|segment| segment.base < cleanable.bound);
        let sources = (0..end).map(|place| self.source(place)).collect();
        let mut aborted: Vec<(Offset, AbortedIndex)> = Vec::new();
        for segment in self.sealed.iter().filter(|segment| segment.aborted > 0) {
            let index = match &segment.unwritten {
                Some(unwritten) => AbortedIndex::Memory(unwritten.aborted.clone()),
                None => AbortedIndex::File(self.sealed_file(segment, SegmentFile::TransactionIndex)),
            };
            aborted.push((segment.base, index));
        }
        if let Some(active) = self.active.as_ref().filter(|active| !active.aborted.is_empty()) {
            aborted.push((active.base, AbortedIndex::Memory(active.aborted.clone())));
        }
        let limits = Limits {
            now_ms,
            delete_retention_ms: self.config.delete_retention_ms,
            segment_bytes: u64::from(self.config.segment_bytes),
            segment_index_bytes: u64::from(self.config.segment_index_bytes),
            index_interval_bytes: self.config.index_interval_bytes,
            step_bytes: options.step_bytes,
        };
        let map = OffsetMap::new(options.map_bytes_max, options.map_load_factor, options.seed);
        Round::new(self.directory.clone(), limits, cleanable.dirty_from, cleanable.bound, sources, aborted)
            .with_map(map)
            .with_producers(self.last_records())
    }

    /// A checkpoint that does not fit the log is none.
    fn dirty_from(&self) -> Offset {
        let log_start = self.positions.log_start;
        match self.cleaned_below {
            Some(below) if below >= log_start && below <= self.positions.log_end => below,
            _ => log_start,
        }
    }

    /// How many segments, from the first on, may be compacted.
    fn cleanable_segments(&self, now_ms: i64, last_stable: Offset, first_dirty: usize) -> usize {
        let lag_ms = self.config.min_compaction_lag_ms;
        let may = |place: usize, segment: &Sealed| {
            let is_old = lag_ms <= 0 || place < first_dirty || segment.largest_timestamp_ms <= now_ms.saturating_sub(lag_ms);
            let is_decided = self.base_after(place) <= last_stable.min(self.positions.durable_end);
            is_old && is_decided && segment.unwritten.is_none() && segment.place == Place::Settled
        };
        self.sealed.iter().enumerate().take_while(|(place, segment)| may(*place, segment)).count()
    }

    fn is_overdue(&self, now_ms: i64, first_dirty: usize) -> bool {
        let until_ms = now_ms.saturating_sub(self.config.max_compaction_lag_ms.max(0));
        self.sealed[first_dirty..].iter().any(|segment| {
            let first_ms = match segment.first_timestamp_ms {
                NO_TIMESTAMP => segment.largest_timestamp_ms,
                known => known,
            };
            first_ms > 0 && first_ms < until_ms
        })
    }

    fn source(&self, place: usize) -> Source {
        let segment = &self.sealed[place];
        Source {
            base: segment.base,
            next: self.base_after(place),
            bytes: segment.bytes,
            first_timestamp_ms: segment.first_timestamp_ms,
            log: self.sealed_file(segment, SegmentFile::Log),
            offsets: self.sealed_file(segment, SegmentFile::OffsetIndex),
        }
    }

    fn last_records(&self) -> BTreeMap<strandline_protocol::ids::ProducerId, LastRecord> {
        let entries = self.producers.as_ref().map(|producers| producers.entries()).unwrap_or_default();
        let last = |entry: strandline_protocol::stored::producer_snapshot::ProducerEntry| {
            let offset = (entry.last_offset.0 >= 0).then_some(entry.last_offset);
            (entry.producer_id, LastRecord { offset, epoch: entry.epoch })
        };
        entries.into_iter().map(last).collect()
    }
}
