//! Reading segments batch by batch, in pieces of a step's size.
//!
//! Every batch is checked against its checksum, against its segment's offsets, and against the one before it in its piece: a round
//! never copies damage into a new file, where it would look sound.

use std::ops::Range;

use bytes::Bytes;
use strandline_protocol::ids::Offset;
use strandline_protocol::records::{BatchHeader, HEADER_BYTES, crc32c, position};

use super::round::CleanError;
use crate::cut::{BAD_CHECKSUM, Before, NO_NEIGHBOUR};
use crate::disk::{FilePath, Files};

/// A batch and where it lies.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) header: BatchHeader,
    pub(crate) bytes: Bytes,
    /// Where the next one begins.
    pub(crate) next: u64,
}

/// The whole batches of about `bytes_wanted` bytes at `position`, where one begins; at least one. Of `log`, which holds these `offsets`,
/// nothing is read from `end` on, where a batch ends.
///
/// # Errors
/// [`CleanError`] if the file cannot be read or holds something else.
pub(crate) fn batches(
    files: &dyn Files,
    log: &FilePath,
    offsets: Range<Offset>,
    position: u64,
    end: u64,
    bytes_wanted: usize,
) -> Result<Vec<Batch>, CleanError> {
    let room = usize::try_from(end - position).unwrap_or(usize::MAX);
    let mut piece = files.read_segment(log, position, bytes_wanted.max(HEADER_BYTES).min(room))?;
    let first = header_at(log, position, &piece)?;
    if first.size_bytes() > piece.len() {
        piece = files.read_segment(log, position, first.size_bytes().min(room))?;
    }
    let mut found = Vec::new();
    let mut begin = 0;
    while piece.len() - begin >= HEADER_BYTES {
        let at = position + begin as u64;
        let header = header_at(log, at, &piece[begin..])?;
        let next = begin.saturating_add(header.size_bytes());
        if next > piece.len() {
            break;
        }
        let bytes = piece.slice(begin..next);
        let before = found.last().map_or(Before::segment(offsets.start), |before: &Batch| Before::batch(&before.header));
        if !before.fits(&header) || header.last_offset() >= offsets.end.0 {
            return Err(corrupt(log, at, NO_NEIGHBOUR));
        }
        if crc32c(&bytes[position::ATTRIBUTES..]) != header.crc {
            return Err(corrupt(log, at, BAD_CHECKSUM));
        }
        begin = next;
        found.push(Batch { header, bytes, next: position + next as u64 });
    }
    if found.is_empty() || (piece.len() == room && begin < room) {
        return Err(corrupt(log, position + begin as u64, "the segment ends inside a batch"));
    }
    Ok(found)
}

fn header_at(log: &FilePath, position: u64, bytes: &[u8]) -> Result<BatchHeader, CleanError> {
    BatchHeader::parse(bytes).map_err(|error| corrupt(log, position, &error.to_string()))
}

/// Names a place in a file that holds no sound batch.
pub(crate) fn corrupt(log: &FilePath, position: u64, reason: &str) -> CleanError {
    CleanError::Corrupt { file: log.clone(), position, reason: reason.to_owned() }
}
