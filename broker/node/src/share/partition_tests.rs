use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::dice::Dice;

const BOUNDS: Bounds = Bounds { locks_max: 40, deliveries_max: 3 };
const LOCK_MS: u64 = 100;

fn taker(member: &str, now_ms: u64) -> Taker {
    let member = MemberId::from(member);
    Taker { member, now_ms, lock_ms: LOCK_MS, records_max: 10, limit: Limit::Batches, bounds: BOUNDS }
}

fn span(first: i64, last: i64) -> Span {
    Span { first: Offset(first), last: Offset(last), is_readable: true }
}

fn acquired(first: i64, last: i64, deliveries: u16) -> Acquired {
    Acquired { first: Offset(first), last: Offset(last), deliveries }
}

fn said(first: i64, last: i64, verdict: Verdict) -> Acknowledgement {
    Acknowledgement { first: Offset(first), last: Offset(last), verdicts: vec![verdict] }
}

fn fresh() -> SharePartition {
    SharePartition::load(Offset(0), &[])
}

/// What is to be written is written.
fn save(partition: &mut SharePartition) -> Option<Write> {
    let write = partition.take_write();
    if write.is_some() {
        partition.wrote(true);
    }
    write
}

#[test]
fn what_is_accepted_counts_once_it_is_written_and_then_the_start_moves() {
    let mut partition = fresh();
    let taken = partition.acquire(&taker("a", 0), Offset(0), &[span(0, 4)]);
    assert_eq!(taken, [acquired(0, 4, 1)]);
    assert_eq!(partition.fetch_offset(), Offset(5));
    partition.acknowledge(&taker("a", 1), &[said(0, 2, Verdict::Accept)]).expect("it has them");
    assert_eq!(partition.start(), Offset(0));
    let write = save(&mut partition).expect("something to write");
    assert_eq!((write.start, write.complete, write.batches), (Offset(3), 0, Vec::new()));
    assert_eq!(partition.start(), Offset(3));
    assert_eq!(save(&mut partition), None);
}

#[test]
fn what_cannot_be_written_is_acquired_as_before() {
    let mut partition = fresh();
    partition.acquire(&taker("a", 0), Offset(0), &[span(0, 4)]);
    partition.acknowledge(&taker("a", 1), &[said(0, 4, Verdict::Accept)]).expect("it has them");
    let again = partition.acknowledge(&taker("a", 1), &[said(0, 4, Verdict::Accept)]);
    assert_eq!(again, Err(ErrorCode::INVALID_RECORD_STATE), "it is decided already");
    partition.take_write().expect("something to write");
    partition.wrote(false);
    assert_eq!(partition.start(), Offset(0));
    partition.acknowledge(&taker("a", 1), &[said(0, 4, Verdict::Accept)]).expect("it has them still");
}

#[test]
fn a_record_is_given_out_as_often_as_the_limit_says() {
    let mut partition = fresh();
    for delivery in 1..=BOUNDS.deliveries_max {
        let taken = partition.acquire(&taker("a", 0), partition.fetch_offset(), &[span(0, 0)]);
        assert_eq!(taken, [acquired(0, 0, delivery)]);
        partition.acknowledge(&taker("a", 0), &[said(0, 0, Verdict::Release)]).expect("it has it");
    }
    assert_eq!(partition.fetch_offset(), Offset(1));
    assert_eq!(partition.start(), Offset(1), "it is archived");
}

#[test]
fn that_a_record_is_done_with_holds_once_it_is_written() {
    let mut partition = fresh();
    let bounds = Bounds { deliveries_max: 1, ..BOUNDS };
    partition.acquire(&Taker { bounds, ..taker("a", 0) }, Offset(0), &[span(0, 0)]);
    partition.expire(LOCK_MS, bounds);
    assert_eq!(partition.start(), Offset(1), "it is archived");
    let late = [said(0, 0, Verdict::Accept)];
    partition.take_write().expect("something to write");
    partition.acknowledge(&taker("a", LOCK_MS), &late).expect("it is done with");
    assert_eq!(partition.awaited_write(&late), Some(1), "the write is under way");
    partition.wrote(false);
    assert_eq!(partition.awaited_write(&late), Some(2), "the next one");
    save(&mut partition).expect("something to write");
    assert_eq!(partition.awaited_write(&late), None);
}

