//! The metadata log at start: recovered, and its records applied to an image.
//!
//! Reads through [`Files`] and decides nothing else. The newest snapshot (`*.checkpoint`) comes first, then every record
//! behind it. Records between the begin and the abort of a metadata transaction (KIP-868) count for nothing.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use strandline_log::config::LogConfig;
use strandline_log::disk::{DiskError, DiskOp, Entry, FilePath, Files};
use strandline_log::format::FormatError;
use strandline_log::log::{Log, Positions};
use strandline_log::names::{FileName, SegmentFile};
use strandline_log::quorum_state::{QuorumState, Voters};
use strandline_log::recover::{Checkpoints, RecoverError, Recovered, Recovery, Shutdown, recover};
use strandline_log::scan::Stop;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId, Uuid};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::records::{
    BatchAt, BatchHeader, Batches, ControlType, OpenError, RecordError, Scratch, crc32c, open, position,
};
use strandline_protocol::wire::WireError;

use crate::config::BrokerConfig;
use crate::controller::{METADATA_DIRECTORY, METADATA_TOPIC};
use crate::image::{ApplyError, Image};
use crate::io::Effect;
use crate::quorum::voters::{QuorumRecord, ReplicaKey, VoterHistory, VoterSet};
use crate::recovery::{SurveyError, forget_recovery_point, recovery_point_of};
use crate::snapshot::FoundSnapshots;
use crate::snapshot::found::{HEADER_BYTES_MAX, last_contained_ms};
use crate::snapshot::write::SnapshotId;
use crate::topology::Topology;
use records::Transactions;

pub mod bootstrap;
pub(crate) mod records;

/// The file that keeps the epoch and the vote.
pub(crate) const QUORUM_STATE: &str = "quorum-state";

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Most bytes of one batch of the metadata log. Source: KafkaRaftClient.MAX_BATCH_SIZE_BYTES is 8 MiB; ours are far smaller.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// What the metadata log came to.
pub struct LoadedMetadata {
    pub log: Log,
    /// Everything in the log, committed or not.
    pub image: Image,
    pub snapshots: FoundSnapshots,
    /// The newest snapshot: what is known to be committed, whoever the voters are.
    pub snapshot: Image,
    /// The records behind the snapshot.
    pub records: VecDeque<(Offset, MetadataRecord)>,
    /// The newest epoch that is known here.
    pub epoch: LeaderEpoch,
    /// Whom this node voted for in that epoch.
    pub(crate) voted: Option<ReplicaKey>,
    /// To be carried out before the log is used.
    pub repairs: Vec<DiskOp>,
    /// What the first leader of a new cluster writes, if `format` chose it.
    pub bootstrap: Vec<MetadataRecord>,
    /// What snapshot and log say of the quorum.
    pub(crate) quorum: Vec<(Offset, QuorumRecord)>,
}

impl LoadedMetadata {
    /// Whether this process is the whole cluster: so says its configuration, and the log names no voters.
    pub fn is_alone(&self, topology: &Topology) -> bool {
        let names_voters = self.quorum.iter().any(|(_, record)| matches!(record, QuorumRecord::Voters(_)));
        topology.is_alone() && !names_voters
    }
}

/// Why the metadata log cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("the metadata log cannot be recovered: {0}")]
    Recover(#[from] RecoverError),
    #[error("a batch of {file} at position {position} cannot be read: {reason}")]
    Batch { file: FilePath, position: u64, reason: OpenError },
    #[error("a record of the metadata log at offset {offset} cannot be read: {reason}")]
    Record { offset: Offset, reason: RecordError },
    #[error("a record of the metadata log at offset {offset} cannot be decoded: {reason}")]
    Decode { offset: Offset, reason: WireError },
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("{file} is damaged at byte {position}: the checksum of a batch does not hold")]
    Checksum { file: FilePath, position: u64 },
    #[error("records of the metadata log are missing from offset {expected} on; the next is {found}")]
    Hole { expected: Offset, found: Offset },
    #[error("the snapshot {file} does not end as one; it was whole when it got its name")]
    SnapshotTorn { file: FilePath },
    #[error(
        "the metadata log begins at offset {log_start}, and no snapshot reaches that far (the newest ends at {newest}): what lies between is lost"
    )]
    NoSnapshot { log_start: Offset, newest: Offset },
    #[error(
        "the metadata log is cut short at offset {log_end} ({stop}), below the end {snapshot} of its snapshot: it is damaged"
    )]
    EndsBelowSnapshot { log_end: Offset, snapshot: Offset, stop: Stop },
    #[error(transparent)]
    Checkpoint(#[from] SurveyError),
    /// A voter that forgets its vote may vote twice.
    #[error("{file}: {reason}")]
    QuorumState { file: FilePath, reason: FormatError },
    #[error("{file} holds a batch above {BATCH_BYTES_MAX} bytes at position {position}")]
    BatchTooLarge { file: FilePath, position: u64 },
}

