//! The leader changes the voters (KIP-853): one at a time, so that every majority of the old set meets every one of the new.
//!
//! A change is a record that counts as soon as it stands in the log. It is begun only when the set before it is committed, and a record
//! of the leader's own epoch too: a leader of before may have left another change that nobody else knows (the hole in Raft's first
//! description of single changes). A new voter must have had all that the leader had: a majority that includes one who is far behind
//! commits nothing. Whoever asked is told when the record is committed, or that it takes too long.
//!
//! States of what is asked for: *asking* the new voter what it works at -> *committing* -> answered. With the leadership goes all of it.
//! Source: raft/.../internals/{Add,Remove,Update}VoterHandler.java, LeaderState.maybeAppendUpgradedKRaftVersion.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, Uuid};

use super::Quorum;
use super::leader::Leader;
use super::message::{Refusal, Wish};
use super::role::Role;
use super::voters::{ReplicaKey, Voter, VoterSet};
use crate::flaws::{self, Flaw};

/// From this level of `kraft.version` on voters stand in the log, and can be changed.
pub(crate) const RECONFIGURABLE: i16 = 1;

/// Somebody who waits for a change.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    /// The new voter is asked which levels of `kraft.version` it works at.
    Asking { voter: Voter, waits: AddWait, until_ms: u64 },
    /// The record stands in the log.
    Committing { ticket: u64, at: Offset, until_ms: u64 },
}

/// Whose answer waits for a new voter, and for how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddWait {
    pub ticket: u64,
    /// Not only until its record is written (KIP-1186).
    pub until_committed: bool,
}

fn timed_out(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::REQUEST_TIMED_OUT, message)
}

impl Leader {
    /// When somebody has waited long enough for a change.
    pub(super) fn change_expires_ms(&self) -> u64 {
        match &self.pending {
            Some(Pending::Asking { until_ms, .. } | Pending::Committing { until_ms, .. }) => *until_ms,
            None => u64::MAX,
        }
    }
}

impl Quorum {
    /// Whether the voters may be changed now.
    fn check_change(&self) -> Result<&Leader, Refusal> {
        let Role::Leader(leader) = &self.role else {
            return Err(Refusal::new(ErrorCode::NOT_LEADER_OR_FOLLOWER, "this node does not lead the quorum"));
        };
        if leader.pending.is_some() {
            return Err(timed_out("another change of the voters is under way"));
        }
        if self.high_watermark <= leader.epoch_start && !flaws::is(Flaw::ChangesBeforeOwnEpoch) {
            return Err(timed_out("nothing of this leader's epoch is committed yet"));
        }
        if self.history.version() < RECONFIGURABLE {
            let message = format!("kraft.version is {}: the voters stand in the configuration", self.history.version());
            return Err(Refusal::new(ErrorCode::UNSUPPORTED_VERSION, message));
        }
        if !self.has_settled_voters() && !flaws::is(Flaw::ChangesUncommitted) {
            return Err(timed_out("the last change of the voters is not committed yet"));
        }
        Ok(leader)
    }

    /// Somebody wants a replica to vote: it is asked what it works at first ([`Quorum::on_versions`]).
    ///
    /// # Errors
    /// [`Refusal`]; nothing was begun.
    pub fn add_voter(&mut self, voter: Voter, waits: AddWait, until_ms: u64) -> Result<(), Refusal> {
        self.check_change()?;
        if self.voters().get(voter.key.id).is_some() {
            let message = format!("node {} votes already", voter.key.id);
            return Err(Refusal::new(ErrorCode::DUPLICATE_VOTER, message));
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.pending = Some(Pending::Asking { voter: voter.clone(), waits, until_ms });
            self.wishes.push_back(Wish::AskVersions { to: voter });
        }
        Ok(())
    }

    /// The replica that is to vote said which levels it works at, or nothing. The voters are written if it may
    /// ([`Quorum::on_added`]).
    pub fn on_versions(&mut self, now_ms: u64, from: ReplicaKey, versions: Option<(i16, i16)>) -> Option<VoterSet> {
        let Role::Leader(leader) = &mut self.role else { return None };
        let is_it = |pending: &mut Pending| matches!(pending, Pending::Asking { voter, .. } if voter.key == from);
        let Some(Pending::Asking { mut voter, waits, until_ms }) = leader.pending.take_if(is_it) else { return None };
        let version = self.history.version();
        // Kafka is content with an hour; who fetches is never so far behind.
        let since_ms = now_ms.saturating_sub(self.timing.silence_ms());
        let refusal = match versions {
            None => Some(timed_out(format!("node {} does not say which kraft.version it works at", from.id))),
            Some((least, most)) if version < least || version > most => {
                let message = format!("node {} works at kraft.version {least} to {most}, the cluster at {version}", from.id);
                Some(Refusal::new(ErrorCode::INVALID_REQUEST, message))
            }
            Some(_) if !leader.has_caught_up(from, since_ms) => {
                Some(timed_out(format!("node {} with directory {} has not caught up", from.id, from.directory)))
            }
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            self.wishes.push_back(Wish::AnswerChange { ticket: waits.ticket, outcome: Err(refusal) });
            return None;
        }
        voter.versions = versions?;
        leader.pending = Some(Pending::Asking { voter: voter.clone(), waits, until_ms });
        self.history.voters().with(voter)
    }

