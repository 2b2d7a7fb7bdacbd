//! Removal: segments that are too old, too many or below the log start, and whole logs.
//!
//! A segment goes in three steps: it leaves the log at once, its `.log` file is renamed to `.deleted` when there is time, and
//! after `file.delete.delay.ms`, when no reader that was sent to it can still be under way, its files are removed. Segments go
//! oldest first, so that what remains is always one piece.

use strandline_protocol::ids::Offset;

use crate::append::AppendError;
use crate::disk::{DiskOp, FilePath};
use crate::log::{Log, Positions, State, Written};
use crate::names::{LEADER_EPOCH_CHECKPOINT, SegmentFile, deleted_directory};
use crate::queue::{Step, Then};
use crate::segment::{NO_TIMESTAMP, Place, Sealed};

/// What a look at retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    pub segments: usize,
    pub bytes: u64,
}

/// Why records were not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// `OFFSET_OUT_OF_RANGE`.
    #[error("offset {before} is above the high watermark {high_watermark}")]
    AboveHighWatermark { before: Offset, high_watermark: Offset },
    #[error("the log takes nothing any more")]
    Closed,
}

impl Log {
    /// Removes segments that `retention.ms` and `retention.bytes` no longer keep, or that lie below the log start, and forgets
    /// silent producers. Nothing at or above the high watermark goes. The log start may move: it belongs into the
    /// checkpoint of the log directory.
    pub fn expire(&mut self, now_ms: i64, high_watermark: Offset) -> Expired {
        let mut expired = Expired::default();
        if self.state != State::Open {
            return expired;
        }
        self.on_high_watermark(high_watermark);
        self.expire_producers(now_ms);
        if self.config.expires && self.config.retention_ms >= 0 {
            self.end_expired_active(now_ms, high_watermark);
        }
        let mut surplus = self.surplus_bytes();
        while let Some(oldest) = self.sealed.first() {
            let next = self.base_after(0);
            let outgrown = oldest.bytes <= surplus;
            let goes =
                next <= self.positions.log_start || (next <= high_watermark && (outgrown || self.is_too_old(oldest, now_ms)));
            if !goes {
                break;
            }
            surplus = if outgrown { surplus - oldest.bytes } else { 0 };
            expired.segments += 1;
            expired.bytes += oldest.bytes;
            self.remove_oldest();
        }
        if expired.segments > 0 {
            self.start_at(self.first_base());
        }
        self.check_positions();
        expired
    }

    /// Moves the log start to `before`, which may lie inside a batch: readers get that batch whole and skip what is
    /// below. Segments that lie wholly below go. Answers with the log start, which belongs into the checkpoint of the log
    /// directory before anybody is told.
    ///
    /// # Errors
    /// [`DeleteError`]
    pub fn delete_records(&mut self, before: Offset, high_watermark: Offset) -> Result<Offset, DeleteError> {
        if self.state != State::Open {
            return Err(DeleteError::Closed);
        }
        if before > high_watermark.min(self.positions.readable_end) {
            return Err(DeleteError::AboveHighWatermark { before, high_watermark });
        }
        self.start_at(before);
        while !self.sealed.is_empty() && self.base_after(0) <= self.positions.log_start {
            self.remove_oldest();
        }
        self.check_positions();
        Ok(self.positions.log_start)
    }

    /// Removes the log: its directory gets a name of its own at once and is removed after `file.delete.delay.ms`. What was
    /// taken and not written is dropped. `unique` keeps the name apart from that of an earlier log. [`Log::poll`] until
    /// [`crate::log::Progress::closed`] or [`Log::is_closed`].
    ///
    /// # Errors
    /// [`AppendError::Closed`] if it is closed or has failed already.
    pub fn delete(&mut self, unique: u128) -> Result<(), AppendError> {
        if self.state != State::Open {
            return Err(AppendError::Closed);
        }
        self.queue.clear();
        self.drop_cache();
        self.doomed.clear();
        self.swaps.clear();
        if !self.is_on_disk && self.queue.is_empty() {
            self.state = State::Closed;
            return Ok(());
        }
        self.state = State::Closing;
        let directory = FilePath::of(self.directory.log_dir(), &deleted_directory(self.directory.as_str(), unique));
        let op = DiskOp::Rename { from: self.directory.clone(), to: directory.clone() };
        self.queue.push(Step::Do { op, then: Then::DoomedDirectory { directory } }, self.config.durability);
        Ok(())
    }

