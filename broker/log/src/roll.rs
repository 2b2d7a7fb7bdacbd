//! Segments end, checkpoints are written, logs are closed.
//!
//! A segment that ends is sealed at once, in order, so that no later append can be durable before it; its indexes and the
//! snapshot of the producers follow when there is time. The recovery point moves only behind all of them: whatever a
//! recovery skips is durable, and so is everything that is derived from it.

use std::sync::Arc;

use bytes::Bytes;
use strandline_protocol::ids::Offset;

use crate::append::AppendError;
use crate::cleaner::swap::Swap;
use crate::config::LogConfig;
use crate::disk::{DiskOp, Durability, FilePath};
use crate::log::{Log, State};
use crate::names::{LEADER_EPOCH_CHECKPOINT, SegmentFile};
use crate::queue::{Step, Then};
use crate::segment::{Active, Indexes, Place, Sealed};
use crate::snapshot;
use crate::transactions;

impl Log {
    /// Ends the active segment; the next batch begins a new one at `next_base`.
    pub(crate) fn roll(&mut self, now_ms: i64, next_base: Offset) {
        let next = Box::new(Active::new(&self.directory, next_base, now_ms));
        let Some(ended) = self.active.replace(next) else {
            return;
        };
        if ended.bytes == 0 {
            // Nothing was ever written to it: it gives way without a trace.
            return;
        }
        let end = self.positions.log_end;
        self.queue.push(seal(&ended, end), self.config.durability);
        let indexes = Arc::new(ended.indexes());
        let mut steps = self.index_steps(ended.base, &indexes);
        steps.extend(self.state_steps(end));
        self.stray_snapshot = None;
        self.queue.push(Step::Release(steps), self.config.durability);
        self.sealed.push(Sealed {
            base: ended.base,
            bytes: ended.bytes,
            first_timestamp_ms: ended.first_timestamp_ms,
            largest_timestamp_ms: ended.largest.timestamp_ms,
            aborted: ended.aborted.len() as u32,
            ends_at_next: next_base == end,
            unwritten: Some(indexes),
            place: Place::Settled,
        });
    }

    /// Ends the active segment if it holds more than `bytes`: it can be removed once nobody needs it. The next one gets its file
    /// at once: its name may soon be the only thing on disk that says where the log ends.
    pub fn end_segment(&mut self, now_ms: i64, bytes: u64) {
        if self.state != State::Open || self.active.as_ref().is_none_or(|active| active.bytes <= bytes) {
            return;
        }
        let end = self.positions.log_end;
        self.roll(now_ms, end);
        self.write_empty_segment(end);
    }

    /// Gives the segment that begins at `base` its file before it has records.
    pub(crate) fn write_empty_segment(&mut self, base: Offset) {
        let file = self.segment_file(base, SegmentFile::Log);
        self.queue.push(Step::plain(DiskOp::Write { file, contents: Bytes::new() }), self.config.durability);
    }

    /// Writes what a recovery would otherwise have to find out by scanning, so that the recovery point can move to where the log
    /// ends now. Says whether there was anything to write; the point has moved when [`crate::log::Progress`] says so.
    pub fn checkpoint(&mut self) -> bool {
        // What is written while the directory gets another name would make the old one again.
        let may_write = self.state == State::Open && !self.queue.is_renaming();
        let Some(active) = self.active.as_mut().filter(|active| active.dirty && may_write) else {
            return false;
        };
        active.dirty = false;
        let (base, indexes) = (active.base, Arc::new(active.indexes()));
        let end = self.positions.log_end;
        if self.config.durability == Durability::Written {
            self.sync_active();
        }
        let mut steps = self.index_steps(base, &indexes);
        steps.extend(self.state_steps(end));
        self.stray_snapshot = (end != base).then_some(end);
        self.queue.push(Step::Release(steps), self.config.durability);
        true
    }

    /// Makes everything durable that was only written so far. Segments before the active one are already.
    pub(crate) fn sync_active(&mut self) {
        let end = self.positions.log_end;
        if let Some(active) = self.active.as_ref().filter(|active| active.bytes > 0 && self.state == State::Open) {
            let op = DiskOp::Sync { file: active.log.clone() };
            self.queue.push(Step::Do { op, then: Then::Durable { end } }, Durability::Written);
        }
    }

