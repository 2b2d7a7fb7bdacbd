//! One share partition as a value: what a share group has done with the records of one partition (KIP-932).
//!
//! Offsets below `start` are done with; those from `next` on were never given out. Between them every offset is in one of
//! four states, kept as runs of neighbours that are alike:
//!
//! ```text
//! available -> acquired            somebody fetches it; its delivery count rises
//! acquired  -> acknowledged        accepted, once that is written
//! acquired  -> archived            rejected, or there is no record, once that is written
//! acquired  -> available           released, or the lock ran out; archived instead if it was delivered too often
//! available -> archived            the log does not hold it any more, or its transaction was aborted
//! ```
//!
//! What is accepted or rejected is *pending* until the share coordinator has it: then nobody can acquire it, and if it
//! cannot be written it is acquired as before. Releases hold at once: if they are lost, a record is delivered more often
//! than the limit says, never less. `start` moves over what is acknowledged and archived.
//!
//! Not here: sessions, reading records, who writes the state. Source: SharePartition.

use std::collections::BTreeMap;
use std::sync::Arc;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::Offset;

use super::AcknowledgementTotals;
use super::write::{Dirty, Saved, StateBatch, Write};

/// A consumer of the group.
pub(crate) type MemberId = Arc<str>;

/// Where one record is, with Kafka's numbers (RecordState).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Available,
    /// Only this member may say what becomes of it, until then.
    Acquired {
        by: MemberId,
        until_ms: u64,
    },
    Acknowledged,
    Archived,
}

impl State {
    fn is_over(&self) -> bool {
        matches!(self, Self::Acknowledged | Self::Archived)
    }
}

/// What a decision that is being written makes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Acknowledged,
    Archived,
}

/// A decision that is not written yet, about records that somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    to: Outcome,
    /// The write that carries it.
    write: u64,
}

/// Neighbours that are alike; where they begin is their key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    last: i64,
    state: State,
    deliveries: u16,
    pending: Option<Pending>,
}

impl Run {
    fn is_free(&self) -> bool {
        self.state == State::Available
    }

    fn is_over(&self) -> bool {
        self.state.is_over() || self.pending.is_some()
    }

    fn saved(&self) -> Saved {
        match (&self.state, self.pending.map(|pending| pending.to)) {
            (_, Some(Outcome::Acknowledged)) | (State::Acknowledged, None) => Saved::Acknowledged,
            (_, Some(Outcome::Archived)) | (State::Archived, None) => Saved::Archived,
            // That somebody has a record is never written: who reads the state gives it out again.
            (State::Available | State::Acquired { .. }, None) => Saved::Available,
        }
    }
}

/// Offsets that the log was found to hold, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub first: Offset,
    pub last: Offset,
    /// Whether consumers may have it: not if it is a marker, or its transaction was aborted.
    pub is_readable: bool,
}

/// Who acquires, and how much.
#[derive(Clone, Debug)]
pub(crate) struct Taker {
    pub member: MemberId,
    pub now_ms: u64,
    pub lock_ms: u64,
    pub records_max: u64,
    pub limit: Limit,
    pub bounds: Bounds,
}

/// What `records_max` means (KIP-1206).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// It may be passed to the end of a batch.
    Batches,
    Records,
}

/// What the group's configuration allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most offsets between `start` and `next`.
    pub locks_max: u64,
    /// So often a record is given out at most.
    pub deliveries_max: u16,
}

/// Records that a member has from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acquired {
    pub first: Offset,
    pub last: Offset,
    pub deliveries: u16,
}

/// What a member says of a record, with Kafka's numbers (AcknowledgeType; 0 is a gap).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Gap = 0,
    Accept = 1,
    Release = 2,
    Reject = 3,
    Renew = 4,
}

impl Verdict {
    pub(crate) fn from_number(number: i8) -> Option<Self> {
        [Self::Gap, Self::Accept, Self::Release, Self::Reject, Self::Renew].into_iter().find(|verdict| *verdict as i8 == number)
    }
}

/// What a member says of neighbours: the same of all, or one verdict each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    pub first: Offset,
    pub last: Offset,
    pub verdicts: Vec<Verdict>,
}

#[derive(Debug)]
pub(crate) struct SharePartition {
    start: i64,
    next: i64,
    runs: BTreeMap<i64, Run>,
    dirty: Dirty,
}

impl SharePartition {
    /// As the coordinator has it. `start` is where it begins, and `batches` what was done behind.
    pub(crate) fn load(start: Offset, batches: &[StateBatch]) -> Self {
        let mut partition = Self { start: start.0, next: start.0, runs: BTreeMap::new(), dirty: Dirty::default() };
        for batch in batches {
            let first = batch.first.0.max(partition.next);
            if batch.last.0 < first {
                continue;
            }
            let state = match batch.state {
                Saved::Available => State::Available,
                Saved::Acknowledged => State::Acknowledged,
                Saved::Archived => State::Archived,
            };
            // What lies between was given out, and nobody said anything of it.
            partition.extend(first - 1, State::Available, 0);
            partition.extend(batch.last.0, state, batch.deliveries);
        }
        partition.trim();
        partition
    }