    /// Forgets everything and begins again at `offset`: what a follower does that has fallen out of its leader's log. The log
    /// must be idle, and its recovery point, which is then at most `offset`, must stand in the checkpoint of the log directory before
    /// the next operation is carried out.
    ///
    /// # Panics
    /// If the log is not idle.
    pub fn restart_at(&mut self, now_ms: i64, offset: Offset) {
        assert!(self.queue.is_empty(), "a log begins again between operations");
        self.drop_cache();
        self.epochs.clear();
        self.producers = None;
        let overlaps = offset <= self.positions.log_end;
        self.remove_empty_active(offset);
        // First of all: what the end of the old segment makes durable is nothing of the new log, which may begin below that end.
        self.positions = Positions::at(offset);
        self.roll(now_ms, offset);
        while !self.sealed.is_empty() {
            if overlaps { self.replace_oldest() } else { self.remove_oldest() }
        }
        self.epochs_dirty = false;
        self.recovery_point = self.recovery_point.min(offset);
        self.cleaned_below = self.cleaned_below.map(|below| below.min(offset));
        self.written = Written { base: offset, bytes: 0 };
        if self.has_directory {
            let file = self.directory.child(LEADER_EPOCH_CHECKPOINT);
            let epochs = DiskOp::Write { file, contents: self.epochs.encode() };
            self.queue.push(Step::plain(epochs), self.config.durability);
            self.write_empty_segment(offset);
        }
        self.check_positions();
    }

    /// An active segment to which nothing was written may have its file all the same, and a snapshot of the producers: of a log that
    /// begins elsewhere they would be a segment without its records. They go first: the old log ends there also without them.
    fn remove_empty_active(&mut self, offset: Offset) {
        let empty = self.active.as_ref().filter(|active| active.bytes == 0 && active.base != offset);
        let Some(base) = empty.map(|active| active.base).filter(|_| self.has_directory) else { return };
        for kind in [SegmentFile::Log, SegmentFile::OffsetIndex, SegmentFile::TimeIndex, SegmentFile::Snapshot] {
            let file = self.segment_file(base, kind);
            self.queue.push(Step::plain(DiskOp::Delete { file }), self.config.durability);
        }
    }

    fn expire_producers(&mut self, now_ms: i64) {
        let expiration_ms = self.config.producer_id_expiration_ms;
        if let Some(producers) = &mut self.producers {
            producers.expire(now_ms, expiration_ms);
            if producers.count() == 0 && producers.transactions().first_unstable().is_none() {
                self.producers = None;
            }
        }
    }

    /// Ends the active segment if all of it is too old and readable. The next one gets its file at once: its name is then the
    /// only thing on disk that says where the log ends.
    fn end_expired_active(&mut self, now_ms: i64, high_watermark: Offset) {
        let end = self.positions.log_end;
        let is_expired = self.active.as_ref().is_some_and(|active| {
            active.bytes > 0 && older_than(active.largest.timestamp_ms, self.config.retention_ms, now_ms)
        });
        if !is_expired || high_watermark < end || self.positions.readable_end < end {
            return;
        }
        if self.sealed.iter().any(|segment| !self.is_too_old(segment, now_ms)) {
            return;
        }
        self.roll(now_ms, end);
        self.write_empty_segment(end);
    }

    fn is_too_old(&self, segment: &Sealed, now_ms: i64) -> bool {
        self.config.expires && older_than(segment.largest_timestamp_ms, self.config.retention_ms, now_ms)
    }

