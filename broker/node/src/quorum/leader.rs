//! What the leader of the quorum knows of the others: how far they are, and so what is committed.

use std::collections::BTreeMap;

use strandline_protocol::ids::Offset;

use super::message::LogEnd;
use crate::flaws::{self, Flaw};

/// Most observers that are remembered; a cluster has far fewer brokers.
const OBSERVERS_MAX: usize = 4096;

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
    me: i32,
    /// Where the epoch begins; nothing counts as committed before a record of the epoch itself is (Raft §5.4.2).
    pub epoch_start: Offset,
    pub since_ms: u64,
    voters: BTreeMap<i32, Progress>,
    observers: BTreeMap<i32, Progress>,
}

impl Leader {
    pub fn new(me: i32, voters: &[i32], log_end: LogEnd, now_ms: u64) -> Self {
        Self {
            me,
            epoch_start: log_end.offset,
            since_ms: now_ms,
            voters: voters.iter().map(|voter| (*voter, Progress::NONE)).collect(),
            observers: BTreeMap::new(),
        }
    }

    /// A replica fetched.
    pub fn on_fetch(&mut self, now_ms: u64, replica: i32, end: Offset, log_end: Offset) {
        if let Some(progress) = self.voters.get_mut(&replica) {
            progress.note(now_ms, end, log_end);
        } else if self.observers.len() < OBSERVERS_MAX || self.observers.contains_key(&replica) {
            self.observers.entry(replica).or_insert(Progress::NONE).note(now_ms, end, log_end);
        }
    }

    /// A replica asked for something that does not say how far it is.
    pub fn on_heard(&mut self, now_ms: u64, replica: i32) {
        if let Some(progress) = self.voters.get_mut(&replica) {
            progress.fetched_ms = Some(now_ms);
        }
    }

    /// The leader's own log is durable up to there.
    pub fn on_durable(&mut self, end: Offset) {
        if let Some(progress) = self.voters.get_mut(&self.me) {
            progress.end = Some(end);
        }
    }

    /// What a majority of voters has on its devices, once that reaches into this epoch.
    pub fn high_watermark(&self) -> Option<Offset> {
        let mut ends: Vec<Option<Offset>> = self.voters.values().map(|progress| progress.end).collect();
        ends.sort_unstable_by(|left, right| right.cmp(left));
        let place = self.voters.len() / 2 - usize::from(flaws::is(Flaw::MinorityCommits) && self.voters.len() > 1);
        let reaches = |end: &Offset| *end > self.epoch_start || flaws::is(Flaw::EarlierEpochsCommit);
        ends.get(place).copied().flatten().filter(reaches)
    }

    /// When a majority of voters, this one included, will have been silent for `silence_ms`; never for a sole voter.
    pub fn majority_lost_at(&self, silence_ms: u64) -> u64 {
        let needed = self.voters.len() / 2;
        let mut heard: Vec<u64> = self
            .voters
            .iter()
            .filter(|(id, _)| **id != self.me)
            .map(|(_, progress)| progress.fetched_ms.unwrap_or(self.since_ms).max(self.since_ms))
            .collect();
        heard.sort_unstable_by(|left, right| right.cmp(left));
        needed.checked_sub(1).and_then(|place| heard.get(place)).map_or(u64::MAX, |heard| heard + silence_ms)
    }

    /// Voters that have not fetched for `interval_ms` and were not told of the epoch for as long; they count as told now.
    pub fn whom_to_tell(&mut self, now_ms: u64, interval_ms: u64) -> Vec<i32> {
        let due = |progress: &Progress| {
            let last = progress.fetched_ms.max(progress.told_ms);
            last.is_none_or(|last| now_ms >= last + interval_ms)
        };
        let me = self.me;
        let silent = self.voters.iter_mut().filter(|(id, progress)| **id != me && due(progress));
        silent
            .map(|(id, progress)| {
                progress.told_ms = Some(now_ms);
                *id
            })
            .collect()
    }

    /// When [`Leader::whom_to_tell`] has somebody next.
    pub fn next_told_ms(&self, interval_ms: u64) -> u64 {
        let others = self.voters.iter().filter(|(id, _)| **id != self.me);
        others
            .map(|(_, progress)| progress.fetched_ms.max(progress.told_ms).map_or(0, |last| last + interval_ms))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// The other voters, the most advanced first: who should follow.
    pub fn successors(&self) -> Vec<i32> {
        let mut others: Vec<(Option<Offset>, i32)> =
            self.voters.iter().filter(|(id, _)| **id != self.me).map(|(id, progress)| (progress.end, *id)).collect();
        others.sort_unstable_by(|left, right| right.cmp(left));
        others.into_iter().map(|(_, id)| id).collect()
    }

    /// Voters with how far they are, in order of id.
    pub fn voters(&self) -> impl Iterator<Item = (i32, &Progress)> {
        self.voters.iter().map(|(id, progress)| (*id, progress))
    }

    /// Observers with how far they are, in order of id.
    pub fn observers(&self) -> impl Iterator<Item = (i32, &Progress)> {
        self.observers.iter().map(|(id, progress)| (*id, progress))
    }
}
