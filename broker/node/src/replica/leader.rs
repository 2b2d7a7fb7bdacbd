//! A partition as its leader sees it: who follows, how far each has come, who is in sync, and how high the water stands.
//!
//! A leader lives for one leader epoch. Nothing that a follower said in an earlier one counts: it may have cut its log
//! since. Moves: [`Leader::begin`] when the committed metadata names this broker, [`Leader::adopt`] for a newer partition epoch of the
//! same leader epoch, [`Leader::fetched`] for a follower's fetch, [`Leader::propose`] and [`Leader::settled`] around a change of the
//! in-sync set that the controller has to commit.
//!
//! Invariants: the leader is in the committed set; at most one proposal is open; the high watermark is never taken over fewer
//! replicas than the maximal set (committed and proposed together), because either of the two may be what the controller
//! commits (KIP-497); and not at all while the committed set is below its minimum (KIP-966).
//! Source: Partition.scala, PartitionState.scala, Replica.scala; `AsyncIsr` of the public models.

use std::collections::BTreeMap;

use strandline_protocol::ids::{LeaderEpoch, Offset, Uuid};

use crate::flaws::{self, Flaw};
use crate::image::topics::Partition;

/// How far a follower has come in this leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    /// It has everything below; `Offset::NONE` before its first fetch.
    end: Offset,
    /// Where its log begins, as that fetch said.
    log_start: Offset,
    /// When it last had everything that counted here.
    caught_up_ms: u64,
    /// When it last fetched the partition by name, and what counted here at that time.
    fetched: (u64, Offset),
    /// As which registration it fetched: what an earlier one had may be gone (KIP-903).
    broker_epoch: i64,
}

/// A change of the in-sync set that is not committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// With the broker epochs that the leader believes in, so that the controller can see a restart between (KIP-903).
    pub(crate) isr: Vec<(i32, i64)>,
}

/// A follower's fetch, after its epoch was checked and its log found to be a prefix of the leader's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FollowerFetch {
    pub(crate) replica: i32,
    pub(crate) broker_epoch: i64,
    /// It has everything below, as durably as the topic asks for.
    pub(crate) end: Offset,
    pub(crate) log_start: Offset,
    pub(crate) now_ms: u64,
    /// What counts at the leader.
    pub(crate) leader_end: Offset,
}

#[derive(Clone, Debug)]
pub(crate) struct Leader {
    me: i32,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) partition_epoch: i32,
    /// Where the epoch's first record is, or will be.
    pub(crate) epoch_start: Offset,
    pub(crate) assigned: Vec<i32>,
    /// Committed.
    pub(crate) isr: Vec<i32>,
    proposal: Option<Proposal>,
    followers: BTreeMap<i32, Progress>,
}

impl Leader {
    /// Begins an epoch at the log's end.
    pub(crate) fn begin(me: i32, state: &Partition, epoch_start: Offset, now_ms: u64) -> Self {
        let mut leader = Self {
            me,
            epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            epoch_start,
            assigned: Vec::new(),
            isr: Vec::new(),
            proposal: None,
            followers: BTreeMap::new(),
        };
        leader.take(state, now_ms);
        leader
    }

    /// Whether the committed set has the follower.
    pub(crate) fn is_in_sync(&self, replica: i32) -> bool {
        self.isr.contains(&replica)
    }

    /// The committed metadata moved on within the epoch: whatever was proposed is decided, one way or the other.
    pub(crate) fn adopt(&mut self, state: &Partition, now_ms: u64) {
        assert_eq!(self.epoch, state.leader_epoch, "a new leader epoch begins a new leader");
        if state.partition_epoch <= self.partition_epoch {
            return;
        }
        self.partition_epoch = state.partition_epoch;
        self.proposal = None;
        self.take(state, now_ms);
    }

    fn take(&mut self, state: &Partition, now_ms: u64) {
        self.assigned.clone_from(&state.replicas);
        self.isr.clone_from(&state.isr);
        let me = self.me;
        // Whoever is new here has the whole lag time to show itself.
        let fresh = Progress {
            end: Offset::NONE,
            log_start: Offset::NONE,
            caught_up_ms: now_ms,
            fetched: (now_ms, Offset::NONE),
            broker_epoch: -1,
        };
        for replica in state.replicas.iter().filter(|replica| **replica != me) {
            self.followers.entry(*replica).or_insert(fresh);
        }
        self.followers.retain(|replica, _| state.replicas.contains(replica));
        // Whoever lost its log begins it anew: what it had before says nothing of that one.
        let has_lost = |replica: i32| state.directory_of(replica) == Some(Uuid::LOST_DIRECTORY);
        self.followers.iter_mut().filter(|(replica, _)| has_lost(**replica)).for_each(|(_, progress)| *progress = fresh);
    }

