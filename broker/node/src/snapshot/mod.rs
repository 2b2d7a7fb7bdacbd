//! Snapshots of the metadata log: what its records left, in a file of its own, so that the log before it may go.
//!
//! When the log has grown by so many bytes since the last one, or so much time has passed in which something was committed, the
//! committed image is handed over (its topics and partitions are shared pointers: copying it between two steps costs a
//! millisecond for tens of thousands) and written piece by piece: a job makes a piece, the disk appends it, and so on. Nothing waits
//! for any of it. States: *idle*, then *making* and *appending* by turns, *sealing*, *renaming*, idle again. Until the file is whole and
//! durable its name ends in `.part`, and a start removes it.
//!
//! Invariants: what a snapshot holds is committed; the log is removed only up to the end of a snapshot that is on disk under its
//! name, so snapshot and log together are always one piece; the newest snapshot stays.
//!
//! Source: SnapshotGenerator (when), KafkaMetadataLog.maybeClean (what goes).

pub(crate) mod fetched;
pub(crate) mod found;
mod records;
pub mod write;

use std::sync::Arc;

use strandline_log::disk::{DiskDone, DiskError, DiskOp, Durability, FilePath, Part};
use strandline_log::log::Log;
use strandline_protocol::ids::Offset;

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::controller::{Controller, METADATA_DIRECTORY, SnapshotEnds};
use crate::image::Image;
use crate::io::{Effect, Job, JobId, Now, Owner};
use crate::quorum::message::LogEnd;
use fetched::Fetched;
pub use found::{FoundSnapshots, KeptSnapshot};
use write::{MadePiece, SnapshotId, SnapshotPiece};

/// The job that makes a piece; jobs of replies are numbered from 0.
pub(crate) const SNAPSHOT_JOB: JobId = JobId(u64::MAX - 1);

/// A start that finds more than this behind the newest snapshot makes one soon: each start adds a record a partition, and
/// so many are replayed in some 20 ms.
const RECORDS_AT_START_MAX: i64 = 10_000;

/// The keys that say when snapshots are made and how much history is kept.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    bytes_between: u64,
    interval_ms: u64,
    retention_bytes: u64,
    retention_ms: i64,
}

#[derive(Debug)]
enum Writing {
    Idle,
    Making,
    Appending { next: Option<Box<SnapshotPiece>> },
    Sealing,
    Renaming,
}

/// The snapshots of one metadata log.
#[derive(Debug)]
pub struct Snapshots {
    bounds: Bounds,
    /// On disk, oldest first.
    kept: Vec<KeptSnapshot>,
    writing: Writing,
    /// The one that is written.
    current: KeptSnapshot,
    /// Bytes of the log that the newest snapshot, or the one that is written, holds already.
    held_log_bytes: u64,
    /// When the last one was begun; none before the first look.
    begun_ms: Option<u64>,
    /// The process is about to end: nothing new is begun.
    given_up: bool,
    /// The leader's, that is fetched; nothing is written by this node itself meanwhile.
    fetched: Option<Fetched>,
}

impl Snapshots {
    /// With what the start found; `log` is the metadata log.
    pub(crate) fn new(config: &BrokerConfig, found: FoundSnapshots, log: &Log) -> Self {
        let bytes = |key| u64::try_from(config.number(key)).unwrap_or(u64::MAX);
        let bounds = Bounds {
            bytes_between: bytes("metadata.log.max.record.bytes.between.snapshots"),
            interval_ms: bytes("metadata.log.max.snapshot.interval.ms"),
            // -1 becomes the largest number: no limit.
            retention_bytes: bytes("metadata.max.retention.bytes"),
            retention_ms: config.number("metadata.max.retention.ms"),
        };
        Self {
            bounds,
            current: found.kept.last().copied().unwrap_or_default(),
            kept: found.kept,
            writing: Writing::Idle,
            held_log_bytes: log.bytes().saturating_sub(found.beyond_bytes),
            begun_ms: None,
            given_up: false,
            fetched: None,
        }
    }

