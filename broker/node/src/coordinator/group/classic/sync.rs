//! SyncGroup: the leader says who gets what, and everybody learns it.

use std::collections::BTreeMap;

use bytes::Bytes;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::{ClassicGroup, State};
use crate::coordinator::group::Asker;
use crate::coordinator::turn::Turn;

impl ClassicGroup {
    /// A member asks for its assignment; it is answered once the leader has assigned and that is committed.
    pub(crate) fn sync(&mut self, turn: &mut Turn<'_>, asker: &Asker, request: SyncGroupRequest) {
        if let Err(code) = self.check_sync(&request) {
            return turn.reply_now(asker.to, refusal(code));
        }
        let id = request.member_id.clone();
        match self.state {
            State::Empty => turn.reply_now(asker.to, refusal(ErrorCode::UNKNOWN_MEMBER_ID)),
            State::Preparing { .. } => turn.reply_now(asker.to, refusal(ErrorCode::REBALANCE_IN_PROGRESS)),
            State::Completing => {
                self.synced(turn, &id);
                let before = self.members.get_mut(&id).and_then(|member| member.syncing.replace(asker.to));
                if let Some(before) = before {
                    turn.reply_now(before, refusal(ErrorCode::REBALANCE_IN_PROGRESS));
                }
                if self.leader.as_deref() == Some(id.as_str()) {
                    self.assign(turn, request);
                }
            }
            State::Stable => {
                self.synced(turn, &id);
                self.restart_session(turn, &id);
                turn.reply(asker.to, self.assigned(&id));
            }
        }
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let differs = |asked: &Option<String>, ours: &Option<String>| asked.is_some() && asked != ours;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol_name, &self.protocol) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        Ok(())
    }

    /// One member less to wait for (KAFKA-12890: without that wait a group could stay in this state for ever).
    fn synced(&mut self, turn: &mut Turn<'_>, id: &str) {
        self.pending_syncs.remove(id);
        if self.pending_syncs.is_empty() {
            turn.cancel_timer(self.sync_timer());
        }
    }

    /// The leader has assigned; members it does not name get nothing.
    fn assign(&mut self, turn: &mut Turn<'_>, request: SyncGroupRequest) {
        let mut assignments: BTreeMap<String, Bytes> =
            request.assignments.into_iter().map(|assigned| (assigned.member_id, assigned.assignment)).collect();
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
        }
        self.move_to(turn, State::Stable);
        turn.emit(self.record());
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let syncing = self.members.get_mut(&id).and_then(|member| member.syncing.take());
            if let Some(to) = syncing {
                turn.reply(to, self.assigned(&id));
                self.restart_session(turn, &id);
            }
        }
    }

    fn assigned(&self, id: &str) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
            ..SyncGroupResponse::default()
        }
    }

    /// Whoever waits for an assignment gets none.
    pub(super) fn refuse_syncs(&mut self, turn: &mut Turn<'_>, code: ErrorCode) {
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(to) = member.syncing.take() {
                turn.reply_now(to, refusal(code));
                waiting.push(member.id.clone());
            }
        }
        for id in waiting {
            self.restart_session(turn, &id);
        }
    }

    /// Members that never asked for their assignment are out.
    pub(crate) fn on_sync_timeout(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.state, State::Completing | State::Stable) || self.pending_syncs.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_syncs) {
            self.forget(turn, &id);
        }
        self.prepare_rebalance(turn);
    }
}

pub(crate) fn refusal(error_code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code, ..SyncGroupResponse::default() }
}