    /// Whether the partition has no other replica in sync and none on its way: then the leader's end decides.
    pub(crate) fn is_alone(&self) -> bool {
        self.isr.len() == 1 && self.proposal.is_none()
    }

    /// What the topic's minimum comes to: never more than there are replicas.
    pub(crate) fn min_isr(&self, configured: i32) -> usize {
        usize::try_from(configured).unwrap_or(1).clamp(1, self.assigned.len().max(1))
    }

    pub(crate) fn has_min_isr(&self, configured: i32) -> bool {
        self.isr.len() >= self.min_isr(configured)
    }

    /// Notes a fetch. Says whether the high watermark may have changed.
    pub(crate) fn fetched(&mut self, fetch: FollowerFetch) -> bool {
        let Some(progress) = self.followers.get_mut(&fetch.replica) else { return false };
        if fetch.end >= fetch.leader_end {
            progress.caught_up_ms = fetch.now_ms;
        } else if fetch.end >= progress.fetched.1 && progress.end != Offset::NONE {
            // It had all that counted when it fetched last.
            progress.caught_up_ms = progress.caught_up_ms.max(progress.fetched.0);
        }
        progress.fetched = (fetch.now_ms, fetch.leader_end);
        // Not the larger of both: within an epoch a follower only goes back if it lost records, and then they do not count.
        let moved = progress.end != fetch.end;
        (progress.end, progress.log_start) = (fetch.end, fetch.log_start);
        progress.broker_epoch = fetch.broker_epoch;
        moved
    }

    /// What counts at the leader moved from `before` on: whoever had all of it was caught up until now.
    pub(crate) fn end_moved(&mut self, before: Offset, now_ms: u64) {
        for progress in self.followers.values_mut().filter(|progress| progress.end == before) {
            progress.caught_up_ms = now_ms;
        }
    }

    /// How high the water may stand, given what counts at the leader; nothing while somebody's end is unknown or too few
    /// are in sync.
    pub(crate) fn high_watermark(&self, leader_end: Offset, min_insync_replicas: i32) -> Option<Offset> {
        if !self.has_min_isr(min_insync_replicas) && !flaws::is(Flaw::HwBelowMinIsr) {
            return None;
        }
        let mut lowest = leader_end;
        for replica in self.maximal_isr().filter(|replica| *replica != self.me) {
            let end = self.followers.get(&replica).map_or(Offset::NONE, |progress| progress.end);
            if end == Offset::NONE {
                return None;
            }
            lowest = lowest.min(end);
        }
        Some(lowest)
    }

    fn maximal_isr(&self) -> impl Iterator<Item = i32> {
        let proposed = self
            .proposal
            .iter()
            .filter(|_| !flaws::is(Flaw::HwIgnoresProposal))
            .flat_map(|proposal| proposal.isr.iter().map(|(id, _)| *id));
        self.isr.iter().copied().chain(proposed)
    }

    /// The followers in sync whose log holds `from`, or ends there, with where they end.
    pub(crate) fn holders(&self, from: Offset) -> impl Iterator<Item = (i32, Offset)> {
        let in_sync = self.followers.iter().filter(|(id, _)| self.isr.contains(id));
        in_sync
            .filter(move |(_, progress)| (progress.log_start..=progress.end).contains(&from) && progress.end != Offset::NONE)
            .map(|(id, progress)| (*id, progress.end))
    }

    /// The followers that are not in sync and have everything that they need to be, with the registration as which they showed it.
    /// Below the epoch's start a follower may still hold what no leader of this epoch has.
    pub(crate) fn joining(&self, high_watermark: Offset) -> Vec<(i32, i64)> {
        let ready = |progress: &Progress| {
            (progress.end >= high_watermark || flaws::is(Flaw::JoinsBelowHw))
                && (progress.end >= self.epoch_start || flaws::is(Flaw::JoinsBelowEpochStart))
        };
        let outside = self.followers.iter().filter(|(id, _)| !self.isr.contains(id));
        outside.filter(|(_, progress)| ready(progress)).map(|(id, progress)| (*id, progress.broker_epoch)).collect()
    }