    /// Bytes above `retention.bytes`.
    fn surplus_bytes(&self) -> u64 {
        match u64::try_from(self.config.retention_bytes) {
            Ok(kept) if self.config.expires => self.bytes().saturating_sub(kept),
            _ => 0,
        }
    }

    fn first_base(&self) -> Offset {
        let active = self.active.as_ref().map(|active| active.base);
        self.sealed.first().map(|segment| segment.base).or(active).unwrap_or(self.positions.log_end)
    }

    /// Where the segment after the sealed one at `place` begins.
    pub(crate) fn base_after(&self, place: usize) -> Offset {
        let active = self.active.as_ref().map(|active| active.base);
        self.sealed.get(place + 1).map(|segment| segment.base).or(active).unwrap_or(self.positions.log_end)
    }

    fn start_at(&mut self, offset: Offset) {
        if offset <= self.positions.log_start {
            return;
        }
        self.positions.log_start = offset;
        // Nobody needs what lies below, so nothing of it can be lost any more.
        self.positions.durable_end = self.positions.durable_end.max(offset);
        self.epochs_dirty |= self.epochs.truncate_from_start(offset);
        self.tail.drop_below(offset);
    }

    fn remove_oldest(&mut self) {
        let segment = self.sealed.remove(0);
        if segment.place == Place::Swap {
            self.settle_swap_of(segment.base);
        }
        let log = self.segment_file(segment.base, SegmentFile::Log);
        let marked = self.directory.child(&format!("{}.deleted", SegmentFile::Log.name(segment.base)));
        let mut files = vec![marked.clone()];
        let kinds = [SegmentFile::OffsetIndex, SegmentFile::TimeIndex, SegmentFile::TransactionIndex, SegmentFile::Snapshot];
        files.extend(kinds.map(|kind| self.segment_file(segment.base, kind)));
        let step = Step::Do { op: DiskOp::Rename { from: log, to: marked }, then: Then::Doomed { files } };
        self.queue.push(Step::Release(vec![step]), self.config.durability);
    }

    /// Removes the oldest segment before anything else is written: a start after a crash in between would take the new log for the
    /// continuation of the old one, and the first segment of the new one may have its name.
    fn replace_oldest(&mut self) {
        let segment = self.sealed.remove(0);
        if segment.place == Place::Swap {
            self.settle_swap_of(segment.base);
        }
        let log = self.segment_file(segment.base, SegmentFile::Log);
        let marked = self.directory.child(&format!("{}.deleted", SegmentFile::Log.name(segment.base)));
        let rename = DiskOp::Rename { from: log, to: marked.clone() };
        let kinds = [SegmentFile::OffsetIndex, SegmentFile::TimeIndex, SegmentFile::TransactionIndex, SegmentFile::Snapshot];
        let indexes = kinds.map(|kind| DiskOp::Delete { file: self.segment_file(segment.base, kind) });
        self.queue.order_all(self.config.durability);
        self.queue.push(Step::Do { op: rename, then: Then::Doomed { files: vec![marked] } }, self.config.durability);
        for op in indexes {
            self.queue.push(Step::plain(op), self.config.durability);
        }
    }

    pub(crate) fn doom(&mut self, now_ms: i64, files: Vec<FilePath>) {
        let deletions = files.into_iter().map(|file| DiskOp::Delete { file });
        if self.state == State::Open {
            let due_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
            self.doomed.extend(deletions.map(|op| (due_ms, op)));
            return;
        }
        // Nobody reads a log that closes.
        for op in deletions {
            self.queue.push_behind(Step::plain(op));
        }
    }
}

fn older_than(largest_timestamp_ms: i64, retention_ms: i64, now_ms: i64) -> bool {
    retention_ms >= 0 && largest_timestamp_ms != NO_TIMESTAMP && now_ms.saturating_sub(largest_timestamp_ms) > retention_ms
}
