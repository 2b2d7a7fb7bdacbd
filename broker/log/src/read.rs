//! Reads: which bytes answer one, or where they lie.
//!
//! The newest batches come from the tail cache. For older ones the answer names the file: a position in the active segment,
//! whose index is in memory, or the sealed index to ask. Nothing at or above the bound or not yet readable is ever given.

use std::cmp::Ordering;

use strandline_protocol::ids::Offset;

use crate::disk::FilePath;
use crate::index;
use crate::log::Log;
use crate::names::{SWAP_SUFFIX, SegmentFile};
use crate::segment::{Active, Place, Sealed};
use crate::slice::{FileSlice, FirstBatch, Slice, Start};
use crate::transactions::{AbortedIndex, AbortedQuery};

/// What answers a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Pieces of memory that follow each other, or files. Of files the first that has something answers, and the others are not
    /// read: a compacted segment may hold nothing behind the offset asked for, and only its file tells.
    pub slices: Vec<Slice>,
    /// Bytes of the answer; an upper bound for files. 0 if there is nothing to read yet.
    pub bytes_estimate: u64,
}

/// Why a read cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// `OFFSET_OUT_OF_RANGE`.
    #[error("offset {offset} does not lie between {log_start} and {log_end}")]
    OutOfRange { offset: Offset, log_start: Offset, log_end: Offset },
}

/// A segment, finished or not, as a reader sees it.
struct Readable {
    base: Offset,
    /// Where the next one begins, or the log ends.
    next: Offset,
    log: FilePath,
    /// How much of it may be read.
    bytes: u64,
    start: Start,
    /// Whether a reader that finds nothing in it can be sure that there is nothing.
    is_last_word: bool,
}

impl Log {
    /// Answers with batches from the one that holds `from` on. None of them reaches `below`.
    ///
    /// The answer is empty if `from` is at or above `below` or the readable end.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] if `from` is below the log start or above the log end.
    pub fn read(&self, from: Offset, below: Offset, bytes_max: u32, first: FirstBatch) -> Result<Read, ReadError> {
        let positions = self.positions();
        if from < positions.log_start || from > positions.log_end {
            return Err(ReadError::OutOfRange { offset: from, log_start: positions.log_start, log_end: positions.log_end });
        }
        let below = below.min(positions.readable_end);
        if from >= below {
            return Ok(Read { slices: Vec::new(), bytes_estimate: 0 });
        }
        if let Some(cached) = self.tail.read(from, below, bytes_max as usize, first == FirstBatch::Whole) {
            let bytes_estimate = cached.iter().map(|bytes| bytes.len() as u64).sum();
            return Ok(Read { slices: cached.into_iter().map(Slice::Memory).collect(), bytes_estimate });
        }
        Ok(self.read_files(from, below, bytes_max, first))
    }

    /// The segment that holds `from`, and the ones behind it as long as there may be nothing left to read in those before.
    fn read_files(&self, from: Offset, below: Offset, bytes_max: u32, first: FirstBatch) -> Read {
        let mut read = Read { slices: Vec::new(), bytes_estimate: 0 };
        let begin = self.first_sealed_for(from);
        let sealed = (begin..self.sealed.len()).map(|place| self.readable_sealed(place, from));
        let active = self.active.iter().map(|active| self.readable_active(active, from));
        for segment in sealed.chain(active).filter(|segment| segment.bytes > 0) {
            let position = if let Start::Position(position) = segment.start { position } else { 0 };
            read.bytes_estimate += u64::from(bytes_max).min(segment.bytes.saturating_sub(position));
            read.slices.push(Slice::File(FileSlice {
                log: segment.log,
                base_offset: segment.base,
                next_offset: segment.next,
                start: segment.start,
                from,
                below,
                position_end: segment.bytes,
                bytes_max,
                first,
            }));
            // Empty may also say that the first batch did not fit: then going on would skip it.
            if segment.is_last_word || first == FirstBatch::Fitting {
                break;
            }
        }
        read
    }

