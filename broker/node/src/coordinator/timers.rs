//! What coordinators do by the clock: one entry a deadline, found in the order in which they come due.
//!
//! Setting a timer again moves it. Work is done for what is due, never for every group.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::ids::GroupId;

/// What comes due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A member of a classic group, or one that was given its id and has not joined yet, was silent for too long.
    ClassicSession { group: GroupId, member: String },
    /// The time to join a rebalance is over.
    ClassicJoin { group: GroupId },
    /// The time to fetch the assignment of a generation is over.
    ClassicSync { group: GroupId },
    /// A member of a consumer group was silent for too long.
    ConsumerSession { group: GroupId, member: String },
    /// A member of a consumer group has not given back in time what it has to.
    ConsumerRebalance { group: GroupId, member: String },
    /// A classic member of a consumer group has not asked in time what its last step gave it.
    ConsumerSync { group: GroupId, member: String },
    /// A member of a share group was silent for too long.
    ShareSession { group: GroupId, member: String },
    /// What newer records replaced is cut off from a log of share states.
    PruneShareStates,
    /// Committed offsets are looked at for expiry.
    ExpireOffsets,
    /// Transactions are looked at for their timeouts.
    AbortTimedOut,
    /// Transactional ids are looked at for expiry.
    ExpireTransactionalIds,
}

/// Deadlines on the monotonic clock, by the slot of the shard that set them.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(u64, u32, Timer)>,
    at: BTreeMap<(u32, Timer), u64>,
}

impl Timers {
    /// Sets a timer, or moves it.
    pub(crate) fn set(&mut self, slot: u32, timer: Timer, at_ms: u64) {
        if let Some(before) = self.at.insert((slot, timer.clone()), at_ms) {
            self.due.remove(&(before, slot, timer.clone()));
        }
        self.due.insert((at_ms, slot, timer));
    }

    /// Sets a timer unless it is set.
    pub(crate) fn set_if_none(&mut self, slot: u32, timer: Timer, at_ms: u64) {
        if !self.at.contains_key(&(slot, timer.clone())) {
            self.set(slot, timer, at_ms);
        }
    }

    pub(crate) fn cancel(&mut self, slot: u32, timer: Timer) {
        let key = (slot, timer);
        if let Some(at_ms) = self.at.remove(&key) {
            self.due.remove(&(at_ms, key.0, key.1));
        }
    }

    /// Takes the next timer that is due.
    pub(crate) fn pop(&mut self, now_ms: u64) -> Option<(u32, Timer)> {
        if self.due.first()?.0 > now_ms {
            return None;
        }
        let (_, slot, timer) = self.due.pop_first()?;
        self.at.remove(&(slot, timer.clone()));
        Some((slot, timer))
    }

    /// When the next timer is due.
    pub(crate) fn next(&self) -> Option<u64> {
        self.due.first().map(|(at_ms, ..)| *at_ms)
    }

    /// Forgets all timers of a shard that is given up.
    pub(crate) fn clear(&mut self, slot: u32) {
        self.due.retain(|(_, of, _)| *of != slot);
        self.at.retain(|(of, _), _| *of != slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(group: &str) -> Timer {
        Timer::ClassicJoin { group: group.into() }
    }

    #[test]
    fn a_timer_that_is_set_again_comes_due_once_and_later() {
        let mut timers = Timers::default();
        timers.set(1, join("a"), 10);
        timers.set(1, join("a"), 20);
        assert_eq!(timers.pop(15), None);
        assert_eq!(timers.next(), Some(20));
        assert_eq!(timers.pop(20), Some((1, join("a"))));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_cancelled_timer_and_those_of_a_lost_shard_never_come() {
        let mut timers = Timers::default();
        timers.set(1, join("a"), 10);
        timers.set(2, join("b"), 10);
        timers.set(2, join("c"), 10);
        timers.cancel(1, join("a"));
        timers.clear(2);
        assert_eq!(timers.pop(100), None);
    }
}
