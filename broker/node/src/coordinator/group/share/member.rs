//! A member of a share group. Nothing is given back before it is given out: several members may have a partition.

use std::collections::BTreeSet;

use strandline_protocol::coordinator::ConsumerOffsetsRecord;
use strandline_protocol::coordinator::share_group::{
    ShareGroupCurrentMemberAssignmentKey, ShareGroupCurrentMemberAssignmentValue, ShareGroupMemberMetadataKey,
    ShareGroupMemberMetadataValue, TopicPartitions,
};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, TopicName};

use crate::coordinator::group::consumer::parts::Parts;
use crate::io::ConnectionId;

/// Kafka's number for a member that has what the target gives it; members of share groups always have.
const STABLE: i8 = 0;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    pub id: String,
    pub rack: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub subscribed: BTreeSet<TopicName>,
    pub epoch: i32,
    pub previous_epoch: i32,
    pub assigned: Parts,
    /// Where it was told last what it is assigned; not kept in records.
    pub told: Option<ConnectionId>,
}

impl Member {
    pub(super) fn new(id: String) -> Self {
        Self { id, previous_epoch: -1, ..Self::default() }
    }

    /// Whether the epoch that the member believes in can be right; an answer that was lost leaves it one behind.
    ///
    /// # Errors
    /// FENCED_MEMBER_EPOCH.
    pub(super) fn check_epoch(&self, believed: i32) -> Result<(), ErrorCode> {
        let is_known = believed == self.epoch || (believed < self.epoch && believed == self.previous_epoch);
        if is_known { Ok(()) } else { Err(ErrorCode::FENCED_MEMBER_EPOCH) }
    }

    /// The member has its target of this epoch.
    pub(super) fn advance(&mut self, epoch: i32, target: Parts) {
        if self.epoch != epoch {
            self.previous_epoch = self.epoch;
            self.epoch = epoch;
        }
        self.assigned = target;
    }

    pub(super) fn metadata_record(&self, group: &GroupId) -> ConsumerOffsetsRecord {
        let value = ShareGroupMemberMetadataValue {
            rack_id: self.rack.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed_topic_names: self.subscribed.iter().cloned().collect(),
        };
        ConsumerOffsetsRecord::ShareGroupMemberMetadata(metadata_key(group, &self.id), Some(value))
    }

    pub(super) fn assignment_record(&self, group: &GroupId) -> ConsumerOffsetsRecord {
        let lists = self.assigned.lists().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions });
        let value = ShareGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: STABLE,
            assigned_partitions: lists.collect(),
        };
        ConsumerOffsetsRecord::ShareGroupCurrentMemberAssignment(assignment_key(group, &self.id), Some(value))
    }

    pub(super) fn replay_metadata(&mut self, value: ShareGroupMemberMetadataValue) {
        self.rack = value.rack_id;
        self.client_id = value.client_id;
        self.client_host = value.client_host;
        self.subscribed = value.subscribed_topic_names.into_iter().collect();
    }

    pub(super) fn replay_assignment(&mut self, value: ShareGroupCurrentMemberAssignmentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.assigned = Parts::of(value.assigned_partitions.into_iter().map(|list| (list.topic_id, list.partitions)));
    }
}

pub(super) fn metadata_key(group: &GroupId, member: &str) -> ShareGroupMemberMetadataKey {
    ShareGroupMemberMetadataKey { group_id: group.clone(), member_id: member.to_owned() }
}

pub(super) fn assignment_key(group: &GroupId, member: &str) -> ShareGroupCurrentMemberAssignmentKey {
    ShareGroupCurrentMemberAssignmentKey { group_id: group.clone(), member_id: member.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_fenced_unless_the_answer_to_its_last_step_may_have_been_lost() {
        let mut member = Member::new("m".to_owned());
        member.advance(3, Parts::default());
        member.advance(5, Parts::default());
        assert_eq!(member.check_epoch(5), Ok(()));
        assert_eq!(member.check_epoch(3), Ok(()));
        assert_eq!(member.check_epoch(4), Err(ErrorCode::FENCED_MEMBER_EPOCH));
        assert_eq!(member.check_epoch(6), Err(ErrorCode::FENCED_MEMBER_EPOCH));
    }
}
