//! One partition's log as a value.
//!
//! It takes batches that were checked, stamps offset and leader epoch into them, and says which disk operations it wants;
//! whoever holds it carries them out one at a time and tells how each ended. It never reads a file: opening a directory
//! (`recover`), finding a timestamp (`lookup`) and reading records back (`slice`) are pure functions over [`crate::disk::Files`] that
//! run outside.
//!
//! Invariants, asserted after every step:
//! `log_start <= durable_end <= readable_end <= log_end`, and the recovery point never passes the durable end. A batch is in at most one
//! operation, and operations leave in the order of the log. After a failed operation the log takes and gives nothing any more.
//!
//! The parts of its work have files of their own: `append`, `read`, `roll` (segments end, checkpoints, closing), `retention` (removal),
//! `moving` (a log takes the place of another).

use std::collections::VecDeque;
use std::sync::Arc;

use strandline_protocol::ids::{Offset, ProducerId, TopicId};
use strandline_protocol::records::BatchHeader;

use crate::cleaner::swap::Swap;
use crate::config::LogConfig;
use crate::disk::{DiskDone, DiskError, DiskOp, Durability, FilePath};
use crate::epochs::LeaderEpochs;
use crate::producers::{Marker, MarkerEpoch, Origin, Producer, ProducerRefusal, ProducerVerdict, Producers};
use crate::queue::{Queue, Step, Then};
use crate::segment::{Active, NO_TIMESTAMP, Sealed};
use crate::tail::Tail;

/// How far a log reaches. `log_start <= durable_end <= readable_end <= log_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// The first offset that may be read; may lie inside a batch.
    pub log_start: Offset,
    /// Everything below is on the device.
    pub durable_end: Offset,
    /// Everything below may be read: durable, or with `Durability::Written` at least written.
    pub readable_end: Offset,
    /// The offset of the next record.
    pub log_end: Offset,
}

impl Positions {
    pub(crate) fn at(offset: Offset) -> Self {
        Self { log_start: offset, durable_end: offset, readable_end: offset, log_end: offset }
    }
}

/// What an ended operation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub positions: Positions,
    /// Where the next recovery may begin; to be kept in the checkpoint of the log directory.
    pub recovery_point: Offset,
    /// Whether more may be read than before.
    pub readable_moved: bool,
    /// Whether everything that a step of a compaction wrote is there.
    pub cleaning_written: bool,
    /// Whether the log was closed or deleted and wants nothing any more.
    pub closed: bool,
}

/// Whether a log still takes batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// Nothing new is taken; what is wanted is still done.
    Closing,
    Closed,
    Failed,
}

/// The log of one partition.
#[derive(Clone, Debug)]
pub struct Log {
    pub(crate) directory: FilePath,
    pub(crate) topic_id: TopicId,
    pub(crate) config: Arc<LogConfig>,
    pub(crate) state: State,
    /// Whether the directory and its `partition.metadata` are there, or will be before anything else.
    pub(crate) has_directory: bool,
    /// Whether an operation was carried out, so that the directory is there.
    pub(crate) is_on_disk: bool,
    pub(crate) positions: Positions,
    pub(crate) recovery_point: Offset,
    /// How much of the segment that is being written may be read.
    pub(crate) written: Written,
    /// Oldest first.
    pub(crate) sealed: Vec<Sealed>,
    pub(crate) active: Option<Box<Active>>,
    pub(crate) epochs: LeaderEpochs,
    /// Whether the epoch checkpoint lags behind.
    pub(crate) epochs_dirty: bool,
    pub(crate) producers: Option<Box<Producers>>,
    /// Where the newest snapshot that belongs to no segment was taken.
    pub(crate) stray_snapshot: Option<Offset>,
    pub(crate) tail: Tail,
    pub(crate) queue: Queue,
    /// Removals, by when they are due.
    pub(crate) doomed: VecDeque<(i64, DiskOp)>,
    /// Output of compactions that gets its final names when it is due.
    pub(crate) swaps: VecDeque<Swap>,
    /// Below this the log was compacted; `None` if it never was.
    pub(crate) cleaned_below: Option<Offset>,
    /// Whether what a step of a compaction wrote became durable and nobody was told yet.
    pub(crate) cleaning_written: bool,
}

/// The segment that holds the end of what is written, and how many of its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) base: Offset,
    pub(crate) bytes: u64,
}

impl Log {
    /// A log without any file, from offset 0 on. `directory` is the partition's.
    pub fn new(directory: impl Into<FilePath>, topic_id: TopicId, config: Arc<LogConfig>) -> Self {
        Self {
            directory: directory.into(),
            topic_id,
            config,
            state: State::Open,
            has_directory: false,
            is_on_disk: false,
            positions: Positions::at(Offset::ZERO),
            recovery_point: Offset::ZERO,
            written: Written { base: Offset::ZERO, bytes: 0 },
            sealed: Vec::new(),
            active: None,
            epochs: LeaderEpochs::default(),
            epochs_dirty: false,
            producers: None,
            stray_snapshot: None,
            tail: Tail::default(),
            queue: Queue::default(),
            doomed: VecDeque::new(),
            swaps: VecDeque::new(),
            cleaned_below: None,
            cleaning_written: false,
        }
    }