/// A metadata log that cannot be read, or does not fit together, is as good as a failed directory.
pub(crate) fn unusable(reason: &dyn Display) -> Effect {
    let file = FilePath::top(METADATA_DIRECTORY);
    Effect::Fail { file: file.clone(), reason: DiskError::Failed { file, reason: reason.to_string() } }
}

/// Recovers the metadata log and replays it.
///
/// # Errors
/// [`LoadError`]; the process cannot start.
pub fn load(files: &dyn Files, now_ms: i64) -> Result<LoadedMetadata, LoadError> {
    let directory = FilePath::top(METADATA_DIRECTORY);
    // Records of the metadata log go only behind a snapshot, never by age or size.
    let config = Arc::new(LogConfig { expires: false, ..LogConfig::default() });
    let entries = match files.list(&directory) {
        Ok(entries) => entries,
        Err(DiskError::Missing { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let names: Vec<FileName> = entries.iter().map(|entry| FileName::parse(&entry.name)).collect();
    let (kept_epoch, voted) = kept(files)?;
    let mut snapshots = FoundSnapshots::list(files, &entries)?;
    let snapshot_end = snapshots.newest_end();
    let has_segments = names.iter().any(|name| matches!(name, FileName::Segment { .. }));
    if !has_segments && snapshot_end == Offset::ZERO {
        let mut replay = Replay::default();
        if let Some(newest) = snapshots.newest() {
            replay.snapshot(files, &newest.file(), newest.id)?;
        }
        let log = Log::new(METADATA_DIRECTORY, TopicId::METADATA, config);
        let mut repairs = half_written(&entries);
        // One that lay here before was taken away by hand: the new one will not reach that far for a while.
        repairs.extend(forget_recovery_point(files, METADATA_TOPIC, 0)?);
        return Ok(LoadedMetadata {
            log,
            image: Image::default(),
            snapshots,
            snapshot: Image::default(),
            records: VecDeque::new(),
            epoch: kept_epoch,
            voted,
            repairs,
            bootstrap: bootstrap::records(files)?,
            quorum: replay.quorum,
        });
    }
    // A log without files goes on where the snapshot ends; one with files begins with the first of them.
    let bare_start = if has_segments { Offset::ZERO } else { snapshot_end };
    let recovery = Recovery {
        directory: METADATA_DIRECTORY.into(),
        config,
        checkpoints: Checkpoints { recovery_point: recovery_point(files)?, log_start: bare_start, ..Checkpoints::default() },
        shutdown: Shutdown::Unclean,
        now_ms,
    };
    let mut recovered = recover(files, &recovery)?;
    let newest = snapshots.newest().map_or_else(SnapshotId::default, |newest| newest.id);
    let begins_anew = fit_together(&mut recovered, newest, now_ms)?;
    let mut replay = Replay::default();
    if let Some(newest) = snapshots.newest() {
        replay.snapshot(files, &newest.file(), newest.id)?;
    }
    let snapshot = replay.image.clone();
    let end = recovered.log.positions().log_end;
    let segments = if begins_anew { Vec::new() } else { needed_segments(&names, snapshot_end) };
    replay.log_from = Some(segments.first().map_or(snapshot_end, |base| (*base).max(recovered.log.positions().log_start)));
    replay.below = end;
    for base in segments {
        replay.file(files, &FilePath::inside(METADATA_DIRECTORY, &SegmentFile::Log.name(base)), u64::MAX)?;
    }
    replay.is_whole(end)?;
    replay.image.end = end;
    snapshots.beyond_bytes = replay.beyond_bytes;
    begin_where_epochs_do(&mut recovered, &mut snapshots)?;
    let snapshot_epoch = snapshots.newest().map_or(LeaderEpoch(0), |newest| newest.id.epoch);
    let epoch = recovered.log.epochs().latest().unwrap_or(LeaderEpoch(0)).max(kept_epoch).max(snapshot_epoch);
    Ok(LoadedMetadata {
        log: recovered.log,
        image: replay.image,
        snapshots,
        snapshot,
        records: replay.records,
        epoch,
        voted: voted.filter(|_| epoch == kept_epoch),
        repairs: recovered.repairs,
        bootstrap: bootstrap::records(files)?,
        quorum: replay.quorum,
    })
}

/// Removes what a crash left half written: the first snapshot of a node, for one.
fn half_written(entries: &[Entry]) -> Vec<DiskOp> {
    let halves = entries.iter().filter(|entry| FileName::parse(&entry.name) == FileName::Temporary);
    halves.map(|entry| DiskOp::Delete { file: FilePath::inside(METADATA_DIRECTORY, &entry.name) }).collect()
}

/// A snapshot that was read whole.
#[derive(Debug)]
pub struct SnapshotRead {
    pub image: Image,
    pub(crate) quorum: SnapshotVoters,
    /// The newest timestamp of what it holds, as its header says.
    pub last_contained_ms: i64,
}

/// What a snapshot says of the quorum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotVoters {
    /// The level of `kraft.version`.
    pub version: i16,
    /// `None` if they stand in the configuration.
    pub voters: Option<VoterSet>,
}

/// Reads a snapshot from a file, whatever its name: every checksum is compared, nothing may be missing, and its records must
/// make an image.
///
/// # Errors
/// [`LoadError`]
pub fn read_snapshot(files: &dyn Files, id: SnapshotId, file: &FilePath) -> Result<SnapshotRead, LoadError> {
    let mut replay = Replay::default();
    replay.snapshot(files, file, id)?;
    let last_contained_ms = last_contained_ms(&files.read(file, 0, HEADER_BYTES_MAX)?).unwrap_or(0);
    let history = VoterHistory::new(VoterSet::default(), replay.quorum);
    let (version, voters) = history.below(id.end);
    let quorum = SnapshotVoters { version, voters: voters.cloned() };
    Ok(SnapshotRead { image: replay.image, quorum, last_contained_ms })
}

fn recovery_point(files: &dyn Files) -> Result<Offset, LoadError> {
    Ok(recovery_point_of(files, METADATA_TOPIC, 0)?)
}

/// The epoch of `quorum-state`, and whom this node voted for in it.
fn kept(files: &dyn Files) -> Result<(LeaderEpoch, Option<ReplicaKey>), LoadError> {
    let file = FilePath::inside(METADATA_DIRECTORY, QUORUM_STATE);
    match files.read(&file, 0, CHUNK_BYTES) {
        Ok(contents) => {
            let state = QuorumState::parse(&contents).map_err(|reason| LoadError::QuorumState { file, reason })?;
            let directory = match state.voters {
                Voters::InLog { voted_directory } => voted_directory,
                Voters::Configured(_) => Uuid::ZERO,
            };
            let voted = ReplicaKey { id: state.voted.0, directory };
            Ok((state.leader_epoch, Some(voted).filter(|voted| voted.id >= 0)))
        }
        Err(DiskError::Missing { .. }) => Ok((LeaderEpoch(0), None)),
        Err(error) => Err(error.into()),
    }
}

/// What the settings of the metadata log are: its records go only behind a snapshot, never by age or size alone.
pub(crate) fn metadata_log_config(config: &BrokerConfig) -> Arc<LogConfig> {
    Arc::new(LogConfig {
        expires: false,
        segment_bytes: u32::try_from(config.number("metadata.log.segment.bytes")).unwrap_or(u32::MAX),
        segment_ms: config.number("metadata.log.segment.ms"),
        ..LogConfig::default()
    })
}

/// Snapshot and log are one piece: no hole lies between them. Says whether the log begins anew.
///
/// A log that ends below its snapshot, in good order, is that of a node that fetched the snapshot and died before it began its log
/// anew: that is done now. One that is cut short there has lost what came behind the snapshot too.
fn fit_together(recovered: &mut Recovered, snapshot: SnapshotId, now_ms: i64) -> Result<bool, LoadError> {
    let snapshot_end = snapshot.end;
    let Positions { log_start, log_end, .. } = recovered.log.positions();
    if log_start > snapshot_end {
        return Err(LoadError::NoSnapshot { log_start, newest: snapshot_end });
    }
    if log_end >= snapshot_end {
        // The record before the snapshot's end was written by another leader: such a log was never committed that far, and its
        // node died between fetching the snapshot and beginning the log anew.
        let parted = snapshot_end > log_start
            && recovered.log.epochs().epoch_of(Offset(snapshot_end.0 - 1)).is_some_and(|epoch| epoch != snapshot.epoch);
        if parted {
            recovered.log.restart_at(now_ms, snapshot_end);
        }
        return Ok(parted);
    }
    match recovered.report.stop {
        Some(stop) if !matches!(stop, Stop::End | Stop::Zeros) => {
            Err(LoadError::EndsBelowSnapshot { log_end, snapshot: snapshot_end, stop })
        }
        _ => {
            recovered.log.restart_at(now_ms, snapshot_end);
            Ok(true)
        }
    }
}

/// A log that was cut at its front begins in the middle of a segment, and its files do not say where. Its epochs do: who wrote what
/// lies before nobody knows any more. A leader that began there would take its own records for those of an earlier epoch, and agree
/// with followers that have others. So the log begins where its oldest snapshot behind that point ends.
fn begin_where_epochs_do(recovered: &mut Recovered, snapshots: &mut FoundSnapshots) -> Result<(), LoadError> {
    let log_start = recovered.log.positions().log_start;
    let known_from = recovered.log.epochs().entries().first().map_or(log_start, |entry| entry.start);
    if known_from <= log_start {
        return Ok(());
    }
    let newest = snapshots.newest_end();
    let oldest = snapshots.kept.iter().map(|snapshot| snapshot.id.end).find(|end| *end >= known_from);
    let begin = oldest.ok_or(LoadError::NoSnapshot { log_start: known_from, newest })?;
    for gone in snapshots.kept.iter().filter(|snapshot| snapshot.id.end < begin) {
        recovered.repairs.push(DiskOp::Delete { file: gone.file() });
    }
    snapshots.kept.retain(|snapshot| snapshot.id.end >= begin);
    // It is open, and reaches behind its newest snapshot.
    let _ = recovered.log.delete_records(begin, begin);
    Ok(())
}

/// Where the segments begin that hold something behind the snapshot.
fn needed_segments(names: &[FileName], snapshot_end: Offset) -> Vec<Offset> {
    let logs = names.iter().filter_map(|name| match name {
        FileName::Segment { kind: SegmentFile::Log, base } => Some(*base),
        _ => None,
    });
    let mut bases: Vec<Offset> = logs.collect();
    bases.sort_unstable();
    let below = bases.partition_point(|base| *base <= snapshot_end);
    bases.split_off(below.saturating_sub(1))
}

/// Applies batch after batch.
struct Replay {
    image: Image,
    below: Offset,
    /// Where the next batch of the log begins; batches of a snapshot have offsets of their own.
    log_from: Option<Offset>,
    transactions: Transactions,
    records: VecDeque<(Offset, MetadataRecord)>,
    quorum: Vec<(Offset, QuorumRecord)>,
    /// Where records of the quorum count that stand in a snapshot.
    snapshot_last: Option<Offset>,
    scratch: Scratch,
    /// Bytes of batches that were applied.
    beyond_bytes: u64,
    /// Whether the last batch was the end of a snapshot.
    ends_with_footer: bool,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            image: Image::default(),
            below: Offset::MAX,
            log_from: None,
            transactions: Transactions::default(),
            records: VecDeque::new(),
            quorum: Vec::new(),
            snapshot_last: None,
            scratch: Scratch::default(),
            beyond_bytes: 0,
            ends_with_footer: false,
        }
    }
}

