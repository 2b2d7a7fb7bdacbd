//! What the leader of the quorum knows of the others: how far they are, and so what is committed.
//!
//! A replica is a voter by its number and its directory; one that has the number of a voter and another directory is an observer.
//! A leader that is no voter any more leads until that is committed, and does not count itself.

use std::collections::BTreeMap;

use strandline_protocol::ids::Offset;

use super::change::Pending;
use super::message::LogEnd;
use super::voters::{ReplicaKey, Voter, VoterSet};
use crate::flaws::{self, Flaw};

/// Most observers that are remembered; a cluster has far fewer brokers.
const OBSERVERS_MAX: usize = 4096;
/// An observer that was silent for so long is forgotten when room is needed or somebody asks. Source: LeaderState.OBSERVER_SESSION_TIMEOUT_MS.
const OBSERVER_SILENCE_MS: u64 = 300_000;

/// How far a replica is, as its last fetch told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Everything below is on its device; nothing is known before its first fetch of the epoch.
    pub end: Option<Offset>,
    pub fetched_ms: Option<u64>,
    /// When it last had everything that the leader had.
    pub caught_up_ms: Option<u64>,
    /// When it was last told of the epoch; the answer is not waited for.
    told_ms: Option<u64>,
    /// The leader's end at its last fetch.
    leader_end: Offset,
}

impl Progress {
    const NONE: Self = Self { end: None, fetched_ms: None, caught_up_ms: None, told_ms: None, leader_end: Offset::ZERO };

    fn note(&mut self, now_ms: u64, end: Offset, log_end: Offset) {
        let was_caught_up = end >= log_end || (self.fetched_ms.is_some() && end >= self.leader_end);
        if end >= log_end {
            self.caught_up_ms = Some(now_ms);
        } else if was_caught_up {
            self.caught_up_ms = self.fetched_ms;
        }
        (self.end, self.fetched_ms, self.leader_end) = (Some(end), Some(now_ms), log_end);
    }
}

#[derive(Clone, Debug)]
pub struct Leader {
    me: ReplicaKey,
    /// Where the epoch begins; nothing counts as committed before a record of the epoch itself is (Raft §5.4.2).
    pub epoch_start: Offset,
    pub since_ms: u64,
    /// As the set of voters names them.
    voters: BTreeMap<i32, (ReplicaKey, Progress)>,
    observers: BTreeMap<ReplicaKey, Progress>,
    /// A change of the voters that somebody waits for.
    pub(super) pending: Option<Pending>,
    /// Voters of the configuration as they described themselves in this epoch: what a higher `kraft.version` begins with.
    pub(super) described: BTreeMap<i32, Voter>,
}

impl Leader {
    pub fn new(me: ReplicaKey, voters: &VoterSet, log_end: LogEnd, now_ms: u64) -> Self {
        Self {
            me,
            epoch_start: log_end.offset,
            since_ms: now_ms,
            voters: voters.iter().map(|voter| (voter.key.id, (voter.key, Progress::NONE))).collect(),
            observers: BTreeMap::new(),
            pending: None,
            described: BTreeMap::new(),
        }
    }

    /// Other voters count from now on. What is known of a replica stays, whatever it is now.
    pub(super) fn set_voters(&mut self, voters: &VoterSet) {
        let before = std::mem::take(&mut self.voters);
        for voter in voters.iter() {
            let known = before.get(&voter.key.id).filter(|(key, _)| key.names(voter.key)).map(|(_, progress)| *progress);
            let progress = known.or_else(|| self.observers.remove(&voter.key)).unwrap_or(Progress::NONE);
            self.voters.insert(voter.key.id, (voter.key, progress));
        }
        for (key, progress) in before.into_values() {
            if !voters.has(key) {
                self.observers.insert(key, progress);
            }
        }
    }

    fn voter_mut(&mut self, replica: ReplicaKey) -> Option<&mut Progress> {
        self.voters.get_mut(&replica.id).filter(|(key, _)| key.names(replica)).map(|(_, progress)| progress)
    }

    /// Whether this node votes itself.
    pub fn is_voter(&self) -> bool {
        self.voters.get(&self.me.id).is_some_and(|(key, _)| key.names(self.me))
    }

    /// A replica fetched.
    pub fn on_fetch(&mut self, now_ms: u64, replica: ReplicaKey, end: Offset, log_end: Offset) {
        if let Some(progress) = self.voter_mut(replica) {
            return progress.note(now_ms, end, log_end);
        }
        if self.observers.len() >= OBSERVERS_MAX {
            self.forget_silent(now_ms);
        }
        if self.observers.len() < OBSERVERS_MAX || self.observers.contains_key(&replica) {
            self.observers.entry(replica).or_insert(Progress::NONE).note(now_ms, end, log_end);
        }
    }

