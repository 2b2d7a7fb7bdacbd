//! What a consumer has been given, how far it has handed records out, and how far they are done with: without clock or
//! socket.
//!
//! Invariants. Of each partition only a prefix without gaps can be committed: a batch that is acknowledged waits for those
//! before it. A chunk that was read before a seek, a pause or a revocation is not handed out any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use strandline_protocol::ids::Offset;

use crate::TopicPartition;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<TopicPartition, Entry>,
    /// Batches that the caller holds.
    leases: BTreeMap<u64, TopicPartition>,
    /// Counts positions and leases; none is used twice.
    numbers: u64,
}

#[derive(Debug)]
struct Entry {
    version: u64,
    /// Of the next record to hand out.
    position: Offset,
    paused: bool,
    /// It is being given back.
    leaving: bool,
    /// Batches that are handed out and cannot be committed yet, in order.
    open: VecDeque<OpenBatch>,
    done: Option<Offset>,
    committed: Option<Offset>,
}

#[derive(Debug)]
struct OpenBatch {
    lease: u64,
    next: Offset,
    acknowledged: bool,
}

impl Ledger {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn partitions(&self) -> BTreeSet<TopicPartition> {
        self.entries.keys().cloned().collect()
    }

    /// A partition is ours, from here on; answers with the version of its position.
    pub(super) fn assign(&mut self, partition: TopicPartition, position: Offset) -> u64 {
        let version = self.number();
        let entry =
            Entry { version, position, paused: false, leaving: false, open: VecDeque::new(), done: None, committed: None };
        self.entries.insert(partition, entry);
        version
    }

    pub(super) fn remove(&mut self, partition: &TopicPartition) {
        self.entries.remove(partition);
    }

    /// No more records of these are handed out.
    pub(super) fn begin_leaving(&mut self, partitions: &BTreeSet<TopicPartition>) {
        for partition in partitions {
            if let Some(entry) = self.entries.get_mut(partition) {
                entry.leaving = true;
            }
        }
    }

    /// Whether the caller holds a batch of one of these.
    pub(super) fn holds(&self, partitions: &BTreeSet<TopicPartition>) -> bool {
        self.leases.values().any(|partition| partitions.contains(partition))
    }

    /// Hands records out; `None` if they are not wanted any more, else the number of the lease.
    pub(super) fn hand_out(&mut self, partition: &TopicPartition, version: u64, next: Offset) -> Option<u64> {
        let current = |entry: &Entry| entry.version == version && !entry.paused && !entry.leaving;
        if !self.entries.get(partition).is_some_and(current) {
            return None;
        }
        let lease = self.number();
        let entry = self.entries.get_mut(partition)?;
        entry.position = next;
        entry.open.push_back(OpenBatch { lease, next, acknowledged: false });
        self.leases.insert(lease, partition.clone());
        Some(lease)
    }

    /// Whether the partition of a batch is still ours by the assignment that it was handed out under.
    pub(super) fn is_leased(&self, lease: u64) -> bool {
        let entry = self.leases.get(&lease).and_then(|partition| self.entries.get(partition));
        entry.is_some_and(|entry| entry.open.iter().any(|open| open.lease == lease))
    }

    /// The caller is done with a batch, or has let go of it.
    pub(super) fn finish(&mut self, lease: u64, acknowledged: bool) {
        let Some(partition) = self.leases.remove(&lease) else { return };
        let Some(entry) = self.entries.get_mut(&partition) else { return };
        if !acknowledged {
            return;
        }
        if let Some(open) = entry.open.iter_mut().find(|open| open.lease == lease) {
            open.acknowledged = true;
        }
        while entry.open.front().is_some_and(|open| open.acknowledged) {
            entry.done = entry.open.pop_front().map(|open| open.next);
        }
    }

    /// What is done and not committed.
    pub(super) fn committable(&self) -> BTreeMap<TopicPartition, Offset> {
        let open = self.entries.iter().filter(|(_, entry)| entry.done != entry.committed);
        open.filter_map(|(partition, entry)| Some((partition.clone(), entry.done?))).collect()
    }

    pub(super) fn on_committed(&mut self, partition: &TopicPartition, offset: Offset) {
        if let Some(entry) = self.entries.get_mut(partition) {
            entry.committed = Some(offset);
        }
    }