    /// A piece of the first finished segment at or behind `base`, for whoever looks through the whole log: of the one at `base` from
    /// `position` on, where a batch begins, of another from its beginning.
    pub fn finished_from(&self, base: Offset, position: u64, bytes_max: u32) -> Option<FileSlice> {
        let begin = self.sealed.partition_point(|segment| segment.base < base);
        let place = begin + self.sealed[begin..].iter().position(|one| one.bytes > 0)?;
        let segment = &self.sealed[place];
        let position = if segment.base == base { position } else { 0 };
        let position_end = self.readable_bytes(segment.base, segment.bytes);
        (position < position_end).then(|| FileSlice {
            log: self.sealed_file(segment, SegmentFile::Log),
            base_offset: segment.base,
            next_offset: self.base_behind(place),
            start: Start::Position(position),
            from: segment.base,
            below: Offset::MAX,
            position_end,
            bytes_max,
            first: FirstBatch::Whole,
        })
    }

    /// Place of the first sealed segment in which `from` may lie; behind the last one if it lies in the active segment.
    fn first_sealed_for(&self, from: Offset) -> usize {
        if self.active.as_ref().is_some_and(|active| active.base <= from) {
            return self.sealed.len();
        }
        self.sealed.partition_point(|segment| segment.base <= from).saturating_sub(1)
    }

    /// Where the segment behind a sealed one begins, or the log ends.
    fn base_behind(&self, place: usize) -> Offset {
        let next = self.sealed.get(place + 1).map(|segment| segment.base);
        next.or(self.active.as_ref().map(|active| active.base)).unwrap_or(self.positions().log_end)
    }

    fn readable_sealed(&self, place: usize, from: Offset) -> Readable {
        let segment: &Sealed = &self.sealed[place];
        let start = match &segment.unwritten {
            Some(unwritten) => Start::Position(u64::from(index::lookup(&unwritten.offsets, segment.base, from))),
            None => Start::Index(self.sealed_file(segment, SegmentFile::OffsetIndex)),
        };
        Readable {
            base: segment.base,
            next: self.base_behind(place),
            log: self.sealed_file(segment, SegmentFile::Log),
            bytes: self.readable_bytes(segment.base, segment.bytes),
            start,
            is_last_word: segment.ends_at_next,
        }
    }

    fn readable_active(&self, active: &Active, from: Offset) -> Readable {
        Readable {
            base: active.base,
            next: self.positions().log_end,
            log: active.log.clone(),
            bytes: self.readable_bytes(active.base, active.bytes),
            start: Start::Position(active.position_for(from)),
            is_last_word: true,
        }
    }

    /// How much of the segment at `base` is written.
    pub(crate) fn readable_bytes(&self, base: Offset, bytes: u64) -> u64 {
        match base.cmp(&self.written.base) {
            Ordering::Less => bytes,
            Ordering::Equal => self.written.bytes,
            Ordering::Greater => 0,
        }
    }

    /// Which aborted transactions a reader from `from` to below `below` has to know; a job, for sealed indexes lie in
    /// files.
    pub fn aborted(&self, from: Offset, below: Offset) -> AbortedQuery {
        let mut indexes = Vec::new();
        for segment in self.sealed[self.first_sealed_for(from)..].iter().filter(|segment| segment.aborted > 0) {
            indexes.push(match &segment.unwritten {
                Some(unwritten) => AbortedIndex::Memory(unwritten.aborted.clone()),
                None => AbortedIndex::File(self.sealed_file(segment, SegmentFile::TransactionIndex)),
            });
        }
        if let Some(active) = self.active.as_ref().filter(|active| !active.aborted.is_empty()) {
            indexes.push(AbortedIndex::Memory(active.aborted.clone()));
        }
        AbortedQuery { from, below, indexes }
    }

    /// A file of a finished segment, under the name that it has now.
    pub(crate) fn sealed_file(&self, segment: &Sealed, kind: SegmentFile) -> FilePath {
        let name = kind.name(segment.base);
        match segment.place {
            Place::Settled => self.directory.child(&name),
            Place::Swap => self.directory.child(&(name + SWAP_SUFFIX)),
        }
    }

    pub(crate) fn segment_file(&self, base: Offset, kind: SegmentFile) -> FilePath {
        self.directory.child(&kind.name(base))
    }
}
