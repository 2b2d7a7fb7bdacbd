//! Elections: who stands, who gets a vote, who wins.

use super::Quorum;
use super::leader::Leader;
use super::message::{Ballot, Hold, Leadership, LogEnd, Lost, VoteAnswer, VoteAsk, Wish};
use super::role::{Role, Tally};
use crate::flaws::{self, Flaw};

/// A voter that lost waits for a share of the longest backoff at most: pre-votes are cheap and bind nobody, and two that stood
/// at once have to draw apart, not to wait.
const STEP_BACK_SHARE: u64 = 4;

impl Quorum {
    /// Somebody asks for a vote.
    pub fn on_vote(&mut self, now_ms: u64, ask: VoteAsk, log_end: LogEnd, ticket: u64) {
        self.learn(now_ms, Leadership { epoch: ask.epoch, leader: None });
        let granted = ask.epoch == self.epoch && self.would_grant(ask, log_end);
        if granted && ask.ballot == Ballot::Real && !self.voted.is_some_and(|voted| voted.names(ask.candidate)) {
            self.voted = Some(ask.candidate);
            let wait_ms = self.election_wait_ms();
            self.role = Role::Unattached { until_ms: now_ms + wait_ms };
            self.keep(Hold::Others);
        }
        // Whoever grants does not believe in its leader: named, it would make the asker follow it again.
        let leadership = Leadership { leader: self.leadership().leader.filter(|_| !granted), epoch: self.epoch };
        let answer = VoteAnswer { ballot: ask.ballot, leadership, granted };
        self.wishes.push_back(Wish::AnswerVote { ticket, answer });
    }

    /// A pre-vote is refused by whoever hears from a leader; a vote is given once an epoch, and never where a leader is known.
    /// Neither is given to a log that is behind. Whether this node votes is the candidate's to know: its log may have the record that
    /// says so where this one's does not.
    fn would_grant(&self, ask: VoteAsk, log_end: LogEnd) -> bool {
        let is_behind = ask.log_end < log_end && !flaws::is(Flaw::VotesForBehind);
        if !self.member.may_vote || is_behind {
            return false;
        }
        match (ask.ballot, &self.role) {
            (Ballot::Pre, Role::Leader(_)) => false,
            (Ballot::Pre, Role::Follower(follower)) => follower.suspects || !follower.has_fetched,
            (Ballot::Pre, _) => true,
            (Ballot::Real, Role::Unattached { .. } | Role::Prospective { .. }) => {
                self.voted.is_none_or(|voted| voted.names(ask.candidate)) || flaws::is(Flaw::VotesTwice)
            }
            (Ballot::Real, _) => false,
        }
    }

    /// A voter answered.
    pub fn on_vote_answer(&mut self, now_ms: u64, from: i32, answer: VoteAnswer, log_end: LogEnd) {
        let asked_in = self.epoch;
        let Leadership { epoch, leader } = answer.leadership;
        self.learn(now_ms, Leadership { epoch, leader: leader.filter(|_| !answer.granted) });
        if answer.leadership.epoch != asked_in {
            return;
        }
        let (Role::Prospective { tally, .. } | Role::Candidate { tally, .. }) = &mut self.role else { return };
        if tally.ballot != answer.ballot {
            return;
        }
        if answer.granted {
            tally.grant(from);
        } else {
            tally.refuse(from);
        }
        self.count_votes(now_ms, log_end);
    }

    /// A question for a vote came to nothing.
    pub fn on_vote_lost(&mut self, now_ms: u64, from: i32, lost: Lost) {
        let again_ms = now_ms + self.timing.retry_ms;
        if let Role::Prospective { tally, .. } | Role::Candidate { tally, .. } = &mut self.role {
            tally.forget(from, lost);
            tally.again_ms = again_ms;
            if tally.is_lost() {
                self.step_back(now_ms);
            }
        }
    }

    pub(super) fn become_prospective(&mut self, now_ms: u64, log_end: LogEnd) {
        let mut tally = Tally::new(Ballot::Pre, self.history.voters());
        if self.is_voter() {
            tally.grant(self.me.id);
        }
        self.role = Role::Prospective { tally, until_ms: now_ms + self.election_wait_ms() };
        self.count_votes(now_ms, log_end);
        self.ask_for_votes(now_ms, log_end);
    }

    fn become_candidate(&mut self, now_ms: u64, log_end: LogEnd) {
        let Some(epoch) = self.epoch.next() else { return };
        let stays = flaws::is(Flaw::EpochNotRaisedByCandidate) && self.epoch.0 > 0;
        self.epoch = if stays { self.epoch } else { epoch };
        self.voted = Some(self.me);
        let tally = Tally::new(Ballot::Real, self.history.voters());
        self.role = Role::Candidate { tally, until_ms: now_ms + self.election_wait_ms() };
        self.keep(Hold::Others);
        self.ask_for_votes(now_ms, log_end);
    }

    fn become_leader(&mut self, now_ms: u64, granted_by: Vec<i32>, log_end: LogEnd) {
        self.role = Role::Leader(Box::new(Leader::new(self.me, self.history.voters(), log_end, now_ms)));
        self.keep(Hold::Nothing);
        self.wishes.push_back(Wish::OpenEpoch { epoch: self.epoch, granted_by });
        self.tell_epoch(now_ms);
    }

    /// Waits for a while before standing again, so that others may.
    pub(super) fn step_back(&mut self, now_ms: u64) {
        let wait_ms = self.timing.retry_ms + self.roll(self.timing.backoff_max_ms / STEP_BACK_SHARE);
        self.role = Role::Unattached { until_ms: now_ms + wait_ms };
        self.fetch.again_ms = now_ms;
    }

    pub(super) fn count_votes(&mut self, now_ms: u64, log_end: LogEnd) {
        let (Role::Prospective { tally, .. } | Role::Candidate { tally, .. }) = &self.role else { return };
        if tally.is_lost() {
            return self.step_back(now_ms);
        }
        if !tally.is_won() {
            return;
        }
        match tally.ballot {
            Ballot::Pre => self.become_candidate(now_ms, log_end),
            Ballot::Real => {
                let granted_by = tally.granted_by();
                // Votes of others may come before the own one is kept; it must be, before records are written on its strength.
                if self.unkept == 0 {
                    self.become_leader(now_ms, granted_by, log_end);
                }
            }
        }
    }

    /// Asks every voter that has not answered and is not being asked.
    pub(super) fn ask_for_votes(&mut self, now_ms: u64, log_end: LogEnd) {
        let (epoch, candidate) = (self.epoch, self.me);
        let (Role::Prospective { tally, .. } | Role::Candidate { tally, .. }) = &mut self.role else { return };
        if now_ms < tally.again_ms {
            return;
        }
        tally.again_ms = u64::MAX;
        let ask = VoteAsk { ballot: tally.ballot, epoch, candidate, log_end };
        let others = self.history.voters().iter().map(|voter| voter.key).filter(|key| !key.names(candidate));
        for to in others.filter(|key| tally.ask(key.id)) {
            self.wishes.push_back(Wish::Vote { to, ask });
        }
    }
}
