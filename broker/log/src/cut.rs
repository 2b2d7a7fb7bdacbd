//! Cutting what was read from a segment file to the batches that answer a read.
//!
//! [`cut`] is pure: the broker's rim reads with whatever executor it has and cuts; [`read`] does the whole of it over
//! [`Files`], for jobs and for the simulator. Checksums are not compared here: that was done when the batch was taken.

use bytes::Bytes;
use strandline_protocol::ids::Offset;
use strandline_protocol::records::{BatchError, BatchHeader, HEADER_BYTES};

use crate::disk::{DiskError, Files};
use crate::index;
use crate::slice::{FileSlice, FirstBatch, Slice, Start};

/// Bytes read at once while looking for the first batch of an answer.
const SEEK_BYTES: usize = 64 << 10;

/// What bytes that were read give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The answer: whole batches. Empty if the first one reaches the bound or does not fit.
    Batches(Bytes),
    /// The first batch of the answer is not wholly among the bytes: read again `bytes` bytes, or more, from `skipped` bytes further on.
    /// If that is where the segment ends (`position_end` of the slice), it has nothing for this read.
    Short { skipped: usize, bytes: usize },
}

/// Cuts `bytes`, which begin with a batch, to whole batches: from the one that holds `from` (or the first behind it) on, none that
/// reaches `below`, up to `bytes_max` bytes, but the first one whatever its size if `first` says so.
///
/// # Errors
/// [`BatchError`] if there is something else than a batch before the answer begins.
pub fn cut(bytes: &Bytes, from: Offset, below: Offset, bytes_max: usize, first: FirstBatch) -> Result<Cut, BatchError> {
    let mut position = 0;
    let header = loop {
        let rest = &bytes[position..];
        if rest.len() < HEADER_BYTES {
            return Ok(Cut::Short { skipped: position, bytes: HEADER_BYTES });
        }
        let header = BatchHeader::parse(rest)?;
        if header.last_offset() >= from.0 {
            break header;
        }
        position = position.saturating_add(header.size_bytes()).min(usize::MAX / 2);
        if position > bytes.len() {
            return Ok(Cut::Short { skipped: position, bytes: HEADER_BYTES });
        }
    };
    let size = header.size_bytes();
    if header.last_offset() >= below.0 || (size > bytes_max && first == FirstBatch::Fitting) {
        return Ok(Cut::Batches(Bytes::new()));
    }
    if bytes.len() - position < size {
        return Ok(Cut::Short { skipped: position, bytes: size.max(bytes_max) });
    }
    let end = position + whole_batches(&bytes[position..], below, bytes_max.max(size));
    Ok(Cut::Batches(bytes.slice(position..end)))
}

/// How many of `bytes` are whole batches below `below` that take up to `bytes_max` bytes.
fn whole_batches(bytes: &[u8], below: Offset, bytes_max: usize) -> usize {
    let mut end = 0;
    while bytes.len() - end >= HEADER_BYTES {
        // Padding or damage behind good batches is for the read that begins there.
        let Ok(header) = BatchHeader::parse(&bytes[end..]) else {
            break;
        };
        let next = end.saturating_add(header.size_bytes());
        if next > bytes.len() || next > bytes_max || header.last_offset() >= below.0 {
            break;
        }
        end = next;
    }
    end
}

/// Answers a read: the pieces of memory as they are, otherwise the first file that has something for it.
///
/// # Errors
/// [`DiskError`] if a file cannot be read or holds something else than batches.
pub fn answer(files: &dyn Files, slices: &[Slice]) -> Result<Vec<Bytes>, DiskError> {
    let mut pieces = Vec::new();
    for slice in slices {
        match slice {
            Slice::Memory(bytes) => pieces.push(bytes.clone()),
            Slice::File(slice) => {
                let bytes = read(files, slice)?;
                if !bytes.is_empty() {
                    pieces.push(bytes);
                    break;
                }
            }
        }
    }
    Ok(pieces)
}

/// Reads the batches of a slice; empty if its segment has none for the read.
///
/// # Errors
/// [`DiskError`] if a file cannot be read or holds something else than batches.
pub fn read(files: &dyn Files, slice: &FileSlice) -> Result<Bytes, DiskError> {
    let mut position = start(files, slice)?;
    let mut wanted = SEEK_BYTES.max(slice.bytes_max as usize);
    while position < slice.position_end {
        let room = usize::try_from(slice.position_end - position).unwrap_or(usize::MAX);
        let bytes = files.read_segment(&slice.log, position, wanted.min(room))?;
        let found = cut(&bytes, slice.from, slice.below, slice.bytes_max as usize, slice.first);
        match found.map_err(|error| failed(slice, position, &error.to_string()))? {
            Cut::Batches(batches) => return Ok(batches),
            Cut::Short { skipped, bytes: needed } => {
                let stuck = skipped == 0 && needed <= bytes.len();
                if stuck || (skipped == 0 && bytes.len() == room) {
                    return Err(failed(slice, position, "the segment ends inside a batch"));
                }
                position += skipped as u64;
                wanted = needed.max(SEEK_BYTES);
            }
        }
    }
    Ok(Bytes::new())
}

fn start(files: &dyn Files, slice: &FileSlice) -> Result<u64, DiskError> {
    let file = match &slice.start {
        Start::Position(position) => return Ok(*position),
        Start::Index(file) => file,
    };
    // The larger part of a large index is not needed, but a job may take its time.
    let entries_max = usize::try_from(slice.position_end).unwrap_or(usize::MAX) / HEADER_BYTES + 1;
    match files.read_segment(file, 0, entries_max.saturating_mul(index::ENTRY_BYTES)) {
        Ok(bytes) => {
            let valid = index::valid_entries(&bytes, slice.base_offset, slice.position_end);
            Ok(u64::from(index::lookup(&bytes[..valid * index::ENTRY_BYTES], slice.base_offset, slice.from)))
        }
        Err(DiskError::Missing { .. }) => Ok(0),
        Err(error) => Err(error),
    }
}

fn failed(slice: &FileSlice, position: u64, reason: &str) -> DiskError {
    DiskError::Failed { file: slice.log.clone(), reason: format!("at byte {position}: {reason}") }
}