impl Replay {
    /// Begins with what a snapshot holds. Its file was whole when it got its name, so it has to be whole.
    fn snapshot(&mut self, files: &dyn Files, file: &FilePath, id: SnapshotId) -> Result<(), LoadError> {
        self.log_from = Some(Offset::ZERO);
        self.snapshot_last = Some(Offset(id.end.0 - 1));
        self.file(files, file, u64::MAX)?;
        self.snapshot_last = None;
        if !self.ends_with_footer {
            return Err(LoadError::SnapshotTorn { file: file.clone() });
        }
        self.image.end = id.end;
        (self.beyond_bytes, self.transactions) = (0, Transactions::default());
        self.records = VecDeque::new();
        Ok(())
    }

    fn file(&mut self, files: &dyn Files, file: &FilePath, end: u64) -> Result<(), LoadError> {
        let mut position = 0;
        let mut wanted = CHUNK_BYTES;
        while position < end {
            let chunk = files.read(file, position, wanted)?;
            let mut batches = Batches::new(&chunk);
            for batch in batches.by_ref() {
                let Ok(batch) = batch else { return Ok(()) };
                if batch.header.base_offset >= self.below.0 {
                    return Ok(());
                }
                self.check(file, position + batch.position as u64, &batch)?;
                if batch.header.last_offset() >= self.image.end.0 {
                    self.beyond_bytes += batch.bytes.len() as u64;
                    self.batch(file, position + batch.position as u64, &batch.header, batch.bytes)?;
                }
            }
            let consumed = batches.position();
            if chunk.len() < wanted && consumed == 0 {
                return Ok(());
            }
            if consumed == 0 {
                wanted *= 2;
                if wanted > BATCH_BYTES_MAX {
                    return Err(LoadError::BatchTooLarge { file: file.clone(), position });
                }
                continue;
            }
            wanted = CHUNK_BYTES;
            position += consumed as u64;
        }
        Ok(())
    }

