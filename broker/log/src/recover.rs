//! Opening a directory: from files to a [`Log`], after a clean shutdown or any crash, ours or Kafka's.
//!
//! The directory is listed, the small files are read, and records are looked at only behind the recovery point (or,
//! after a clean shutdown, behind the last index entry). There the log ends at the first batch that is not good: what follows
//! was never acknowledged. Below the recovery point everything was durable once, so something wrong there is [`RecoverError::Damaged`]:
//! nothing is cut, and somebody has to decide. The same is true of a log that is cut back: up to its end it was good.
//!
//! Nothing is changed here: what has to be is in [`Recovered::repairs`], to be carried out, in order, before the log is used.
//! Afterwards everything in the log is durable.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use strandline_protocol::ids::{Offset, TopicId};

use crate::config::LogConfig;
use crate::disk::{DiskError, DiskOp, FilePath, Files};
use crate::epochs::LeaderEpochs;
use crate::format::FormatError;
use crate::listing::{ListedSegment, Listing};
use crate::log::{Log, Positions, Written};
use crate::names::{LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, SegmentFile};
use crate::partition_metadata;
use crate::producers::Producers;
use crate::scan::Stop;
use crate::segment::{Active, Place, Sealed};
use crate::snapshot;
use crate::transactions;
use crate::walk::{Walked, Walker};

/// Bytes of a small file that are read at once.
const SMALL_FILE_BYTES: usize = 64 << 10;

/// How the last process that used the directory ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// `.kafka_cleanshutdown` was there: every log was closed.
    Clean,
    Unclean,
}

/// What the checkpoint files of the log directory say of the partition; 0 if they do not know it. They know partitions by name: whoever
/// makes one under a name that was used before has them forget the other one first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoints {
    pub recovery_point: Offset,
    pub log_start: Offset,
    pub high_watermark: Offset,
}

/// A directory to open.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The partition's directory.
    pub directory: FilePath,
    pub config: Arc<LogConfig>,
    pub checkpoints: Checkpoints,
    pub shutdown: Shutdown,
    pub now_ms: i64,
}

/// A directory that was opened.
#[derive(Debug)]
pub struct Recovered {
    pub log: Log,
    /// To be carried out in order before the log is used.
    pub repairs: Vec<DiskOp>,
    pub report: Report,
}

/// What opening a directory took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes of records that were read.
    pub bytes_scanned: u64,
    /// Bytes that were there behind the end of the log, padding included.
    pub bytes_cut: u64,
    /// Why the log ends where it ends.
    pub stop: Option<Stop>,
    pub indexes_rebuilt: usize,
    pub segments_removed: usize,
    pub files_removed: usize,
}

/// Why a directory cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Records that were durable are not there any more. Nothing was changed.
    #[error("{file} is damaged at byte {position}, offset {offset}, below the recovery point {recovery_point}: {stop}")]
    Damaged { file: FilePath, position: u64, offset: Offset, recovery_point: Offset, stop: Stop },
    #[error("{file}: {error}")]
    Format { file: FilePath, error: FormatError },
    /// A compaction was interrupted: carry the repairs out, in order, then open again.
    #[error("an interrupted compaction has to be finished first")]
    Unfinished { repairs: Vec<DiskOp> },
}

impl RecoverError {
    /// Whether this directory alone is at fault: what it holds is not what was written there. A file that cannot be read may be
    /// anybody's fault.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Format { .. })
    }
}

/// Opens a directory.
///
/// # Errors
/// [`RecoverError`]
pub fn recover(files: &dyn Files, recovery: &Recovery) -> Result<Recovered, RecoverError> {
    Recovering::begin(files, recovery, Offset::MAX)?.run()
}