    /// The voters of [`Quorum::on_versions`] stand in the log at `at`.
    pub fn on_added(&mut self, at: Offset) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(Pending::Asking { waits, until_ms, .. }) = leader.pending.take() else { return };
        if waits.until_committed {
            leader.pending = Some(Pending::Committing { ticket: waits.ticket, at, until_ms });
        } else {
            self.wishes.push_back(Wish::AnswerChange { ticket: waits.ticket, outcome: Ok(()) });
        }
        self.answer_change();
    }

    /// Somebody wants a voter to vote no more: the voters to be written.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn remove_voter(&self, key: ReplicaKey) -> Result<VoterSet, Refusal> {
        self.check_change()?;
        self.voters().without(key).ok_or_else(|| {
            let message = format!("node {} with directory {} is no voter that could go", key.id, key.directory);
            Refusal::new(ErrorCode::VOTER_NOT_FOUND, message)
        })
    }

    /// The voters without one stand in the log at `at`; `ticket` is answered when that is committed.
    pub fn on_removed(&mut self, ticket: u64, at: Offset, until_ms: u64) {
        if let Role::Leader(leader) = &mut self.role {
            leader.pending = Some(Pending::Committing { ticket, at, until_ms });
        }
        self.answer_change();
    }

    /// A voter describes itself: the voters to be written, if that is new. With voters of the configuration it is remembered.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn update_voter(&mut self, voter: Voter) -> Result<Option<VoterSet>, Refusal> {
        let unknown = || Refusal::new(ErrorCode::VOTER_NOT_FOUND, "it is no voter");
        if self.history.version() < RECONFIGURABLE {
            let is_voter = self.voters().has(voter.key);
            let Role::Leader(leader) = &mut self.role else {
                return Err(Refusal::new(ErrorCode::NOT_LEADER_OR_FOLLOWER, "this node does not lead the quorum"));
            };
            if !is_voter {
                return Err(unknown());
            }
            leader.described.insert(voter.key.id, voter);
            return Ok(None);
        }
        self.check_change()?;
        if !voter.works_at(self.history.version()) {
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, "it does not work at the cluster's kraft.version"));
        }
        if self.voters().get(voter.key.id) == Some(&voter) {
            return Ok(None);
        }
        self.voters().updated(voter).map(Some).ok_or_else(unknown)
    }

    /// Somebody wants another level of `kraft.version`: the voters that it begins with, or nothing if it is there.
    ///
    /// # Errors
    /// INVALID_UPDATE_VERSION.
    pub fn raise_version(&self, to: i16) -> Result<Option<VoterSet>, Refusal> {
        let refuse = |message: String| Err(Refusal::new(ErrorCode::INVALID_UPDATE_VERSION, message));
        let Role::Leader(leader) = &self.role else { return refuse("this node does not lead the quorum".to_owned()) };
        let at = self.history.version();
        if to == at {
            return Ok(None);
        }
        if to < at {
            return refuse(format!("kraft.version is at {at} and never goes down"));
        }
        let own = Some(&self.member.own).filter(|own| self.voters().has(own.key));
        let described = |id: i32| leader.described.get(&id).or_else(|| own.filter(|own| own.key.id == id));
        let mut voters = Vec::new();
        for id in self.voters().ids() {
            match described(id) {
                Some(voter) if voter.works_at(to) && voter.key.directory != Uuid::ZERO => {
                    voters.push(voter.clone());
                }
                Some(_) => return refuse(format!("voter {id} does not work at kraft.version {to}")),
                None => return refuse(format!("voter {id} has not said yet what it works at")),
            }
        }
        Ok(Some(voters.into_iter().collect()))
    }

    /// Answers whoever waits for a change that is committed.
    pub(super) fn answer_change(&mut self) {
        let high_watermark = self.high_watermark;
        let Role::Leader(leader) = &mut self.role else { return };
        let is_done = |pending: &mut Pending| matches!(pending, Pending::Committing { at, .. } if *at < high_watermark);
        if let Some(Pending::Committing { ticket, .. }) = leader.pending.take_if(is_done) {
            self.wishes.push_back(Wish::AnswerChange { ticket, outcome: Ok(()) });
        }
    }

    /// Whoever waited too long is told so. What was written may be committed all the same.
    pub(super) fn expire_change(&mut self, now_ms: u64) {
        if let Role::Leader(leader) = &self.role
            && now_ms >= leader.change_expires_ms()
        {
            self.end_change(timed_out("the change of the voters takes too long"));
        }
    }

    /// This node leads no more: nobody knows what becomes of a change.
    pub(super) fn give_up_change(&mut self) {
        self.end_change(Refusal::new(ErrorCode::NOT_LEADER_OR_FOLLOWER, "this node does not lead the quorum any more"));
    }

    fn end_change(&mut self, why: Refusal) {
        let Role::Leader(leader) = &mut self.role else { return };
        let ticket = match leader.pending.take() {
            Some(Pending::Asking { waits, .. }) => waits.ticket,
            Some(Pending::Committing { ticket, .. }) => ticket,
            None => return,
        };
        self.wishes.push_back(Wish::AnswerChange { ticket, outcome: Err(why) });
    }
}
