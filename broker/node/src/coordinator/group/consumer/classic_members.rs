//! Members that speak the classic protocol within a consumer group, while a group moves from one protocol to the other.
//!
//! Such a member joins to say what it has and to come one step further towards its target, syncs to learn what that gave
//! it, and is told by its heartbeat to join again when there is another step. Nobody leads: the coordinator assigns.
//! Source: KIP-848, GroupMetadataManager.classicGroupJoinToConsumerGroup and its kin.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolAssignmentTopicPartition, ConsumerProtocolSubscription,
};
use strandline_protocol::messages::heartbeat::HeartbeatRequest;
use strandline_protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use strandline_protocol::messages::leave_group::{MemberIdentity, MemberResponse};
use strandline_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use strandline_protocol::wire::Message;

use super::ConsumerGroup;
use super::member::{ClassicSide, Member, Progress};
use super::parts::Parts;
use crate::coordinator::group::Asker;
use crate::coordinator::group::classic::{CONSUMER, MEMBER_ID_REQUIRED_FROM, subscription};
use crate::coordinator::turn::Turn;
use crate::image::Image;

impl ConsumerGroup {
    /// A classic member joins, for the first time or to come further.
    ///
    /// # Errors
    /// The code, and the member id that goes with it: MEMBER_ID_REQUIRED, INCONSISTENT_GROUP_PROTOCOL,
    /// GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
    pub(crate) fn classic_join(
        &mut self,
        turn: &mut Turn<'_>,
        asker: &Asker,
        request: JoinGroupRequest,
    ) -> Result<JoinGroupResponse, (ErrorCode, String)> {
        let is_stranger = request.member_id.is_empty();
        let id = match is_stranger {
            true => format!("{}-{}", asker.client_id, turn.dice.hyphenated()),
            false => request.member_id.clone(),
        };
        let refused = |code: ErrorCode| (code, request.member_id.clone());
        let wishes = self.classic_wishes(&id, &request).ok_or_else(|| refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL))?;
        if is_stranger && request.group_instance_id.is_none() && asker.api_version >= MEMBER_ID_REQUIRED_FROM {
            return Err((ErrorCode::MEMBER_ID_REQUIRED, id));
        }
        let known = self.identify_classic(turn, &id, &request, is_stranger).map_err(refused)?;
        let before = known.subscribed.clone();
        let is_new = !self.members.contains_key(&id);
        let member = classic_member(known, asker, &request, &wishes);
        let changed = is_new || before != member.subscribed || member.regex.is_some();
        let timeouts = (member.session_timeout_ms(turn.consumer_config(&self.id)), member.rebalance_timeout_ms);
        let owned = owned_parts(&wishes, turn.image);
        self.put(turn, Member { regex: None, ..member });
        self.refresh(turn, changed);
        self.retarget(turn);
        self.reconcile(turn, &id, Some(&owned));
        turn.set_timer(self.session_timer(&id), timeouts.0);
        turn.set_timer(self.sync_timer(&id), u64::try_from(timeouts.1).unwrap_or(0));
        let member = self.members.get(&id).ok_or_else(|| refused(ErrorCode::UNKNOWN_MEMBER_ID))?;
        Ok(JoinGroupResponse {
            generation_id: member.epoch,
            protocol_type: Some(CONSUMER.to_owned()),
            protocol_name: request.protocols.first().map(|protocol| protocol.name.clone()),
            member_id: id,
            ..JoinGroupResponse::default()
        })
    }

    /// What the request subscribes to; `None` if it is of no consumer, or if classic members have no protocol in common.
    fn classic_wishes(&self, id: &str, request: &JoinGroupRequest) -> Option<ConsumerProtocolSubscription> {
        let others: Vec<&ClassicSide> = self
            .members
            .values()
            .filter(|member| member.id != id && (member.instance.is_none() || member.instance != request.group_instance_id))
            .filter_map(|member| member.classic.as_ref())
            .collect();
        let is_common = |name: &str| others.iter().all(|other| other.protocols.iter().any(|protocol| protocol.name == name));
        let fits = request.protocol_type == CONSUMER && request.protocols.iter().any(|protocol| is_common(&protocol.name));
        request.protocols.first().filter(|_| fits).and_then(|protocol| subscription(&protocol.metadata))
    }

    /// Who this is, as it was before. A static member without an id takes the part of whoever has its instance id.
    fn identify_classic(
        &mut self,
        turn: &mut Turn<'_>,
        id: &str,
        request: &JoinGroupRequest,
        is_stranger: bool,
    ) -> Result<Member, ErrorCode> {
        let holder = request.group_instance_id.as_ref().and_then(|instance| self.instances.get(instance)).cloned();
        match (holder, self.members.get(id)) {
            (Some(holder), _) if is_stranger => self.inherit(turn, &holder, id),
            (Some(holder), _) if holder != id => Err(ErrorCode::FENCED_INSTANCE_ID),
            (None, _) if request.group_instance_id.is_some() && !is_stranger => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            (_, Some(member)) => Ok(member.clone()),
            (_, None) if self.members.len() >= turn.settings.consumer_members_max => Err(ErrorCode::GROUP_MAX_SIZE_REACHED),
            (_, None) => Ok(Member::new(id.to_owned())),
        }
    }

    /// A classic member asks what its last step gave it.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL, REBALANCE_IN_PROGRESS.
    pub(crate) fn classic_sync(
        &mut self,
        turn: &mut Turn<'_>,
        request: &SyncGroupRequest,
    ) -> Result<SyncGroupResponse, ErrorCode> {
        let id = &request.member_id;
        let member = self.check_classic(id, request.group_instance_id.as_deref(), request.generation_id)?;
        let side = member.classic.as_ref().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let speaks = |name: &String| side.protocols.iter().any(|protocol| protocol.name == *name);
        let is_other = request.protocol_type.as_ref().is_some_and(|kind| kind != CONSUMER)
            || request.protocol_name.as_ref().is_some_and(|name| !speaks(name));
        if is_other {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        let (session_ms, rebalance_ms) =
            (member.session_timeout_ms(turn.consumer_config(&self.id)), member.rebalance_timeout_ms);
        if member.epoch < self.due_epoch(turn) && member.progress != Progress::Unrevoked {
            self.await_join(turn, id, rebalance_ms);
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        let assignment = assignment_bytes(&member.assigned, side, turn.image);
        turn.cancel_timer(self.sync_timer(id));
        turn.set_timer(self.session_timer(id), session_ms);
        Ok(SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..SyncGroupResponse::default()
        })
    }

    /// A classic member lives, and learns whether it has to join again.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS.
    pub(crate) fn classic_heartbeat(&mut self, turn: &mut Turn<'_>, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        let id = &request.member_id;
        self.check_classic(id, request.group_instance_id.as_deref(), request.generation_id)?;
        self.refresh(turn, false);
        let member = self.members.get(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        let (session_ms, rebalance_ms) =
            (member.session_timeout_ms(turn.consumer_config(&self.id)), member.rebalance_timeout_ms);
        let next_step = member.epoch < self.due_epoch(turn)
            || match member.progress {
                Progress::Stable => false,
                Progress::Unrevoked => true,
                Progress::Unreleased => !self.waits_for_others(member),
            };
        turn.set_timer(self.session_timer(id), session_ms);
        if next_step {
            self.await_join(turn, id, rebalance_ms);
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }

    /// Members leave, of either protocol: an operator names static ones.
    pub(crate) fn classic_leave(&mut self, turn: &mut Turn<'_>, leaving: Vec<MemberIdentity>) -> Vec<MemberResponse> {
        let response = |group: &mut Self, turn: &mut Turn<'_>, identity: MemberIdentity| {
            let found = group.leaving(&identity);
            if let Ok(id) = &found {
                group.fence(turn, id);
            }
            MemberResponse {
                error_code: found.err().unwrap_or(ErrorCode::NONE),
                member_id: identity.member_id,
                group_instance_id: identity.group_instance_id,
            }
        };
        leaving.into_iter().map(|identity| response(self, turn, identity)).collect()
    }

    fn leaving(&self, identity: &MemberIdentity) -> Result<String, ErrorCode> {
        let id = &identity.member_id;
        match &identity.group_instance_id {
            Some(instance) => match self.instances.get(instance) {
                None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(holder) if !id.is_empty() && holder != id => Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(holder) => Ok(holder.clone()),
            },
            // A member of the consumer protocol leaves by a heartbeat.
            None => match self.members.get(id) {
                Some(member) if member.classic.is_some() => Ok(id.clone()),
                _ => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            },
        }
    }

    /// Somebody says that it is a classic member of this generation.
    fn check_classic(&self, id: &str, instance: Option<&str>, generation: i32) -> Result<&Member, ErrorCode> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(holder) if holder != id => return Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => {}
            }
        }
        let member = self.members.get(id).filter(|member| member.classic.is_some()).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if member.epoch == generation { Ok(member) } else { Err(ErrorCode::ILLEGAL_GENERATION) }
    }

    /// Whether something that the member is to have is another's still.
    fn waits_for_others(&self, member: &Member) -> bool {
        let target = self.target.get(&member.id);
        target.is_some_and(|target| target.without(&member.assigned).iter().any(|place| self.holders.contains_key(&place)))
    }

    /// A member that was told to join again is out if it does not.
    fn await_join(&self, turn: &mut Turn<'_>, id: &str, timeout_ms: i32) {
        turn.set_timer_if_none(self.rebalance_timer(id), u64::try_from(timeout_ms).unwrap_or(0));
    }
}