/// Cuts a log back so that it ends at `end`, or before it where a batch holds `end`: what a follower does that diverged from its leader.
/// The records right below may be gone from a log that was compacted; it ends there all the same. The log must be idle. Before the repairs are carried out the new log's recovery point and start must stand durably in the checkpoints of
/// the log directory: with the old ones, a crash right behind them would look like damage.
///
/// # Errors
/// [`RecoverError`]
///
/// # Panics
/// If the log is not idle, or output of a compaction waits ([`Log::settle_swaps`]).
pub fn truncate(files: &dyn Files, log: Log, end: Offset, now_ms: i64) -> Result<Recovered, RecoverError> {
    assert!(log.is_idle(), "a log is cut back between operations");
    assert!(log.swaps.is_empty(), "output of a compaction is put in its place first");
    if end >= log.positions.log_end {
        return Ok(Recovered { log, repairs: Vec::new(), report: Report::default() });
    }
    let recovery = Recovery {
        directory: log.directory.clone(),
        config: log.config.clone(),
        checkpoints: Checkpoints {
            recovery_point: log.recovery_point.min(end),
            log_start: log.positions.log_start.min(end),
            high_watermark: end,
        },
        shutdown: Shutdown::Unclean,
        now_ms,
    };
    let mut recovering = Recovering::begin(files, &recovery, end)?;
    // Whatever else is found below the end is not what was written, and no torn tail.
    recovering.walker.trusted_below = end;
    recovering.spare_temporary_files();
    let mut recovered = recovering.run()?;
    recovered.log.topic_id = log.topic_id;
    let Positions { log_start, log_end, .. } = recovered.log.positions;
    if log_start < log_end {
        // A compacted log has epochs without records.
        recovered.log.epochs = log.epochs;
        recovered.log.epochs.truncate_from_end(log_end);
        recovered.log.epochs.truncate_from_start(log_start);
    }
    // The removals of the old log are still due.
    recovered.log.doomed = log.doomed;
    // What was compacted may have been cut off; what comes in its place was not.
    recovered.log.cleaned_below = log.cleaned_below.map(|below| below.min(recovered.log.positions.log_end));
    // The snapshots behind the cut go with it: without one at the end the next start would have to look for producers far below.
    recovered.log.checkpoint();
    Ok(recovered)
}

/// What recovery knows so far.
struct Recovering<'a> {
    files: &'a dyn Files,
    recovery: &'a Recovery,
    walker: Walker<'a>,
    listing: Listing,
    /// Whether the epoch checkpoint could be read.
    epochs_known: bool,
    repairs: Vec<DiskOp>,
    report: Report,
}

/// The segments of the log to be.
#[derive(Default)]
struct Segments {
    sealed: Vec<Sealed>,
    /// Sealed ones whose indexes have to be written, with their place among the sealed ones.
    rebuilt: Vec<(usize, Active)>,
    active: Option<Active>,
    end: Offset,
    /// Behind the last record. A cut through a log that was compacted ends later.
    records_end: Offset,
}

impl Segments {
    fn first_base(&self) -> Option<Offset> {
        let active = self.active.as_ref().map(|active| active.base);
        self.sealed.first().map(|sealed| sealed.base).or(active)
    }
}

impl<'a> Recovering<'a> {
    fn begin(files: &'a dyn Files, recovery: &'a Recovery, bound: Offset) -> Result<Self, RecoverError> {
        let listing = Listing::read(files, &recovery.directory)?;
        let first_base = listing.segments.first().map_or(Offset::ZERO, |segment| segment.base);
        let derived_below = match recovery.shutdown {
            Shutdown::Clean => Offset::MAX,
            Shutdown::Unclean => recovery.checkpoints.recovery_point.max(first_base).min(bound),
        };
        let (epochs, epochs_known) = read_epochs(files, &recovery.directory, &listing)?;
        let with_aborted = listing.segments.iter().filter(|segment| segment.aborted() > 0);
        let with_aborted = with_aborted.map(|segment| segment.base).collect();
        Ok(Self {
            files,
            recovery,
            walker: Walker {
                files,
                recovery,
                bound,
                trusted_below: derived_below,
                derived_below,
                epochs,
                with_aborted,
                last_read: None,
                bytes_read: 0,
            },
            report: Report { files_removed: listing.leftovers.len(), ..Report::default() },
            listing,
            epochs_known,
            repairs: Vec::new(),
        })
    }

