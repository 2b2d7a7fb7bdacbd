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
//! The parts of its work have files of their own: `roll` (segments end, checkpoints, closing), `read`, `retention` (removal).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId};
use strandline_protocol::records::{BatchError, BatchHeader, Batches, PREFIX_BYTES, TimestampType, stamped_prefix};

use crate::config::LogConfig;
use crate::disk::{DiskDone, DiskError, DiskOp, Durability, FilePath, Part};
use crate::epochs::LeaderEpochs;
use crate::names::PARTITION_METADATA;
use crate::partition_metadata;
use crate::producers::{Marker, Origin, ProducerRefusal, ProducerVerdict, Producers, marker_of};
use crate::queue::{APPEND_BYTES_MAX, Gather, Queue, Step, Then};
use crate::segment::{Active, BatchEnd, Placed, Sealed};
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

/// Where a batch was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// The leader's clock if the topic's timestamps are its own (`LogAppendTime`), otherwise -1.
    pub log_append_time_ms: i64,
}

/// Why a batch was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// An operation failed, or the log is closed or deleted.
    #[error("the log takes nothing any more")]
    Closed,
    #[error("leader epoch {found} is below {latest}")]
    EpochBehind { latest: LeaderEpoch, found: LeaderEpoch },
    /// The given offset of a batch lies below the log's end.
    #[error("offset {found} is below the log's end {log_end}")]
    OffsetBehind { log_end: Offset, found: Offset },
    /// `RECORD_LIST_TOO_LARGE`.
    #[error("a batch of {bytes} bytes is larger than a segment of {bytes_max}")]
    LargerThanSegment { bytes: u64, bytes_max: u32 },
    #[error("no offset is left")]
    OffsetsExhausted,
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// What an ended operation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub positions: Positions,
    /// Where the next recovery may begin; to be kept in the checkpoint of the log directory.
    pub recovery_point: Offset,
    /// Whether more may be read than before.
    pub readable_moved: bool,
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
    pub(crate) directory: Arc<str>,
    pub(crate) topic_id: TopicId,
    pub(crate) config: Arc<LogConfig>,
    pub(crate) state: State,
    /// Whether the directory and its `partition.metadata` are there, or will be before anything else.
    pub(crate) has_directory: bool,
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
}

/// The segment that holds the end of what is written, and how many of its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) base: Offset,
    pub(crate) bytes: u64,
}

impl Log {
    /// A log without any file, from offset 0 on. `directory` is the partition's directory below the log directory.
    pub fn new(directory: impl Into<Arc<str>>, topic_id: TopicId, config: Arc<LogConfig>) -> Self {
        Self {
            directory: directory.into(),
            topic_id,
            config,
            state: State::Open,
            has_directory: false,
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
        }
    }

    /// How far the log reaches.
    pub fn positions(&self) -> Positions {
        self.positions
    }

