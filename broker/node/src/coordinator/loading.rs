//! A coordinator reads its state: the records of its partition, as a job, a piece at a time.

use bytes::Bytes;
use strandline_log::cut::answer;
use strandline_log::disk::{DiskError, FilePath, Files};
use strandline_log::producers::{Outcome, marker_of};
use strandline_log::slice::Slice;
use strandline_protocol::ids::{Offset, ProducerId};
use strandline_protocol::records::{BatchAt, Batches, Scratch, open};

use super::kind::Kind;
use super::state::StateRecord;

/// Bytes that one job reads: enough that a partition takes few of them, little enough to hold. Half of Kafka's
/// `offsets.load.buffer.size`, since records unfold in memory.
pub(crate) const PIECE_BYTES: u32 = 4 << 20;

/// Bytes that the records of one batch may unfold to; coordinators write batches of far less.
const UNFOLDED_BYTES_MAX: usize = 256 << 20;

/// What is to be read.
#[derive(Clone, Debug)]
pub struct LoadPiece {
    pub(crate) kind: Kind,
    pub slices: Vec<Slice>,
    /// Records below are left out.
    pub from: Offset,
    /// Where the partition ends.
    pub below: Offset,
    /// For messages.
    pub directory: FilePath,
}

/// What was read.
#[derive(Debug)]
pub struct LoadedPiece {
    pub entries: Vec<Loaded>,
    /// Where the next piece begins; `below` if this was the last one.
    pub next: Offset,
}

/// One thing that the log says.
#[derive(Debug)]
pub enum Loaded {
    /// A record, with its producer if it is of a transaction.
    Record { record: Box<StateRecord>, producer: Option<ProducerId> },
    /// A transaction was decided.
    Marker { producer: ProducerId, outcome: Outcome },
}

/// Reads a piece.
///
/// # Errors
/// [`DiskError`] if a file cannot be read or a batch cannot be opened. Records of an unknown kind are skipped: a later
/// version may have written them.
pub fn load(files: &dyn Files, piece: &LoadPiece) -> Result<LoadedPiece, DiskError> {
    let mut loaded = LoadedPiece { entries: Vec::new(), next: piece.from };
    let mut scratch = Scratch::default();
    for bytes in answer(files, &piece.slices)? {
        for batch in Batches::new(&bytes) {
            let read = batch.map_err(|error| error.to_string());
            let read = read.and_then(|batch| take(&mut loaded, piece, &bytes, &batch, &mut scratch));
            read.map_err(|reason| DiskError::Failed { file: piece.directory.clone(), reason })?;
        }
    }
    if loaded.next == piece.from {
        // The rest was compacted away.
        loaded.next = piece.below;
    }
    Ok(loaded)
}

fn take(
    loaded: &mut LoadedPiece,
    piece: &LoadPiece,
    bytes: &Bytes,
    batch: &BatchAt<'_>,
    scratch: &mut Scratch,
) -> Result<(), String> {
    let header = batch.header;
    loaded.next = loaded.next.max(Offset(header.next_offset()));
    let producer = ProducerId(header.producer_id);
    if header.is_control() {
        if let Some(marker) = marker_of(&header, batch.bytes) {
            loaded.entries.push(Loaded::Marker { producer, outcome: marker.outcome });
        }
        return Ok(());
    }
    let whole = bytes.slice(batch.position..batch.position + batch.bytes.len());
    let (_, records) = open(&whole, UNFOLDED_BYTES_MAX, scratch).map_err(|error| error.to_string())?;
    for record in records {
        let record = record.map_err(|error| error.to_string())?;
        if header.base_offset + i64::from(record.offset_delta) < piece.from.0 {
            continue;
        }
        let Some(key) = record.key else { continue };
        let value = record.value.map(Bytes::copy_from_slice);
        if let Ok(record) = StateRecord::decode(piece.kind, Bytes::copy_from_slice(key), value) {
            let producer = header.is_transactional().then_some(producer);
            loaded.entries.push(Loaded::Record { record: Box::new(record), producer });
        }
    }
    Ok(())
}
