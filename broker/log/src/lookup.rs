//! Finding an offset by timestamp, as a job: time indexes lie in files, and the record is found by looking into batches.
//!
//! [`Log::lookup`] writes down what is known in memory; [`find`] does the reading. Two questions: the first record whose timestamp is at or
//! above a target, and the first record that has the largest timestamp. The answer is a record, not a batch, so the batch found is
//! decompressed. Records at or above the bound do not exist for the answer.
//!
//! Source: `ListOffsets`, KIP-79, KIP-734.

use bytes::Bytes;
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::records::{BatchHeader, Scratch, TimestampType, open};

use crate::disk::{DiskError, FilePath, Files};
use crate::log::Log;
use crate::names::SegmentFile;
use crate::recover::read_whole;
use crate::scan::{Depth, Scan};
use crate::segment::{NO_TIMESTAMP, Sealed};
use crate::{index, time_index};

/// Bytes that the records of one batch may unfold to; a batch that was taken stayed below this.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The first record with a timestamp at or above this.
    AtOrAfter(i64),
    /// The first record that has the largest timestamp.
    Maximum,
}

/// What a lookup has to know of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    pub target: Target,
    /// Records below do not exist any more.
    pub from: Offset,
    /// Records at or above may not be seen yet.
    pub below: Offset,
    /// Oldest first.
    pub segments: Vec<LookupSegment>,
}

/// One segment of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupSegment {
    pub log: FilePath,
    pub base: Offset,
    /// How much of it may be read.
    pub bytes: u64,
    pub times: Times,
}

/// What is known of a segment's timestamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Times {
    /// The segment is finished: its largest timestamp (-1 without one), and its indexes.
    Sealed { largest_ms: i64, times: FilePath, offsets: FilePath },
    /// The segment's indexes are in memory: the position to begin at, and the largest timestamp if it may be seen, or -1.
    Open { start: u64, largest_ms: i64 },
}

/// A record that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub timestamp_ms: i64,
    pub offset: Offset,
    /// -1 if the batch does not know it.
    pub leader_epoch: LeaderEpoch,
}

impl Log {
    /// Writes down what a lookup of `target` among the records below `below` needs.
    pub fn lookup(&self, target: Target, below: Offset) -> Lookup {
        let from = self.positions.log_start;
        let below = below.min(self.positions.readable_end);
        let sealed = self.sealed.iter().map(|segment| self.lookup_sealed(segment, target, below));
        let active = self.active.iter().map(|active| LookupSegment {
            log: active.log.clone(),
            base: active.base,
            bytes: self.readable_bytes(active.base, active.bytes),
            times: Times::Open {
                start: start_in(active.times.as_bytes(), active.offsets.as_bytes(), active.base, target, below),
                largest_ms: if active.largest.offset < below { active.largest.timestamp_ms } else { NO_TIMESTAMP },
            },
        });
        let segments = sealed.chain(active).filter(|segment| segment.base < below && segment.bytes > 0).collect();
        Lookup { target, from, below, segments }
    }

    fn lookup_sealed(&self, segment: &Sealed, target: Target, below: Offset) -> LookupSegment {
        let times = match &segment.unwritten {
            Some(unwritten) => Times::Open {
                start: start_in(&unwritten.times, &unwritten.offsets, segment.base, target, below),
                largest_ms: NO_TIMESTAMP,
            },
            None => Times::Sealed {
                largest_ms: segment.largest_timestamp_ms,
                times: self.sealed_file(segment, SegmentFile::TimeIndex),
                offsets: self.sealed_file(segment, SegmentFile::OffsetIndex),
            },
        };
        LookupSegment {
            log: self.sealed_file(segment, SegmentFile::Log),
            base: segment.base,
            bytes: self.readable_bytes(segment.base, segment.bytes),
            times,
        }
    }
}

/// Finds the record; `None` if there is none.
///
/// # Errors
/// [`DiskError`] if a file cannot be read or a batch cannot be opened.
pub fn find(files: &dyn Files, lookup: &Lookup) -> Result<Option<Found>, DiskError> {
    match lookup.target {
        Target::AtOrAfter(timestamp_ms) => find_at_or_after(files, lookup, timestamp_ms),
        Target::Maximum => find_maximum(files, lookup),
    }
}

