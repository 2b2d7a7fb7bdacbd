//! A piece of a partition's log is read for a copy of it in another log directory, as a job.

use bytes::Bytes;
use strandline_log::cut;
use strandline_log::disk::{FilePath, Files};
use strandline_log::slice::Slice;
use strandline_protocol::ids::Offset;
use strandline_protocol::records::{BatchHeader, crc32c, position};

/// What is to be read.
#[derive(Clone, Debug)]
pub struct CopyPiece {
    pub(crate) slices: Vec<Slice>,
}

/// Why it cannot be copied. Names the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFault {
    /// It is something else than what was written there.
    Damaged {
        log: FilePath,
        base_offset: Offset,
    },
    Disk {
        log: FilePath,
        base_offset: Offset,
    },
}

/// Reads a piece; nothing if the rest was compacted away.
///
/// # Errors
/// [`CopyFault`]
pub fn read(files: &dyn Files, piece: &CopyPiece) -> Result<Vec<Bytes>, CopyFault> {
    let mut pieces = Vec::new();
    for slice in &piece.slices {
        match slice {
            Slice::Memory(bytes) => pieces.push(bytes.clone()),
            Slice::File(slice) => {
                let (log, base_offset) = (slice.log.clone(), slice.base_offset);
                let Ok(bytes) = cut::read(files, slice) else { return Err(CopyFault::Disk { log, base_offset }) };
                if !is_whole(&bytes) {
                    return Err(CopyFault::Damaged { log, base_offset });
                }
                if !bytes.is_empty() {
                    pieces.push(bytes);
                    break;
                }
            }
        }
    }
    Ok(pieces)
}

/// Whether the checksums of all batches hold.
fn is_whole(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let Ok(header) = BatchHeader::parse(bytes) else { return false };
        let Some((batch, rest)) = bytes.split_at_checked(header.size_bytes()) else { return false };
        if batch.get(position::ATTRIBUTES..).map(crc32c) != Some(header.crc) {
            return false;
        }
        bytes = rest;
    }
    true
}