    /// Recovery believes headers below the recovery point; what is applied is compared with its checksum, all of it, and nothing
    /// may be missing. A damaged batch would otherwise end the replay without a word, and with it the cluster's memory.
    fn check(&mut self, file: &FilePath, position: u64, batch: &BatchAt<'_>) -> Result<(), LoadError> {
        if crc32c(&batch.bytes[position::ATTRIBUTES..]) != batch.header.crc {
            return Err(LoadError::Checksum { file: file.clone(), position });
        }
        if let Some(expected) = &mut self.log_from {
            let found = Offset(batch.header.base_offset);
            if found > *expected {
                return Err(LoadError::Hole { expected: *expected, found });
            }
            *expected = Offset(batch.header.next_offset());
        }
        Ok(())
    }

    /// Whether everything up to the end of the log was met.
    fn is_whole(&self, end: Offset) -> Result<(), LoadError> {
        match self.log_from {
            Some(expected) if expected < end => Err(LoadError::Hole { expected, found: end }),
            _ => Ok(()),
        }
    }

    fn batch(&mut self, file: &FilePath, position: u64, header: &BatchHeader, bytes: &[u8]) -> Result<(), LoadError> {
        self.ends_with_footer = header.is_control() && is_footer(bytes, &mut self.scratch);
        let mut values: Vec<(Offset, Bytes)> = Vec::new();
        let (_, records) = open(bytes, BATCH_BYTES_MAX, &mut self.scratch).map_err(|reason| LoadError::Batch {
            file: file.clone(),
            position,
            reason,
        })?;
        for record in records {
            let record = record.map_err(|reason| LoadError::Record { offset: Offset(header.base_offset), reason })?;
            let offset = Offset(header.base_offset + i64::from(record.offset_delta));
            if header.is_control() {
                let read = QuorumRecord::read(record.key, record.value);
                let read = read.map_err(|reason| LoadError::Decode { offset, reason })?;
                self.quorum.extend(read.map(|read| (self.snapshot_last.unwrap_or(offset), read)));
                continue;
            }
            values.push((offset, BytesMut::from(record.value.unwrap_or_default()).freeze()));
        }
        for (offset, value) in values {
            let record = MetadataRecord::decode(value).map_err(|reason| LoadError::Decode { offset, reason })?;
            self.record(offset, record)?;
        }
        Ok(())
    }

    fn record(&mut self, offset: Offset, record: MetadataRecord) -> Result<(), LoadError> {
        self.records.push_back((offset, record.clone()));
        for (offset, record) in self.transactions.pass(offset, record) {
            self.image.apply(offset, &record)?;
        }
        Ok(())
    }
}

fn is_footer(batch: &[u8], scratch: &mut Scratch) -> bool {
    let Ok((_, records)) = open(batch, BATCH_BYTES_MAX, scratch) else { return false };
    records
        .last()
        .and_then(Result::ok)
        .is_some_and(|last| ControlType::from_key(last.key) == Ok(Some(ControlType::SnapshotFooter)))
}