    /// Those of a crash were removed at the start. One that lies here now is just being written by somebody else: the quorum keeps
    /// its state beside the metadata log, and a vote may fall into a cut. Removed under its writer's hands it fails the log directory.
    fn spare_temporary_files(&mut self) {
        self.listing.leftovers.retain(|file| !file.is_temporary());
        self.report.files_removed = self.listing.leftovers.len();
    }

    fn run(mut self) -> Result<Recovered, RecoverError> {
        let topic_id = self.read_topic_id()?;
        let leftovers = std::mem::take(&mut self.listing.leftovers);
        self.repairs.extend(leftovers.into_iter().map(|file| DiskOp::Delete { file }));
        let listed = std::mem::take(&mut self.listing.segments);
        let first_scanned = self.first_scanned(&listed);
        let mut segments = Segments::default();
        for (place, segment) in listed[..first_scanned].iter().enumerate() {
            self.take_trusted(segment, listed[place + 1].base, &mut segments)?;
        }
        // Epochs that began behind what was durable are found again in the batches that carry them.
        self.walker.epochs.truncate_from_end(self.walker.derived_below);
        self.scan_from(&listed[first_scanned..], &mut segments)?;
        self.finish(topic_id, segments)
    }

    /// Place of the first segment that has to be looked into.
    fn first_scanned(&self, listed: &[ListedSegment]) -> usize {
        let last = listed.len().saturating_sub(1);
        match self.recovery.shutdown {
            Shutdown::Clean => last,
            Shutdown::Unclean => {
                let begun = listed.partition_point(|segment| segment.base <= self.walker.derived_below);
                begun.saturating_sub(1).min(last)
            }
        }
    }

    /// A segment that needs no scan; its indexes are rebuilt if they are missing or invalid.
    fn take_trusted(&mut self, listed: &ListedSegment, next: Offset, segments: &mut Segments) -> Result<(), RecoverError> {
        if self.epochs_known
            && let Some(sealed) = self.walker.trusted(listed, next)?
        {
            segments.sealed.push(sealed);
            return Ok(());
        }
        let walked = self.walker.walk(listed, self.walker.unknown(listed), listed.base, next)?;
        if walked.stop != Stop::End {
            return Err(self.damaged(&walked));
        }
        self.take_rebuilt(listed, walked, next, segments);
        Ok(())
    }

    fn take_rebuilt(&mut self, listed: &ListedSegment, walked: Walked, next: Offset, segments: &mut Segments) {
        let Walked { segment, end, .. } = walked;
        segments.sealed.push(Sealed {
            base: segment.base,
            bytes: segment.bytes,
            first_timestamp_ms: segment.first_timestamp_ms,
            largest_timestamp_ms: segment.largest.timestamp_ms,
            aborted: listed.aborted(),
            ends_at_next: end == next,
            unwritten: None,
            place: Place::Settled,
        });
        segments.rebuilt.push((segments.sealed.len() - 1, segment));
    }