    /// The start is to be written although nothing was done yet: it was just found.
    pub(crate) fn save_start(&mut self) {
        self.dirty.start = true;
    }

    /// New offsets up to `last`.
    fn extend(&mut self, last: i64, state: State, deliveries: u16) {
        if last >= self.next {
            self.runs.insert(self.next, Run { last, state, deliveries, pending: None });
            self.next = last.saturating_add(1);
        }
    }

    pub(crate) fn start(&self) -> Offset {
        Offset(self.start)
    }

    /// Where to read: the first record that may be acquired, or would be if it were there.
    pub(crate) fn fetch_offset(&self) -> Offset {
        let free = self.runs.iter().find(|(_, run)| run.is_free());
        Offset(free.map_or(self.next, |(first, _)| *first))
    }

    /// Whether records from [`Self::fetch_offset`] on may be acquired now.
    pub(crate) fn has_room(&self, bounds: Bounds) -> bool {
        self.fetch_offset().0 < self.next || self.room(bounds) > 0
    }

    /// New offsets that may be given out.
    fn room(&self, bounds: Bounds) -> u64 {
        bounds.locks_max.saturating_sub(self.next.abs_diff(self.start))
    }

    /// Gives records to a member. `spans` are neighbours that were read from `from` on.
    pub(crate) fn acquire(&mut self, taker: &Taker, from: Offset, spans: &[Span]) -> Vec<Acquired> {
        let mut acquired = Vec::new();
        let mut left = taker.records_max;
        let mut position = from.0.max(self.start);
        for span in spans {
            let (first, last) = (span.first.0.max(position), span.last.0);
            if last < first {
                continue;
            }
            if left == 0 {
                break;
            }
            // The log has nothing in front of the span.
            self.archive(position, first - 1);
            position = last + 1;
            if !span.is_readable {
                self.archive(first, last);
                continue;
            }
            let reach = self.reach(taker, first, last, left);
            let taken = self.take(taker, first, reach, left, &mut acquired);
            left = left.saturating_sub(taken);
            if reach < last {
                break;
            }
        }
        self.trim();
        acquired
    }

    /// How far of a span is taken at most: as far as there is room for new offsets.
    fn reach(&self, taker: &Taker, first: i64, last: i64, left: u64) -> i64 {
        let room = match taker.limit {
            // One batch may pass the limits, so that large ones come through.
            Limit::Batches if self.room(taker.bounds) > 0 => u64::MAX,
            Limit::Batches => 0,
            Limit::Records => self.room(taker.bounds).min(left),
        };
        let new_from = self.next.max(first);
        last.min(new_from.saturating_add_unsigned(room).saturating_sub(1))
    }

    fn take(&mut self, taker: &Taker, first: i64, last: i64, left: u64, acquired: &mut Vec<Acquired>) -> u64 {
        if self.next < first {
            self.extend(first - 1, State::Archived, 0);
        }
        self.extend(last, State::Available, 0);
        let mut taken = 0;
        for first in self.split(first, last) {
            let room = match taker.limit {
                Limit::Batches => u64::MAX,
                Limit::Records => left - taken,
            };
            if room == 0 {
                break;
            }
            if self.runs.get(&first).is_none_or(|run| !run.is_free()) {
                continue;
            }
            let reach = first.saturating_add_unsigned(room.min(i64::MAX.unsigned_abs())).saturating_sub(1);
            self.cut(reach.saturating_add(1));
            let Some(run) = self.runs.get_mut(&first) else { continue };
            if run.deliveries >= taker.bounds.deliveries_max {
                // The limit was lowered.
                run.state = State::Archived;
                self.dirty.add(first, run.last);
                continue;
            }
            run.deliveries += 1;
            run.state = State::Acquired { by: taker.member.clone(), until_ms: taker.now_ms + taker.lock_ms };
            taken += run.last.abs_diff(first) + 1;
            note(acquired, Acquired { first: Offset(first), last: Offset(run.last), deliveries: run.deliveries });
        }
        taken
    }

    /// Offsets that nobody will ever have.
    fn archive(&mut self, first: i64, last: i64) {
        if last < first {
            return;
        }
        if self.next < first {
            self.extend(first - 1, State::Archived, 0);
        }
        for first in self.split(first, last) {
            if let Some(run) = self.runs.get_mut(&first).filter(|run| run.is_free()) {
                run.state = State::Archived;
                self.dirty.add(first, run.last);
            }
        }
        self.extend(last, State::Archived, 0);
    }

