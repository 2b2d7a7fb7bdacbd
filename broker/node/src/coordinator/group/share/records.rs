//! What a share group writes into `__consumer_offsets`, and how it comes back from there.

use strandline_protocol::coordinator::ConsumerOffsetsRecord;
use strandline_protocol::coordinator::share_group::{
    ShareGroupMetadataKey, ShareGroupMetadataValue, ShareGroupTargetAssignmentMemberKey, ShareGroupTargetAssignmentMemberValue,
    ShareGroupTargetAssignmentMetadataKey, ShareGroupTargetAssignmentMetadataValue, TopicPartition,
};
use strandline_protocol::ids::GroupId;

use super::ShareGroup;
use super::member::Member;
use super::topics::{StateTopics, key};
use crate::coordinator::group::consumer::parts::Parts;

impl ShareGroup {
    pub(super) fn epoch_record(&self) -> ConsumerOffsetsRecord {
        let value = ShareGroupMetadataValue { epoch: self.epoch, metadata_hash: self.metadata_hash };
        ConsumerOffsetsRecord::ShareGroupMetadata(ShareGroupMetadataKey { group_id: self.id.clone() }, Some(value))
    }

    pub(super) fn assignment_epoch_record(&self) -> ConsumerOffsetsRecord {
        let value = ShareGroupTargetAssignmentMetadataValue {
            assignment_epoch: self.assignment_epoch,
            assignment_timestamp: self.assigned_ms,
        };
        let key = ShareGroupTargetAssignmentMetadataKey { group_id: self.id.clone() };
        ConsumerOffsetsRecord::ShareGroupTargetAssignmentMetadata(key, Some(value))
    }

    pub(super) fn target_record(&self, member: &str) -> ConsumerOffsetsRecord {
        let value = self.target.get(member).map(|parts| ShareGroupTargetAssignmentMemberValue {
            topic_partitions: parts.lists().map(|(topic_id, partitions)| TopicPartition { topic_id, partitions }).collect(),
        });
        let key = ShareGroupTargetAssignmentMemberKey { group_id: self.id.clone(), member_id: member.to_owned() };
        ConsumerOffsetsRecord::ShareGroupTargetAssignmentMember(key, value)
    }

    /// The records that say that the group, which has no members, is gone.
    pub(crate) fn tombstones(&self) -> Vec<ConsumerOffsetsRecord> {
        let group_id = || self.id.clone();
        vec![
            ConsumerOffsetsRecord::ShareGroupTargetAssignmentMetadata(
                ShareGroupTargetAssignmentMetadataKey { group_id: group_id() },
                None,
            ),
            ConsumerOffsetsRecord::ShareGroupStatePartitionMetadata(key(&self.id), None),
            ConsumerOffsetsRecord::ShareGroupMetadata(ShareGroupMetadataKey { group_id: group_id() }, None),
        ]
    }

    /// Takes what the log says of this group.
    pub(crate) fn replay(&mut self, record: ConsumerOffsetsRecord) {
        match record {
            ConsumerOffsetsRecord::ShareGroupMetadata(_, Some(value)) => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            ConsumerOffsetsRecord::ShareGroupTargetAssignmentMetadata(_, Some(value)) => {
                self.assignment_epoch = value.assignment_epoch;
                self.assigned_ms = value.assignment_timestamp;
            }
            ConsumerOffsetsRecord::ShareGroupTargetAssignmentMember(key, Some(value)) => {
                let lists = value.topic_partitions.into_iter().map(|list| (list.topic_id, list.partitions));
                self.target.insert(key.member_id, Parts::of(lists));
            }
            ConsumerOffsetsRecord::ShareGroupTargetAssignmentMember(key, None) => {
                self.target.remove(&key.member_id);
            }
            ConsumerOffsetsRecord::ShareGroupMemberMetadata(key, Some(value)) => {
                self.known(key.member_id).replay_metadata(value);
            }
            ConsumerOffsetsRecord::ShareGroupMemberMetadata(key, None) => {
                self.members.remove(&key.member_id);
            }
            ConsumerOffsetsRecord::ShareGroupCurrentMemberAssignment(key, Some(value)) => {
                self.known(key.member_id).replay_assignment(value);
            }
            ConsumerOffsetsRecord::ShareGroupStatePartitionMetadata(_, Some(value)) => {
                self.topics = StateTopics::of_record(value);
            }
            _ => {}
        }
    }

    fn known(&mut self, id: String) -> &mut Member {
        self.members.entry(id.clone()).or_insert_with(|| Member::new(id))
    }
}

/// The share group that a record says something of, and whether it deletes something.
pub(crate) fn share_group(record: &ConsumerOffsetsRecord) -> Option<(GroupId, bool)> {
    match record {
        ConsumerOffsetsRecord::ShareGroupMetadata(key, value) => Some((key.group_id.clone(), value.is_none())),
        ConsumerOffsetsRecord::ShareGroupMemberMetadata(key, value) => Some((key.group_id.clone(), value.is_none())),
        ConsumerOffsetsRecord::ShareGroupTargetAssignmentMetadata(key, value) => Some((key.group_id.clone(), value.is_none())),
        ConsumerOffsetsRecord::ShareGroupTargetAssignmentMember(key, value) => Some((key.group_id.clone(), value.is_none())),
        ConsumerOffsetsRecord::ShareGroupCurrentMemberAssignment(key, value) => Some((key.group_id.clone(), value.is_none())),
        ConsumerOffsetsRecord::ShareGroupStatePartitionMetadata(key, value) => Some((key.group_id.clone(), value.is_none())),
        _ => None,
    }
}