fn classic_member(known: Member, asker: &Asker, request: &JoinGroupRequest, wishes: &ConsumerProtocolSubscription) -> Member {
    let timeout_ms = request.rebalance_timeout_ms;
    Member {
        instance: request.group_instance_id.clone().or(known.instance),
        rack: wishes.rack_id.clone().or(known.rack),
        client_id: asker.client_id.to_string(),
        client_host: asker.client_host.to_string(),
        // Version 0 knows one timeout for both.
        rebalance_timeout_ms: if timeout_ms < 0 { request.session_timeout_ms } else { timeout_ms },
        subscribed: wishes.topics.iter().cloned().collect(),
        assignor: None,
        classic: Some(ClassicSide { session_timeout_ms: request.session_timeout_ms, protocols: request.protocols.clone() }),
        ..known
    }
}

/// What the member says that it has, as far as it exists.
fn owned_parts(wishes: &ConsumerProtocolSubscription, image: &Image) -> Parts {
    let lists = wishes.owned_partitions.iter();
    Parts::of(lists.filter_map(|list| Some((image.topics.id_of(&list.topic)?, list.partitions.clone()))))
}

/// Partitions as the members of a classic group are told of them, in the version that the member speaks.
pub(crate) fn assignment_bytes(parts: &Parts, side: &ClassicSide, image: &Image) -> Bytes {
    let spoken = side.protocols.first().and_then(|protocol| protocol.metadata.first_chunk::<2>());
    let last = ConsumerProtocolAssignment::MESSAGE.versions.last;
    let version = spoken.map_or(0, |head| i16::from_be_bytes(*head)).clamp(0, last);
    let named = parts.lists().filter_map(|(topic, partitions)| {
        let topic = image.topics.by_id(topic)?.name.clone();
        Some(ConsumerProtocolAssignmentTopicPartition { topic, partitions })
    });
    let assignment = ConsumerProtocolAssignment { assigned_partitions: named.collect(), user_data: None };
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    bytes.extend_from_slice(&assignment.to_bytes(version));
    bytes.freeze()
}

