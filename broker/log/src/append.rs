//! Batches enter the log: as its leader stamps them, or with the offsets that they already carry.
//!
//! A batch is placed in a segment, its producer and epoch are noted, and it joins what is gathered for the next append. All checks come
//! before the first change: a refused batch leaves no trace.

use bytes::Bytes;
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::records::{BatchError, BatchHeader, Batches, PREFIX_BYTES, TimestampType, stamped_prefix};

use crate::disk::{DiskOp, Part};
use crate::log::{Log, State, Written};
use crate::names::{PARTITION_METADATA, SegmentFile};
use crate::partition_metadata;
use crate::producers::marker_of;
use crate::queue::{APPEND_BYTES_MAX, Gather, Step};
use crate::segment::{Active, BatchEnd, Placed};

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

impl Log {
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

    /// Forgets epochs that were begun and in which nothing was written: another leader's records come next, and they may be of an
    /// earlier one.
    pub fn forget_empty_epochs(&mut self) {
        self.epochs_dirty |= self.epochs.truncate_from_end(self.positions.log_end);
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
    /// Offsets may leave gaps, as compaction does; they never go back. The checksums were compared before. A batch that is larger than a
    /// segment may be has one of its own: `segment.bytes` was larger when its leader took it, and it is to be replicated all the same.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended then.
    pub fn append_as_is(&mut self, now_ms: i64, bytes: Bytes) -> Result<(), AppendError> {
        self.check_open()?;
        self.check_given(&bytes)?;
        self.reach_back(now_ms, &bytes);
        self.place_all(now_ms, &bytes)?;
        Ok(())
    }

    /// A log without records takes the batch that holds its start whole: its segment begins with that batch.
    fn reach_back(&mut self, now_ms: i64, bytes: &[u8]) {
        let log_end = self.positions.log_end;
        let Ok(header) = BatchHeader::parse(bytes) else { return };
        let base = Offset(header.base_offset);
        if base >= log_end {
            return;
        }
        self.cut_first();
        let active = Box::new(Active::new(&self.directory, base, now_ms));
        let (from, to) = (self.segment_file(log_end, SegmentFile::Log), active.log.clone());
        self.active = Some(active);
        self.written = Written { base, bytes: 0 };
        if self.has_directory {
            // Its name was the only thing on disk that said where the log ends.
            self.queue.push(Step::plain(DiskOp::Rename { from, to }), self.config.durability);
        }
    }

    /// Whether there are no records at all, and so nothing that a batch could contradict.
    fn is_without_records(&self) -> bool {
        self.positions.log_start == self.positions.log_end
            && self.sealed.is_empty()
            && self.active.as_ref().is_none_or(|active| active.bytes == 0 && active.base == self.positions.log_end)
    }

    pub(crate) fn place_all(&mut self, now_ms: i64, bytes: &Bytes) -> Result<(), BatchError> {
        let mut position = 0;
        while position < bytes.len() {
            let rest = bytes.slice(position..);
            let header = BatchHeader::parse(&rest)?;
            let batch = rest.slice(..header.size_bytes());
            position += batch.len();
            let (base, last) = (Offset(header.base_offset), Offset(header.last_offset()));
            if header.partition_leader_epoch >= 0 {
                self.assign_epoch(LeaderEpoch(header.partition_leader_epoch), base.max(self.positions.log_start));
            }
            let prefix = stamped_prefix(base.0, header.batch_length, header.partition_leader_epoch);
            self.place(now_ms, &header, Part { prefix, body: batch.slice(PREFIX_BYTES..) }, base, last, &batch);
        }
        self.check_positions();
        Ok(())
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
            self.write_partition_metadata();
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

    pub(crate) fn write_partition_metadata(&mut self) {
        let file = self.directory.child(PARTITION_METADATA);
        let op = DiskOp::Write { file, contents: partition_metadata::encode(self.topic_id) };
        self.queue.push(Step::plain(op), self.config.durability);
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
        let mut may_reach_back = self.is_without_records();
        for batch in Batches::strict(bytes) {
            let header = batch?.header;
            let found = Offset(header.base_offset);
            let holds_start = std::mem::take(&mut may_reach_back) && header.last_offset() >= log_end.0;
            if found < log_end && !holds_start {
                return Err(AppendError::OffsetBehind { log_end, found });
            }
            let last = found.plus(i64::from(header.last_offset_delta)).filter(|last| *last >= found && *last < Offset::MAX);
            log_end = last.ok_or(AppendError::OffsetsExhausted)?.next();
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
}

fn whole_batch(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    if header.size_bytes() != bytes.len() {
        return Err(BatchError::Partial { have: bytes.len(), need: header.size_bytes() });
    }
    Ok(header)
}
