//! A member's heartbeat: it joins, says what changed, is told its next step, leaves.

use strandline_protocol::coordinator::ConsumerOffsetsRecord;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ResponseTopicPartitions,
};

use super::ConsumerGroup;
use super::member::{LEFT_FOR_A_WHILE, Member, Progress, assignment_key, metadata_key};
use super::parts::Parts;
use super::subscription::compile;
use crate::coordinator::group::Asker;
use crate::coordinator::turn::Turn;
use crate::flaws::{self, Flaw};

/// The epoch of a member that joins.
pub(crate) const JOINING: i32 = 0;
/// The epoch of a member that leaves for good.
pub(crate) const LEAVING: i32 = -1;

impl ConsumerGroup {
    /// One heartbeat.
    ///
    /// # Errors
    /// GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, FENCED_INSTANCE_ID, UNRELEASED_INSTANCE_ID,
    /// UNSUPPORTED_ASSIGNOR, INVALID_REGULAR_EXPRESSION.
    pub(crate) fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, ErrorCode> {
        if request.member_epoch < JOINING {
            return self.leave(turn, &request);
        }
        check(turn, &request)?;
        let owned = request
            .topic_partitions
            .as_ref()
            .map(|lists| Parts::of(lists.iter().map(|list| (list.topic_id, list.partitions.clone()))));
        let is_full = owned.is_some() && request.rebalance_timeout_ms >= 0 && wishes(&request);
        let (mut member, is_new) = self.identify(turn, &request, owned.as_ref())?;
        let before = (member.subscribed.clone(), member.regex.clone(), member.assignor.clone());
        update(&mut member, asker, &request);
        let changed = is_new || before != (member.subscribed.clone(), member.regex.clone(), member.assignor.clone());
        let assigned_before = member.assigned.clone();
        let id = member.id.clone();
        self.put(turn, member);
        self.refresh(turn, changed);
        self.retarget(turn);
        self.reconcile(turn, &id, owned.as_ref());
        let config = turn.consumer_config(&self.id);
        turn.set_timer(self.session_timer(&id), config.session_timeout_ms);
        // Whoever comes back when the next target may be computed computes it.
        let wait_ms = if self.epoch > self.assignment_epoch { self.assignment_wait_ms(turn).max(1) } else { i32::MAX };
        turn.cancel_timer(self.sync_timer(&id));
        let member = self.members.get_mut(&id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        // What was told on another connection may have been the answer to a request that nobody waited for any more: Kafka, which
        // tells changes only, leaves such a member without them.
        let is_elsewhere = member.told != Some(asker.connection);
        let tells = is_full || request.member_epoch == JOINING || member.assigned != assigned_before || is_elsewhere;
        member.told = Some(asker.connection);
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(id),
            member_epoch: member.epoch,
            heartbeat_interval_ms: config.heartbeat_interval_ms.min(wait_ms),
            assignment: tells.then(|| assignment(&member.assigned)),
            ..ConsumerGroupHeartbeatResponse::default()
        })
    }

    /// Who this is, as it was before; `true` if it is new.
    fn identify(
        &mut self,
        turn: &mut Turn<'_>,
        request: &ConsumerGroupHeartbeatRequest,
        owned: Option<&Parts>,
    ) -> Result<(Member, bool), ErrorCode> {
        let id = &request.member_id;
        let holder = request.instance_id.as_ref().and_then(|instance| self.instances.get(instance)).cloned();
        if request.member_epoch == JOINING {
            return match holder {
                Some(holder) if holder != *id => self.take_over(turn, &holder, id).map(|member| (member, true)),
                _ => match self.members.get(id) {
                    Some(member) => Ok((member.clone(), false)),
                    None if self.members.len() >= turn.settings.consumer_members_max => Err(ErrorCode::GROUP_MAX_SIZE_REACHED),
                    None => Ok((Member::new(id.clone()), true)),
                },
            };
        }
        if request.instance_id.is_some() && holder.as_ref() != Some(id) {
            return Err(if holder.is_some() { ErrorCode::FENCED_INSTANCE_ID } else { ErrorCode::UNKNOWN_MEMBER_ID });
        }
        let member = self.members.get(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        member.check_epoch(request.member_epoch, owned)?;
        Ok((member.clone(), false))
    }

    /// A static member comes back under another id and takes the part of the one that left for a while.
    fn take_over(&mut self, turn: &mut Turn<'_>, left: &str, id: &str) -> Result<Member, ErrorCode> {
        let known = self.members.get(left).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if known.epoch != LEFT_FOR_A_WHILE && known.classic.is_none() {
            return Err(ErrorCode::UNRELEASED_INSTANCE_ID);
        }
        self.inherit(turn, left, id)
    }

    /// A static member is replaced by another, which has what it had.
    pub(super) fn inherit(&mut self, turn: &mut Turn<'_>, left: &str, id: &str) -> Result<Member, ErrorCode> {
        let known = self.members.get(left).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let heir = Member { id: id.to_owned(), epoch: JOINING, previous_epoch: JOINING, ..known.clone() };
        let target = self.target.get(left).cloned();
        self.remove(turn, left);
        if let Some(target) = target {
            self.target.insert(id.to_owned(), target);
            turn.emit(self.target_record(id));
        }
        Ok(heir)
    }

    /// The member's next step towards its target.
    pub(super) fn reconcile(&mut self, turn: &mut Turn<'_>, id: &str, owned: Option<&Parts>) {
        let Some(member) = self.members.get(id) else { return };
        let target = self.target.get(id).cloned().unwrap_or_default();
        let mut next = member.clone();
        next.advance(self.assignment_epoch, &target, owned, |topic, index| {
            flaws::is(Flaw::GivesWhatIsHeld) || !self.holders.contains_key(&(topic, index))
        });
        let (was, is) = (member.progress, next.progress);
        let timeout_ms = u64::try_from(next.rebalance_timeout_ms).unwrap_or(0);
        self.put(turn, next);
        match (was, is) {
            (Progress::Unrevoked, Progress::Unrevoked) => {}
            (_, Progress::Unrevoked) => turn.set_timer(self.rebalance_timer(id), timeout_ms),
            _ => turn.cancel_timer(self.rebalance_timer(id)),
        }
    }

    fn leave(
        &mut self,
        turn: &mut Turn<'_>,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, ErrorCode> {
        let id = match &request.instance_id {
            None => request.member_id.clone(),
            Some(instance) => {
                let holder = self.instances.get(instance).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
                if *holder != request.member_id {
                    return Err(ErrorCode::FENCED_INSTANCE_ID);
                }
                holder.clone()
            }
        };
        let member = self.members.get(&id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if request.member_epoch == LEFT_FOR_A_WHILE && member.instance.is_some() {
            let away = Member { epoch: LEFT_FOR_A_WHILE, ..member.clone() };
            self.put(turn, away);
        } else {
            self.fence(turn, &id);
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: request.member_epoch,
            ..ConsumerGroupHeartbeatResponse::default()
        })
    }

    /// A member is out: it was silent for too long, did not give back in time, or left.
    pub(crate) fn fence(&mut self, turn: &mut Turn<'_>, id: &str) {
        if !self.members.contains_key(id) {
            return;
        }
        self.remove(turn, id);
        self.refresh(turn, true);
        if self.members.is_empty() {
            self.empty_since_ms = turn.now.wall_ms;
        }
    }

    pub(super) fn remove(&mut self, turn: &mut Turn<'_>, id: &str) {
        turn.cancel_timer(self.session_timer(id));
        turn.cancel_timer(self.rebalance_timer(id));
        turn.cancel_timer(self.sync_timer(id));
        self.let_go(id);
        turn.emit(ConsumerOffsetsRecord::ConsumerGroupCurrentMemberAssignment(assignment_key(&self.id, id), None));
        if self.target.remove(id).is_some() {
            turn.emit(self.target_record(id));
        }
        turn.emit(ConsumerOffsetsRecord::ConsumerGroupMemberMetadata(metadata_key(&self.id, id), None));
    }
}

