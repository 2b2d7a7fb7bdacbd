//! From the call to join to the new generation.

use strandline_protocol::error::ErrorCode;

use super::{ClassicGroup, Initial, State};
use crate::coordinator::turn::Turn;

impl ClassicGroup {
    /// The members changed: a rebalance begins, or the one under way may be over.
    pub(super) fn rebalance_or_complete(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.state, State::Preparing { .. }) {
            self.complete_if_all_joined(turn);
        } else {
            self.prepare_rebalance(turn);
        }
    }

    /// Calls everybody to join.
    pub(crate) fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::Completing {
            self.refuse_syncs(turn, ErrorCode::REBALANCE_IN_PROGRESS);
        }
        self.pending_syncs.clear();
        turn.cancel_timer(self.sync_timer());
        if self.state == State::Empty {
            let delay_ms = turn.settings.initial_rebalance_delay_ms;
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms);
            self.move_to(turn, State::Preparing { initial: Some(Initial { delay_ms, remaining_ms, newcomer: false }) });
            turn.set_timer(self.join_timer(), delay_ms);
            return;
        }
        self.move_to(turn, State::Preparing { initial: None });
        if self.has_everybody_joined() {
            self.complete_join(turn);
        } else {
            turn.set_timer(self.join_timer(), self.rebalance_timeout_ms());
        }
    }

    /// The first rebalance of an empty group ends by the clock alone.
    pub(super) fn complete_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        if self.state == (State::Preparing { initial: None }) && self.has_everybody_joined() {
            self.complete_join(turn);
        }
    }

    pub(super) fn has_everybody_joined(&self) -> bool {
        self.pending_joins.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    /// The time to join is over.
    pub(crate) fn on_join_timeout(&mut self, turn: &mut Turn<'_>) {
        let State::Preparing { initial } = &mut self.state else { return };
        if let Some(initial) = initial
            && initial.newcomer
            && initial.remaining_ms > 0
        {
            let delay_ms = turn.settings.initial_rebalance_delay_ms.min(initial.remaining_ms);
            let remaining_ms = initial.remaining_ms.saturating_sub(initial.delay_ms);
            *initial = Initial { delay_ms, remaining_ms, newcomer: false };
            return turn.set_timer(self.join_timer(), delay_ms);
        }
        self.complete_join(turn);
    }

    /// Whoever joined is in the next generation. Static members that did not are too; others are out.
    fn complete_join(&mut self, turn: &mut Turn<'_>) {
        turn.cancel_timer(self.join_timer());
        let late: Vec<String> = self
            .members
            .values()
            .filter(|member| member.joining.is_none() && !member.is_static())
            .map(|member| member.id.clone())
            .collect();
        for id in late {
            self.forget(turn, &id);
        }
        if !self.elect_joined_leader() && !self.members.is_empty() {
            // Only static members that did not come back: they are waited for until their sessions end.
            return turn.set_timer(self.join_timer(), self.rebalance_timeout_ms());
        }
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.pending_syncs.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.move_to(turn, State::Empty);
            return turn.emit(self.record());
        }
        self.protocol = self.select_protocol();
        self.move_to(turn, State::Completing);
        self.announce_generation(turn);
        turn.set_timer(self.sync_timer(), self.rebalance_timeout_ms());
    }

    /// Whoever leads has joined, or somebody else who has leads from now on; `false` if nobody has.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &String| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let candidate = self.members.values().find(|member| member.joining.is_some()).map(|member| member.id.clone());
        let found = candidate.is_some();
        self.leader = candidate.or_else(|| self.leader.take());
        found
    }

    fn announce_generation(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let response = self.joined(&id, self.leader.as_deref() == Some(id.as_str()));
            self.restart_session(turn, &id);
            self.pending_syncs.insert(id.clone());
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.is_new = false;
            if let Some(joining) = member.joining.take() {
                turn.reply(joining.to, response);
            }
        }
    }
}