    /// Below this nothing needs to be scanned after a crash.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// The partition's directory below the log directory.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// Replaces the settings; they hold from the next append and the next look at retention on.
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
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

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.sealed.len() + usize::from(self.active.is_some())
    }

    /// Whether nothing is in flight or wanted now; removals may be due later.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
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
    pub fn check_marker(&self, header: &BatchHeader, marker: Marker) -> Result<(), ProducerRefusal> {
        self.producers.as_ref().map_or(Ok(()), |producers| producers.check_marker(header, marker))
    }

    /// Where the oldest transaction begins that is not decided, or whose marker is not below the high watermark that was
    /// told last.
    pub fn first_unstable(&self) -> Option<Offset> {
        self.producers.as_ref().and_then(|producers| producers.transactions().first_unstable())
    }

    /// What a reader of committed records may read up to, given the high watermark.
    pub fn last_stable(&self, high_watermark: Offset) -> Offset {
        self.first_unstable().map_or(high_watermark, |unstable| unstable.min(high_watermark))
    }

    /// Tells how far the log is replicated: transactions that ended below become stable.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        if let Some(producers) = &mut self.producers {
            producers.on_high_watermark(high_watermark);
        }
    }

    /// Begins to lead in `epoch`: its first record will be the next one. Says where that is.
    ///
    /// Nothing is written yet: the first batch of the epoch carries it, and without one there is nothing to compare.
    ///
    /// # Errors
    /// [`AppendError::EpochBehind`] if a newer epoch is known, [`AppendError::Closed`].
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) -> Result<Offset, AppendError> {
        self.check_open()?;
        self.check_epoch(epoch)?;
        self.assign_epoch(epoch, self.positions.log_end);
        Ok(self.positions.log_end)
    }

    /// Takes one checked batch as its leader: stamps the next offset and `epoch` into it. Control batches too; a transaction marker
    /// ends its transaction.
    ///
    /// Whether the producer may is asked before, with [`Log::check_producer`] or [`Log::check_marker`].
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended then.
    pub fn append(&mut self, now_ms: i64, bytes: Bytes, epoch: LeaderEpoch) -> Result<Appended, AppendError> {
        self.check_open()?;
        self.check_epoch(epoch)?;
        let header = whole_batch(&bytes)?;
        let base = self.positions.log_end;
        let last = base.plus(i64::from(header.last_offset_delta.max(0))).filter(|last| *last < Offset::MAX);
        let last = last.ok_or(AppendError::OffsetsExhausted)?;
        self.check_size(&header)?;
        self.assign_epoch(epoch, base);
        let prefix = stamped_prefix(base.0, header.batch_length, epoch.0);
        self.place(now_ms, &header, Part { prefix, body: bytes.slice(PREFIX_BYTES..) }, base, last, &bytes);
        self.check_positions();
        let log_append_time_ms = match header.timestamp_type() {
            TimestampType::LogAppendTime => header.max_timestamp,
            TimestampType::CreateTime => -1,
        };
        Ok(Appended { base_offset: base, last_offset: last, log_append_time_ms })
    }

    /// Takes batches that already carry offset and epoch, as a follower or the metadata log's writer has them.
    ///
    /// Offsets may leave gaps, as compaction does; they never go back. The checksums were compared before.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended then.
    pub fn append_as_is(&mut self, now_ms: i64, bytes: Bytes) -> Result<(), AppendError> {
        self.check_open()?;
        self.check_given(&bytes)?;
        let mut position = 0;
        while position < bytes.len() {
            let rest = bytes.slice(position..);
            let header = BatchHeader::parse(&rest)?;
            let batch = rest.slice(..header.size_bytes());
            position += batch.len();
            let (base, last) = (Offset(header.base_offset), Offset(header.last_offset()));
            if header.partition_leader_epoch >= 0 {
                self.assign_epoch(LeaderEpoch(header.partition_leader_epoch), base);
            }
            let prefix = stamped_prefix(base.0, header.batch_length, header.partition_leader_epoch);
            self.place(now_ms, &header, Part { prefix, body: batch.slice(PREFIX_BYTES..) }, base, last, &batch);
        }
        self.check_positions();
        Ok(())
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
        self.queue.poll(self.config.durability)
    }

    /// When [`Log::poll`] will have something to do although nothing else happens.
    pub fn next_due(&self) -> Option<i64> {
        self.doomed.front().map(|(due_ms, _)| *due_ms)
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
                return Err(error);
            }
        };
        let readable_before = self.positions.readable_end;
        self.become_true(now_ms, then, done);
        if self.state == State::Closing && self.queue.is_idle() && self.doomed.is_empty() {
            self.state = State::Closed;
        }
        self.check_positions();
        Ok(self.progress(readable_before))
    }

    pub(crate) fn progress(&self, readable_before: Offset) -> Progress {
        Progress {
            positions: self.positions,
            recovery_point: self.recovery_point,
            readable_moved: self.positions.readable_end > readable_before,
            closed: self.state == State::Closed,
        }
    }

    fn become_true(&mut self, now_ms: i64, then: Then, done: DiskDone) {
        match then {
            Then::Nothing => {}
            Then::Appended { base, position, bytes, first, end, ends } => {
                let DiskDone::Appended(contents) = done else {
                    panic!("an append brings its bytes back");
                };
                assert_eq!(contents.len() as u64, bytes, "an append brings back exactly its parts");
                self.written = Written { base, bytes: position + bytes };
                self.tail.push(first, end, contents, ends);
                self.positions.readable_end = self.positions.readable_end.max(end);
                if self.config.durability == Durability::Durable {
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
            Then::Closed => self.state = State::Closed,
        }
    }

    fn forget_indexes(&mut self, base: Offset) {
        if let Ok(place) = self.sealed.binary_search_by_key(&base, |segment| segment.base) {
            self.sealed[place].unwritten = None;
        }
    }

    /// Puts a batch behind the last one: into the active segment, or into a new one.
    fn place(&mut self, now_ms: i64, header: &BatchHeader, part: Part, base: Offset, last: Offset, batch: &[u8]) {
        let placed = Placed { last_offset: last, bytes: part.bytes() as u32, max_timestamp_ms: header.max_timestamp };
        self.make_room(now_ms, base, &placed);
        self.note_producer(now_ms, header, base, last, batch);
        let active = self.active.as_mut().expect("make_room leaves an active segment");
        let position = active.bytes;
        active.note(&placed, self.config.index_interval_bytes);
        let end = BatchEnd { last_offset: last, bytes: placed.bytes };
        match self.queue.gather().filter(|gather| gather.bytes + u64::from(placed.bytes) <= APPEND_BYTES_MAX) {
            Some(gather) => {
                gather.bytes += u64::from(placed.bytes);
                gather.end = last.next();
                gather.parts.push(part);
                gather.ends.push(end);
            }
            None => {
                let gather = Gather {
                    file: active.log.clone(),
                    base: active.base,
                    position,
                    bytes: u64::from(placed.bytes),
                    first: self.positions.log_end,
                    end: last.next(),
                    parts: vec![part],
                    ends: vec![end],
                };
                self.queue.end_gather(self.config.durability);
                self.queue.begin_gather(gather);
            }
        }
        self.positions.log_end = last.next();
    }

    /// Sees to it that there is an active segment with room for the batch.
    fn make_room(&mut self, now_ms: i64, base: Offset, placed: &Placed) {
        if !self.has_directory {
            self.has_directory = true;
            let file = FilePath::inside(&self.directory, PARTITION_METADATA);
            let op = DiskOp::Write { file, contents: partition_metadata::encode(self.topic_id) };
            self.queue.push(Step::plain(op), self.config.durability);
        }
        let Some(active) = &self.active else {
            self.active = Some(Box::new(Active::new(&self.directory, self.positions.log_end, now_ms)));
            // An offset far behind the log's end is out of reach for indexes that begin there.
            return self.make_room(now_ms, base, placed);
        };
        if !active.is_full_for(placed, &self.config, self.jitter_ms(active.base), now_ms) {
            self.cut_first();
            return;
        }
        // The new segment begins at the log's end, so that segments leave no gap between them, unless the
        // batch is then still out of its reach.
        let reachable = i32::try_from(placed.last_offset.distance_from(self.positions.log_end)).is_ok();
        let next_base = if reachable { self.positions.log_end } else { base };
        self.roll(now_ms, next_base);
    }

    /// Cuts off what a crash left behind the log's end, once, before something else is put there.
    fn cut_first(&mut self) {
        if let Some(active) = self.active.as_mut().filter(|active| active.cut_first) {
            active.cut_first = false;
            let op = DiskOp::Truncate { file: active.log.clone(), bytes: active.bytes };
            self.queue.push(Step::plain(op), self.config.durability);
        }
    }

    fn note_producer(&mut self, now_ms: i64, header: &BatchHeader, base: Offset, last: Offset, batch: &[u8]) {
        if !header.has_producer_id() {
            return;
        }
        let producers = self.producers.get_or_insert_default();
        if !header.is_control() {
            producers.note_batch(header, base, last, now_ms);
            producers.keep_within(self.config.producers_max as usize);
        } else if let Some(marker) = marker_of(header, batch)
            && let Some(aborted) = producers.note_marker(header, marker, base, now_ms)
            && let Some(active) = &mut self.active
        {
            active.aborted.push(aborted);
        }
    }

    fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self.epochs.latest() != Some(epoch) {
            self.epochs_dirty |= self.epochs.assign(epoch, start);
        }
    }

    fn check_open(&self) -> Result<(), AppendError> {
        if self.state == State::Open { Ok(()) } else { Err(AppendError::Closed) }
    }

    fn check_epoch(&self, found: LeaderEpoch) -> Result<(), AppendError> {
        match self.epochs.latest() {
            Some(latest) if found < latest => Err(AppendError::EpochBehind { latest, found }),
            _ => Ok(()),
        }
    }

    fn check_size(&self, header: &BatchHeader) -> Result<(), AppendError> {
        let (bytes, bytes_max) = (header.size_bytes() as u64, self.config.segment_bytes);
        if bytes > u64::from(bytes_max) {
            return Err(AppendError::LargerThanSegment { bytes, bytes_max });
        }
        Ok(())
    }

    /// Checks batches that carry their offsets, all of them before the first is taken.
    fn check_given(&self, bytes: &[u8]) -> Result<(), AppendError> {
        let mut log_end = self.positions.log_end;
        let mut latest = self.epochs.latest();
        for batch in Batches::strict(bytes) {
            let header = batch?.header;
            let found = Offset(header.base_offset);
            if found < log_end {
                return Err(AppendError::OffsetBehind { log_end, found });
            }
            let last = found.plus(i64::from(header.last_offset_delta)).filter(|last| *last >= found && *last < Offset::MAX);
            log_end = last.ok_or(AppendError::OffsetsExhausted)?.next();
            self.check_size(&header)?;
            let found = LeaderEpoch(header.partition_leader_epoch);
            match latest {
                Some(latest) if found.0 >= 0 && found < latest => {
                    return Err(AppendError::EpochBehind { latest, found });
                }
                _ if found.0 >= 0 => latest = Some(found),
                _ => {}
            }
        }
        Ok(())
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

fn whole_batch(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    if header.size_bytes() != bytes.len() {
        return Err(BatchError::Partial { have: bytes.len(), need: header.size_bytes() });
    }
    Ok(header)
}
