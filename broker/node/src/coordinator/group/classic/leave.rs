//! Heartbeats, and the ways out of a group.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::heartbeat::HeartbeatRequest;
use strandline_protocol::messages::leave_group::{MemberIdentity, MemberResponse};

use super::{ClassicGroup, State, join, sync};
use crate::coordinator::turn::Turn;

impl ClassicGroup {
    /// A member lives, and learns whether it has to join again.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS.
    pub(crate) fn heartbeat(&mut self, turn: &mut Turn<'_>, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        if self.state == State::Empty {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.restart_session(turn, &request.member_id);
        // While the leader assigns nobody has to join again, so that is no error.
        if matches!(self.state, State::Preparing { .. }) { Err(ErrorCode::REBALANCE_IN_PROGRESS) } else { Ok(()) }
    }

    /// Members leave, by their own wish or an operator's. Answers for each.
    pub(crate) fn leave(&mut self, turn: &mut Turn<'_>, leaving: Vec<MemberIdentity>) -> Vec<MemberResponse> {
        let responses: Vec<MemberResponse> = leaving
            .into_iter()
            .map(|identity| MemberResponse {
                error_code: self.leave_one(turn, &identity).err().unwrap_or(ErrorCode::NONE),
                member_id: identity.member_id,
                group_instance_id: identity.group_instance_id,
            })
            .collect();
        if responses.iter().any(|response| response.error_code.is_none()) {
            self.on_members_gone(turn);
        }
        responses
    }

    fn leave_one(&mut self, turn: &mut Turn<'_>, identity: &MemberIdentity) -> Result<(), ErrorCode> {
        if identity.member_id.is_empty() {
            let known = identity.group_instance_id.as_ref().and_then(|instance| self.instances.get(instance)).cloned();
            self.forget(turn, &known.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?);
            return Ok(());
        }
        if !self.pending_joins.contains(&identity.member_id) {
            self.check_member(&identity.member_id, identity.group_instance_id.as_deref())?;
        }
        self.forget(turn, &identity.member_id);
        Ok(())
    }

    /// A member, or somebody who was given an id and did not join, was silent for too long.
    pub(crate) fn on_session_timeout(&mut self, turn: &mut Turn<'_>, id: &str) {
        if self.pending_joins.contains(id) {
            self.forget(turn, id);
            return self.complete_if_all_joined(turn);
        }
        if self.members.get(id).is_some_and(|member| !member.is_excused()) {
            self.forget(turn, id);
            self.on_members_gone(turn);
        }
    }

    /// The group is to be of another protocol: whoever waits is told to join again, and its clocks stop.
    pub(crate) fn dismiss(&mut self, turn: &mut Turn<'_>) {
        turn.cancel_timer(self.join_timer());
        turn.cancel_timer(self.sync_timer());
        let pending = std::mem::take(&mut self.pending_joins);
        for id in self.members.keys().chain(&pending) {
            turn.cancel_timer(self.session_timer(id));
        }
        for member in self.members.values_mut() {
            if let Some(joining) = member.joining.take() {
                let refusal = join::refusal(joining.api_version, &member.id, ErrorCode::REBALANCE_IN_PROGRESS);
                turn.reply_now(joining.to, refusal);
            }
            if let Some(syncing) = member.syncing.take() {
                turn.reply_now(syncing, sync::refusal(ErrorCode::REBALANCE_IN_PROGRESS));
            }
        }
    }

    fn on_members_gone(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::Empty => {}
            State::Preparing { .. } => self.complete_if_all_joined(turn),
            State::Completing | State::Stable => self.prepare_rebalance(turn),
        }
    }

    /// Forgets a member; what it waits for is refused.
    pub(super) fn forget(&mut self, turn: &mut Turn<'_>, id: &str) {
        turn.cancel_timer(self.session_timer(id));
        self.pending_joins.remove(id);
        self.pending_syncs.remove(id);
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        if let Some(joining) = member.joining {
            turn.reply_now(joining.to, join::refusal(joining.api_version, "", ErrorCode::UNKNOWN_MEMBER_ID));
        }
        if let Some(syncing) = member.syncing {
            turn.reply_now(syncing, sync::refusal(ErrorCode::UNKNOWN_MEMBER_ID));
        }
    }
}