#[test]
fn a_lock_that_runs_out_gives_the_record_to_others_and_renewing_keeps_it() {
    let mut partition = fresh();
    partition.acquire(&taker("a", 0), Offset(0), &[span(0, 1)]);
    assert_eq!(partition.next_due_ms(), Some(LOCK_MS));
    partition.acknowledge(&taker("a", 50), &[said(1, 1, Verdict::Renew)]).expect("it has it");
    partition.expire(LOCK_MS, BOUNDS);
    assert_eq!(partition.fetch_offset(), Offset(0));
    assert_eq!(partition.next_due_ms(), Some(LOCK_MS + 50));
    let late = partition.acknowledge(&taker("a", 100), &[said(0, 0, Verdict::Accept)]);
    assert_eq!(late, Err(ErrorCode::INVALID_RECORD_STATE));
    assert_eq!(partition.acquire(&taker("b", 100), Offset(0), &[span(0, 1)]), [acquired(0, 0, 2)]);
}

#[test]
fn only_who_has_a_record_says_what_becomes_of_it_and_all_of_it_or_nothing() {
    let mut partition = fresh();
    partition.acquire(&taker("a", 0), Offset(0), &[span(0, 1)]);
    partition.acquire(&taker("b", 0), Offset(2), &[span(2, 3)]);
    let both = partition.acknowledge(&taker("a", 0), &[said(0, 1, Verdict::Accept), said(2, 3, Verdict::Accept)]);
    assert_eq!(both, Err(ErrorCode::INVALID_RECORD_STATE));
    assert_eq!(partition.acknowledge(&taker("a", 0), &[said(0, 9, Verdict::Accept)]), Err(ErrorCode::INVALID_REQUEST));
    assert_eq!(save(&mut partition), None, "nothing was decided");
}

#[test]
fn gaps_of_the_log_markers_and_aborted_records_are_never_given_out() {
    let mut partition = fresh();
    let unreadable = Span { is_readable: false, ..span(10, 12) };
    let taken = partition.acquire(&taker("a", 0), Offset(0), &[span(5, 6), unreadable, span(13, 14)]);
    assert_eq!(taken, [acquired(5, 6, 1), acquired(13, 14, 1)]);
    assert_eq!(partition.start(), Offset(5));
    partition.acknowledge(&taker("a", 0), &[said(5, 6, Verdict::Accept)]).expect("it has them");
    save(&mut partition);
    assert_eq!(partition.start(), Offset(13));
}

#[test]
fn the_limit_of_records_is_passed_to_the_end_of_a_batch_only_where_that_is_allowed() {
    let soft = Taker { records_max: 3, ..taker("a", 0) };
    assert_eq!(fresh().acquire(&soft, Offset(0), &[span(0, 4), span(5, 9)]), [acquired(0, 4, 1)]);
    let strict = Taker { limit: Limit::Records, ..soft };
    let mut partition = fresh();
    assert_eq!(partition.acquire(&strict, Offset(0), &[span(0, 4), span(5, 9)]), [acquired(0, 2, 1)]);
    assert_eq!(partition.fetch_offset(), Offset(3));
    assert_eq!(partition.acquire(&strict, Offset(3), &[span(0, 4), span(5, 9)]), [acquired(3, 5, 1)]);
}

#[test]
fn with_too_much_in_flight_nothing_new_is_given_out() {
    let mut partition = fresh();
    partition.acquire(&Taker { records_max: 100, ..taker("a", 0) }, Offset(0), &[span(0, 39)]);
    assert!(!partition.has_room(BOUNDS));
    assert_eq!(partition.acquire(&taker("b", 0), Offset(40), &[span(40, 49)]), []);
    partition.acknowledge(&taker("a", 0), &[said(20, 20, Verdict::Release)]).expect("it has it");
    assert!(partition.has_room(BOUNDS), "what came back can be given out");
}

