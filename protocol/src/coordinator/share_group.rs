//! Share groups (KIP-932): `__consumer_offsets`.
//!
//! - `ShareGroupMetadataKey`: key 11, version 0, never flexible
//! - `ShareGroupMetadataValue`: key 11, version 0, flexible
//! - `ShareGroupMemberMetadataKey`: key 10, version 0, never flexible
//! - `ShareGroupMemberMetadataValue`: key 10, version 0, flexible
//! - `ShareGroupTargetAssignmentMetadataKey`: key 12, version 0, never flexible
//! - `ShareGroupTargetAssignmentMetadataValue`: key 12, version 0, flexible
//! - `ShareGroupTargetAssignmentMemberKey`: key 13, version 0, never flexible
//! - `ShareGroupTargetAssignmentMemberValue`: key 13, version 0, flexible
//! - `ShareGroupCurrentMemberAssignmentKey`: key 14, version 0, never flexible
//! - `ShareGroupCurrentMemberAssignmentValue`: key 14, version 0, flexible
//! - `ShareGroupStatePartitionMetadataKey`: key 15, version 0, never flexible
//! - `ShareGroupStatePartitionMetadataValue`: key 15, version 0, flexible

use strandline_protocol_derive::Wire;

use crate::ids::{GroupId, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 11, versions = 0, flexible = none)]
pub struct ShareGroupMetadataKey {
    pub group_id: GroupId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 11, versions = 0, flexible = 0..)]
pub struct ShareGroupMetadataValue {
    pub epoch: i32,
    pub metadata_hash: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 10, versions = 0, flexible = none)]
pub struct ShareGroupMemberMetadataKey {
    pub group_id: GroupId,
    pub member_id: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 10, versions = 0, flexible = 0..)]
pub struct ShareGroupMemberMetadataValue {
    #[wire(nullable)]
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub subscribed_topic_names: Vec<TopicName>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 12, versions = 0, flexible = none)]
pub struct ShareGroupTargetAssignmentMetadataKey {
    pub group_id: GroupId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 12, versions = 0, flexible = 0..)]
pub struct ShareGroupTargetAssignmentMetadataValue {
    pub assignment_epoch: i32,
    #[wire(tag = 0, ignorable)]
    pub assignment_timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 13, versions = 0, flexible = none)]
pub struct ShareGroupTargetAssignmentMemberKey {
    pub group_id: GroupId,
    pub member_id: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 13, versions = 0, flexible = 0..)]
pub struct ShareGroupTargetAssignmentMemberValue {
    pub topic_partitions: Vec<TopicPartition>,
}

/// An element of `ShareGroupTargetAssignmentMemberValue::topic_partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicPartition {
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 14, versions = 0, flexible = none)]
pub struct ShareGroupCurrentMemberAssignmentKey {
    pub group_id: GroupId,
    pub member_id: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 14, versions = 0, flexible = 0..)]
pub struct ShareGroupCurrentMemberAssignmentValue {
    pub member_epoch: i32,
    pub previous_member_epoch: i32,
    pub state: i8,
    pub assigned_partitions: Vec<TopicPartitions>,
}

/// Shared by fields of `ShareGroupCurrentMemberAssignmentValue`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicPartitions {
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 15, versions = 0, flexible = none)]
pub struct ShareGroupStatePartitionMetadataKey {
    pub group_id: GroupId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 15, versions = 0, flexible = 0..)]
pub struct ShareGroupStatePartitionMetadataValue {
    pub initializing_topics: Vec<TopicPartitionsInfo>,
    pub initialized_topics: Vec<TopicPartitionsInfo>,
    pub deleting_topics: Vec<TopicInfo>,
}

/// Shared by fields of `ShareGroupStatePartitionMetadataValue`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicPartitionsInfo {
    pub topic_id: TopicId,
    pub topic_name: TopicName,
    pub partitions: Vec<i32>,
}

/// Shared by fields of `ShareGroupStatePartitionMetadataValue`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicInfo {
    pub topic_id: TopicId,
    pub topic_name: TopicName,
}