    /// A log whose directory is there and was not opened: good only to be deleted.
    pub fn unopened(directory: impl Into<FilePath>, topic_id: TopicId, config: Arc<LogConfig>) -> Self {
        Self { has_directory: true, is_on_disk: true, ..Self::new(directory, topic_id, config) }
    }

    /// How far the log reaches.
    pub fn positions(&self) -> Positions {
        self.positions
    }

    /// Below this nothing needs to be scanned after a crash.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// Whether a segment begins there that is not written to any more.
    pub fn is_sealed(&self, base: Offset) -> bool {
        self.sealed.binary_search_by_key(&base, |segment| segment.base).is_ok()
    }

    /// The partition's directory.
    pub fn directory(&self) -> &FilePath {
        &self.directory
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Notes the topic's id in a directory that has none yet, as Kafka's before 2.8 have. Says whether it had none.
    pub fn assign_topic_id(&mut self, topic_id: TopicId) -> bool {
        if !self.topic_id.is_zero() {
            return false;
        }
        self.topic_id = topic_id;
        if self.has_directory {
            self.write_partition_metadata();
        }
        true
    }

    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// Replaces the settings; they hold from the next append and the next look at retention on. Where records begin to count
    /// only once they are durable, those that are there are made durable first: poll.
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        if self.config.durability == Durability::Written && config.durability == Durability::Durable {
            self.sync_active();
        }
        self.config = config;
    }

    /// Which leader epoch began where.
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// What is known of idempotent producers, if there were any.
    pub fn producers(&self) -> Option<&Producers> {
        self.producers.as_deref()
    }