    /// Where the oldest and the newest end.
    pub(crate) fn ends(&self) -> SnapshotEnds {
        let end = |snapshot: Option<&KeptSnapshot>| {
            let id = snapshot.map_or_else(SnapshotId::default, |snapshot| snapshot.id);
            LogEnd { epoch: id.epoch, offset: id.end }
        };
        SnapshotEnds { oldest: end(self.kept.first()), newest: end(self.kept.last()) }
    }

    /// Those on disk, oldest first.
    pub fn kept(&self) -> &[KeptSnapshot] {
        &self.kept
    }

    /// Nothing new is begun; says whether something is still under way on the disk.
    pub(crate) fn give_up(&mut self) -> bool {
        self.given_up = true;
        matches!(self.writing, Writing::Appending { .. } | Writing::Sealing | Writing::Renaming)
            || self.fetched.as_ref().is_some_and(Fetched::is_on_disk)
    }

    fn is_due(&mut self, now: Now, end: Offset, log_bytes: u64) -> bool {
        let is_first_look = self.begun_ms.is_none();
        let begun_ms = *self.begun_ms.get_or_insert(now.monotonic_ms);
        let beyond = end.0 - self.newest_end().0;
        if !matches!(self.writing, Writing::Idle) || self.fetched.is_some() || self.given_up || beyond <= 0 {
            return false;
        }
        let by_bytes = log_bytes.saturating_sub(self.held_log_bytes) >= self.bounds.bytes_between;
        let by_time = self.bounds.interval_ms > 0 && now.monotonic_ms >= begun_ms + self.bounds.interval_ms;
        by_bytes || by_time || (is_first_look && beyond > RECORDS_AT_START_MAX)
    }

    fn newest_end(&self) -> Offset {
        self.kept.last().map_or(Offset::ZERO, |newest| newest.id.end)
    }

    fn file(&self) -> FilePath {
        self.current.file()
    }

    fn part_file(&self) -> FilePath {
        part_file(self.current.id)
    }

    fn begin(&mut self, now: Now, image: &Image, controller: &Controller) -> Option<Job> {
        let log = controller.log();
        let last = Offset(image.end.0 - 1);
        // The log begins at the image's end: a snapshot of just this is there already.
        let epoch = log.epochs().epoch_of(last)?;
        let id = SnapshotId { end: image.end, epoch };
        let last_contained_ms = log.newest_timestamp_ms().unwrap_or(now.wall_ms);
        self.current = KeptSnapshot { id, bytes: 0, last_contained_ms };
        self.begun_ms = Some(now.monotonic_ms);
        self.held_log_bytes = log.bytes();
        self.writing = Writing::Making;
        let image = Arc::new(image.clone());
        let quorum = controller.voters_below(id.end);
        let piece = SnapshotPiece { id, image, quorum, now_ms: now.wall_ms, last_contained_ms, records: 0 };
        Some(Job::MakeSnapshotPiece(piece))
    }

    fn append(&mut self, parts: Vec<Part>, next: Option<SnapshotPiece>) -> DiskOp {
        let position = self.current.bytes;
        self.current.bytes += parts.iter().map(|part| part.bytes() as u64).sum::<u64>();
        self.writing = Writing::Appending { next: next.map(Box::new) };
        DiskOp::Append { file: self.part_file(), position, parts, durability: Durability::Written }
    }

    /// The oldest snapshot that is kept, if retention lets it go: there is a newer one, and log and snapshots together are too
    /// large, or what it holds is too old.
    fn oldest_to_go(&self, now: Now, log_bytes: u64) -> Option<(KeptSnapshot, KeptSnapshot)> {
        let [oldest, next, ..] = self.kept[..] else { return None };
        let bytes = log_bytes + self.kept.iter().map(|snapshot| snapshot.bytes).sum::<u64>();
        let age_ms = now.wall_ms.saturating_sub(oldest.last_contained_ms);
        let is_old = self.bounds.retention_ms >= 0 && age_ms > self.bounds.retention_ms;
        (is_old || bytes > self.bounds.retention_bytes).then_some((oldest, next))
    }
}

