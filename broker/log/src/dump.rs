//! What files of a log directory hold, as plain values to be printed.
//!
//! Nothing is decided or repaired here, and nothing is refused that can be shown: a batch whose checksum does not hold is shown as
//! such, and the walk through a file of batches says where and why it ended.

use bytes::Bytes;
use strandline_protocol::ids::{Offset, TopicId};
use strandline_protocol::records::{BatchHeader, ControlType, Scratch, crc32c, open, position};
use strandline_protocol::stored::producer_snapshot::ProducerEntry;

use crate::checkpoints::{self, OffsetCheckpoint};
use crate::clean_shutdown::CleanShutdown;
use crate::disk::{DiskError, FilePath, Files};
use crate::epochs::{EpochEntry, LeaderEpochs};
use crate::format::FormatError;
use crate::meta_properties::MetaProperties;
use crate::names::{
    CLEAN_SHUTDOWN, CLEANER_CHECKPOINT, FileName, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, META_PROPERTIES,
    RECOVERY_POINT_CHECKPOINT, SegmentFile,
};
use crate::quorum_state::QuorumState;
use crate::scan::{Depth, Scan, Stop};
use crate::transactions::{self, AbortedTransaction};
use crate::{index, partition_metadata, snapshot, time_index};

/// Bytes that the records of one batch may unfold to.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// How a file is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Batch by batch, with [`Batches`].
    Batches,
    /// Whole, with [`contents`].
    Whole,
}

/// Tells by its name how a file is shown; `None` if it is none of ours.
pub fn shown(name: &str) -> Option<Shown> {
    match FileName::parse(name) {
        FileName::Segment { kind: SegmentFile::Log, .. } | FileName::Checkpoint { .. } => Some(Shown::Batches),
        FileName::Segment { .. } | FileName::LeaderEpochCheckpoint | FileName::PartitionMetadata | FileName::QuorumState => {
            Some(Shown::Whole)
        }
        _ => TOP_LEVEL.contains(&name).then_some(Shown::Whole),
    }
}

const TOP_LEVEL: [&str; 6] = [
    RECOVERY_POINT_CHECKPOINT,
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_CHECKPOINT,
    CLEANER_CHECKPOINT,
    META_PROPERTIES,
    CLEAN_SHUTDOWN,
];

/// What a file holds that is not made of batches.
#[derive(Clone, Debug, PartialEq)]
pub enum Contents {
    /// `spare` entries follow that are allocated ahead, or make no sense.
    OffsetIndex {
        entries: Vec<index::Entry>,
        spare: usize,
    },
    /// `spare` entries follow that are allocated ahead, or make no sense.
    TimeIndex {
        entries: Vec<time_index::Entry>,
        spare: usize,
    },
    TransactionIndex(Vec<AbortedTransaction>),
    Snapshot(Vec<ProducerEntry>),
    LeaderEpochs(Vec<EpochEntry>),
    PartitionMetadata(TopicId),
    Offsets(Vec<OffsetCheckpoint>),
    MetaProperties(MetaProperties),
    CleanShutdown(CleanShutdown),
    QuorumState(QuorumState),
}

/// Reads what a file of this name holds; `None` if it is none of ours or made of batches.
///
/// # Errors
/// [`FormatError`] if it is malformed.
pub fn contents(name: &str, bytes: &Bytes) -> Result<Option<Contents>, FormatError> {
    let contents = match FileName::parse(name) {
        FileName::Segment { base, kind } => return segment_file(base, kind, bytes),
        FileName::LeaderEpochCheckpoint => Contents::LeaderEpochs(LeaderEpochs::parse(bytes)?.entries().to_vec()),
        FileName::PartitionMetadata => Contents::PartitionMetadata(partition_metadata::parse(bytes)?),
        FileName::QuorumState => Contents::QuorumState(QuorumState::parse(bytes)?),
        _ if name == META_PROPERTIES => Contents::MetaProperties(MetaProperties::parse(bytes)?),
        _ if name == CLEAN_SHUTDOWN => Contents::CleanShutdown(CleanShutdown::parse(bytes)?),
        _ if TOP_LEVEL.contains(&name) => Contents::Offsets(checkpoints::parse(bytes)?),
        _ => return Ok(None),
    };
    Ok(Some(contents))
}

fn segment_file(base: Offset, kind: SegmentFile, bytes: &Bytes) -> Result<Option<Contents>, FormatError> {
    Ok(Some(match kind {
        SegmentFile::Log => return Ok(None),
        SegmentFile::OffsetIndex => {
            let valid = index::valid_entries(bytes, base, u64::MAX);
            let entries = (0..valid).filter_map(|slot| index::entry_at(bytes, base, slot)).collect();
            Contents::OffsetIndex { entries, spare: index::entries(bytes) - valid }
        }
        SegmentFile::TimeIndex => {
            let valid = time_index::valid_entries(bytes, base);
            let entries = (0..valid).filter_map(|slot| time_index::entry_at(bytes, base, slot)).collect();
            Contents::TimeIndex { entries, spare: time_index::entries(bytes) - valid }
        }
        SegmentFile::TransactionIndex => Contents::TransactionIndex(transactions::parse(bytes)?),
        SegmentFile::Snapshot => Contents::Snapshot(snapshot::parse(bytes)?),
    }))
}

/// A batch in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub position: u64,
    pub header: BatchHeader,
    pub checksum_holds: bool,
    /// Its bytes, to be opened with [`records`].
    pub bytes: Bytes,
}

/// One record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: Offset,
    pub timestamp_ms: i64,
    /// -1 without idempotence.
    pub sequence: i32,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Of a control record; `None` for data, and for types of later releases.
    pub control: Option<ControlType>,
}

