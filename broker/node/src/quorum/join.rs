//! A controller sees to it that it votes, and that the voters' record describes it as it is (KIP-853, KIP-1186).
//!
//! Only who follows a leader and has what is committed asks, and not more often than once a fetch timeout: its own log tells what the
//! voters are. A number that votes with another directory is this node's before its disk was replaced: that one has to go first.

use strandline_protocol::ids::Offset;

use super::Quorum;
use super::change::RECONFIGURABLE;
use super::message::{JoinAsk, Wish};
use super::role::Role;

/// The question under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Joining {
    is_under_way: bool,
    again_ms: u64,
}

impl Quorum {
    /// Asks the leader for what this node lacks, if it is time. `log_end` is durable.
    pub fn poll_join(&mut self, now_ms: u64, log_end: Offset) {
        if now_ms < self.next_join_ms(log_end) {
            return;
        }
        let (Role::Follower(follower), Some(ask)) = (&self.role, self.what_is_lacking()) else { return };
        self.join = Joining { is_under_way: true, again_ms: now_ms + self.timing.fetch_ms };
        self.wishes.push_back(Wish::Join { to: follower.leader, ask });
    }

    /// When [`Quorum::poll_join`] has something to ask.
    pub fn next_join_ms(&self, log_end: Offset) -> u64 {
        let may = !self.join.is_under_way && log_end >= self.told_high_watermark;
        if may && self.what_is_lacking().is_some() { self.join.again_ms } else { u64::MAX }
    }

    fn what_is_lacking(&self) -> Option<JoinAsk> {
        let Role::Follower(follower) = &self.role else { return None };
        let own = &self.member.own;
        if !self.member.may_vote || !follower.has_fetched || own.endpoints.is_empty() {
            return None;
        }
        let update = Some(JoinAsk::Update(self.epoch));
        if self.history.version() < RECONFIGURABLE {
            return update.filter(|_| self.is_voter() && !follower.is_described);
        }
        match self.voters().get(self.me.id) {
            Some(voter) if voter.key.names(self.me) => update.filter(|_| voter != own),
            Some(voter) => Some(JoinAsk::Remove(voter.key)).filter(|_| self.member.joins),
            None => Some(JoinAsk::Add).filter(|_| self.member.joins),
        }
    }

    /// The leader answered, or did not: whether it did what it was asked for.
    pub fn on_join_answer(&mut self, is_done: bool) {
        self.join.is_under_way = false;
        if let Role::Follower(follower) = &mut self.role {
            follower.is_described |= is_done;
        }
    }
}
