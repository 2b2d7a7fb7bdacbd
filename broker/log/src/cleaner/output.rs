//! A segment that is being written by a round: operations for its files, and its indexes meanwhile.
//!
//! Files are `.cleaned` while they are written. When all of them are there and durable they become `.swap`, the records last: from then on
//! a start puts them in their place; before, it removes them.

use bytes::Bytes;
use strandline_protocol::ids::Offset;
use strandline_protocol::records::{BatchHeader, PREFIX_BYTES};

use crate::disk::{DiskOp, Durability, FilePath, Part};
use crate::names::{CLEANED_SUFFIX, SWAP_SUFFIX, SegmentFile};
use crate::segment::{Active, Place, Sealed};
use crate::transactions::{self, AbortedTransaction};
use crate::walk::placed;

#[derive(Clone, Debug)]
pub(crate) struct Output {
    directory: FilePath,
    segment: Active,
    index_interval_bytes: u32,
    /// Where the next append goes.
    written: u64,
    /// Behind its last batch.
    end: Offset,
    parts: Vec<Part>,
}

impl Output {
    pub(crate) fn new(directory: &FilePath, base: Offset, index_interval_bytes: u32) -> Self {
        let segment = Active::new(directory, base, 0);
        Self { directory: directory.clone(), segment, index_interval_bytes, written: 0, end: base, parts: Vec::new() }
    }

    /// Takes a batch.
    pub(crate) fn push(&mut self, header: &BatchHeader, batch: &Bytes) {
        self.segment.note(&placed(header), self.index_interval_bytes);
        self.end = Offset(header.next_offset());
        let mut prefix = [0; PREFIX_BYTES];
        prefix.copy_from_slice(&batch[..PREFIX_BYTES]);
        self.parts.push(Part { prefix, body: batch.slice(PREFIX_BYTES..) });
    }

    /// Writes the batches that were taken since the last call.
    pub(crate) fn append(&mut self) -> Option<DiskOp> {
        let position = std::mem::replace(&mut self.written, self.segment.bytes);
        let parts = std::mem::take(&mut self.parts);
        let file = self.file(SegmentFile::Log, CLEANED_SUFFIX);
        (!parts.is_empty()).then_some(DiskOp::Append { file, position, parts, durability: Durability::Durable })
    }

    /// Ends the segment: what is left to write, and what it then is. `next` is where the segment behind it begins.
    pub(crate) fn finish(
        mut self,
        next: Offset,
        first_timestamp_ms: i64,
        aborted: Vec<AbortedTransaction>,
    ) -> (Vec<DiskOp>, Sealed) {
        let mut ops: Vec<DiskOp> = self.append().into_iter().collect();
        self.segment.aborted = aborted;
        let indexes = self.segment.indexes();
        let mut small = vec![(SegmentFile::OffsetIndex, indexes.offsets), (SegmentFile::TimeIndex, indexes.times)];
        if !indexes.aborted.is_empty() {
            small.push((SegmentFile::TransactionIndex, transactions::encode(&indexes.aborted)));
        }
        ops.push(DiskOp::Seal { file: self.file(SegmentFile::Log, CLEANED_SUFFIX), bytes: self.segment.bytes });
        let kinds: Vec<SegmentFile> = small.iter().map(|(kind, _)| *kind).chain([SegmentFile::Log]).collect();
        for (kind, contents) in small {
            ops.push(DiskOp::Write { file: self.file(kind, CLEANED_SUFFIX), contents });
        }
        for kind in kinds {
            ops.push(DiskOp::Rename { from: self.file(kind, CLEANED_SUFFIX), to: self.file(kind, SWAP_SUFFIX) });
        }
        let sealed = Sealed {
            base: self.segment.base,
            bytes: self.segment.bytes,
            first_timestamp_ms,
            largest_timestamp_ms: self.segment.largest.timestamp_ms,
            aborted: self.segment.aborted.len() as u32,
            ends_at_next: self.end == next,
            unwritten: None,
            place: Place::Swap,
        };
        (ops, sealed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segment.bytes
    }

    fn file(&self, kind: SegmentFile, suffix: &str) -> FilePath {
        self.directory.child(&(kind.name(self.segment.base) + suffix))
    }
}