    /// What a member says of records that it has. All of it holds, or nothing.
    ///
    /// # Errors
    /// INVALID_REQUEST if a record was never given out, INVALID_RECORD_STATE if the member does not have it.
    pub(crate) fn acknowledge(&mut self, taker: &Taker, acknowledgements: &[Acknowledgement]) -> Result<(), ErrorCode> {
        for said in acknowledgements {
            self.check(&taker.member, said)?;
        }
        for said in acknowledgements {
            for (first, last, verdict) in said.alike() {
                self.decide(taker, first, last, verdict);
            }
        }
        self.trim();
        Ok(())
    }

    fn check(&self, member: &str, said: &Acknowledgement) -> Result<(), ErrorCode> {
        if said.last.0 < self.start {
            return Ok(());
        }
        if said.last.0 >= self.next {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let holds = |run: &Run| run.pending.is_none() && matches!(&run.state, State::Acquired { by, .. } if &**by == member);
        let first = said.first.0.max(self.start);
        let from = self.runs.range(..=first).next_back().map_or(first, |(first, _)| *first);
        let holds_all = self.runs.range(from..=said.last.0).all(|(_, run)| run.last < first || holds(run));
        if holds_all { Ok(()) } else { Err(ErrorCode::INVALID_RECORD_STATE) }
    }

    fn decide(&mut self, taker: &Taker, first: i64, last: i64, verdict: Verdict) {
        let write = self.dirty.next_write();
        for first in self.split(first.max(self.start), last) {
            let Some(run) = self.runs.get_mut(&first) else { continue };
            match verdict {
                Verdict::Accept => run.pending = Some(Pending { to: Outcome::Acknowledged, write }),
                Verdict::Reject | Verdict::Gap => run.pending = Some(Pending { to: Outcome::Archived, write }),
                Verdict::Release => release(run, taker.bounds.deliveries_max),
                Verdict::Renew => {
                    run.state =
                        State::Acquired { by: taker.member.clone(), until_ms: taker.now_ms.saturating_add(taker.lock_ms) };
                    continue;
                }
            }
            self.dirty.add(first, run.last);
        }
    }

    /// Records that members have.
    pub(crate) fn in_flight(&self) -> u64 {
        let held = |run: &Run| run.pending.is_none() && matches!(run.state, State::Acquired { .. });
        self.runs.iter().filter(|(_, run)| held(run)).map(|(first, run)| run.last.abs_diff(*first) + 1).sum()
    }

    /// Everything that a member has goes back.
    pub(crate) fn release(&mut self, member: &str, bounds: Bounds) {
        self.give_back(bounds, |by, _| &**by == member);
    }

    /// What was held for too long goes back.
    pub(crate) fn expire(&mut self, now_ms: u64, bounds: Bounds) {
        self.give_back(bounds, |_, until_ms| until_ms <= now_ms);
    }

    fn give_back(&mut self, bounds: Bounds, goes: impl Fn(&MemberId, u64) -> bool) {
        for (first, run) in &mut self.runs {
            if let State::Acquired { by, until_ms } = &run.state
                && run.pending.is_none()
                && goes(by, *until_ms)
            {
                release(run, bounds.deliveries_max);
                self.dirty.add(*first, run.last);
            }
        }
        self.trim();
    }

    /// When the next lock runs out.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let due = |run: &Run| match &run.state {
            State::Acquired { until_ms, .. } if run.pending.is_none() => Some(*until_ms),
            _ => None,
        };
        self.runs.values().filter_map(due).min()
    }

    /// The log begins here now.
    pub(crate) fn on_log_start(&mut self, log_start: Offset) {
        if log_start.0 <= self.start {
            return;
        }
        self.dirty.start = true;
        if log_start.0 >= self.next {
            self.runs.clear();
            self.next = log_start.0;
        } else {
            self.cut(log_start.0);
            self.runs = self.runs.split_off(&log_start.0);
        }
        self.start = log_start.0;
        self.trim();
    }

    /// What is to be written now; one write is under way at a time.
    pub(crate) fn take_write(&mut self) -> Option<Write> {
        let ranges = self.dirty.take()?;
        let start = self.runs.iter().find(|(_, run)| !run.is_over()).map_or(self.next, |(first, _)| *first);
        let over = self.runs.range(start..).filter(|(_, run)| run.is_over());
        let complete = over.map(|(first, run)| run.last.abs_diff(*first) + 1).sum();
        let (mut batches, mut from) = (Vec::new(), start);
        for (first, last) in ranges {
            let first = first.max(from);
            from = from.max(last.saturating_add(1));
            for first in self.split(first, last) {
                let Some(run) = self.runs.get(&first) else { continue };
                batches.push(StateBatch {
                    first: Offset(first),
                    last: Offset(run.last),
                    state: run.saved(),
                    deliveries: run.deliveries,
                });
            }
        }
        Some(Write { number: self.dirty.under_way(), start: Offset(start), complete, batches })
    }

    /// The write that was under way is done; decisions in it hold, or are as if they had not been made.
    /// Answers with its number.
    pub(crate) fn wrote(&mut self, is_written: bool) -> u64 {
        let number = self.dirty.wrote(is_written);
        for run in self.runs.values_mut() {
            let Some(pending) = run.pending.filter(|pending| pending.write <= number) else { continue };
            run.pending = None;
            if is_written {
                run.state = match pending.to {
                    Outcome::Acknowledged => State::Acknowledged,
                    Outcome::Archived => State::Archived,
                };
            }
        }
        self.trim();
        number
    }

    /// The write with which these acknowledgements, which were just taken, hold; `None` if they do already: renewals are not
    /// written. Of a record below the start it may not be written yet that it is done with: who is told so before, and then finds
    /// another leader, may be given it again.
    pub(crate) fn awaited_write(&self, acknowledgements: &[Acknowledgement]) -> Option<u64> {
        let is_below = |said: &Acknowledgement| said.first.0 < self.start;
        if self.is_unsaved() {
            Some(self.dirty.next_write())
        } else if self.is_writing() && acknowledgements.iter().any(is_below) {
            Some(self.dirty.under_way())
        } else {
            None
        }
    }

    /// Whether something was done that no write has taken yet.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.dirty.is_left()
    }

    /// Whether nobody has anything of it and all of it is written: then the share coordinator knows as much.
    pub(crate) fn is_idle(&self) -> bool {
        let is_held = |run: &Run| matches!(run.state, State::Acquired { .. });
        !self.is_unsaved() && !self.is_writing() && !self.runs.values().any(is_held)
    }

    pub(crate) fn is_writing(&self) -> bool {
        self.dirty.is_writing()
    }

    /// Moves the start over what is over.
    fn trim(&mut self) {
        while let Some(first) = self.runs.first_entry() {
            if !first.get().state.is_over() {
                break;
            }
            let run = first.remove();
            self.start = run.last.saturating_add(1);
        }
        if self.runs.is_empty() {
            self.start = self.next;
        }
        debug_assert!(self.start <= self.next);
        debug_assert!(self.runs.first_key_value().is_none_or(|(first, _)| *first == self.start));
    }

    /// Makes a run begin at `at`, if one holds it.
    fn cut(&mut self, at: i64) {
        if let Some((first, run)) = self.runs.range_mut(..at).next_back()
            && run.last >= at
        {
            let rest = run.clone();
            run.last = at - 1;
            debug_assert!(*first < at);
            self.runs.insert(at, rest);
        }
    }

    /// Makes runs end at both ends of a range; answers with where those in it begin.
    fn split(&mut self, first: i64, last: i64) -> Vec<i64> {
        if last < first {
            return Vec::new();
        }
        self.cut(first);
        self.cut(last.saturating_add(1));
        self.runs.range(first..=last).map(|(first, _)| *first).collect()
    }
}

