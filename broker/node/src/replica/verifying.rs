//! Producers whose transaction a partition knows nothing of yet, while its coordinator is asked.
//!
//! Every question has a guard of its own. A marker takes the guards of its producer away, so that records which were
//! verified for a transaction that has ended meanwhile are not taken (KIP-890); those of the next transaction, under an epoch that the
//! marker does not end, keep theirs: they may have come before it. The lowest sequence that came stays known until
//! records are taken: a partition that knows nothing of a producer would take any first.

use std::collections::BTreeMap;

use strandline_protocol::ids::{LeaderEpoch, ProducerEpoch, ProducerId};

/// Most producers that are asked about at a time in a partition; with more, questions begin anew, and clients try again.
const PRODUCERS_MAX: usize = 10_000;

/// A right to begin a transaction here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    leader_epoch: LeaderEpoch,
    number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    guard: Guard,
    epoch: ProducerEpoch,
    sequence: i32,
}

/// The questions of one partition.
#[derive(Debug, Default)]
pub(crate) struct Verifying {
    questions: BTreeMap<ProducerId, Question>,
    next: u64,
}

impl Verifying {
    /// Asks for a producer; the guard is that of an earlier question, if there is one.
    pub(crate) fn begin(&mut self, leader: LeaderEpoch, id: ProducerId, epoch: ProducerEpoch, sequence: i32) -> Guard {
        if self.questions.len() >= PRODUCERS_MAX {
            self.questions.clear();
        }
        match self.questions.get_mut(&id).filter(|known| known.guard.leader_epoch == leader) {
            Some(known) if known.epoch == epoch => {
                known.sequence = known.sequence.min(sequence);
                return known.guard;
            }
            // An earlier owner of the id does not take the guard of the current one away, and gets none.
            Some(known) if known.epoch > epoch => return Guard { leader_epoch: leader, number: 0 },
            _ => {}
        }
        self.next += 1;
        let guard = Guard { leader_epoch: leader, number: self.next };
        self.questions.insert(id, Question { guard, epoch, sequence });
        guard
    }

    /// Whether the guard still stands.
    pub(crate) fn holds(&self, id: ProducerId, guard: Guard, leader: LeaderEpoch) -> bool {
        guard.leader_epoch == leader && self.questions.get(&id).is_some_and(|known| known.guard == guard)
    }

    /// The lowest sequence that was asked for.
    pub(crate) fn lowest_sequence(&self, id: ProducerId) -> Option<i32> {
        self.questions.get(&id).map(|known| known.sequence)
    }

    /// Records or a marker of the producer were taken: questions of the epochs that are meant are settled.
    pub(crate) fn settle(&mut self, id: ProducerId, is_meant: impl FnOnce(ProducerEpoch) -> bool) {
        if self.questions.get(&id).is_some_and(|known| is_meant(known.epoch)) {
            self.questions.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ProducerId = ProducerId(7);

    #[test]
    fn a_guard_ends_with_a_marker_a_new_epoch_and_a_new_leader() {
        let mut verifying = Verifying::default();
        let first = verifying.begin(LeaderEpoch(1), ID, ProducerEpoch(0), 5);
        assert_eq!(verifying.begin(LeaderEpoch(1), ID, ProducerEpoch(0), 2), first);
        assert_eq!(verifying.lowest_sequence(ID), Some(2));
        assert!(verifying.holds(ID, first, LeaderEpoch(1)));
        assert!(!verifying.holds(ID, first, LeaderEpoch(2)));
        verifying.settle(ID, |epoch| epoch <= ProducerEpoch(0));
        assert!(!verifying.holds(ID, first, LeaderEpoch(1)));
        let second = verifying.begin(LeaderEpoch(1), ID, ProducerEpoch(0), 0);
        assert_ne!(second, first);
        let third = verifying.begin(LeaderEpoch(1), ID, ProducerEpoch(1), 0);
        assert!(!verifying.holds(ID, second, LeaderEpoch(1)));
        verifying.settle(ID, |epoch| epoch <= ProducerEpoch(0));
        assert!(verifying.holds(ID, third, LeaderEpoch(1)), "what ends is of an epoch before");
    }
}