fn find_at_or_after(files: &dyn Files, lookup: &Lookup, timestamp_ms: i64) -> Result<Option<Found>, DiskError> {
    for segment in &lookup.segments {
        if matches!(segment.times, Times::Sealed { largest_ms, .. } if largest_ms < timestamp_ms) {
            continue;
        }
        let start = start_of(files, lookup, segment)?;
        let found = first_in(files, lookup, segment, start, timestamp_ms)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Finds the largest timestamp by headers, then the first record that has it.
fn find_maximum(files: &dyn Files, lookup: &Lookup) -> Result<Option<Found>, DiskError> {
    let mut best: Option<(i64, &LookupSegment, u64)> = None;
    for segment in &lookup.segments {
        let beaten = |largest_ms: i64| best.is_some_and(|(best_ms, ..)| largest_ms <= best_ms);
        if matches!(segment.times, Times::Sealed { largest_ms, .. } if largest_ms == NO_TIMESTAMP || beaten(largest_ms)) {
            continue;
        }
        let start = start_of(files, lookup, segment)?;
        let mut largest = largest_in(files, lookup, segment, start)?;
        if let Times::Sealed { largest_ms, .. } = segment.times
            && largest.is_none_or(|(found_ms, _)| found_ms < largest_ms)
        {
            // The batch that the index names has no records any more, or may not be seen: any other may be the one.
            largest = largest_in(files, lookup, segment, 0)?;
        }
        if let Some((largest_ms, position)) = largest.filter(|(ms, _)| !beaten(*ms)) {
            best = Some((largest_ms, segment, position));
        }
    }
    match best {
        Some((largest_ms, segment, position)) => first_in(files, lookup, segment, position, largest_ms),
        None => Ok(None),
    }
}

/// Where in a segment to begin.
fn start_of(files: &dyn Files, lookup: &Lookup, segment: &LookupSegment) -> Result<u64, DiskError> {
    match &segment.times {
        Times::Open { start, .. } => Ok(*start),
        Times::Sealed { times, offsets, .. } => {
            let times = read_whole(files, times)?;
            let offsets = read_whole(files, offsets)?;
            Ok(start_in(&times, &offsets, segment.base, lookup.target, lookup.below))
        }
    }
}

/// Every batch before this position is older than the target; for the maximum, no batch before it is newer than the one
/// found from there on.
fn start_in(times: &[u8], offsets: &[u8], base: Offset, target: Target, below: Offset) -> u64 {
    let entry = match target {
        // An entry names the first batch that has its timestamp: with the very target it may be the answer.
        Target::AtOrAfter(timestamp_ms) => time_index::lookup(times, base, timestamp_ms),
        Target::Maximum => time_index::last_below(times, base, below),
    };
    entry.map_or(0, |entry| u64::from(index::lookup(offsets, base, entry.offset)))
}

/// The largest timestamp of batches below the bound, from `start` on, and where the first batch that has it begins.
fn largest_in(
    files: &dyn Files,
    lookup: &Lookup,
    segment: &LookupSegment,
    start: u64,
) -> Result<Option<(i64, u64)>, DiskError> {
    let (Times::Open { largest_ms: known_ms, .. } | Times::Sealed { largest_ms: known_ms, .. }) = segment.times;
    let mut largest: Option<(i64, u64)> = None;
    let mut scan = Scan::new(files, &segment.log, start, segment.bytes);
    while let Ok(batch) = scan.next(Depth::Header)? {
        let header = &batch.header;
        if header.last_offset() >= lookup.below.0 {
            break;
        }
        // A batch may have lost all its records to compaction, and keeps its timestamp.
        let has_records = header.record_count > 0;
        let seen = has_records && header.last_offset() >= lookup.from.0 && header.max_timestamp >= 0;
        if seen && largest.is_none_or(|(largest_ms, _)| header.max_timestamp > largest_ms) {
            largest = Some((header.max_timestamp, batch.position));
        }
        if seen && header.max_timestamp == known_ms {
            break;
        }
    }
    Ok(largest)
}

/// The first record at or above `timestamp_ms`, from `start` on.
fn first_in(
    files: &dyn Files,
    lookup: &Lookup,
    segment: &LookupSegment,
    start: u64,
    timestamp_ms: i64,
) -> Result<Option<Found>, DiskError> {
    let mut scan = Scan::new(files, &segment.log, start, segment.bytes);
    while let Ok(batch) = scan.next(Depth::Header)? {
        let header = batch.header;
        if header.last_offset() >= lookup.below.0 {
            break;
        }
        if header.last_offset() < lookup.from.0 || header.max_timestamp < timestamp_ms || header.record_count == 0 {
            continue;
        }
        let whole = files.read_segment(&segment.log, batch.position, header.size_bytes())?;
        let found = record_in(&whole, &header, lookup.from, timestamp_ms);
        let found = found.map_err(|reason| DiskError::Failed { file: segment.log.clone(), reason })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The first record of a batch at or above `timestamp_ms` and `from`.
fn record_in(batch: &Bytes, header: &BatchHeader, from: Offset, timestamp_ms: i64) -> Result<Option<Found>, String> {
    let leader_epoch = LeaderEpoch(header.partition_leader_epoch);
    let is_whole = header.record_count == header.last_offset_delta.saturating_add(1);
    if header.timestamp_type() == TimestampType::LogAppendTime && is_whole {
        // Every record has the time of the batch.
        let offset = Offset(header.base_offset).max(from);
        return Ok(Some(Found { timestamp_ms: header.max_timestamp, offset, leader_epoch }));
    }
    let mut scratch = Scratch::default();
    let (_, records) = open(batch, DECOMPRESSED_BYTES_MAX, &mut scratch).map_err(|error| error.to_string())?;
    for record in records {
        let record = record.map_err(|error| error.to_string())?;
        let offset = Offset(header.base_offset.saturating_add(i64::from(record.offset_delta)));
        let time_ms = header.timestamp_of(record.timestamp_delta);
        if time_ms >= timestamp_ms && offset >= from {
            return Ok(Some(Found { timestamp_ms: time_ms, offset, leader_epoch }));
        }
    }
    Ok(None)
}
