//! Cutting what was read from a segment file to the batches that answer a read.
//!
//! [`cut`] is pure: the broker's rim reads with whatever executor it has and cuts; [`read`] does the whole of it over
//! [`Files`], for jobs and for the simulator. Whether what was read is what was written says [`damage`]; [`read_sound`] asks it.

use std::ops::Range;

use bytes::Bytes;
use strandline_protocol::ids::Offset;
use strandline_protocol::records::{BatchError, BatchHeader, HEADER_BYTES, crc32c, position};

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

pub(crate) const BAD_CHECKSUM: &str = "its checksum does not hold";
pub(crate) const NO_NEIGHBOUR: &str = "its offsets or its leader epoch do not fit those of its neighbours";

/// What is wrong with bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where among the bytes the batch begins at which it shows.
    pub at: usize,
    pub reason: &'static str,
}

/// Where the batch before stood, which shows whether the next one fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    last_offset: i64,
    leader_epoch: i32,
}

impl Before {
    /// Nothing is known but the segment.
    pub fn of(slice: &FileSlice) -> Self {
        Self::segment(slice.base_offset)
    }

    /// The segment that begins here.
    pub(crate) fn segment(base: Offset) -> Self {
        Self { last_offset: base.0 - 1, leader_epoch: i32::MIN }
    }

    /// This batch.
    pub(crate) fn batch(header: &BatchHeader) -> Self {
        Self { last_offset: header.last_offset(), leader_epoch: header.partition_leader_epoch }
    }

    /// Behind it.
    pub(crate) fn end(self) -> Offset {
        Offset(self.last_offset.saturating_add(1))
    }

    /// Whether the next batch may be this one.
    pub(crate) fn fits(self, next: &BatchHeader) -> bool {
        next.base_offset > self.last_offset && next.partition_leader_epoch >= self.leader_epoch
    }

    /// The last batch that begins in the first `skipped` of `bytes`, which begin with a batch.
    #[must_use]
    pub fn skip(self, bytes: &[u8], skipped: usize) -> Self {
        let (mut at, mut before) = (0, self);
        while at < skipped
            && let Some(header) = bytes.get(at..).and_then(|rest| BatchHeader::parse(rest).ok())
        {
            before = Self::batch(&header);
            at += header.size_bytes();
        }
        before
    }
}

/// Looks for damage in `bytes`, which begin with a batch of the slice's segment. Of the batches of `answer` the checksums are compared. It
/// covers what producers wrote; the base offset and the leader epoch before it, which brokers wrote, show damage only beside their neighbours: both rise
/// from batch to batch, and no offset reaches the next segment. So batches before the answer and the one behind it are looked at too, and all
/// there are if the answer is empty: what seems to lie behind the reader's bound may be damaged.
pub fn damage(bytes: &[u8], answer: Range<usize>, slice: &FileSlice, before: Before) -> Option<Damage> {
    let (mut at, mut before) = (0, before);
    while at <= answer.end || answer.is_empty() {
        // Half a batch, or padding, is for the read that begins there.
        let header = bytes.get(at..).and_then(|rest| BatchHeader::parse(rest).ok())?;
        if !before.fits(&header) || header.last_offset() >= slice.next_offset.0 {
            return Some(Damage { at, reason: NO_NEIGHBOUR });
        }
        let end = at.saturating_add(header.size_bytes());
        if answer.contains(&at) && crc32c(bytes.get(at + position::ATTRIBUTES..end)?) != header.crc {
            return Some(Damage { at, reason: BAD_CHECKSUM });
        }
        before = Before::batch(&header);
        at = end;
    }
    None
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
    read_piece(files, slice).map(|piece| piece.bytes.slice(piece.answer))
}

/// Why there are no bytes that are known to be sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFault {
    Disk(DiskError),
    /// The file holds something else than what was written there.
    Damaged(DiskError),
}

/// Reads the batches of a slice as [`read`] does, and looks for damage.
///
/// # Errors
/// [`ReadFault`]
pub fn read_sound(files: &dyn Files, slice: &FileSlice) -> Result<Bytes, ReadFault> {
    let Piece { bytes, position, answer, before } = read_piece(files, slice).map_err(ReadFault::Disk)?;
    match damage(&bytes, answer.clone(), slice, before) {
        None => Ok(bytes.slice(answer)),
        Some(Damage { at, reason }) => Err(ReadFault::Damaged(failed(slice, position + at as u64, reason))),
    }
}

/// What was read, and which part of it is the answer.
struct Piece {
    bytes: Bytes,
    position: u64,
    answer: Range<usize>,
    /// What was skipped before.
    before: Before,
}

/// Which part of `bytes` these batches, which were cut from it, are.
pub fn part_of(bytes: &Bytes, batches: &Bytes) -> Range<usize> {
    let begin = if batches.is_empty() { 0 } else { batches.as_ptr() as usize - bytes.as_ptr() as usize };
    begin..begin + batches.len()
}

fn read_piece(files: &dyn Files, slice: &FileSlice) -> Result<Piece, DiskError> {
    let mut position = start(files, slice)?;
    let mut before = Before::of(slice);
    let mut wanted = SEEK_BYTES.max(slice.bytes_max as usize);
    while position < slice.position_end {
        let room = usize::try_from(slice.position_end - position).unwrap_or(usize::MAX);
        let bytes = files.read_segment(&slice.log, position, wanted.min(room))?;
        let found = cut(&bytes, slice.from, slice.below, slice.bytes_max as usize, slice.first);
        match found.map_err(|error| failed(slice, position, &error.to_string()))? {
            Cut::Batches(batches) => {
                let answer = part_of(&bytes, &batches);
                return Ok(Piece { bytes, position, answer, before });
            }
            Cut::Short { skipped, bytes: needed } => {
                let stuck = skipped == 0 && needed <= bytes.len();
                if stuck || (skipped == 0 && bytes.len() == room) {
                    return Err(failed(slice, position, "the segment ends inside a batch"));
                }
                before = before.skip(&bytes, skipped);
                position += skipped as u64;
                wanted = needed.max(SEEK_BYTES);
            }
        }
    }
    Ok(Piece { bytes: Bytes::new(), position, answer: 0..0, before })
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
