//! What recovery finds out about segments by looking into their files.
//!
//! A walk feeds every batch to the same [`Active`] segment that appends feed, so rebuilt indexes are those that appending would have
//! made. Below the recovery point a header is believed; from there on the checksum must hold, offsets must grow and leader
//! epochs must not fall. A replay for the producers' sake goes over what no walk has checked, and then checks it: what producers did is known
//! exactly or not at all.

use std::ops::Range;

use bytes::Bytes;
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::records::{BatchHeader, HEADER_BYTES, crc32c, position};
use strandline_protocol::stored::producer_snapshot::ProducerEntry;

use crate::config::LogConfig;
use crate::cut::Before;
use crate::disk::{DiskError, FilePath, Files};
use crate::epochs::LeaderEpochs;
use crate::index::{self, OffsetIndex};
use crate::listing::ListedSegment;
use crate::names::SegmentFile;
use crate::producers::{Producers, marker_of};
use crate::recover::{RecoverError, Recovery, Shutdown, read_whole};
use crate::scan::{BatchInFile, Depth, Scan, Stop};
use crate::segment::{Active, NO_TIMESTAMP, Place, Placed, Sealed};
use crate::time_index::{self, TimeIndex};
use crate::transactions::{self, AbortedTransaction};

/// Bytes of an index that are read first; more only if all of them are entries. Kafka allocates 10 MiB ahead.
const INDEX_BYTES_FIRST: usize = 16 << 10;

/// A segment after its walk.
pub(crate) struct Walked {
    pub(crate) segment: Active,
    /// Behind its last batch.
    pub(crate) end: Offset,
    /// Where the batch begins that is behind the bound, if one is.
    pub(crate) next: Offset,
    pub(crate) stop: Stop,
}

/// Looks into the segments of one directory.
pub(crate) struct Walker<'a> {
    pub(crate) files: &'a dyn Files,
    pub(crate) recovery: &'a Recovery,
    /// The log ends here at the latest.
    pub(crate) bound: Offset,
    /// Below this everything was durable, or at least good: what is not any more is damage.
    pub(crate) trusted_below: Offset,
    /// Below this index files and epochs say what the records do. What they say behind it may be about records that were cut off.
    pub(crate) derived_below: Offset,
    pub(crate) epochs: LeaderEpochs,
    /// Base offsets of the segments that have a transaction index, in order.
    pub(crate) with_aborted: Vec<Offset>,
    /// What was read last, and of which segment: of a short log that is all of it.
    pub(crate) last_read: Option<(Offset, (u64, Bytes))>,
    pub(crate) bytes_read: u64,
}

