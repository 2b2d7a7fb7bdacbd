//! A piece of a partition's log is read for a copy of it in another log directory, as a job.

use bytes::Bytes;
use strandline_log::cut::{self, ReadFault};
use strandline_log::disk::{FilePath, Files};
use strandline_log::slice::Slice;
use strandline_protocol::ids::Offset;

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
                let bytes = cut::read_sound(files, slice).map_err(|fault| match fault {
                    ReadFault::Damaged(_) => CopyFault::Damaged { log, base_offset },
                    ReadFault::Disk(_) => CopyFault::Disk { log, base_offset },
                })?;
                if !bytes.is_empty() {
                    pieces.push(bytes);
                    break;
                }
            }
        }
    }
    Ok(pieces)
}