    /// The in-sync followers that have not kept up. `seen_ms` says when a replica fetched anything at all.
    pub(crate) fn lagging(&self, leader_end: Offset, now_ms: u64, lag_max_ms: u64, seen_ms: impl Fn(i32) -> u64) -> Vec<i32> {
        let lags = |id: &i32| {
            let Some(progress) = self.followers.get(id) else { return true };
            // An idle partition is not named in fetches: whoever has everything is as alive as its fetches of others.
            let seen = seen_ms(*id).max(progress.fetched.0);
            let caught_up = if progress.end >= leader_end { seen } else { progress.caught_up_ms.min(seen) };
            now_ms.saturating_sub(caught_up) > lag_max_ms
        };
        self.isr.iter().copied().filter(|id| *id != self.me && lags(id)).collect()
    }

    pub(crate) fn proposal(&self) -> Option<&Proposal> {
        self.proposal.as_ref()
    }

    /// Proposes a changed in-sync set: without `leaving`, with `joining`. Says whether there is now something for the
    /// controller; one proposal is open at a time.
    pub(crate) fn propose(&mut self, joining: &[(i32, i64)], leaving: &[i32], epoch_of: impl Fn(i32) -> Option<i64>) -> bool {
        if self.proposal.is_some() || (joining.is_empty() && leaving.is_empty()) {
            return false;
        }
        let stays = self.isr.iter().filter(|id| !leaving.contains(id));
        let stays = stays.map(|id| (*id, epoch_of(*id).unwrap_or(-1)));
        let isr: Vec<(i32, i64)> = stays.chain(joining.iter().copied()).collect();
        assert!(isr.iter().any(|(id, _)| *id == self.me), "a leader never leaves the in-sync set by itself");
        if flaws::is(Flaw::ShrinksUncommitted) {
            self.isr.retain(|id| !leaving.contains(id));
        }
        self.proposal = Some(Proposal { isr });
        true
    }

    /// The controller says that nothing of the proposal was or will be committed.
    pub(crate) fn withdraw(&mut self) {
        self.proposal = None;
    }

