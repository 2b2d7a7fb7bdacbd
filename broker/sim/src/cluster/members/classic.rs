//! A member of a group by the classic protocol, eager: it gives everything back before it joins again. The leader assigns.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use strandline_protocol::api::{ApiKey, Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::GroupId;
use strandline_protocol::messages::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolAssignmentTopicPartition, ConsumerProtocolSubscription,
};
use strandline_protocol::messages::heartbeat::HeartbeatRequest;
use strandline_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use strandline_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use strandline_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use strandline_protocol::wire::Message;

use super::{Pass, Timing};
use crate::cluster::router::{Posted, Router};
use crate::cluster::seats::{Office, is_moved};
use crate::core::{Core, MS, MachineId};
use crate::dice::Dice;
use crate::history::PartitionKey;
use crate::invariants::Invariant;
use crate::topics::Topic;

/// The version in which subscriptions and assignments are written.
const SUBSCRIPTION_VERSION: i16 = 1;

/// Where a member is: *out*, *joined* a generation without knowing its part, *in*. An error leads back to *out*.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Out,
    /// With the ids of all members, for the one who assigns.
    Joined {
        members: Vec<String>,
    },
    In,
}

#[derive(Debug)]
pub(crate) struct Classic {
    group: GroupId,
    row: usize,
    timing: Timing,
    /// Empty until it is given one.
    member: String,
    generation: i32,
    stage: Stage,
    asked: Option<Posted>,
    pub(super) beat_due_us: u64,
    not_before_us: u64,
    pub(super) owned: BTreeSet<PartitionKey>,
    /// The group goes on without it unless it joins again.
    must_rejoin: bool,
}

impl Classic {
    pub(in crate::cluster) fn new(group: &str, row: usize, timing: Timing) -> Self {
        Self {
            group: GroupId::from(group),
            row,
            timing,
            member: String::new(),
            generation: -1,
            stage: Stage::Out,
            asked: None,
            beat_due_us: 0,
            not_before_us: 0,
            owned: BTreeSet::new(),
            must_rejoin: false,
        }
    }

    pub(super) fn pass(&self) -> Option<Pass> {
        (self.stage == Stage::In).then(|| Pass { member: self.member.clone(), epoch: self.generation })
    }

    pub(super) fn wanted_back(&self) -> BTreeSet<PartitionKey> {
        if self.must_rejoin { self.owned.clone() } else { BTreeSet::new() }
    }

    pub(super) fn let_go(&mut self) {
        self.out();
    }

    pub(super) fn is_settled(&self) -> bool {
        self.stage == Stage::In && !self.must_rejoin
    }

    /// The generation that it is in.
    pub(crate) fn generation(&self) -> i32 {
        self.generation
    }

    pub(super) fn crash(&mut self) {
        self.out();
        self.asked = None;
        self.member.clear();
    }

    fn out(&mut self) {
        self.stage = Stage::Out;
        self.must_rejoin = false;
        self.owned.clear();
    }

    pub(super) fn lost(&mut self, core: &Core, machine: MachineId) {
        if self.asked.take_if(|asked| asked.to == machine).is_some() {
            self.not_before_us = core.now_us + 50 * MS;
        }
    }

    pub(super) fn leave(&mut self, core: &mut Core, router: &mut Router) {
        if let Some(to) = router.seat(core, Office::Group, self.group.as_str()).filter(|_| self.stage == Stage::In) {
            let version = router.version(core, ApiKey::LeaveGroup, 3);
            let member = MemberIdentity { member_id: self.member.clone(), group_instance_id: None, reason: None };
            let request =
                LeaveGroupRequest { group_id: self.group.clone(), members: vec![member], ..LeaveGroupRequest::default() };
            core.note(format_args!("c{} leaves {}", router.id, self.group));
            self.asked = Some(router.post(core, to, version, &request.into()));
        }
        self.out();
    }

    pub(super) fn turn(&mut self, core: &mut Core, router: &mut Router, _: &mut Dice) {
        if self.asked.is_some() || core.now_us < self.not_before_us {
            return;
        }
        let Some(topic) = core.topics.current(self.row).and_then(|topic| core.topics.get(topic)).cloned() else { return };
        let Some(to) = router.seat(core, Office::Group, self.group.as_str()) else { return };
        let (key, least, request) = match &self.stage {
            // Its worker has to let go of what it has first.
            Stage::In if self.must_rejoin || core.now_us < self.beat_due_us => return,
            Stage::Out => (ApiKey::JoinGroup, 2, self.join(&topic)),
            Stage::Joined { members } => (ApiKey::SyncGroup, 1, self.sync(&topic, members)),
            Stage::In => {
                self.beat_due_us = core.now_us + self.timing.beat_us;
                let request = HeartbeatRequest {
                    group_id: self.group.clone(),
                    generation_id: self.generation,
                    member_id: self.member.clone(),
                    ..HeartbeatRequest::default()
                };
                (ApiKey::Heartbeat, 0, request.into())
            }
        };
        let version = router.version(core, key, least);
        self.asked = Some(router.post(core, to, version, &request));
    }