    /// Closes the log: nothing more is taken, everything taken is written, padding is cut off and the indexes are stored, so that
    /// the next start scans nothing. [`Log::poll`] until [`crate::log::Progress::closed`] or [`Log::is_closed`].
    ///
    /// # Errors
    /// [`AppendError::Closed`] if it is closed or has failed already.
    pub fn close(&mut self) -> Result<(), AppendError> {
        if self.state != State::Open {
            return Err(AppendError::Closed);
        }
        self.state = State::Closing;
        let durability = self.config.durability;
        self.queue.order_all(durability);
        let end = self.positions.log_end;
        let mut steps = Vec::new();
        if let Some(active) = &mut self.active {
            let (dirty, padded) = (active.dirty, active.padded);
            (active.dirty, active.padded) = (false, false);
            if padded {
                steps.push(seal(active, end));
            }
            if dirty {
                let (base, indexes) = (active.base, Arc::new(active.indexes()));
                steps.extend(self.index_steps(base, &indexes));
                steps.extend(self.state_steps(end));
            }
        }
        if self.epochs_dirty && self.has_directory {
            steps.push(self.epoch_step());
        }
        for step in steps {
            self.queue.push(step, durability);
        }
        for step in std::mem::take(&mut self.swaps).into_iter().flat_map(Swap::into_steps) {
            self.queue.push(step, durability);
        }
        for (_, op) in std::mem::take(&mut self.doomed) {
            self.queue.push(Step::plain(op), durability);
        }
        if self.queue.is_empty() {
            self.state = State::Closed;
        }
        Ok(())
    }

    /// Whether the log takes batches: nobody closes it, and it has not failed.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the log was closed or deleted, and everything for that is done.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Writes of a segment's index files; the segment's indexes are forgotten here when the last is done.
    fn index_steps(&self, base: Offset, indexes: &Indexes) -> Vec<Step> {
        let file = |kind: SegmentFile| self.directory.child(&kind.name(base));
        let write = |kind, contents| Step::plain(DiskOp::Write { file: file(kind), contents });
        let mut steps = vec![write(SegmentFile::OffsetIndex, indexes.offsets.clone())];
        if !indexes.aborted.is_empty() {
            steps.push(write(SegmentFile::TransactionIndex, transactions::encode(&indexes.aborted)));
        }
        let op = DiskOp::Write { file: file(SegmentFile::TimeIndex), contents: indexes.times.clone() };
        steps.push(Step::Do { op, then: Then::IndexesWritten { base } });
        steps
    }

    /// Writes of what is known about everything below `end`, behind which the recovery point may move there: producers, and
    /// epochs if they changed. The snapshot of the checkpoint before goes.
    fn state_steps(&mut self, end: Offset) -> Vec<Step> {
        let epochs = self.epochs_dirty.then(|| self.epoch_step());
        let entries = self.producers.as_ref().map(|producers| producers.entries()).unwrap_or_default();
        let op = DiskOp::Write { file: self.snapshot_file(end), contents: snapshot::encode(entries) };
        let mut steps: Vec<Step> = epochs.into_iter().collect();
        steps.push(Step::Do { op, then: Then::Checkpointed { point: end } });
        if let Some(stray) = self.stray_snapshot.filter(|stray| *stray != end) {
            steps.push(Step::plain(DiskOp::Delete { file: self.snapshot_file(stray) }));
        }
        steps
    }

    fn snapshot_file(&self, offset: Offset) -> FilePath {
        self.directory.child(&SegmentFile::Snapshot.name(offset))
    }

    pub(crate) fn epoch_step(&mut self) -> Step {
        self.epochs_dirty = false;
        let file = self.directory.child(LEADER_EPOCH_CHECKPOINT);
        Step::plain(DiskOp::Write { file, contents: self.epochs.encode() })
    }

    /// How much earlier than `segment.ms` the segment at `base` ends: the same after every restart, different for every
    /// partition and segment.
    pub(crate) fn jitter_ms(&self, base: Offset) -> i64 {
        jitter_ms(&self.config, self.directory.as_str(), base)
    }
}

fn seal(segment: &Active, end: Offset) -> Step {
    let op = DiskOp::Seal { file: segment.log.clone(), bytes: segment.bytes };
    Step::Do { op, then: Then::Durable { end } }
}

fn jitter_ms(config: &LogConfig, directory: &str, base: Offset) -> i64 {
    let bound = config.segment_jitter_ms.min(config.segment_ms);
    if bound <= 0 {
        return 0;
    }
    // FNV-1a: any mixing will do.
    let bytes = directory.bytes().chain(base.0.to_be_bytes());
    let mixed = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    ((mixed >> 1) as i64) % bound
}
