//! One round of compaction over one log, step by step.
//!
//! A round maps the dirty part, then writes group after group of segments anew. Whoever runs it calls [`Round::step`] where reading may wait,
//! has the log carry out the operations of the step, does what [`Next`] says, and only then takes the next step. A round that is given up
//! leaves half-finished files; the next one begins with removing them.

use std::collections::{BTreeMap, VecDeque};

use strandline_protocol::ids::{Offset, ProducerId};
use strandline_protocol::records::{Scratch, open};

use super::filter::{DECOMPRESSED_BYTES_MAX, Filter, LastRecord, Standing, Verdict};
use super::group::{self, Size, group};
use super::input::{Batch, batches, corrupt};
use super::map::{Full, OffsetMap};
use super::output::Output;
use super::swap::Replacement;
use super::transactions::{Fate, PassedTransactions};
use crate::disk::{DiskError, DiskOp, FilePath, Files};
use crate::index;
use crate::names::{FileName, SegmentFile};
use crate::recover::read_whole;
use crate::transactions::{self, AbortedIndex, AbortedQuery, AbortedTransaction};

pub use super::hash::Seed;

/// Why a round cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CleanError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file holds something else than sound batches.
    #[error("{file} is damaged at byte {position}: {reason}")]
    Corrupt { file: FilePath, position: u64, reason: String },
    /// Not even one batch's keys fit into the map, so no round will ever come further.
    #[error("the keys of the batch at offset {offset} do not fit into log.cleaner.dedupe.buffer.size")]
    MapTooSmall { offset: Offset },
}

/// What a step did.
#[derive(Clone, Debug)]
pub struct Stepped {
    /// To be carried out in order before anything else happens.
    pub ops: Vec<DiskOp>,
    pub next: Next,
    /// Bytes that were read and are to be written.
    pub bytes: u64,
}

/// What comes behind the operations of a step.
#[derive(Clone, Debug)]
pub enum Next {
    /// Another step.
    Step,
    /// The new segment goes in the place of the old ones ([`crate::log::Log::swap_in`]), then another step.
    SwapIn(Replacement),
    /// The round is over.
    End(Finished),
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Below this the log is clean.
    pub clean_below: Offset,
    /// Bytes of the segments that were written anew, before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// What holds for a whole round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) now_ms: i64,
    pub(crate) delete_retention_ms: i64,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_index_bytes: u64,
    pub(crate) index_interval_bytes: u32,
    pub(crate) step_bytes: usize,
}

/// A segment that is read.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) base: Offset,
    /// Where the segment behind it begins.
    pub(crate) next: Offset,
    pub(crate) bytes: u64,
    pub(crate) first_timestamp_ms: i64,
    pub(crate) log: FilePath,
    pub(crate) offsets: FilePath,
}

/// How far a round is. The legal moves are down this list; `Writing` comes again for every group.
#[derive(Clone, Debug)]
enum Phase {
    Begun,
    Mapping { source: usize, position: u64 },
    Grouping,
    Writing(Box<Writing>),
    Over,
}

/// A group that is being written.
#[derive(Clone, Debug)]
struct Writing {
    /// Places of its sources.
    first: usize,
    end: usize,
    source: usize,
    position: u64,
    output: Output,
}

/// A round.
#[derive(Clone, Debug)]
pub struct Round {
    directory: FilePath,
    limits: Limits,
    dirty_from: Offset,
    bound: Offset,
    /// Everything below the bound.
    sources: Vec<Source>,
    /// Indexes of aborted transactions, by the base of their segment; those behind the bound too.
    aborted: Vec<(Offset, AbortedIndex)>,
    producers: BTreeMap<ProducerId, LastRecord>,
    map: OffsetMap,
    /// Keys of all records below are in the map.
    mapped_below: Offset,
    passed: PassedTransactions,
    /// Of the batch that was written or left out last.
    epoch: Option<i32>,
    /// Sizes of the groups that are still to be written.
    groups: VecDeque<usize>,
    phase: Phase,
    finished: Finished,
}

impl Round {
    pub(crate) fn new(
        directory: FilePath,
        limits: Limits,
        dirty_from: Offset,
        bound: Offset,
        sources: Vec<Source>,
        aborted: Vec<(Offset, AbortedIndex)>,
    ) -> Self {
        Self {
            directory,
            limits,
            dirty_from,
            bound,
            sources,
            aborted,
            producers: BTreeMap::new(),
            map: OffsetMap::new(0, 1.0, Seed([0; 2])),
            mapped_below: dirty_from,
            passed: PassedTransactions::default(),
            epoch: None,
            groups: VecDeque::new(),
            phase: Phase::Begun,
            finished: Finished::default(),
        }
    }

    pub(crate) fn with_map(self, map: OffsetMap) -> Self {
        Self { map, ..self }
    }

    pub(crate) fn with_producers(self, producers: BTreeMap<ProducerId, LastRecord>) -> Self {
        Self { producers, ..self }
    }