impl Walker<'_> {
    /// What is known of a segment without looking into its records: its largest timestamp is the last entry of its time index.
    /// `None` if an index is missing or invalid.
    pub(crate) fn trusted(&self, listed: &ListedSegment, next: Offset) -> Result<Option<Sealed>, DiskError> {
        if !self.offset_index_is_intact(listed)? {
            return Ok(None);
        }
        let last = self.last_time_entry(listed, next)?;
        let first_timestamp_ms = self.first_timestamp_ms(listed)?;
        Ok(last.map(|last| Sealed {
            base: listed.base,
            bytes: listed.bytes,
            first_timestamp_ms,
            largest_timestamp_ms: last.timestamp_ms,
            aborted: listed.aborted(),
            ends_at_next: last.offset.next() == next,
            unwritten: None,
            place: Place::Settled,
        }))
    }

    /// Of the first batch. Only a bound on the time until a record is compacted asks for it, so without one nobody looks.
    fn first_timestamp_ms(&self, listed: &ListedSegment) -> Result<i64, DiskError> {
        let config = &self.recovery.config;
        if !config.compacts || config.max_compaction_lag_ms == i64::MAX {
            return Ok(NO_TIMESTAMP);
        }
        Ok(self.header_at(listed, 0)?.map_or(NO_TIMESTAMP, |header| header.max_timestamp))
    }

    fn offset_index_is_intact(&self, listed: &ListedSegment) -> Result<bool, DiskError> {
        let entry_bytes = index::ENTRY_BYTES as u64;
        let Some(bytes) = listed.offset_index_bytes.filter(|bytes| bytes % entry_bytes == 0) else {
            return Ok(false);
        };
        let Some(last) = bytes.checked_sub(entry_bytes) else {
            return Ok(true);
        };
        let entry = self.files.read(&self.file(listed.base, SegmentFile::OffsetIndex), last, index::ENTRY_BYTES)?;
        Ok(index::valid_entries(&entry, listed.base, listed.bytes) == 1)
    }

    /// The last entry of a sealed time index; `None` if it is missing or invalid. An empty one says that no record has a timestamp.
    fn last_time_entry(&self, listed: &ListedSegment, next: Offset) -> Result<Option<time_index::Entry>, DiskError> {
        let entry_bytes = time_index::ENTRY_BYTES as u64;
        let Some(bytes) = listed.time_index_bytes.filter(|bytes| bytes % entry_bytes == 0) else {
            return Ok(None);
        };
        let Some(last) = bytes.checked_sub(entry_bytes) else {
            return Ok(Some(time_index::Entry { timestamp_ms: NO_TIMESTAMP, offset: listed.base }));
        };
        let file = self.file(listed.base, SegmentFile::TimeIndex);
        let entry = self.files.read(&file, last, time_index::ENTRY_BYTES)?;
        // A last entry of zeros is space that Kafka allocated ahead and did not cut off.
        let zeros = last > 0 && entry.iter().all(|byte| *byte == 0);
        let entry = time_index::entry_at(&entry, listed.base, 0).filter(|_| !zeros);
        Ok(entry.filter(|entry| entry.timestamp_ms >= 0 && entry.offset >= listed.base && entry.offset < next))
    }

    /// A segment of which nothing is known.
    pub(crate) fn unknown(&self, listed: &ListedSegment) -> Active {
        Active::new(&self.recovery.directory, listed.base, self.recovery.now_ms)
    }

    /// A segment of which everything is known up to the last index entry below the recovery point.
    pub(crate) fn resume(&self, listed: &ListedSegment) -> Result<Active, DiskError> {
        let empty = self.unknown(listed);
        if self.derived_below <= listed.base {
            return Ok(empty);
        }
        let offsets = self.offset_index(listed)?;
        let Some(last) = offsets.last(listed.base) else {
            return Ok(empty);
        };
        let Some(header) = self.header_at(listed, u64::from(last.position))? else {
            return Ok(empty);
        };
        let fits = header.base_offset <= last.offset.0 && header.base_offset >= listed.base.0;
        let first = self.header_at(listed, 0)?;
        let Some(first) = first.filter(|_| fits) else {
            return Ok(empty);
        };
        let times = self.time_index(listed, Offset(header.base_offset))?;
        Ok(empty.resume(u64::from(last.position), first.max_timestamp, offsets, times))
    }

    fn offset_index(&self, listed: &ListedSegment) -> Result<OffsetIndex, DiskError> {
        let valid = |bytes: &[u8]| index::valid_entries(bytes, listed.base, listed.bytes);
        let file = self.file(listed.base, SegmentFile::OffsetIndex);
        let (bytes, entries) = self.index_prefix(&file, listed.offset_index_bytes, index::ENTRY_BYTES, valid)?;
        let mut offsets = OffsetIndex::from_prefix(&bytes, entries);
        offsets.truncate(listed.base, self.derived_below);
        Ok(offsets)
    }

    fn time_index(&self, listed: &ListedSegment, below: Offset) -> Result<TimeIndex, DiskError> {
        let valid = |bytes: &[u8]| time_index::valid_entries(bytes, listed.base);
        let file = self.file(listed.base, SegmentFile::TimeIndex);
        let (bytes, entries) = self.index_prefix(&file, listed.time_index_bytes, time_index::ENTRY_BYTES, valid)?;
        let mut times = TimeIndex::from_prefix(&bytes, entries);
        times.truncate(listed.base, below);
        Ok(times)
    }

    /// Reads as much of an index as holds entries, and says how many.
    fn index_prefix(
        &self,
        file: &FilePath,
        listed_bytes: Option<u64>,
        entry_bytes: usize,
        valid: impl Fn(&[u8]) -> usize,
    ) -> Result<(Bytes, usize), DiskError> {
        let Some(whole) = listed_bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 0) else {
            return Ok((Bytes::new(), 0));
        };
        let mut wanted = INDEX_BYTES_FIRST / entry_bytes * entry_bytes;
        loop {
            let bytes = self.files.read(file, 0, wanted.min(whole))?;
            let entries = valid(&bytes);
            if entries < bytes.len() / entry_bytes || bytes.len() >= whole || bytes.len() < wanted.min(whole) {
                return Ok((bytes, entries));
            }
            wanted = wanted.saturating_mul(4);
        }
    }

    fn header_at(&self, listed: &ListedSegment, position: u64) -> Result<Option<BatchHeader>, DiskError> {
        let bytes = self.files.read(&self.file(listed.base, SegmentFile::Log), position, HEADER_BYTES)?;
        Ok(BatchHeader::parse(&bytes).ok())
    }

    /// Walks from where `segment` stands to the end of what is good. The next batch begins at `expected` or behind, and none reaches
    /// `limit`, where the next segment begins.
    pub(crate) fn walk(
        &mut self,
        listed: &ListedSegment,
        mut segment: Active,
        mut expected: Offset,
        limit: Offset,
    ) -> Result<Walked, DiskError> {
        let log = segment.log.clone();
        let mut scan = Scan::new(self.files, &log, segment.bytes, listed.bytes);
        let LogConfig { index_interval_bytes: interval, compacts, .. } = *self.recovery.config;
        let mut believed = None;
        let mut next = Offset::MAX;
        let mut jumped = false;
        let mut stop = loop {
            if expected >= self.bound && scan.position() < listed.bytes {
                break Stop::Bound;
            }
            let depth = if expected < self.trusted_below { Depth::Header } else { Depth::Checksum };
            let batch = match scan.next(depth)? {
                Ok(batch) => batch,
                Err(stop) => break stop,
            };
            let header = &batch.header;
            let skips = Offset(header.base_offset) > expected;
            if let Some(stop) = self.refuse(header, &segment, expected..limit, depth) {
                next = Offset(header.base_offset);
                if stop == Stop::Bound {
                    break self.at_bound(&batch, skips, limit, &mut scan)?;
                }
                // Hazard 2: no checksum covers base offsets, and the one before, which jumped over the recovery point, may be what is wrong.
                // What was durable up to here is not behind it.
                if stop == Stop::OffsetBack && jumped && next < self.trusted_below {
                    expected = expected.min(next);
                }
                break stop;
            }
            // Hazard 1: a flipped bit in a header that was only believed made a batch reach far behind the recovery point, and
            // everything durable behind that batch was cut off as if it were news.
            let passes = depth == Depth::Header && Offset(header.next_offset()) > self.trusted_below;
            if passes && !self.is_sound(&log, &batch)? {
                break Stop::Checksum;
            }
            // Hazard 3: a base offset that turned over in the batch right below the recovery point made it one behind it, and the log went
            // on from there. The log ended at the recovery point once, and only compaction takes what lay before it.
            jumped = passes && skips;
            if jumped && (!compacts || Offset(header.base_offset) < self.trusted_below) {
                break Stop::OffsetAhead;
            }
            // Epochs of batches that the checkpoint covers are older than its newest.
            if header.partition_leader_epoch > self.epochs.latest().map_or(-1, |epoch| epoch.0) {
                self.epochs.assign(LeaderEpoch(header.partition_leader_epoch), Offset(header.base_offset));
            }
            expected = Offset(header.next_offset());
            segment.note(&placed(header), interval);
            believed = (depth == Depth::Header).then_some(batch);
        };
        // The last batch says where the log ends, so that one is not just believed.
        if let Some(last) = believed
            && !self.is_sound(&log, &last)?
        {
            (expected, stop) = (Offset(last.header.base_offset), Stop::Checksum);
        }
        self.bytes_read += scan.bytes_read();
        self.last_read = Some((listed.base, scan.last_read()));
        Ok(Walked { segment, end: expected, next, stop })
    }

    /// Whether the checksum of a batch holds of which only the header was read.
    fn is_sound(&self, log: &FilePath, batch: &BatchInFile) -> Result<bool, DiskError> {
        let whole = self.files.read(log, batch.position, batch.header.size_bytes())?;
        Ok(whole.get(position::ATTRIBUTES..).is_some_and(|covered| crc32c(covered) == batch.header.crc))
    }

    /// What a batch is that reaches over the bound or lies behind it. Hazard 4: a bit of a header that turned over brings a batch there
    /// that was to stay, and it is cut off with what follows. No checksum covers base offsets, but only compaction leaves gaps before a batch,
    /// and the next one shows where it was.
    fn at_bound(&self, batch: &BatchInFile, skips: bool, limit: Offset, scan: &mut Scan<'_>) -> Result<Stop, DiskError> {
        let BatchInFile { header, .. } = batch;
        if Offset(header.base_offset) < self.bound && !self.is_sound(scan.file(), batch)? {
            return Ok(Stop::Checksum);
        }
        let is_ahead = skips
            && (!self.recovery.config.compacts
                || header.last_offset() >= limit.0
                || scan.next(Depth::Header)?.is_ok_and(|next| !Before::batch(header).fits(&next.header)));
        Ok(if is_ahead { Stop::OffsetAhead } else { Stop::Bound })
    }

    fn refuse(&self, header: &BatchHeader, segment: &Active, within: Range<Offset>, depth: Depth) -> Option<Stop> {
        let (base, last) = (Offset(header.base_offset), Offset(header.last_offset()));
        if base < within.start || last < base {
            return Some(Stop::OffsetBack);
        }
        if last >= self.bound {
            return Some(Stop::Bound);
        }
        if last >= within.end || i32::try_from(last.distance_from(segment.base)).is_err() {
            return Some(Stop::OffsetAhead);
        }
        let latest = self.epochs.latest().map_or(-1, |epoch| epoch.0);
        let falls = header.partition_leader_epoch >= 0 && header.partition_leader_epoch < latest;
        (falls && depth == Depth::Checksum).then_some(Stop::EpochBack)
    }

    /// Notes the batches of `replay` with their producers. Aborted transactions are noted in those of `fresh`, the segments whose
    /// indexes are in memory, that hold the markers. Answers with the producers at the start of each segment on the way.
    ///
    /// # Errors
    /// [`RecoverError::Damaged`] if one of the batches is not what was written.
    pub(crate) fn replay(
        &mut self,
        producers: &mut Producers,
        replay: Range<Offset>,
        sealed: &[Sealed],
        mut fresh: Vec<&mut Active>,
    ) -> Result<Vec<(Offset, Vec<ProducerEntry>)>, RecoverError> {
        let mut at_bases = Vec::new();
        for segment in &mut fresh {
            segment.aborted = self.aborted(segment.base).unwrap_or_default();
            segment.aborted.retain(|entry| entry.last < replay.start);
        }
        if replay.is_empty() {
            return Ok(at_bases);
        }
        let active = fresh.last().map(|active| (active.base, active.bytes));
        let all: Vec<(Offset, u64)> = sealed.iter().map(|sealed| (sealed.base, sealed.bytes)).chain(active).collect();
        let first = all.partition_point(|(base, _)| *base <= replay.start).saturating_sub(1);
        // The batch before shows that the first one is it.
        let sought = Offset(replay.start.0.saturating_sub(1));
        // From the recovery point on the walk has checked everything.
        let unchecked = replay.start..self.trusted_below;
        for (place, (base, bytes)) in all.iter().enumerate().skip(first) {
            if *base > replay.start {
                at_bases.push((*base, producers.entries()));
            }
            let log = self.file(*base, SegmentFile::Log);
            let start = match fresh.iter().find(|segment| segment.base == *base) {
                Some(segment) => segment.position_for(sought),
                None => self.sealed_position(*base, sought)?,
            };
            let next_base = all.get(place + 1).map_or(replay.end, |(next, _)| *next);
            let mut scan = Scan::new(self.files, &log, start, *bytes);
            if let Some((_, read)) = self.last_read.take_if(|(segment, _)| segment == base) {
                scan = scan.knowing(read);
            }
            let mut before = Before::segment(*base);
            let (position, stop) = loop {
                let position = scan.position();
                let depth = if unchecked.contains(&before.end()) { Depth::Checksum } else { Depth::Header };
                match scan.next(depth)? {
                    Ok(batch) if !before.fits(&batch.header) => break (position, Stop::OffsetBack),
                    Ok(batch) if batch.header.last_offset() >= next_base.0 => break (position, Stop::OffsetAhead),
                    Ok(batch) => {
                        before = Before::batch(&batch.header);
                        if batch.header.base_offset >= replay.start.0 {
                            self.replay_batch(producers, &batch, *base, &mut fresh);
                        }
                    }
                    Err(stop) => break (position, stop),
                }
            };
            if stop != Stop::End {
                return Err(self.damaged(&log, position, before.end(), stop));
            }
            self.bytes_read += scan.bytes_read();
        }
        Ok(at_bases)
    }

    /// The aborted transactions of a segment; `None` if their index makes no sense.
    pub(crate) fn aborted(&self, base: Offset) -> Option<Vec<AbortedTransaction>> {
        if self.with_aborted.binary_search(&base).is_err() {
            return Some(Vec::new());
        }
        transactions::read(self.files, &self.file(base, SegmentFile::TransactionIndex)).ok()
    }

    /// The batch at `position` of this file, which would begin at `offset`, is not what was written there.
    pub(crate) fn damaged(&self, file: &FilePath, position: u64, offset: Offset, stop: Stop) -> RecoverError {
        let recovery_point = match self.recovery.shutdown {
            Shutdown::Clean => self.recovery.checkpoints.recovery_point,
            Shutdown::Unclean => self.trusted_below,
        };
        RecoverError::Damaged { file: file.clone(), position, offset, recovery_point, stop }
    }

    fn replay_batch(&self, producers: &mut Producers, batch: &BatchInFile, segment: Offset, fresh: &mut [&mut Active]) {
        let header = &batch.header;
        if !header.has_producer_id() {
            return;
        }
        let (base, now_ms) = (Offset(header.base_offset), self.recovery.now_ms);
        if !header.is_control() {
            producers.note_batch(header, base, Offset(header.last_offset()), now_ms);
        } else if let Some(marker) = marker_of(header, &batch.bytes)
            && let Some(aborted) = producers.note_marker(header, marker, base, now_ms)
            && let Some(segment) = fresh.iter_mut().find(|known| known.base == segment)
        {
            segment.aborted.push(aborted);
        }
    }

    fn sealed_position(&self, base: Offset, offset: Offset) -> Result<u64, DiskError> {
        let index = read_whole(self.files, &self.file(base, SegmentFile::OffsetIndex))?;
        Ok(u64::from(index::lookup(&index, base, offset)))
    }

    fn file(&self, base: Offset, kind: SegmentFile) -> FilePath {
        self.recovery.directory.child(&kind.name(base))
    }
}

pub(crate) fn placed(header: &BatchHeader) -> Placed {
    Placed {
        last_offset: Offset(header.last_offset()),
        bytes: header.size_bytes() as u32,
        max_timestamp_ms: header.max_timestamp,
    }
}