fn wishes(request: &ConsumerGroupHeartbeatRequest) -> bool {
    request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some()
}

fn check(turn: &Turn<'_>, request: &ConsumerGroupHeartbeatRequest) -> Result<(), ErrorCode> {
    if request.server_assignor.as_deref().is_some_and(|name| !turn.settings.consumer_assignors.contains(&name)) {
        return Err(ErrorCode::UNSUPPORTED_ASSIGNOR);
    }
    let pattern = request.subscribed_topic_regex.as_deref().filter(|pattern| !pattern.is_empty());
    pattern.map_or(Ok(()), |pattern| compile(pattern).map(|_| ()))
}

fn update(member: &mut Member, asker: &Asker, request: &ConsumerGroupHeartbeatRequest) {
    member.classic = None;
    member.client_id = asker.client_id.to_string();
    member.client_host = asker.client_host.to_string();
    if request.instance_id.is_some() {
        member.instance = request.instance_id.clone();
    }
    if request.rack_id.is_some() {
        member.rack = request.rack_id.clone();
    }
    if request.rebalance_timeout_ms >= 0 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(topics) = &request.subscribed_topic_names {
        member.subscribed = topics.iter().cloned().collect();
    }
    if let Some(pattern) = &request.subscribed_topic_regex {
        member.regex = Some(pattern.clone()).filter(|pattern| !pattern.is_empty());
    }
    if request.server_assignor.is_some() {
        member.assignor = request.server_assignor.clone();
    }
}

fn assignment(parts: &Parts) -> Assignment {
    let lists = parts.lists().map(|(topic_id, partitions)| ResponseTopicPartitions { topic_id, partitions });
    Assignment { topic_partitions: lists.collect() }
}

pub(crate) fn refusal(error_code: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code,
        error_message: Some(error_code.meaning().to_owned()),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