    pub(super) fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.entries.get(partition).map(|entry| entry.position)
    }

    /// Moves a position; answers with its new version, `None` if the partition is not ours. Records that are handed out
    /// already can be acknowledged to no effect.
    pub(super) fn seek(&mut self, partition: &TopicPartition, position: Offset) -> Option<u64> {
        let version = self.number();
        let entry = self.entries.get_mut(partition)?;
        (entry.version, entry.position) = (version, position);
        (entry.done, entry.committed) = (None, None);
        entry.open.clear();
        Some(version)
    }

    /// Stops a partition; `false` if it is not ours.
    pub(super) fn pause(&mut self, partition: &TopicPartition) -> bool {
        let version = self.number();
        let Some(entry) = self.entries.get_mut(partition) else { return false };
        (entry.version, entry.paused) = (version, true);
        true
    }

    /// Goes on with a partition that was paused; answers with where and under which version.
    pub(super) fn resume(&mut self, partition: &TopicPartition) -> Option<(Offset, u64)> {
        let version = self.number();
        let entry = self.entries.get_mut(partition).filter(|entry| entry.paused)?;
        (entry.version, entry.paused) = (version, false);
        Some((entry.position, version))
    }

    pub(super) fn is_paused(&self, partition: &TopicPartition) -> bool {
        self.entries.get(partition).is_some_and(|entry| entry.paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> TopicPartition {
        ("t".to_owned(), 0)
    }

    fn committable(ledger: &Ledger) -> Option<i64> {
        ledger.committable().get(&partition()).map(|offset| offset.0)
    }

    #[test]
    fn only_a_prefix_without_gaps_is_committed() {
        let mut ledger = Ledger::default();
        let version = ledger.assign(partition(), Offset(0));
        let one = ledger.hand_out(&partition(), version, Offset(10)).unwrap();
        let two = ledger.hand_out(&partition(), version, Offset(20)).unwrap();
        ledger.finish(two, true);
        assert_eq!(committable(&ledger), None);
        ledger.finish(one, true);
        assert_eq!(committable(&ledger), Some(20));
        ledger.on_committed(&partition(), Offset(20));
        assert_eq!(committable(&ledger), None);
    }

    #[test]
    fn a_batch_that_was_let_go_holds_back_those_behind_it() {
        let mut ledger = Ledger::default();
        let version = ledger.assign(partition(), Offset(0));
        let one = ledger.hand_out(&partition(), version, Offset(10)).unwrap();
        let two = ledger.hand_out(&partition(), version, Offset(20)).unwrap();
        ledger.finish(one, false);
        ledger.finish(two, true);
        assert_eq!(committable(&ledger), None);
        assert!(!ledger.holds(&BTreeSet::from([partition()])));
    }

    #[test]
    fn what_was_read_before_a_seek_or_a_pause_is_not_handed_out() {
        let mut ledger = Ledger::default();
        let old = ledger.assign(partition(), Offset(0));
        let held = ledger.hand_out(&partition(), old, Offset(10)).unwrap();
        let new = ledger.seek(&partition(), Offset(3)).unwrap();
        assert_eq!(ledger.hand_out(&partition(), old, Offset(20)), None);
        ledger.finish(held, true);
        assert_eq!(committable(&ledger), None);
        assert!(ledger.pause(&partition()));
        assert_eq!(ledger.hand_out(&partition(), new, Offset(20)), None);
        let (position, resumed) = ledger.resume(&partition()).unwrap();
        assert_eq!(position, Offset(3));
        assert!(ledger.hand_out(&partition(), resumed, Offset(20)).is_some());
    }

    #[test]
    fn a_batch_is_leased_until_its_partition_is_taken_away_even_if_it_comes_back() {
        let mut ledger = Ledger::default();
        let version = ledger.assign(partition(), Offset(0));
        let lease = ledger.hand_out(&partition(), version, Offset(10)).unwrap();
        assert!(ledger.is_leased(lease));
        ledger.remove(&partition());
        assert!(!ledger.is_leased(lease));
        ledger.assign(partition(), Offset(0));
        assert!(!ledger.is_leased(lease));
    }

    #[test]
    fn a_partition_that_leaves_hands_nothing_out_and_is_held_until_its_batches_are_dropped() {
        let mut ledger = Ledger::default();
        let version = ledger.assign(partition(), Offset(0));
        let lease = ledger.hand_out(&partition(), version, Offset(10)).unwrap();
        let leaving = BTreeSet::from([partition()]);
        ledger.begin_leaving(&leaving);
        assert_eq!(ledger.hand_out(&partition(), version, Offset(20)), None);
        assert!(ledger.holds(&leaving));
        ledger.finish(lease, true);
        assert!(!ledger.holds(&leaving));
        assert_eq!(committable(&ledger), Some(10));
    }
}
