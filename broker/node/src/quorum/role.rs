//! What a member of the quorum is at a time. Source: raft/.../QuorumState.java.
//!
//! Legal moves of a voter:
//! - *Unattached* (knows no leader) -> *Prospective* when its time is over; *Follower* when it hears of a leader.
//! - *Prospective* (asks for pre-votes, in the epoch as it is) -> *Candidate* with a majority; *Unattached* when a majority
//!   refuses; *Follower* when it hears of a leader.
//! - *Candidate* (a new epoch, votes for itself) -> *Leader* with a majority; *Unattached* when refused or its time is over;
//!   *Follower* when it hears of a leader of its epoch.
//! - *Follower* -> *Prospective* when its leader is silent for the fetch timeout, gone, or resigned.
//! - *Leader* -> *Resigned* when no majority fetched for 1.5 fetch timeouts, the voters are committed without it, or the process ends.
//! - *Resigned* -> *Unattached* when its time is over.
//!
//! A message of a newer epoch makes anyone *Unattached* in it, or *Follower* if it names the leader. Observers are only ever
//! *Unattached* or *Follower*; but who was a voter, and is none by a record that is not known to be committed, may have to stand so that
//! it is (Raft §4.2.2). It does not count itself then.

use std::collections::BTreeSet;

use super::leader::Leader;
use super::message::{Ballot, LogEnd, Lost};
use super::voters::VoterSet;

#[derive(Clone, Debug)]
pub(crate) enum Role {
    Unattached { until_ms: u64 },
    Prospective { tally: Tally, until_ms: u64 },
    Candidate { tally: Tally, until_ms: u64 },
    Follower(Follower),
    Leader(Box<Leader>),
    Resigned { until_ms: u64 },
}

#[derive(Clone, Debug)]
pub(crate) struct Follower {
    pub(crate) leader: i32,
    /// The leader counts as lost from here on.
    pub(crate) until_ms: u64,
    /// The leader does not listen any more: pre-votes are granted, and this node's own follows soon.
    pub(crate) suspects: bool,
    /// Whether the leader answered in this epoch.
    pub(crate) has_fetched: bool,
    /// The leader's log begins behind this one's end: this snapshot of it is fetched, so far up to the position. With another
    /// leader, or another epoch, it is begun anew: snapshots of one end differ in their bytes.
    pub(crate) snapshot: Option<(LogEnd, u64)>,
    /// Whether the leader knows how this voter describes itself; asked for where the log does not say it.
    pub(crate) is_described: bool,
}

/// Votes of a ballot.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) ballot: Ballot,
    granted: BTreeSet<i32>,
    refused: BTreeSet<i32>,
    /// Whose process is not there.
    gone: BTreeSet<i32>,
    /// Who was asked and has not answered.
    asked: BTreeSet<i32>,
    voters: BTreeSet<i32>,
    /// When those who were lost are asked again.
    pub(crate) again_ms: u64,
}

impl Tally {
    pub(crate) fn new(ballot: Ballot, voters: &VoterSet) -> Self {
        Self {
            ballot,
            granted: BTreeSet::new(),
            refused: BTreeSet::new(),
            gone: BTreeSet::new(),
            asked: BTreeSet::new(),
            voters: voters.ids().collect(),
            again_ms: 0,
        }
    }

    /// The vote of somebody who is no voter does not count.
    pub(crate) fn grant(&mut self, voter: i32) {
        self.asked.remove(&voter);
        self.gone.remove(&voter);
        if self.voters.contains(&voter) {
            self.granted.insert(voter);
        }
    }

    pub(crate) fn refuse(&mut self, voter: i32) {
        self.asked.remove(&voter);
        self.gone.remove(&voter);
        if self.voters.contains(&voter) {
            self.refused.insert(voter);
        }
    }

    /// The voter was lost: it may be asked again.
    pub(crate) fn forget(&mut self, voter: i32, lost: Lost) {
        self.asked.remove(&voter);
        if lost == Lost::Gone && self.voters.contains(&voter) {
            self.gone.insert(voter);
        }
    }

    /// Whether the voter is to be asked; it counts as asked then.
    pub(crate) fn ask(&mut self, voter: i32) -> bool {
        !self.granted.contains(&voter) && !self.refused.contains(&voter) && self.asked.insert(voter)
    }

    pub(crate) fn is_won(&self) -> bool {
        self.granted.len() >= self.majority()
    }

    /// Whether no majority can come: those that are gone count as refusals, so that nobody waits for them.
    pub(crate) fn is_lost(&self) -> bool {
        self.voters.len() - self.refused.len() - self.gone.len() < self.majority()
    }

    fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    pub(crate) fn granted_by(&self) -> Vec<i32> {
        self.granted.iter().copied().collect()
    }
}