#[test]
fn a_log_that_begins_later_takes_records_with_it() {
    let mut partition = fresh();
    partition.acquire(&taker("a", 0), Offset(0), &[span(0, 9)]);
    partition.on_log_start(Offset(4));
    assert_eq!(partition.start(), Offset(4));
    partition.acknowledge(&taker("a", 0), &[said(0, 9, Verdict::Accept)]).expect("what is left of them");
    partition.on_log_start(Offset(100));
    assert_eq!((partition.start(), partition.fetch_offset()), (Offset(100), Offset(100)));
}

#[test]
fn a_state_that_was_read_gives_out_what_nobody_is_done_with() {
    let batch = |first, last, state, deliveries| StateBatch { first: Offset(first), last: Offset(last), state, deliveries };
    let batches = [batch(3, 4, Saved::Acknowledged, 1), batch(7, 7, Saved::Available, 2), batch(9, 9, Saved::Archived, 3)];
    let mut partition = SharePartition::load(Offset(3), &batches);
    assert_eq!((partition.start(), partition.fetch_offset()), (Offset(5), Offset(5)));
    let taken = partition.acquire(&taker("a", 0), Offset(5), &[span(0, 11)]);
    assert_eq!(taken, [acquired(5, 6, 1), acquired(7, 7, 3), acquired(8, 8, 1), acquired(10, 11, 1)]);
}

/// What the share coordinator has, offset by offset.
#[derive(Default)]
struct Store {
    start: i64,
    states: BTreeMap<i64, (Saved, u16)>,
}

impl Store {
    fn take(&mut self, write: &Write) {
        self.start = write.start.0;
        for batch in &write.batches {
            self.states.extend((batch.first.0..=batch.last.0).map(|offset| (offset, (batch.state, batch.deliveries))));
        }
        self.states = self.states.split_off(&self.start);
        let complete = self.states.values().filter(|(state, _)| *state != Saved::Available).count();
        assert!(write.complete >= complete as u64, "what is written as done is counted");
    }

    fn load(&self) -> SharePartition {
        let batch = |(offset, (state, deliveries)): (&i64, &(Saved, u16))| StateBatch {
            first: Offset(*offset),
            last: Offset(*offset),
            state: *state,
            deliveries: *deliveries,
        };
        SharePartition::load(Offset(self.start), &self.states.iter().map(batch).collect::<Vec<_>>())
    }
}