    /// Looks into the segments from the recovery point on, up to the first that does not end well; the last one becomes the
    /// active segment.
    fn scan_from(&mut self, listed: &[ListedSegment], segments: &mut Segments) -> Result<(), RecoverError> {
        let mut expected = Offset::ZERO;
        for (place, segment) in listed.iter().enumerate() {
            let begun = if self.epochs_known { self.walker.resume(segment)? } else { self.walker.unknown(segment) };
            let rest = &listed[place + 1..];
            let bound = self.walker.bound;
            // A cut that a crash interrupted goes on: the log ends where an empty segment says so ([`Self::end_behind`]).
            let is_cut = rest.len() == 1 && rest[0].bytes == 0;
            self.walker.bound = rest.first().filter(|_| is_cut).map_or(bound, |next| next.base.min(bound));
            let limit = rest.first().filter(|_| !is_cut).map_or(Offset::MAX, |next| next.base);
            let walked = self.walker.walk(segment, begun, expected.max(segment.base), limit)?;
            let was_cut = is_cut && walked.stop == Stop::Bound && self.walker.bound < bound;
            self.walker.bound = bound;
            expected = walked.end;
            let goes_on = was_cut || (walked.stop == Stop::End && walked.end < bound);
            match rest.first().filter(|next| goes_on && next.base <= bound) {
                Some(next) => {
                    let (file, bytes) = (walked.segment.log.clone(), walked.segment.bytes);
                    self.repairs.push(if was_cut { DiskOp::Truncate { file, bytes } } else { DiskOp::Sync { file } });
                    self.take_rebuilt(segment, walked, next.base, segments);
                }
                None => {
                    // The last goes first: whatever a crash leaves of these repairs, the log has no hole.
                    self.remove_rest(rest);
                    segments.records_end = walked.end;
                    let end = self.cut_at(&walked, rest).max(walked.end);
                    if end > walked.end && (walked.segment.bytes > 0 || !segments.sealed.is_empty()) {
                        self.end_behind(segment, walked, end, segments);
                    } else {
                        // Of a segment that begins the log and has no records left only memory knows where the log ends.
                        segments.active = Some(self.end_here(segment, walked)?);
                    }
                    segments.end = end;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Where a cut ends the log that has no records behind the walk's end. A batch that reaches over the bound goes as a whole. The last
    /// segment has a record there.
    fn cut_at(&self, walked: &Walked, rest: &[ListedSegment]) -> Offset {
        match walked.stop {
            Stop::End if self.walker.bound < Offset::MAX && !rest.is_empty() => self.walker.bound,
            Stop::Bound => walked.next.min(self.walker.bound),
            _ => walked.end,
        }
    }

    /// The records of this segment end below the cut: compaction took the last of them. A segment without records says by its name where
    /// the log ends. It comes first, so that a crash leaves either the log as it was, or a cut that can be seen.
    fn end_behind(&mut self, listed: &ListedSegment, walked: Walked, end: Offset, segments: &mut Segments) {
        self.report.stop = Some(walked.stop);
        self.report.bytes_cut += listed.bytes - walked.segment.bytes;
        self.repairs.push(DiskOp::Write { file: self.file(end, SegmentFile::Log), contents: Bytes::new() });
        if walked.segment.bytes > 0 {
            self.repairs.push(DiskOp::Truncate { file: walked.segment.log.clone(), bytes: walked.segment.bytes });
            self.take_rebuilt(listed, walked, end, segments);
        } else {
            self.report.segments_removed += 1;
            self.remove_segment(listed.base);
        }
        let mut active = Active::new(&self.recovery.directory, end, self.recovery.now_ms);
        active.dirty = true;
        segments.active = Some(active);
    }

    /// The log ends in this segment.
    fn end_here(&mut self, listed: &ListedSegment, walked: Walked) -> Result<Active, RecoverError> {
        let was_cut_on_purpose = walked.stop == Stop::Bound;
        let is_damaged = match self.recovery.shutdown {
            Shutdown::Clean => walked.stop != Stop::End || self.ends_elsewhere(&walked),
            Shutdown::Unclean => walked.end < self.walker.trusted_below,
        };
        if is_damaged && !was_cut_on_purpose {
            return Err(self.damaged(&walked));
        }
        let Walked { mut segment, end, stop, .. } = walked;
        self.report.stop = Some(stop);
        self.report.bytes_cut = listed.bytes - segment.bytes;
        let is_longer = listed.bytes > segment.bytes;
        let has_news = self.recovery.shutdown == Shutdown::Unclean && end > self.walker.derived_below;
        segment.dirty = has_news || was_cut_on_purpose || !self.epochs_known;
        segment.padded = is_longer;
        if has_news || was_cut_on_purpose {
            let file = segment.log.clone();
            let bytes = segment.bytes;
            self.repairs.push(if is_longer { DiskOp::Truncate { file, bytes } } else { DiskOp::Sync { file } });
            segment.padded = false;
        }
        // Otherwise the cut waits for the first append: thousands of idle partitions are opened without a write.
        segment.cut_first = segment.padded;
        Ok(segment)
    }

    /// A log that was closed ends at its recovery point, unless nothing is known of that, or a cut or a copy left a gap at its end.
    fn ends_elsewhere(&self, walked: &Walked) -> bool {
        let closed_at = self.recovery.checkpoints.recovery_point;
        walked.segment.bytes > 0 && closed_at > Offset::ZERO && walked.end != closed_at
    }

    fn remove_rest(&mut self, rest: &[ListedSegment]) {
        for segment in rest.iter().rev() {
            self.report.segments_removed += 1;
            self.report.bytes_cut += segment.bytes;
            self.remove_segment(segment.base);
        }
    }

    fn remove_segment(&mut self, base: Offset) {
        let kinds = [SegmentFile::Log, SegmentFile::OffsetIndex, SegmentFile::TimeIndex, SegmentFile::TransactionIndex];
        for kind in kinds {
            let file = self.file(base, kind);
            self.repairs.push(DiskOp::Delete { file });
        }
    }

    fn finish(mut self, topic_id: TopicId, mut segments: Segments) -> Result<Recovered, RecoverError> {
        let Checkpoints { high_watermark, .. } = self.recovery.checkpoints;
        let log_start = self.log_start(&segments);
        if log_start > segments.end || segments.active.is_none() {
            segments = self.begin_at(log_start, &segments);
        }
        let end = segments.end;
        let mut epochs = std::mem::take(&mut self.walker.epochs);
        let mut epochs_dirty = epochs.truncate_from_end(end) || !self.epochs_known;
        epochs_dirty |= epochs.truncate_from_start(log_start);
        epochs_dirty |= segments.active.as_ref().is_some_and(|active| active.dirty);
        let mut producers = self.producers(&mut segments)?;
        producers.on_high_watermark(high_watermark);
        let stray_snapshot = self.sort_snapshots(&segments);
        self.write_rebuilt(&segments.rebuilt);
        self.remove_cut_transactions(&segments);
        let recovery_point = match self.recovery.shutdown {
            Shutdown::Clean => end,
            Shutdown::Unclean => self.walker.derived_below.min(segments.records_end),
        };
        self.report.bytes_scanned = self.walker.bytes_read;
        let active = segments.active;
        let mut log = Log::new(self.recovery.directory.clone(), topic_id, self.recovery.config.clone());
        (log.has_directory, log.is_on_disk) = (true, true);
        log.positions = Positions { log_start, ..Positions::at(end) };
        log.recovery_point = recovery_point;
        log.written = active.as_ref().map_or(log.written, |active| Written { base: active.base, bytes: active.bytes });
        log.sealed = segments.sealed;
        log.active = active.map(Box::new);
        log.epochs = epochs;
        log.epochs_dirty = epochs_dirty;
        log.producers = (producers.count() > 0).then(|| Box::new(producers));
        log.stray_snapshot = stray_snapshot;
        log.check_positions();
        Ok(Recovered { log, repairs: self.repairs, report: self.report })
    }

    /// The log start of the checkpoint, unless it lies behind records: records are never deleted up to behind the last one
    /// that is durable, so that start is not this log's, and nothing is removed on its word.
    fn log_start(&self, segments: &Segments) -> Offset {
        let first_base = segments.first_base().unwrap_or(Offset::ZERO);
        let log_start = self.recovery.checkpoints.log_start.max(first_base);
        if log_start <= segments.end || segments.end == first_base {
            log_start
        } else if self.walker.bound < Offset::MAX {
            // The batch that held the start was cut off.
            segments.end
        } else {
            first_base
        }
    }

    /// Nothing of the log is left: it goes on from its start.
    fn begin_at(&mut self, log_start: Offset, gone: &Segments) -> Segments {
        let bases: Vec<Offset> = gone.sealed.iter().map(|sealed| sealed.base).collect();
        for base in bases.into_iter().chain(gone.active.as_ref().map(|active| active.base)) {
            self.report.segments_removed += 1;
            self.remove_segment(base);
        }
        self.walker.epochs.clear();
        // The name of the file says where the log ends, even if the checkpoint of the log start is lost.
        let file = self.file(log_start, SegmentFile::Log);
        self.repairs.push(DiskOp::Write { file, contents: Bytes::new() });
        let active = Active::new(&self.recovery.directory, log_start, self.recovery.now_ms);
        Segments { active: Some(active), end: log_start, records_end: log_start, ..Segments::default() }
    }

    /// The producers at the end of the log: those of the newest good snapshot, and of the batches behind it.
    fn producers(&mut self, segments: &mut Segments) -> Result<Producers, RecoverError> {
        // Behind a snapshot below the first segment batches are missing: better to know nothing of a producer than half of it.
        let first_base = segments.first_base().unwrap_or(segments.end);
        // Which transactions of a segment were aborted shows only who goes through it from its beginning.
        let active = segments.active.as_ref().map(|active| active.base);
        let unknown = active.filter(|base| self.walker.aborted(*base).is_none());
        let rebuilt_from = segments.rebuilt.first().map(|(_, segment)| segment.base).or(unknown);
        let (from, mut producers) = match self.newest_snapshot(first_base..=rebuilt_from.unwrap_or(segments.end))? {
            Some(loaded) => loaded,
            // Kafka before 0.11 wrote none, and a log without producers needs none.
            None if self.recovery.shutdown == Shutdown::Clean && rebuilt_from.is_none() => (segments.end, Producers::default()),
            None => (Offset::ZERO, Producers::default()),
        };
        let mut fresh: Vec<&mut Active> = segments.rebuilt.iter_mut().map(|(_, segment)| segment).collect();
        fresh.extend(segments.active.as_mut());
        let at_bases = self.walker.replay(&mut producers, from..segments.end, &segments.sealed, fresh)?;
        if let Some(active) = segments.active.as_mut().filter(|_| from != segments.end) {
            // Without a snapshot right here the next clean start would not know the producers.
            active.dirty = true;
        }
        for (base, entries) in at_bases {
            if self.listing.snapshots.binary_search(&base).is_err() {
                let file = self.file(base, SegmentFile::Snapshot);
                self.repairs.push(DiskOp::Write { file, contents: snapshot::encode(entries) });
            }
        }
        for (place, segment) in &segments.rebuilt {
            segments.sealed[*place].aborted = segment.aborted.len() as u32;
        }
        Ok(producers)
    }

    fn newest_snapshot(&mut self, within: RangeInclusive<Offset>) -> Result<Option<(Offset, Producers)>, DiskError> {
        let usable = self.listing.snapshots.iter().copied().filter(|offset| within.contains(offset));
        let usable: Vec<Offset> = usable.collect();
        for offset in usable.into_iter().rev() {
            match self.read_snapshot(offset)? {
                Some(producers) => return Ok(Some((offset, producers))),
                None => self.remove_snapshot(offset),
            }
        }
        Ok(None)
    }

    fn read_snapshot(&self, offset: Offset) -> Result<Option<Producers>, DiskError> {
        let contents = read_whole(self.files, &self.file(offset, SegmentFile::Snapshot))?;
        Ok(snapshot::parse(&contents).ok().map(|entries| Producers::load(&entries, self.recovery.now_ms)))
    }

    fn remove_snapshot(&mut self, offset: Offset) {
        self.listing.snapshots.retain(|known| *known != offset);
        let file = self.file(offset, SegmentFile::Snapshot);
        self.repairs.push(DiskOp::Delete { file });
        self.report.files_removed += 1;
    }

    /// Keeps the snapshots that belong to a segment, and the newest of the others. Answers with that one.
    fn sort_snapshots(&mut self, segments: &Segments) -> Option<Offset> {
        let active = segments.active.as_ref().map(|active| active.base);
        let bases: Vec<Offset> = segments.sealed.iter().map(|sealed| sealed.base).chain(active).collect();
        let strays = self.listing.snapshots.iter().copied().filter(|offset| bases.binary_search(offset).is_err());
        let mut strays: Vec<Offset> = strays.collect();
        let kept = strays.iter().rposition(|offset| *offset <= segments.end).map(|place| strays.remove(place));
        for stray in strays {
            self.remove_snapshot(stray);
        }
        kept
    }

    fn write_rebuilt(&mut self, rebuilt: &[(usize, Active)]) {
        self.report.indexes_rebuilt = rebuilt.len();
        for (_, segment) in rebuilt {
            let indexes = segment.indexes();
            let mut write = |kind, contents| {
                let file = self.recovery.directory.child(&SegmentFile::name(kind, segment.base));
                self.repairs.push(DiskOp::Write { file, contents });
            };
            write(SegmentFile::OffsetIndex, indexes.offsets);
            write(SegmentFile::TimeIndex, indexes.times);
            if !indexes.aborted.is_empty() {
                write(SegmentFile::TransactionIndex, transactions::encode(&indexes.aborted));
            }
        }
    }

    /// Removes indexes of which every transaction was cut off: they are not written anew, and would speak of what comes in its place. The
    /// snapshots behind them are gone by then.
    fn remove_cut_transactions(&mut self, segments: &Segments) {
        let rebuilt = segments.rebuilt.iter().map(|(_, segment)| segment);
        for segment in rebuilt.chain(&segments.active).filter(|segment| segment.aborted.is_empty()) {
            if self.walker.with_aborted.binary_search(&segment.base).is_ok() {
                let file = self.recovery.directory.child(&SegmentFile::TransactionIndex.name(segment.base));
                self.repairs.push(DiskOp::Delete { file });
            }
        }
    }

    fn read_topic_id(&self) -> Result<TopicId, RecoverError> {
        if !self.listing.has_metadata {
            return Ok(TopicId::ZERO);
        }
        let file = self.recovery.directory.child(PARTITION_METADATA);
        let contents = read_whole(self.files, &file)?;
        partition_metadata::parse(&contents).map_err(|error| RecoverError::Format { file, error })
    }

    fn damaged(&self, walked: &Walked) -> RecoverError {
        self.walker.damaged(&walked.segment.log, walked.segment.bytes, walked.end, walked.stop)
    }

    fn file(&self, base: Offset, kind: SegmentFile) -> FilePath {
        self.recovery.directory.child(&kind.name(base))
    }
}

/// The epochs in the checkpoint, and whether it is there and whole. If not they are found by walking through the log.
fn read_epochs(files: &dyn Files, directory: &FilePath, listing: &Listing) -> Result<(LeaderEpochs, bool), DiskError> {
    if !listing.has_epochs {
        return Ok((LeaderEpochs::default(), false));
    }
    let contents = read_whole(files, &directory.child(LEADER_EPOCH_CHECKPOINT))?;
    match LeaderEpochs::parse(&contents) {
        Ok(epochs) => Ok((epochs, true)),
        Err(_) => Ok((LeaderEpochs::default(), false)),
    }
}

/// Reads a small file; one that is missing is empty.
pub(crate) fn read_whole(files: &dyn Files, file: &FilePath) -> Result<Bytes, DiskError> {
    let mut contents = BytesMut::new();
    loop {
        match files.read_segment(file, contents.len() as u64, SMALL_FILE_BYTES) {
            Ok(piece) if contents.is_empty() && piece.len() < SMALL_FILE_BYTES => return Ok(piece),
            Ok(piece) => {
                contents.extend_from_slice(&piece);
                if piece.len() < SMALL_FILE_BYTES {
                    return Ok(contents.freeze());
                }
            }
            Err(DiskError::Missing { .. }) => return Ok(contents.freeze()),
            Err(error) => return Err(error),
        }
    }
}