impl Acknowledgement {
    /// Counts the records by what is said of them.
    pub(crate) fn count_into(&self, totals: &mut AcknowledgementTotals) {
        for (first, last, verdict) in self.alike() {
            let count = match verdict {
                Verdict::Gap => continue,
                Verdict::Accept => &mut totals.accepted,
                Verdict::Release => &mut totals.released,
                Verdict::Reject => &mut totals.rejected,
                Verdict::Renew => &mut totals.renewed,
            };
            *count += last.abs_diff(first) + 1;
        }
    }

    /// Neighbours with the same verdict.
    fn alike(&self) -> Vec<(i64, i64, Verdict)> {
        if let [verdict] = self.verdicts[..] {
            return vec![(self.first.0, self.last.0, verdict)];
        }
        let mut alike: Vec<(i64, i64, Verdict)> = Vec::new();
        for (offset, verdict) in (self.first.0..).zip(&self.verdicts) {
            match alike.last_mut() {
                Some((_, last, same)) if same == verdict => *last = offset,
                _ => alike.push((offset, offset, *verdict)),
            }
        }
        alike
    }
}

fn release(run: &mut Run, deliveries_max: u16) {
    run.state = if run.deliveries >= deliveries_max { State::Archived } else { State::Available };
}

fn note(acquired: &mut Vec<Acquired>, more: Acquired) {
    match acquired.last_mut() {
        Some(last) if last.last.next() == more.first && last.deliveries == more.deliveries => last.last = more.last,
        _ => acquired.push(more),
    }
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
