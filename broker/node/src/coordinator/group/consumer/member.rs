//! A member of a consumer group: what it wants, what it has, and the way from one to the other.
//!
//! It comes into a new epoch only when it has given back what the target takes from it, and it is given a partition
//! only when whoever had it has given it back or is fenced: no partition is owned twice.
//! Source: CurrentAssignmentBuilder.

use std::collections::BTreeSet;

use strandline_protocol::coordinator::ConsumerOffsetsRecord;
use strandline_protocol::coordinator::consumer_group::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, TopicPartitions,
};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, TopicId, TopicName};
use strandline_protocol::messages::join_group::JoinGroupRequestProtocol;

use super::parts::Parts;
use crate::config::consumer::ConsumerConfig;
use crate::flaws::{self, Flaw};
use crate::io::ConnectionId;

/// The epoch of a static member that left and is expected back.
pub(crate) const LEFT_FOR_A_WHILE: i32 = -2;

/// Where a member is between two assignments. The numbers are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has what the target gives it.
    Stable = 0,
    /// It has to give something back first.
    Unrevoked = 1,
    /// It waits for others to give something back.
    Unreleased = 2,
}

/// What a member that speaks the classic protocol said when it joined last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassicSide {
    pub session_timeout_ms: i32,
    /// In the member's order of preference.
    pub protocols: Vec<JoinGroupRequestProtocol>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub id: String,
    pub instance: Option<String>,
    pub rack: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub subscribed: BTreeSet<TopicName>,
    pub regex: Option<String>,
    pub assignor: Option<String>,
    pub epoch: i32,
    pub previous_epoch: i32,
    pub progress: Progress,
    pub assigned: Parts,
    pub revoking: Parts,
    /// Where it was told last what it is assigned; not kept in records.
    pub told: Option<ConnectionId>,
    /// Of members that speak the classic protocol.
    pub classic: Option<ClassicSide>,
}

impl Member {
    pub(crate) fn new(id: String) -> Self {
        Self {
            id,
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: -1,
            subscribed: BTreeSet::new(),
            regex: None,
            assignor: None,
            epoch: 0,
            previous_epoch: -1,
            progress: Progress::Stable,
            assigned: Parts::default(),
            revoking: Parts::default(),
            told: None,
            classic: None,
        }
    }

    /// After which silence it is out.
    pub(crate) fn session_timeout_ms(&self, config: ConsumerConfig) -> u64 {
        let own = self.classic.as_ref().and_then(|side| u64::try_from(side.session_timeout_ms).ok());
        own.unwrap_or(config.session_timeout_ms)
    }

    /// Whether the epoch that the member believes in can be right; an answer that was lost leaves it one behind.
    ///
    /// # Errors
    /// FENCED_MEMBER_EPOCH.
    pub(crate) fn check_epoch(&self, believed: i32, owned: Option<&Parts>) -> Result<(), ErrorCode> {
        let lost_answer =
            believed == self.previous_epoch && owned.is_some_and(|owned| owned.without(&self.assigned).is_empty());
        if believed == self.epoch || believed < self.epoch && lost_answer {
            Ok(())
        } else {
            Err(ErrorCode::FENCED_MEMBER_EPOCH)
        }
    }

    /// The next step towards the target of `epoch`. `owned` is what the member says that it has; `is_free` tells
    /// whether nobody has a partition.
    pub(crate) fn advance(
        &mut self,
        epoch: i32,
        target: &Parts,
        owned: Option<&Parts>,
        is_free: impl Fn(TopicId, i32) -> bool,
    ) {
        let keeps = |revoking: &Parts| owned.is_none_or(|owned| revoking.touches(owned));
        match self.progress {
            Progress::Stable if self.epoch == epoch => return,
            Progress::Unrevoked if keeps(&self.revoking) => return,
            Progress::Stable | Progress::Unrevoked | Progress::Unreleased => {}
        }
        let kept = self.assigned.both(target);
        let revoking = self.assigned.without(target);
        let missing = target.without(&kept);
        let given: Parts = missing.iter().filter(|(topic, index)| is_free(*topic, *index)).collect();
        let waits = given.count() < missing.count();
        if !revoking.is_empty() && keeps(&revoking) {
            self.progress = Progress::Unrevoked;
            self.assigned = kept;
            self.revoking = revoking;
            return;
        }
        if self.epoch != epoch {
            self.previous_epoch = self.epoch;
            self.epoch = epoch;
        }
        self.progress = if waits { Progress::Unreleased } else { Progress::Stable };
        self.assigned = kept.with(&given);
        self.revoking = Parts::default();
    }

    /// Everything that nobody else may have.
    pub(crate) fn holds(&self) -> Parts {
        if flaws::is(Flaw::RevokingIsFree) {
            return self.assigned.clone();
        }
        self.assigned.with(&self.revoking)
    }

    pub(crate) fn metadata_record(&self, group: &GroupId) -> ConsumerOffsetsRecord {
        let value = ConsumerGroupMemberMetadataValue {
            instance_id: self.instance.clone(),
            rack_id: self.rack.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed_topic_names: self.subscribed.iter().cloned().collect(),
            subscribed_topic_regex: self.regex.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.assignor.clone(),
            classic_member_metadata: self.classic.as_ref().map(ClassicSide::recorded),
        };
        ConsumerOffsetsRecord::ConsumerGroupMemberMetadata(metadata_key(group, &self.id), Some(value))
    }