/// What a classic member was assigned; nothing if the bytes say nothing. `None` if they are no assignment.
fn assigned_parts(bytes: &Bytes, image: &Image) -> Option<Parts> {
    if bytes.is_empty() {
        return Some(Parts::default());
    }
    let (head, _) = bytes.split_first_chunk::<2>()?;
    let version = i16::from_be_bytes(*head).clamp(0, ConsumerProtocolAssignment::MESSAGE.versions.last);
    let assignment = ConsumerProtocolAssignment::from_bytes(bytes.slice(2..), version).ok()?;
    let lists = assignment.assigned_partitions.into_iter();
    Some(Parts::of(lists.filter_map(|list| Some((image.topics.id_of(&list.topic)?, list.partitions)))))
}

/// A member of a classic group as a member of the consumer group that it becomes.
pub(crate) struct Convert<'a> {
    pub id: &'a str,
    pub instance: Option<&'a str>,
    pub client_id: &'a str,
    pub client_host: &'a str,
    pub rebalance_timeout_ms: i32,
    pub side: ClassicSide,
    pub subscribed: &'a Bytes,
    pub assignment: &'a Bytes,
    pub generation: i32,
}

impl Convert<'_> {
    /// `None` if what the member said or was told is damaged.
    pub(crate) fn member(self, image: &Image) -> Option<Member> {
        let wishes = subscription(self.subscribed)?;
        Some(Member {
            instance: self.instance.map(str::to_owned),
            rack: wishes.rack_id,
            client_id: self.client_id.to_owned(),
            client_host: self.client_host.to_owned(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            subscribed: wishes.topics.into_iter().collect::<BTreeSet<_>>(),
            epoch: self.generation,
            previous_epoch: self.generation,
            assigned: assigned_parts(self.assignment, image)?,
            classic: Some(self.side),
            ..Member::new(self.id.to_owned())
        })
    }
}