    /// Takes a step.
    ///
    /// # Errors
    /// [`CleanError`]; the round cannot go on.
    pub fn step(&mut self, files: &dyn Files) -> Result<Stepped, CleanError> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Begun => self.begin(files),
            Phase::Mapping { source, position } => self.map_some(files, source, position),
            Phase::Grouping => self.group(files),
            Phase::Writing(writing) => self.write_some(files, *writing),
            Phase::Over => Ok(self.end()),
        }
    }

    /// Removes what an earlier round left half-finished: a start would take it for the beginning of this one's output.
    fn begin(&mut self, files: &dyn Files) -> Result<Stepped, CleanError> {
        let entries = files.list(&self.directory)?;
        let leftover = |name: &str| matches!(FileName::parse(name), FileName::Cleaned { .. } | FileName::Swap { .. });
        let left = entries.iter().filter(|entry| leftover(&entry.name));
        let ops = left.map(|entry| DiskOp::Delete { file: self.directory.child(&entry.name) }).collect();
        let source = self.sources.partition_point(|source| source.base <= self.dirty_from).saturating_sub(1);
        self.enter_mapping(files, source)?;
        Ok(Stepped { ops, next: Next::Step, bytes: 0 })
    }

    fn enter_mapping(&mut self, files: &dyn Files, source: usize) -> Result<(), CleanError> {
        let Some(known) = self.sources.get(source) else {
            self.mapped_below = self.bound;
            self.phase = Phase::Grouping;
            return Ok(());
        };
        let position = if known.base < self.dirty_from {
            let entries = read_whole(files, &known.offsets)?;
            let valid = index::valid_entries(&entries, known.base, known.bytes);
            u64::from(index::lookup(&entries[..valid * index::ENTRY_BYTES], known.base, self.dirty_from))
        } else {
            0
        };
        let aborted = self.aborted_in(files, source)?;
        self.passed.tell(aborted);
        self.phase = Phase::Mapping { source, position };
        Ok(())
    }

    /// Which transactions with records in a segment were aborted.
    fn aborted_in(&self, files: &dyn Files, source: usize) -> Result<Vec<AbortedTransaction>, DiskError> {
        let Source { base, next, .. } = self.sources[source];
        let behind = self.aborted.iter().filter(|(segment, _)| *segment >= base);
        let indexes = behind.map(|(_, index)| index.clone()).collect();
        transactions::aborted(files, &AbortedQuery { from: base, below: next, indexes })
    }

    fn map_some(&mut self, files: &dyn Files, source: usize, position: u64) -> Result<Stepped, CleanError> {
        let known = &self.sources[source];
        if position >= known.bytes {
            // Offsets up to the next segment have no records.
            self.mapped_below = known.next;
            self.enter_mapping(files, source + 1)?;
            return Ok(Stepped { ops: Vec::new(), next: Next::Step, bytes: 0 });
        }
        let log = known.log.clone();
        let offsets = known.base..known.next;
        let read = batches(files, &log, offsets, position, known.bytes, self.limits.step_bytes)?;
        let mut scratch = Scratch::default();
        let mut next = position;
        for batch in &read {
            let is_mapped = self.map_batch(batch, &mut scratch).map_err(|reason| corrupt(&log, next, &reason))?;
            if is_mapped == Err(Full) {
                return self.end_mapping(batch, next - position);
            }
            next = batch.next;
        }
        self.phase = Phase::Mapping { source, position: next };
        Ok(Stepped { ops: Vec::new(), next: Next::Step, bytes: next - position })
    }

    /// The round covers what fits.
    fn end_mapping(&mut self, first_unmapped: &Batch, bytes: u64) -> Result<Stepped, CleanError> {
        if self.mapped_below <= self.dirty_from {
            return Err(CleanError::MapTooSmall { offset: Offset(first_unmapped.header.base_offset) });
        }
        self.phase = Phase::Grouping;
        Ok(Stepped { ops: Vec::new(), next: Next::Step, bytes })
    }

    /// Notes the keys of a batch, unless they do not count.
    fn map_batch(&mut self, batch: &Batch, scratch: &mut Scratch) -> Result<Result<(), Full>, String> {
        let Batch { header, bytes, .. } = batch;
        let fate = self.passed.pass(header, bytes);
        if fate == Fate::Counts && !header.is_control() && header.record_count > 0 {
            let (_, records) = open(bytes, DECOMPRESSED_BYTES_MAX, scratch).map_err(|error| error.to_string())?;
            for record in records {
                let record = record.map_err(|error| error.to_string())?;
                let offset = Offset(header.base_offset.saturating_add(i64::from(record.offset_delta)));
                let Some(key) = record.key.filter(|_| offset >= self.dirty_from) else { continue };
                if self.map.put(key, offset) == Err(Full) {
                    return Ok(Err(Full));
                }
            }
        }
        if header.last_offset() >= self.dirty_from.0 {
            self.mapped_below = Offset(header.next_offset());
        }
        Ok(Ok(()))
    }

    fn group(&mut self, files: &dyn Files) -> Result<Stepped, CleanError> {
        let entries = files.list(&self.directory)?;
        let bytes_of = |base: Offset, kind: SegmentFile| {
            let name = kind.name(base);
            entries.iter().find(|entry| entry.name == name).map_or(0, |entry| entry.bytes)
        };
        self.sources.retain(|source| source.base < self.mapped_below);
        let size = |source: &Source| Size {
            base: source.base,
            next: source.next,
            log_bytes: source.bytes,
            offset_index_bytes: bytes_of(source.base, SegmentFile::OffsetIndex),
            time_index_bytes: bytes_of(source.base, SegmentFile::TimeIndex),
        };
        let sizes: Vec<Size> = self.sources.iter().map(size).collect();
        let limits = group::Limits { log_bytes: self.limits.segment_bytes, index_bytes: self.limits.segment_index_bytes };
        self.groups = group(&sizes, limits).into();
        // The transactions are passed once more, from the beginning.
        self.passed = PassedTransactions::default();
        self.enter_group(files, 0)?;
        Ok(Stepped { ops: Vec::new(), next: Next::Step, bytes: 0 })
    }

    fn enter_group(&mut self, files: &dyn Files, first: usize) -> Result<(), CleanError> {
        let Some(count) = self.groups.pop_front() else {
            self.phase = Phase::Over;
            return Ok(());
        };
        let output = Output::new(&self.directory, self.sources[first].base, self.limits.index_interval_bytes);
        let aborted = self.aborted_in(files, first)?;
        self.passed.tell(aborted);
        self.phase = Phase::Writing(Box::new(Writing { first, end: first + count, source: first, position: 0, output }));
        Ok(())
    }

    fn write_some(&mut self, files: &dyn Files, mut writing: Writing) -> Result<Stepped, CleanError> {
        let Source { base, next, bytes, log, .. } = &self.sources[writing.source];
        if writing.position >= *bytes {
            return self.end_source(files, writing);
        }
        let is_last = self.sources[writing.source + 1..writing.end].iter().all(|source| source.bytes == 0);
        let read = batches(files, log, *base..*next, writing.position, *bytes, self.limits.step_bytes)?;
        let filter = Filter {
            map: &self.map,
            mapped_below: self.mapped_below,
            producers: &self.producers,
            now_ms: self.limits.now_ms,
            delete_retention_ms: self.limits.delete_retention_ms,
        };
        let begun = (writing.position, writing.output.bytes());
        let mut scratch = Scratch::default();
        for batch in read {
            let Batch { header, bytes: whole, next } = batch;
            let fate = self.passed.pass(&header, &whole);
            let standing = Standing {
                ends_segment: is_last && next == *bytes,
                begins_epoch: self.epoch.replace(header.partition_leader_epoch) != Some(header.partition_leader_epoch),
            };
            let verdict = filter.judge(&header, &whole, fate, standing, &mut scratch);
            match verdict.map_err(|reason| corrupt(log, writing.position, &reason))? {
                Verdict::Stays => writing.output.push(&header, &whole),
                Verdict::Becomes(packed) => {
                    let header = strandline_protocol::records::BatchHeader::parse(&packed)
                        .map_err(|error| corrupt(log, writing.position, &error.to_string()))?;
                    writing.output.push(&header, &packed);
                }
                Verdict::Goes => {}
            }
            writing.position = next;
        }
        let ops = writing.output.append().into_iter().collect();
        let bytes = writing.position - begun.0 + (writing.output.bytes() - begun.1);
        self.phase = Phase::Writing(Box::new(writing));
        Ok(Stepped { ops, next: Next::Step, bytes })
    }

    /// The next segment of the group, or the end of the group.
    fn end_source(&mut self, files: &dyn Files, mut writing: Writing) -> Result<Stepped, CleanError> {
        self.finished.bytes_before += self.sources[writing.source].bytes;
        writing.source += 1;
        if writing.source < writing.end {
            writing.position = 0;
            let aborted = self.aborted_in(files, writing.source)?;
            self.passed.tell(aborted);
            self.phase = Phase::Writing(Box::new(writing));
            return Ok(Stepped { ops: Vec::new(), next: Next::Step, bytes: 0 });
        }
        let Writing { first, end, output, .. } = writing;
        self.enter_group(files, end)?;
        self.finished.bytes_after += output.bytes();
        if output.bytes() == 0 {
            // Segments that hold nothing stay as they are.
            return Ok(Stepped { ops: Vec::new(), next: Next::Step, bytes: 0 });
        }
        let group = &self.sources[first..end];
        let next = self.sources[end - 1].next;
        let (ops, segment) = output.finish(next, group[0].first_timestamp_ms, self.passed.take_kept());
        let bases = group.iter().map(|source| source.base).collect();
        Ok(Stepped { ops, next: Next::SwapIn(Replacement { bases, segment }), bytes: 0 })
    }

    fn end(&mut self) -> Stepped {
        let finished = Finished { clean_below: self.mapped_below, ..self.finished };
        Stepped { ops: Vec::new(), next: Next::End(finished), bytes: 0 }
    }
}