/// The batches of a file, one after the other.
pub struct Batches<'a> {
    files: &'a dyn Files,
    file: &'a FilePath,
    scan: Scan<'a>,
    /// Behind the last batch, and why there is no other; once it is known.
    end: Option<(u64, Stop)>,
    position: u64,
}

impl<'a> Batches<'a> {
    /// Walks through a `.log` or `.checkpoint` file of `bytes` bytes.
    pub fn new(files: &'a dyn Files, file: &'a FilePath, bytes: u64) -> Self {
        Self { files, file, scan: Scan::new(files, file, 0, bytes), end: None, position: 0 }
    }

    /// Where the batches end and why, once the iterator gave `None`.
    pub fn end(&self) -> Option<(u64, Stop)> {
        self.end
    }

    fn read(&mut self) -> Result<Option<Batch>, DiskError> {
        let batch = match self.scan.next(Depth::Header)? {
            Ok(batch) => batch,
            Err(stop) => {
                self.end = Some((self.position, stop));
                return Ok(None);
            }
        };
        let bytes = self.files.read(self.file, batch.position, batch.header.size_bytes())?;
        self.position = batch.position + batch.header.size_bytes() as u64;
        let checksum_holds = crc32c(&bytes[position::ATTRIBUTES..]) == batch.header.crc;
        Ok(Some(Batch { position: batch.position, header: batch.header, checksum_holds, bytes }))
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, DiskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.end.is_some() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.end = Some((self.position, Stop::Torn));
        }
        read.transpose()
    }
}

/// Opens the records of a batch.
///
/// # Errors
/// What cannot be read, in words: there is nobody to act on it.
pub fn records(batch: &Batch) -> Result<Vec<Record>, String> {
    let mut scratch = Scratch::default();
    let (header, records) = open(&batch.bytes, DECOMPRESSED_BYTES_MAX, &mut scratch).map_err(|error| error.to_string())?;
    let owned = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    records
        .map(|record| {
            let record = record.map_err(|error| error.to_string())?;
            let delta = i64::from(record.offset_delta);
            let sequence = i64::from(header.base_sequence) + delta;
            let control = ControlType::from_key(record.key).ok().flatten().filter(|_| header.is_control());
            Ok(Record {
                offset: Offset(header.base_offset.saturating_add(delta)),
                timestamp_ms: header.timestamp_of(record.timestamp_delta),
                sequence: if header.base_sequence < 0 { -1 } else { sequence.rem_euclid(1 << 31) as i32 },
                key: record.key.map(owned),
                value: record.value.map(owned),
                headers: record.headers.map(|header| (owned(header.key), header.value.map(owned))).collect(),
                control,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use strandline_protocol::records::{BatchBuilder, BatchOptions, NewRecord};

    use super::*;
    use crate::memory::MemoryDisk;

    fn batch(base_offset: i64) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions { base_offset, ..BatchOptions::default() });
        for timestamp in [5, 6] {
            builder.append(&NewRecord { timestamp, key: None, value: Some(b"v"), headers: &[] }).expect("it fits");
        }
        builder.build(&mut Scratch::default()).expect("it is well formed")
    }

    #[test]
    fn a_file_of_batches_is_shown_with_its_damage_and_its_end() {
        let mut bytes = [batch(0), batch(2)].concat();
        let size = batch(0).len();
        bytes[size + 70] ^= 1;
        bytes.extend_from_slice(&[0; 500]);
        let mut disk = MemoryDisk::default();
        let file = FilePath::inside("a-0", "00000000000000000000.log");
        disk.put(file.clone(), bytes.clone());
        let mut walk = Batches::new(&disk, &file, bytes.len() as u64);
        let shown: Vec<Batch> = walk.by_ref().map(|batch| batch.expect("it can be read")).collect();
        let holds: Vec<bool> = shown.iter().map(|batch| batch.checksum_holds).collect();
        assert_eq!(holds, [true, false]);
        assert_eq!(walk.end(), Some((2 * size as u64, Stop::Zeros)));
        let records = records(&shown[0]).expect("it is well formed");
        let seen: Vec<(i64, i64)> = records.iter().map(|record| (record.offset.0, record.timestamp_ms)).collect();
        assert_eq!(seen, [(0, 5), (1, 6)]);
        assert_eq!(records[0].value.as_deref(), Some(&b"v"[..]));
    }

    #[test]
    fn every_file_of_ours_is_shown_and_no_other() {
        for kind in SegmentFile::ALL {
            assert!(shown(&kind.name(Offset(7))).is_some());
        }
        for name in TOP_LEVEL.iter().chain(&["quorum-state", "partition.metadata", "leader-epoch-checkpoint"]) {
            assert_eq!(shown(name), Some(Shown::Whole), "{name}");
        }
        assert_eq!(shown("00000000000000000012-0000000003.checkpoint"), Some(Shown::Batches));
        assert_eq!(shown("notes.txt"), None);
    }

    #[test]
    fn entries_allocated_ahead_are_counted() {
        let mut index = index::OffsetIndex::default();
        index.push(Offset(10), index::Entry { offset: Offset(19), position: 4_200 });
        let mut bytes = index.as_bytes().to_vec();
        bytes.resize(80, 0);
        let shown = contents("00000000000000000010.index", &Bytes::from(bytes)).expect("it is an index");
        let entries = vec![index::Entry { offset: Offset(19), position: 4_200 }];
        assert_eq!(shown, Some(Contents::OffsetIndex { entries, spare: 9 }));
        assert!(contents("00000000000000000010.snapshot", &Bytes::from_static(b"x")).is_err());
        assert_eq!(contents("notes.txt", &Bytes::new()), Ok(None));
    }
}
