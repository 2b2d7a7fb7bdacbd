//! The result of a round is put in the place of what it was made from.
//!
//! The files of a new segment stand as `.swap` beside the old ones. At once readers are sent to the new ones, under these names; readers
//! that were sent to the old ones still find them. After a while, when none of these can be under way any more, the old files go and the
//! new ones get their final names; who was sent to a `.swap` that is gone finds it there ([`crate::disk::Files::read_segment`]).
//! So no name ever means another file to a reader than when it was told, and nobody skips records because positions changed under it.
//!
//! A crash in between loses nothing: a start finds `.swap` files and does the same ([`crate::recover`]). Only one round of a log may
//! have output that waits, and it waits in the order of the log, so that a start finds it in one piece.

use strandline_protocol::ids::Offset;

use crate::disk::{DiskOp, FilePath};
use crate::log::{Log, State};
use crate::names::{SWAP_SUFFIX, SegmentFile};
use crate::queue::{Step, Then};
use crate::segment::{Place, Sealed};

/// How long old files stay at least and at most, in milliseconds: a reader has read what it was sent to long before the first, and a round
/// that waits for the second to begin has lost little.
const SWAP_DELAY_MS: (i64, i64) = (1_000, 60_000);

/// A segment that takes the place of others.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// Base offsets of what goes, one behind the other. The new segment begins with the first.
    pub(crate) bases: Vec<Offset>,
    pub(crate) segment: Sealed,
}

/// What goes is not there any more as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the segments that were compacted changed meanwhile")]
pub struct Stale;

/// A new segment whose files wait for their final names.
#[derive(Clone, Debug)]
pub(crate) struct Swap {
    base: Offset,
    due_ms: i64,
    steps: Vec<Step>,
}

impl Swap {
    pub(crate) fn due_ms(&self) -> i64 {
        self.due_ms
    }

    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}

impl Log {
    /// Carries out what a step of a round wants, in order, when there is nothing better to do;
    /// [`crate::log::Progress::cleaning_written`] says when all of it is done. Answers whether there is anything to wait for.
    pub fn write_cleaning(&mut self, ops: Vec<DiskOp>) -> bool {
        if self.state != State::Open || ops.is_empty() {
            return false;
        }
        let last = ops.len() - 1;
        for (place, op) in ops.into_iter().enumerate() {
            let then = if place == last { Then::CleaningWritten } else { Then::Nothing };
            self.queue.push_behind(Step::Do { op, then });
        }
        true
    }

    /// From now on readers get the new segment. Its files must be there, as `.swap`.
    ///
    /// # Errors
    /// [`Stale`] if what goes is not there any more; the files of the new segment are then removed.
    pub fn swap_in(&mut self, now_ms: i64, replacement: Replacement) -> Result<(), Stale> {
        let Replacement { bases, segment } = replacement;
        let first = self.sealed.partition_point(|known| known.base < segment.base);
        let known = self.sealed[first..].iter().map(|known| known.base).take(bases.len());
        if self.state != State::Open || !known.eq(bases.iter().copied()) {
            self.discard(&Replacement { bases, segment });
            return Err(Stale);
        }
        let delay_ms = self.config.file_delete_delay_ms.clamp(SWAP_DELAY_MS.0, SWAP_DELAY_MS.1);
        let steps = self.settling(&bases, &segment);
        self.swaps.push_back(Swap { base: segment.base, due_ms: now_ms.saturating_add(delay_ms), steps });
        // What was appended there last may still be in memory, as it was.
        self.tail.drop_below(self.base_after(first + bases.len() - 1));
        self.sealed.splice(first..first + bases.len(), [segment]);
        Ok(())
    }

    /// Removes the files of a new segment that will not be swapped in. A log that closes leaves them to the next start.
    pub fn discard(&mut self, replacement: &Replacement) {
        if self.state == State::Open {
            for kind in FILES {
                let file = self.swap_file(replacement.segment.base, kind);
                self.queue.push_behind(Step::plain(DiskOp::Delete { file }));
            }
        }
    }

    /// Gives files that wait for them their final names now. [`Log::poll`] until it is idle.
    pub fn settle_swaps(&mut self) {
        self.settle_due_swaps(i64::MAX);
    }

    /// Whether new segments wait for their final names.
    pub fn has_swaps(&self) -> bool {
        self.sealed.iter().any(|segment| segment.place == Place::Swap)
    }

    pub(crate) fn settle_due_swaps(&mut self, now_ms: i64) {
        while let Some(swap) = self.swaps.pop_front_if(|swap| swap.due_ms <= now_ms) {
            swap.steps.into_iter().for_each(|step| self.queue.push_behind(step));
        }
    }

    /// The oldest segment goes: its files get the names under which they are removed.
    pub(crate) fn settle_swap_of(&mut self, base: Offset) {
        if let Some(swap) = self.swaps.pop_front_if(|swap| swap.base == base) {
            swap.steps.into_iter().for_each(|step| self.queue.push_behind(step));
        }
    }

    pub(crate) fn settled(&mut self, base: Offset) {
        if let Ok(place) = self.sealed.binary_search_by_key(&base, |segment| segment.base) {
            self.sealed[place].place = Place::Settled;
        }
    }

    /// Old files go, new ones get their names, the records first: an index that a crash leaves as `.swap` is then put in its place,
    /// and one whose records still are would be made anew.
    fn settling(&self, bases: &[Offset], segment: &Sealed) -> Vec<Step> {
        let mut steps = Vec::new();
        for base in &bases[1..] {
            for kind in SegmentFile::ALL {
                steps.push(Step::plain(DiskOp::Delete { file: self.segment_file(*base, kind) }));
            }
        }
        let file = self.segment_file(segment.base, SegmentFile::TransactionIndex);
        steps.push(Step::plain(DiskOp::Delete { file }));
        let has_aborted = segment.aborted > 0;
        let kinds = FILES.into_iter().filter(|kind| has_aborted || *kind != SegmentFile::TransactionIndex);
        for kind in kinds {
            let op = DiskOp::Rename { from: self.swap_file(segment.base, kind), to: self.segment_file(segment.base, kind) };
            let then = if kind == LAST_FILE { Then::Settled { base: segment.base } } else { Then::Nothing };
            steps.push(Step::Do { op, then });
        }
        steps
    }

    fn swap_file(&self, base: Offset, kind: SegmentFile) -> FilePath {
        self.directory.child(&(kind.name(base) + SWAP_SUFFIX))
    }
}

/// What a round writes of a segment, in the order in which it gets its final names.
const FILES: [SegmentFile; 4] = [SegmentFile::Log, SegmentFile::TransactionIndex, SegmentFile::OffsetIndex, LAST_FILE];

const LAST_FILE: SegmentFile = SegmentFile::TimeIndex;