    /// The controller committed an in-sync set of this leader epoch. Answers whether it was news.
    pub(crate) fn settled(&mut self, isr: &[i32], partition_epoch: i32) -> bool {
        if partition_epoch <= self.partition_epoch {
            return false;
        }
        self.partition_epoch = partition_epoch;
        self.isr = isr.to_vec();
        self.proposal = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: i32 = 1;

    fn state(isr: &[i32], partition_epoch: i32) -> Partition {
        Partition {
            replicas: vec![1, 2, 3],
            directories: Vec::new(),
            isr: isr.to_vec(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            adding_replicas: Vec::new(),
            removing_replicas: Vec::new(),
            leader_recovery_state: 0,
            leader: ME,
            leader_epoch: LeaderEpoch(5),
            partition_epoch,
        }
    }

    fn leader(isr: &[i32]) -> Leader {
        Leader::begin(ME, &state(isr, 10), Offset(100), 1000)
    }

    fn fetch(leader: &mut Leader, replica: i32, end: i64, leader_end: i64, now_ms: u64) {
        let (end, leader_end) = (Offset(end), Offset(leader_end));
        leader.fetched(FollowerFetch { replica, broker_epoch: 7, end, log_start: Offset::ZERO, now_ms, leader_end });
    }

    #[test]
    fn the_high_watermark_is_the_lowest_end_in_sync_and_unknown_before_everybody_fetched() {
        let mut leader = leader(&[1, 2, 3]);
        fetch(&mut leader, 2, 110, 120, 1000);
        assert_eq!(leader.high_watermark(Offset(120), 2), None);
        fetch(&mut leader, 3, 105, 120, 1000);
        assert_eq!(leader.high_watermark(Offset(120), 2), Some(Offset(105)));
        assert_eq!(leader.high_watermark(Offset(103), 2), Some(Offset(103)), "the leader's own end counts too");
    }

    #[test]
    fn holders_are_in_sync_and_have_what_is_asked_for() {
        let mut leader = leader(&[1, 2]);
        assert_eq!(leader.holders(Offset(0)).count(), 0, "nothing is known of anybody");
        fetch(&mut leader, 2, 110, 120, 1000);
        fetch(&mut leader, 3, 120, 120, 1000);
        let from = |offset| leader.holders(Offset(offset)).collect::<Vec<_>>();
        assert_eq!(from(0), [(2, Offset(110))], "3 is not in sync");
        assert_eq!(from(110), [(2, Offset(110))]);
        assert_eq!(from(111), []);
        let late = FollowerFetch {
            replica: 2,
            broker_epoch: 7,
            end: Offset(110),
            log_start: Offset(50),
            now_ms: 1,
            leader_end: Offset(120),
        };
        leader.fetched(late);
        assert_eq!(leader.holders(Offset(49)).count(), 0, "its log begins behind");
    }

    #[test]
    fn a_proposed_replica_counts_before_it_is_committed() {
        let mut leader = leader(&[1, 2]);
        fetch(&mut leader, 2, 120, 120, 1000);
        fetch(&mut leader, 3, 110, 120, 1000);
        assert!(leader.propose(&[(3, 7)], &[], |_| Some(7)));
        assert_eq!(leader.high_watermark(Offset(120), 2), Some(Offset(110)));
        leader.withdraw();
        assert_eq!(leader.high_watermark(Offset(120), 2), Some(Offset(120)));
    }

    #[test]
    fn a_replica_that_is_proposed_to_leave_counts_until_that_is_committed() {
        let mut leader = leader(&[1, 2, 3]);
        fetch(&mut leader, 2, 120, 120, 1000);
        fetch(&mut leader, 3, 110, 120, 1000);
        assert!(leader.propose(&[], &[3], |_| Some(7)));
        assert_eq!(leader.high_watermark(Offset(120), 2), Some(Offset(110)));
        assert!(leader.settled(&[1, 2], 11));
        assert_eq!(leader.high_watermark(Offset(120), 2), Some(Offset(120)));
    }

    #[test]
    fn too_few_in_sync_hold_the_high_watermark() {
        let mut leader = leader(&[1]);
        assert_eq!(leader.high_watermark(Offset(120), 2), None);
        assert_eq!(leader.high_watermark(Offset(120), 1), Some(Offset(120)));
        leader.adopt(&state(&[1, 2], 11), 1000);
        assert_eq!(leader.min_isr(9), 3, "never more than there are replicas");
    }

    #[test]
    fn joining_takes_the_high_watermark_and_the_start_of_the_epoch() {
        let mut leader = leader(&[1, 2]);
        fetch(&mut leader, 3, 99, 120, 1000);
        assert!(leader.joining(Offset(90)).is_empty(), "below the epoch's start");
        fetch(&mut leader, 3, 100, 120, 1000);
        assert!(leader.joining(Offset(101)).is_empty(), "below the high watermark");
        assert_eq!(leader.joining(Offset(100)), [(3, 7)]);
    }

    #[test]
    fn what_a_follower_had_before_it_lost_its_log_does_not_bring_it_back() {
        let mut leader = leader(&[1, 2, 3]);
        fetch(&mut leader, 3, 120, 120, 1000);
        let directories = |third| vec![Uuid([1; 16]), Uuid([2; 16]), third];
        leader.adopt(&Partition { directories: directories(Uuid::LOST_DIRECTORY), ..state(&[1, 2], 11) }, 1100);
        leader.adopt(&Partition { directories: directories(Uuid([3; 16])), ..state(&[1, 2], 12) }, 1200);
        assert!(leader.joining(Offset(110)).is_empty());
        fetch(&mut leader, 3, 110, 120, 1300);
        assert_eq!(leader.joining(Offset(110)), [(3, 7)]);
    }

    #[test]
    fn an_idle_follower_with_everything_is_as_alive_as_its_fetches() {
        let mut leader = leader(&[1, 2, 3]);
        fetch(&mut leader, 2, 120, 120, 1000);
        fetch(&mut leader, 3, 120, 120, 1000);
        let seen = |id| if id == 2 { 9_900 } else { 2_000 };
        assert_eq!(leader.lagging(Offset(120), 10_000, 5_000, seen), [3]);
    }

    #[test]
    fn a_follower_that_falls_behind_lags_from_when_it_last_had_everything() {
        let mut leader = leader(&[1, 2]);
        fetch(&mut leader, 2, 120, 120, 1000);
        leader.end_moved(Offset(120), 8_000);
        assert!(leader.lagging(Offset(130), 12_000, 5_000, |_| 12_000).is_empty());
        assert_eq!(leader.lagging(Offset(130), 13_001, 5_000, |_| 13_001), [2]);
        // It is always one step behind and so caught up.
        fetch(&mut leader, 2, 130, 140, 14_000);
        fetch(&mut leader, 2, 140, 150, 18_000);
        assert!(leader.lagging(Offset(150), 18_500, 5_000, |_| 18_000).is_empty());
    }

    #[test]
    fn one_proposal_is_open_at_a_time_and_old_answers_change_nothing() {
        let mut leader = leader(&[1, 2, 3]);
        assert!(leader.propose(&[], &[3], |_| None));
        assert!(!leader.propose(&[], &[2], |_| None));
        assert!(!leader.settled(&[1], 10), "the same partition epoch");
        assert!(leader.proposal().is_some());
        leader.adopt(&state(&[1, 2], 12), 0);
        assert!(leader.proposal().is_none());
        assert!(!leader.settled(&[1, 2, 3], 11));
        assert_eq!(leader.isr, [1, 2]);
    }
}