    fn forget_silent(&mut self, now_ms: u64) {
        let me = self.me;
        self.observers.retain(|key, progress| *key == me || is_heard(progress, now_ms));
    }

    /// A replica asked for something that does not say how far it is.
    pub fn on_heard(&mut self, now_ms: u64, replica: ReplicaKey) {
        if let Some(progress) = self.voter_mut(replica) {
            progress.fetched_ms = Some(now_ms);
        }
    }

    /// The leader's own log is durable up to there.
    pub fn on_durable(&mut self, end: Offset) {
        let me = self.me;
        match self.voter_mut(me) {
            Some(progress) => progress.end = Some(end),
            None => self.observers.entry(me).or_insert(Progress::NONE).end = Some(end),
        }
    }

    /// Whether an observer had all there was, lately enough.
    pub(super) fn has_caught_up(&self, replica: ReplicaKey, since_ms: u64) -> bool {
        let known = self.observers.get(&replica);
        known.is_some_and(|progress| progress.caught_up_ms.is_some_and(|caught_up_ms| caught_up_ms >= since_ms))
    }

    /// What a majority of voters has on its devices, once that reaches into this epoch.
    pub fn high_watermark(&self) -> Option<Offset> {
        let mut ends: Vec<Option<Offset>> = self.voters.values().map(|(_, progress)| progress.end).collect();
        if !self.is_voter() && flaws::is(Flaw::RemovedLeaderCounts) {
            ends.push(self.observers.get(&self.me).and_then(|progress| progress.end));
        }
        ends.sort_unstable_by(|left, right| right.cmp(left));
        let place = self.voters.len() / 2 - usize::from(flaws::is(Flaw::MinorityCommits) && self.voters.len() > 1);
        let reaches = |end: &Offset| *end > self.epoch_start || flaws::is(Flaw::EarlierEpochsCommit);
        ends.get(place).copied().flatten().filter(reaches)
    }

    /// When a majority of voters, this one included if it is one, will have been silent for `silence_ms`; never for a sole voter.
    pub fn majority_lost_at(&self, silence_ms: u64) -> u64 {
        let needed = self.voters.len() / 2 + usize::from(!self.is_voter());
        let mut heard: Vec<u64> =
            self.others().map(|(_, progress)| progress.fetched_ms.unwrap_or(self.since_ms).max(self.since_ms)).collect();
        heard.sort_unstable_by(|left, right| right.cmp(left));
        needed.checked_sub(1).and_then(|place| heard.get(place)).map_or(u64::MAX, |heard| heard + silence_ms)
    }

    /// The voters but for this one.
    fn others(&self) -> impl Iterator<Item = (ReplicaKey, &Progress)> {
        let others = self.voters.values().filter(|(key, _)| !key.names(self.me));
        others.map(|(key, progress)| (*key, progress))
    }

    /// Voters that have not fetched for `interval_ms` and were not told of the epoch for as long; they count as told now.
    pub fn whom_to_tell(&mut self, now_ms: u64, interval_ms: u64) -> Vec<ReplicaKey> {
        let due = |progress: &Progress| {
            let last = progress.fetched_ms.max(progress.told_ms);
            last.is_none_or(|last| now_ms >= last + interval_ms)
        };
        let me = self.me;
        let silent = self.voters.values_mut().filter(|(key, progress)| !key.names(me) && due(progress));
        silent
            .map(|(key, progress)| {
                progress.told_ms = Some(now_ms);
                *key
            })
            .collect()
    }

    /// When [`Leader::whom_to_tell`] has somebody next.
    pub fn next_told_ms(&self, interval_ms: u64) -> u64 {
        self.others()
            .map(|(_, progress)| progress.fetched_ms.max(progress.told_ms).map_or(0, |last| last + interval_ms))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// The other voters, the most advanced first: who should follow.
    pub fn successors(&self) -> Vec<ReplicaKey> {
        let mut others: Vec<(Option<Offset>, ReplicaKey)> = self.others().map(|(key, progress)| (progress.end, key)).collect();
        others.sort_unstable_by(|left, right| right.cmp(left));
        others.into_iter().map(|(_, key)| key).collect()
    }

    /// Voters with how far they are, in order of number.
    pub fn voters(&self) -> impl Iterator<Item = (ReplicaKey, &Progress)> {
        self.voters.values().map(|(key, progress)| (*key, progress))
    }

    /// Observers that were heard of lately with how far they are, in order of number.
    pub fn observers(&self, now_ms: u64) -> impl Iterator<Item = (ReplicaKey, &Progress)> {
        let heard = self.observers.iter().filter(move |(key, progress)| **key == self.me || is_heard(progress, now_ms));
        heard.map(|(key, progress)| (*key, progress))
    }
}

fn is_heard(progress: &Progress, now_ms: u64) -> bool {
    progress.fetched_ms.is_some_and(|fetched_ms| now_ms < fetched_ms + OBSERVER_SILENCE_MS)
}