/// The name of a snapshot that is not whole.
fn part_file(id: SnapshotId) -> FilePath {
    FilePath::inside(METADATA_DIRECTORY, &format!("{}.part", id.file_name()))
}

/// Begins a snapshot if it is time for one.
pub(crate) fn consider(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    let log = broker.controller.log();
    // One file is written at a time, and the leader's is on its way.
    if broker.controller.quorum.wanted_snapshot().is_some() {
        return;
    }
    if broker.snapshots.is_due(now, broker.image.end, log.bytes())
        && let Some(job) = broker.snapshots.begin(now, &broker.image, &broker.controller)
    {
        outbox.push(Effect::Start { job: SNAPSHOT_JOB, what: job });
    }
}

/// A piece was made: it goes to the disk.
pub(crate) fn on_made(broker: &mut Broker, made: MadePiece, outbox: &mut Vec<Effect>) {
    let snapshots = &mut broker.snapshots;
    if snapshots.given_up {
        snapshots.writing = Writing::Idle;
        return;
    }
    let op = snapshots.append(made.parts, made.next);
    outbox.push(Effect::Disk { owner: Owner::Snapshot, op });
}

/// An operation on the file ended.
///
/// # Errors
/// The disk's, which end the process.
pub(crate) fn on_disk(
    broker: &mut Broker,
    now: Now,
    result: Result<DiskDone, DiskError>,
    outbox: &mut Vec<Effect>,
) -> Result<(), DiskError> {
    result?;
    if broker.snapshots.fetched.is_some() {
        fetched::on_disk(broker, outbox);
        return Ok(());
    }
    let snapshots = &mut broker.snapshots;
    let writing = std::mem::replace(&mut snapshots.writing, Writing::Idle);
    if snapshots.given_up && !matches!(writing, Writing::Renaming) {
        return Ok(());
    }
    match writing {
        Writing::Appending { next: Some(piece) } => {
            snapshots.writing = Writing::Making;
            outbox.push(Effect::Start { job: SNAPSHOT_JOB, what: Job::MakeSnapshotPiece(*piece) });
        }
        Writing::Appending { next: None } => {
            snapshots.writing = Writing::Sealing;
            let op = DiskOp::Seal { file: snapshots.part_file(), bytes: snapshots.current.bytes };
            outbox.push(Effect::Disk { owner: Owner::Snapshot, op });
        }
        Writing::Sealing => {
            snapshots.writing = Writing::Renaming;
            let op = DiskOp::Rename { from: snapshots.part_file(), to: snapshots.file() };
            outbox.push(Effect::Disk { owner: Owner::Snapshot, op });
        }
        Writing::Renaming => {
            snapshots.kept.push(snapshots.current);
            broker.controller.set_snapshots(snapshots.ends());
            // A segment that is larger than what took its place ends here, so that it can go with the next snapshot.
            let bytes = snapshots.current.bytes;
            broker.controller.log_mut().end_segment(now.wall_ms, bytes);
            clean(broker, now, outbox);
        }
        Writing::Idle | Writing::Making => unreachable!("an operation ends once, and only while one is under way"),
    }
    Ok(())
}

/// Removes what retention no longer keeps: the oldest snapshot, and the log up to the end of the one after it.
pub(crate) fn clean(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    let committed = broker.controller.committed();
    while let Some((oldest, next)) = broker.snapshots.oldest_to_go(now, broker.controller.log().bytes()) {
        let log = broker.controller.log_mut();
        let before = log.bytes();
        if log.delete_records(next.id.end, committed).is_err() {
            // It closes, or is cut back: another time.
            return;
        }
        let removed = before - log.bytes();
        broker.snapshots.held_log_bytes = broker.snapshots.held_log_bytes.saturating_sub(removed);
        broker.snapshots.kept.remove(0);
        broker.controller.set_snapshots(broker.snapshots.ends());
        broker.directory.delete(oldest.file(), outbox);
    }
}