/// A model of what members were told: who has what, what counts, how often it was given out.
#[derive(Default)]
struct Model {
    held: BTreeMap<i64, (&'static str, u64)>,
    /// Accepted or rejected, and told so.
    done: BTreeSet<i64>,
    /// Accepted or rejected, not written yet.
    asked: BTreeSet<i64>,
    given: BTreeMap<i64, u16>,
}

/// Random members, writes that fail, locks that run out, leaders that come and go.
fn run(seed: u64) {
    const MEMBERS: [&str; 3] = ["a", "b", "c"];
    let mut dice = Dice::new(seed);
    let (mut partition, mut store, mut model) = (fresh(), Store::default(), Model::default());
    let (mut now, mut writing): (u64, Option<(Write, BTreeSet<i64>)>) = (0, None);
    for _ in 0..400 {
        now += dice.below(8) as u64;
        let member = MEMBERS[dice.below(3)];
        match dice.below(12) {
            0..=3 => {
                let limit = if dice.below(2) == 0 { Limit::Batches } else { Limit::Records };
                let from = partition.fetch_offset();
                // Batches of seven; every fourth is gone from the log, every ninth cannot be read.
                let base = from.0 / 7;
                let batches = (base..base + 3).filter(|batch| batch % 4 != 3);
                let spans: Vec<Span> =
                    batches.map(|batch| Span { is_readable: batch % 9 != 8, ..span(batch * 7, batch * 7 + 6) }).collect();
                for taken in partition.acquire(&Taker { limit, ..taker(member, now) }, from, &spans) {
                    for offset in taken.first.0..=taken.last.0 {
                        assert!(!model.done.contains(&offset), "seed {seed}: {offset} was done with");
                        assert!(!model.asked.contains(&offset), "seed {seed}: {offset} is being decided");
                        let holder = model.held.insert(offset, (member, now + LOCK_MS));
                        assert!(holder.is_none_or(|(_, until)| until <= now), "seed {seed}: {offset} is held");
                        let given = model.given.entry(offset).or_default();
                        *given += 1;
                        assert!(taken.deliveries <= BOUNDS.deliveries_max, "seed {seed}: {offset} is given out too often");
                        assert!(offset / 7 % 4 != 3 && offset / 7 % 9 != 8, "seed {seed}: {offset} is not there");
                    }
                }
            }
            4..=6 => {
                let mine: Vec<i64> =
                    model.held.iter().filter(|(_, held)| held.0 == member).map(|(offset, _)| *offset).collect();
                let Some(offset) = mine.get(dice.below(mine.len().max(1))).copied() else { continue };
                let verdict =
                    [Verdict::Accept, Verdict::Accept, Verdict::Release, Verdict::Reject, Verdict::Renew][dice.below(5)];
                if partition.acknowledge(&taker(member, now), &[said(offset, offset, verdict)]).is_err() {
                    continue;
                }
                match verdict {
                    Verdict::Renew => model.held.extend([(offset, (member, now + LOCK_MS))]),
                    Verdict::Release => model.held.retain(|held, _| *held != offset),
                    _ => model.asked.extend([offset]),
                }
            }
            7 => {
                partition.expire(now, BOUNDS);
                model.held.retain(|offset, (_, until)| *until > now || model.asked.contains(offset));
                assert!(partition.next_due_ms().is_none_or(|due| due > now), "seed {seed}: a lock never ran out");
            }
            8 => {
                partition.release(member, BOUNDS);
                model.held.retain(|offset, (by, _)| *by != member || model.asked.contains(offset));
            }
            9 if writing.is_none() => {
                // What was asked so far goes with this write.
                writing = partition.take_write().map(|write| (write, model.asked.clone()));
            }
            10 => {
                let Some((write, asked)) = writing.take() else { continue };
                let is_written = dice.below(3) > 0;
                if is_written {
                    store.take(&write);
                    model.done.extend(&asked);
                    model.held.retain(|offset, _| !asked.contains(offset));
                }
                model.asked.retain(|offset| !asked.contains(offset));
                partition.wrote(is_written);
            }
            11 if dice.below(6) == 0 => {
                // Another leader reads the state; a write that was under way may have come through.
                if let Some((write, _)) = writing.take().filter(|_| dice.below(2) == 0) {
                    store.take(&write);
                }
                partition = store.load();
                model.held.clear();
                model.asked.clear();
            }
            _ => {}
        }
        let undone = (0..partition.start().0).find(|offset| model.held.contains_key(offset) && !model.asked.contains(offset));
        assert_eq!(undone, None, "seed {seed}: the start passed what somebody has");
    }
    // In the end everything that was given out can be done with.
    partition.wrote(false);
    now += 2 * LOCK_MS;
    partition.expire(now, BOUNDS);
    let taken = partition.acquire(&Taker { records_max: 1000, ..taker("z", now) }, partition.fetch_offset(), &[]);
    assert_eq!(taken, []);
    let held: Vec<i64> = model.given.keys().copied().collect();
    let end = held.last().copied().unwrap_or(0);
    let all: Vec<Span> = (0..=end / 7).map(|batch| span(batch * 7, batch * 7 + 6)).collect();
    let bounds = Bounds { locks_max: 10_000, ..BOUNDS };
    let last = Taker { records_max: 10_000, bounds, ..taker("z", now) };
    let taken = partition.acquire(&last, partition.start(), &all);
    let all: Vec<Acknowledgement> = taken.iter().map(|taken| said(taken.first.0, taken.last.0, Verdict::Accept)).collect();
    partition.acknowledge(&last, &all).expect("it has them");
    while save(&mut partition).is_some() {}
    assert!(partition.start().0 > end, "seed {seed}: the start is stuck at {} of {end}", partition.start());
}

#[test]
fn no_record_is_given_out_again_once_it_is_done_with_whatever_happens() {
    (0..300).for_each(run);
}