    fn join(&self, topic: &Topic) -> Request {
        let subscription = ConsumerProtocolSubscription { topics: vec![topic.name.clone()], ..Default::default() };
        JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: self.timing.session_ms,
            rebalance_timeout_ms: self.timing.rebalance_ms,
            member_id: self.member.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata: versioned(&subscription) }],
            ..JoinGroupRequest::default()
        }
        .into()
    }

    /// Who leads hands out the partitions in turn.
    fn sync(&self, topic: &Topic, members: &[String]) -> Request {
        let assignments = members.iter().enumerate().map(|(place, member)| {
            let mine = (0..topic.partitions).filter(|partition| partition.unsigned_abs() as usize % members.len() == place);
            let assigned = ConsumerProtocolAssignmentTopicPartition { topic: topic.name.clone(), partitions: mine.collect() };
            let assignment = ConsumerProtocolAssignment { assigned_partitions: vec![assigned], user_data: None };
            SyncGroupRequestAssignment { member_id: member.clone(), assignment: versioned(&assignment) }
        });
        SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member.clone(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignments: assignments.collect(),
            ..SyncGroupRequest::default()
        }
        .into()
    }

    pub(super) fn hear(&mut self, core: &mut Core, router: &mut Router, posted: Posted, response: &Response) {
        if self.asked.take_if(|asked| *asked == posted).is_none() {
            return;
        }
        match response {
            Response::JoinGroup(response) => self.joined(core, router, response),
            Response::SyncGroup(response) => self.synced(core, router, response),
            Response::Heartbeat(response) => self.refused(core, router, response.error_code),
            _ => {}
        }
    }

    fn joined(&mut self, core: &mut Core, router: &mut Router, response: &JoinGroupResponse) {
        match response.error_code {
            ErrorCode::NONE => {
                let leads = response.leader == response.member_id;
                let others = response.members.iter().map(|member| member.member_id.clone());
                let members = if leads { others.collect() } else { Vec::new() };
                core.note(format_args!("c{} joins {} in {}", router.id, self.group, response.generation_id));
                self.member = response.member_id.clone();
                self.generation = response.generation_id;
                self.stage = Stage::Joined { members };
            }
            ErrorCode::MEMBER_ID_REQUIRED => self.member = response.member_id.clone(),
            code => self.refused(core, router, code),
        }
    }

    fn synced(&mut self, core: &mut Core, router: &mut Router, response: &SyncGroupResponse) {
        if response.error_code != ErrorCode::NONE {
            return self.refused(core, router, response.error_code);
        }
        let Some(keys) = assigned(core, &response.assignment) else {
            return core.violate(Invariant::AnswersAsAsked, format_args!("an assignment of {}: not ours", self.group));
        };
        core.note(format_args!("c{} {} has {keys:?} in {}", router.id, self.member, self.generation));
        core.mark("member has its part of a generation");
        let judgement = core.books.ownership.assigned(self.group.as_str(), self.generation, &self.member, &keys);
        if let Err(story) = judgement {
            core.violate(Invariant::OneOwner, format_args!("{}: {story}", self.group));
        }
        self.owned = keys;
        self.stage = Stage::In;
        self.beat_due_us = core.now_us + self.timing.beat_us;
    }

    fn refused(&mut self, core: &mut Core, router: &mut Router, code: ErrorCode) {
        match code {
            ErrorCode::NONE => {}
            code if is_moved(code) => {
                router.unseat(Office::Group, self.group.as_str());
                self.not_before_us = core.now_us + 50 * MS;
                self.beat_due_us = core.now_us;
            }
            ErrorCode::REBALANCE_IN_PROGRESS if self.stage == Stage::In => {
                core.mark("member told to join again");
                self.must_rejoin = true;
                if self.owned.is_empty() {
                    self.out();
                }
            }
            ErrorCode::REBALANCE_IN_PROGRESS => self.out(),
            ErrorCode::ILLEGAL_GENERATION | ErrorCode::UNKNOWN_MEMBER_ID => {
                core.mark("member is none any more");
                self.out();
                if code == ErrorCode::UNKNOWN_MEMBER_ID {
                    self.member.clear();
                }
            }
            other => core.violate(Invariant::AnswersAsAsked, format_args!("{other:?} for a member of {}", self.group)),
        }
    }
}

/// A part of the consumer protocol behind its version.
fn versioned(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(SUBSCRIPTION_VERSION);
    bytes.extend_from_slice(&message.to_bytes(SUBSCRIPTION_VERSION));
    bytes.freeze()
}

/// What an assignment gives; members that the leader does not name get nothing.
fn assigned(core: &Core, bytes: &Bytes) -> Option<BTreeSet<PartitionKey>> {
    if bytes.is_empty() {
        return Some(BTreeSet::new());
    }
    let version = i16::from_be_bytes(*bytes.first_chunk()?);
    let assignment = ConsumerProtocolAssignment::from_bytes(bytes.slice(2..), version).ok()?;
    let mut keys = BTreeSet::new();
    for topic in assignment.assigned_partitions {
        let known = core.topics.existing().find(|(_, known)| known.name == topic.topic).map(|(_, known)| known.clone())?;
        keys.extend(topic.partitions.into_iter().map(|partition| known.key(partition)));
    }
    Some(keys)
}
