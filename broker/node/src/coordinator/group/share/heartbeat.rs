//! A member's heartbeat: it joins, says what it subscribes to, is told what to read, leaves.

use strandline_protocol::coordinator::ConsumerOffsetsRecord;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::share_group_heartbeat::{
    Assignment, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse, TopicPartitions,
};

use super::ShareGroup;
use super::member::{Member, assignment_key, metadata_key};
use crate::coordinator::group::Asker;
use crate::coordinator::group::consumer::parts::Parts;
use crate::coordinator::turn::Turn;

/// The epoch of a member that joins.
pub(crate) const JOINING: i32 = 0;
/// The epoch of a member that leaves.
pub(crate) const LEAVING: i32 = -1;

/// How soon a member is to come again while the states of its partitions are being made: that takes milliseconds, and
/// until then there is nothing to read.
const SOON_MS: i32 = 300;

impl ShareGroup {
    /// One heartbeat.
    ///
    /// # Errors
    /// GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH.
    pub(crate) fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        request: ShareGroupHeartbeatRequest,
    ) -> Result<ShareGroupHeartbeatResponse, ErrorCode> {
        if request.member_epoch == LEAVING {
            return self.leave(turn, request);
        }
        let (mut member, is_new) = self.identify(turn, &request)?;
        let before = member.subscribed.clone();
        let is_full = request.subscribed_topic_names.is_some();
        update(&mut member, asker, &request);
        let (id, assigned) = (member.id.clone(), member.assigned.clone());
        let changed = is_new || before != member.subscribed;
        self.put(turn, member);
        self.refresh(turn, changed);
        self.retarget(turn);
        self.hand_over(turn, &id);
        let config = turn.share_config(&self.id);
        turn.set_timer(self.session_timer(&id), config.session_timeout_ms);
        // Whoever comes back when the next target may be computed computes it.
        let wait_ms = if self.epoch > self.assignment_epoch { self.assignment_wait_ms(turn).max(1) } else { i32::MAX };
        let soon_ms = if self.topics.initializing().is_empty() { i32::MAX } else { SOON_MS };
        let member = self.members.get_mut(&id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        // What was told on another connection may have been the answer to a request that nobody waited for any more.
        let is_elsewhere = member.told != Some(asker.connection);
        let tells = is_full || request.member_epoch == JOINING || member.assigned != assigned || is_elsewhere;
        member.told = Some(asker.connection);
        Ok(ShareGroupHeartbeatResponse {
            member_id: Some(id),
            member_epoch: member.epoch,
            heartbeat_interval_ms: config.heartbeat_interval_ms.min(wait_ms).min(soon_ms),
            assignment: tells.then(|| assignment(&member.assigned)),
            ..ShareGroupHeartbeatResponse::default()
        })
    }

    /// Who this is, as it was before; `true` if it is new.
    fn identify(&self, turn: &Turn<'_>, request: &ShareGroupHeartbeatRequest) -> Result<(Member, bool), ErrorCode> {
        match self.members.get(&request.member_id) {
            Some(member) if request.member_epoch == JOINING => Ok((member.clone(), false)),
            Some(member) => member.check_epoch(request.member_epoch).map(|()| (member.clone(), false)),
            None if request.member_epoch != JOINING => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            None if self.members.len() >= turn.settings.share_members_max => Err(ErrorCode::GROUP_MAX_SIZE_REACHED),
            None => Ok((Member::new(request.member_id.clone()), true)),
        }
    }

    /// The member has what the target gives it.
    fn hand_over(&mut self, turn: &mut Turn<'_>, id: &str) {
        let Some(mut member) = self.members.get(id).cloned() else { return };
        member.advance(self.assignment_epoch, self.target.get(id).cloned().unwrap_or_default());
        self.put(turn, member);
    }

    fn leave(
        &mut self,
        turn: &mut Turn<'_>,
        request: ShareGroupHeartbeatRequest,
    ) -> Result<ShareGroupHeartbeatResponse, ErrorCode> {
        if !self.members.contains_key(&request.member_id) {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        self.fence(turn, &request.member_id);
        Ok(ShareGroupHeartbeatResponse {
            member_id: Some(request.member_id),
            member_epoch: LEAVING,
            ..ShareGroupHeartbeatResponse::default()
        })
    }

    /// A member is out: it was silent for too long, or left.
    pub(crate) fn fence(&mut self, turn: &mut Turn<'_>, id: &str) {
        if self.members.remove(id).is_none() {
            return;
        }
        turn.cancel_timer(self.session_timer(id));
        turn.emit(ConsumerOffsetsRecord::ShareGroupCurrentMemberAssignment(assignment_key(&self.id, id), None));
        if self.target.remove(id).is_some() {
            turn.emit(self.target_record(id));
        }
        turn.emit(ConsumerOffsetsRecord::ShareGroupMemberMetadata(metadata_key(&self.id, id), None));
        self.refresh(turn, true);
    }
}

fn update(member: &mut Member, asker: &Asker, request: &ShareGroupHeartbeatRequest) {
    member.client_id = asker.client_id.to_string();
    member.client_host = asker.client_host.to_string();
    if request.rack_id.is_some() {
        member.rack.clone_from(&request.rack_id);
    }
    if let Some(topics) = &request.subscribed_topic_names {
        member.subscribed = topics.iter().cloned().collect();
    }
}

fn assignment(parts: &Parts) -> Assignment {
    let lists = parts.lists().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions });
    Assignment { topic_partitions: lists.collect() }
}

pub(crate) fn refusal(error_code: ErrorCode) -> ShareGroupHeartbeatResponse {
    ShareGroupHeartbeatResponse {
        error_code,
        error_message: Some(error_code.meaning().to_owned()),
        ..ShareGroupHeartbeatResponse::default()
    }
}