    pub(crate) fn assignment_record(&self, group: &GroupId) -> ConsumerOffsetsRecord {
        let lists = |parts: &Parts| {
            let lists = parts.lists();
            lists.map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions, assignment_epochs: None }).collect()
        };
        let value = ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.progress as i8,
            assigned_partitions: lists(&self.assigned),
            partitions_pending_revocation: lists(&self.revoking),
        };
        ConsumerOffsetsRecord::ConsumerGroupCurrentMemberAssignment(assignment_key(group, &self.id), Some(value))
    }

    pub(crate) fn replay_metadata(&mut self, value: ConsumerGroupMemberMetadataValue) {
        self.instance = value.instance_id;
        self.rack = value.rack_id;
        self.client_id = value.client_id;
        self.client_host = value.client_host;
        self.subscribed = value.subscribed_topic_names.into_iter().collect();
        self.regex = value.subscribed_topic_regex;
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.assignor = value.server_assignor;
        self.classic = value.classic_member_metadata.map(ClassicSide::of_record);
    }

    pub(crate) fn replay_assignment(&mut self, value: ConsumerGroupCurrentMemberAssignmentValue) {
        let parts = |lists: Vec<TopicPartitions>| Parts::of(lists.into_iter().map(|list| (list.topic_id, list.partitions)));
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.progress = match value.state {
            1 => Progress::Unrevoked,
            2 => Progress::Unreleased,
            _ => Progress::Stable,
        };
        self.assigned = parts(value.assigned_partitions);
        self.revoking = parts(value.partitions_pending_revocation);
    }
}

impl ClassicSide {
    fn recorded(&self) -> ClassicMemberMetadata {
        let protocol = |protocol: &JoinGroupRequestProtocol| ClassicProtocol {
            name: protocol.name.clone(),
            metadata: protocol.metadata.clone(),
        };
        ClassicMemberMetadata {
            session_timeout_ms: self.session_timeout_ms,
            supported_protocols: self.protocols.iter().map(protocol).collect(),
        }
    }

    fn of_record(value: ClassicMemberMetadata) -> Self {
        let protocol =
            |protocol: ClassicProtocol| JoinGroupRequestProtocol { name: protocol.name, metadata: protocol.metadata };
        Self {
            session_timeout_ms: value.session_timeout_ms,
            protocols: value.supported_protocols.into_iter().map(protocol).collect(),
        }
    }
}

pub(crate) fn metadata_key(group: &GroupId, member: &str) -> ConsumerGroupMemberMetadataKey {
    ConsumerGroupMemberMetadataKey { group_id: group.clone(), member_id: member.to_owned() }
}

pub(crate) fn assignment_key(group: &GroupId, member: &str) -> ConsumerGroupCurrentMemberAssignmentKey {
    ConsumerGroupCurrentMemberAssignmentKey { group_id: group.clone(), member_id: member.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: TopicId = TopicId([1; 16]);

    fn parts(indexes: &[i32]) -> Parts {
        indexes.iter().map(|index| (TOPIC, *index)).collect()
    }

    fn member(assigned: &[i32]) -> Member {
        Member { epoch: 1, previous_epoch: 0, assigned: parts(assigned), ..Member::new("m".to_owned()) }
    }

    #[test]
    fn what_the_target_takes_is_given_back_before_the_epoch_moves() {
        let mut member = member(&[0, 1]);
        member.advance(2, &parts(&[0]), Some(&parts(&[0, 1])), |_, _| true);
        assert_eq!((member.progress, member.epoch), (Progress::Unrevoked, 1));
        assert_eq!((member.assigned.clone(), member.revoking.clone()), (parts(&[0]), parts(&[1])));
        member.advance(2, &parts(&[0]), None, |_, _| true);
        assert_eq!(member.epoch, 1, "saying nothing is not giving back");
        member.advance(2, &parts(&[0]), Some(&parts(&[0])), |_, _| true);
        assert_eq!((member.progress, member.epoch), (Progress::Stable, 2));
        assert_eq!(member.holds(), parts(&[0]));
    }

    #[test]
    fn a_partition_is_given_only_once_nobody_has_it() {
        let mut member = member(&[]);
        member.advance(2, &parts(&[0, 1]), Some(&parts(&[])), |_, index| index == 0);
        assert_eq!((member.progress, member.epoch), (Progress::Unreleased, 2));
        assert_eq!(member.assigned, parts(&[0]));
        member.advance(2, &parts(&[0, 1]), None, |_, _| true);
        assert_eq!(member.progress, Progress::Stable);
        assert_eq!(member.assigned, parts(&[0, 1]));
    }

    #[test]
    fn a_member_is_fenced_unless_the_answer_to_its_last_step_may_have_been_lost() {
        let mut member = member(&[0]);
        member.epoch = 3;
        member.previous_epoch = 2;
        assert_eq!(member.check_epoch(3, None), Ok(()));
        assert_eq!(member.check_epoch(2, Some(&parts(&[0]))), Ok(()));
        assert_eq!(member.check_epoch(2, Some(&parts(&[5]))), Err(ErrorCode::FENCED_MEMBER_EPOCH));
        assert_eq!(member.check_epoch(2, None), Err(ErrorCode::FENCED_MEMBER_EPOCH));
        assert_eq!(member.check_epoch(4, None), Err(ErrorCode::FENCED_MEMBER_EPOCH));
    }
}
