//! What a log answers a read with: bytes that it still holds, or where the bytes lie.
//!
//! The log knows positions only of its tail and of its active segment. For the rest it says which segment holds the
//! offset, and the reader outside finds the place with that segment's sealed index, reads, and cuts the answer to whole
//! batches with [`crate::cut`].

use bytes::Bytes;
use strandline_protocol::ids::Offset;

use crate::disk::FilePath;

/// A piece of an answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slice {
    /// Whole batches from the tail cache, beginning with the one that holds the offset asked for.
    Memory(Bytes),
    /// Batches to be read from a segment file.
    File(FileSlice),
}

/// Batches of one segment, to be read by the rim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSlice {
    /// The segment's `.log` file.
    pub log: FilePath,
    /// The segment's base offset: index entries are relative to it.
    pub base_offset: Offset,
    /// Where the next segment begins, or the log ends.
    pub next_offset: Offset,
    /// Where to begin.
    pub start: Start,
    /// Batches that end before this offset are dropped from the front.
    pub from: Offset,
    /// Batches that reach this offset are dropped from the end (high watermark, last stable offset or log end).
    pub below: Offset,
    /// No byte at or behind this position of the file may be read: it is not yet readable, or padding.
    pub position_end: u64,
    /// Bytes wanted. What becomes of a first batch that is larger says `first`; behind it the answer may end mid-batch.
    pub bytes_max: u32,
    /// Whether a first batch above `bytes_max` is given.
    pub first: FirstBatch,
}

/// What becomes of the first batch of an answer if it alone is larger than what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstBatch {
    /// It is given whole: a reader must always come further.
    Whole,
    /// It is left out, and the answer is empty: another partition of the same request brings the reader further.
    Fitting,
}

/// Where in the segment the read begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// At or before the batch wanted; begins with a batch.
    Position(u64),
    /// To be looked up in this sealed `.index` file; position 0 if it is missing or empty.
    Index(FilePath),
}