    /// Whether the log has segments, and so files.
    pub fn has_files(&self) -> bool {
        self.has_directory
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|segment| segment.bytes).sum();
        sealed + self.active.as_ref().map_or(0, |active| active.bytes)
    }

    /// The largest timestamp in the newest segment that has one.
    pub fn newest_timestamp_ms(&self) -> Option<i64> {
        let active = self.active.iter().map(|active| active.largest.timestamp_ms);
        let newest_first = active.chain(self.sealed.iter().rev().map(|segment| segment.largest_timestamp_ms));
        newest_first.into_iter().find(|timestamp_ms| *timestamp_ms != NO_TIMESTAMP)
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.sealed.len() + usize::from(self.active.is_some())
    }

    /// Whether nothing is in flight or wanted now; removals may be due later.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether an operation was given out and has not ended yet.
    pub fn is_in_flight(&self) -> bool {
        self.queue.is_in_flight()
    }

    /// Whether an operation failed: the log takes and gives nothing any more.
    pub fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// Bytes of records held in memory for readers at the end.
    pub fn cached_bytes(&self) -> usize {
        self.tail.bytes()
    }

    /// Lets go of the oldest cached records until at least `bytes` bytes are free. Answers with the bytes freed.
    pub fn shed(&mut self, bytes: usize) -> usize {
        self.tail.shed(bytes)
    }

    /// Lets go of all cached records.
    pub fn drop_cache(&mut self) -> usize {
        self.tail.shed(usize::MAX)
    }

    /// What is known of one producer.
    pub fn producer(&self, id: ProducerId) -> Option<&Producer> {
        self.producers.as_ref()?.get(id)
    }

    /// Judges a data batch of a producer before it is appended.
    ///
    /// Source: `ProducerStateManager`; see [`crate::producers`].
    pub fn check_producer(&self, header: &BatchHeader, origin: Origin) -> ProducerVerdict {
        self.producers.as_ref().map_or(ProducerVerdict::New, |producers| producers.check(header, origin))
    }

    /// Judges a transaction marker before it is appended.
    ///
    /// # Errors
    /// [`ProducerRefusal`] if the producer's or the coordinator's epoch is old.
    pub fn check_marker(&self, header: &BatchHeader, marker: Marker, rule: MarkerEpoch) -> Result<(), ProducerRefusal> {
        self.producers.as_ref().map_or(Ok(()), |producers| producers.check_marker(header, marker, rule))
    }

    /// Where the oldest transaction begins that is not decided, or whose marker is not below the high watermark that was
    /// told last.
    pub fn first_unstable(&self) -> Option<Offset> {
        self.producers.as_ref().and_then(|producers| producers.transactions().first_unstable())
    }

    /// What a reader of committed records may read up to, given the high watermark.
    pub fn last_stable(&self, high_watermark: Offset) -> Offset {
        self.producers.as_ref().map_or(high_watermark, |producers| producers.transactions().last_stable(high_watermark))
    }

    /// Tells how far the log is replicated: transactions that ended below are forgotten. [`Log::expire`] does it too.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        if let Some(producers) = &mut self.producers {
            producers.on_high_watermark(high_watermark);
        }
    }

    /// The next operation, if there is one and none is in flight.
    pub fn poll(&mut self, now_ms: i64) -> Option<DiskOp> {
        if self.state == State::Failed {
            return None;
        }
        while self.doomed.front().is_some_and(|(due_ms, _)| *due_ms <= now_ms) {
            if let Some((_, op)) = self.doomed.pop_front() {
                let last_of_all = matches!(op, DiskOp::DeleteDirectory { .. });
                let then = if last_of_all { Then::Closed } else { Then::Nothing };
                self.queue.push_behind(Step::Do { op, then });
            }
        }
        self.settle_due_swaps(now_ms);
        self.queue.poll(self.config.durability)
    }

    /// When [`Log::poll`] will have something to do although nothing else happens.
    pub fn next_due(&self) -> Option<i64> {
        let removal = self.doomed.front().map(|(due_ms, _)| *due_ms);
        removal.into_iter().chain(self.swaps.front().map(Swap::due_ms)).min()
    }

    /// The operation in flight ended.
    ///
    /// # Errors
    /// The [`DiskError`] that was told: the log has failed and takes nothing any more.
    ///
    /// # Panics
    /// If none was in flight, or an append did not bring its bytes back.
    pub fn on_done(&mut self, now_ms: i64, result: Result<DiskDone, DiskError>) -> Result<Progress, DiskError> {
        let then = self.queue.take_in_flight();
        let done = match result {
            Ok(done) => done,
            Err(error) => {
                self.state = State::Failed;
                self.queue.clear();
                self.doomed.clear();
                self.swaps.clear();
                return Err(error);
            }
        };
        self.is_on_disk = true;
        let readable_before = self.positions.readable_end;
        self.become_true(now_ms, then, done);
        if self.state == State::Closing && self.queue.is_idle() && self.doomed.is_empty() {
            self.state = State::Closed;
        }
        self.check_positions();
        Ok(self.progress(readable_before))
    }

    fn progress(&mut self, readable_before: Offset) -> Progress {
        Progress {
            cleaning_written: std::mem::take(&mut self.cleaning_written),
            positions: self.positions,
            recovery_point: self.recovery_point,
            readable_moved: self.positions.readable_end > readable_before,
            closed: self.state == State::Closed,
        }
    }

    fn become_true(&mut self, now_ms: i64, then: Then, done: DiskDone) {
        match then {
            Then::Nothing => {}
            Then::Appended { base, position, bytes, first, end, ends, durability } => {
                let DiskDone::Appended(contents) = done else {
                    panic!("an append brings its bytes back");
                };
                assert_eq!(contents.len() as u64, bytes, "an append brings back exactly its parts");
                self.written = Written { base, bytes: position + bytes };
                self.tail.push(first, end, contents, ends);
                self.positions.readable_end = self.positions.readable_end.max(end);
                // As it was written, whatever the settings say by now.
                if durability == Durability::Durable {
                    self.positions.durable_end = self.positions.durable_end.max(end);
                }
            }
            Then::Durable { end } => self.positions.durable_end = self.positions.durable_end.max(end),
            Then::IndexesWritten { base } => self.forget_indexes(base),
            Then::Checkpointed { point } => self.recovery_point = self.recovery_point.max(point),
            Then::Doomed { files } => self.doom(now_ms, files),
            Then::DoomedDirectory { directory } => {
                let due_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
                self.doomed.clear();
                self.doomed.push_back((due_ms, DiskOp::DeleteDirectory { directory }));
            }
            Then::Renamed { directory } => self.lie_in(directory),
            Then::CleaningWritten => self.cleaning_written = true,
            Then::Settled { base } => self.settled(base),
            Then::Closed => self.state = State::Closed,
        }
    }

    fn forget_indexes(&mut self, base: Offset) {
        if let Ok(place) = self.sealed.binary_search_by_key(&base, |segment| segment.base) {
            self.sealed[place].unwritten = None;
        }
    }

    /// `log_start <= durable_end <= readable_end <= log_end`, and nothing may be skipped by a recovery that is not durable.
    #[inline]
    pub(crate) fn check_positions(&self) {
        let Positions { log_start, durable_end, readable_end, log_end } = self.positions;
        assert!(log_start <= durable_end, "log start {log_start} is not above the durable end {durable_end}");
        assert!(durable_end <= readable_end, "durable end {durable_end} is not above the readable end {readable_end}");
        assert!(readable_end <= log_end, "readable end {readable_end} is not above the log end {log_end}");
        assert!(
            self.recovery_point <= durable_end,
            "recovery point {} is not above the durable end {durable_end}",
            self.recovery_point
        );
    }
}
