//! Consumer groups of the new protocol (KIP-848): `__consumer_offsets`.
//!
//! - `ConsumerGroupMetadataKey`: key 3, version 0, never flexible
//! - `ConsumerGroupMetadataValue`: key 3, version 0, flexible
//! - `ConsumerGroupPartitionMetadataKey`: key 4, version 0, never flexible
//! - `ConsumerGroupPartitionMetadataValue`: key 4, version 0, flexible
//! - `ConsumerGroupMemberMetadataKey`: key 5, version 0, never flexible
//! - `ConsumerGroupMemberMetadataValue`: key 5, version 0, flexible
//! - `ConsumerGroupTargetAssignmentMetadataKey`: key 6, version 0, never flexible
//! - `ConsumerGroupTargetAssignmentMetadataValue`: key 6, version 0, flexible
//! - `ConsumerGroupTargetAssignmentMemberKey`: key 7, version 0, never flexible
//! - `ConsumerGroupTargetAssignmentMemberValue`: key 7, version 0, flexible
//! - `ConsumerGroupCurrentMemberAssignmentKey`: key 8, version 0, never flexible
//! - `ConsumerGroupCurrentMemberAssignmentValue`: key 8, version 0, flexible
//! - `ConsumerGroupRegularExpressionKey`: key 16, version 0, never flexible
//! - `ConsumerGroupRegularExpressionValue`: key 16, version 0, flexible

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::ids::{GroupId, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 3, versions = 0, flexible = none)]
pub struct ConsumerGroupMetadataKey {
    pub group_id: GroupId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 3, versions = 0, flexible = 0..)]
pub struct ConsumerGroupMetadataValue {
    pub epoch: i32,
    #[wire(tag = 0)]
    pub metadata_hash: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 4, versions = 0, flexible = none)]
pub struct ConsumerGroupPartitionMetadataKey {
    pub group_id: GroupId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 4, versions = 0, flexible = 0..)]
pub struct ConsumerGroupPartitionMetadataValue {
    pub topics: Vec<TopicMetadata>,
}

/// An element of `ConsumerGroupPartitionMetadataValue::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicMetadata {
    pub topic_id: TopicId,
    pub topic_name: TopicName,
    pub num_partitions: i32,
    pub partition_metadata: Vec<PartitionMetadata>,
}

/// An element of `TopicMetadata::partition_metadata`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionMetadata {
    pub partition: i32,
    pub racks: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 5, versions = 0, flexible = none)]
pub struct ConsumerGroupMemberMetadataKey {
    pub group_id: GroupId,
    pub member_id: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 5, versions = 0, flexible = 0..)]
pub struct ConsumerGroupMemberMetadataValue {
    #[wire(nullable)]
    pub instance_id: Option<String>,
    #[wire(nullable)]
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub subscribed_topic_names: Vec<TopicName>,
    #[wire(nullable)]
    pub subscribed_topic_regex: Option<String>,
    #[wire(default = -1)]
    pub rebalance_timeout_ms: i32,
    #[wire(nullable)]
    pub server_assignor: Option<String>,
    #[wire(nullable, tag = 0)]
    pub classic_member_metadata: Option<ClassicMemberMetadata>,
}

/// The value of `ConsumerGroupMemberMetadataValue::classic_member_metadata`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ClassicMemberMetadata {
    pub session_timeout_ms: i32,
    pub supported_protocols: Vec<ClassicProtocol>,
}

/// An element of `ClassicMemberMetadata::supported_protocols`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ClassicProtocol {
    pub name: String,
    pub metadata: Bytes,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 6, versions = 0, flexible = none)]
pub struct ConsumerGroupTargetAssignmentMetadataKey {
    pub group_id: GroupId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 6, versions = 0, flexible = 0..)]
pub struct ConsumerGroupTargetAssignmentMetadataValue {
    pub assignment_epoch: i32,
    #[wire(tag = 0, ignorable)]
    pub assignment_timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 7, versions = 0, flexible = none)]
pub struct ConsumerGroupTargetAssignmentMemberKey {
    pub group_id: GroupId,
    pub member_id: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 7, versions = 0, flexible = 0..)]
pub struct ConsumerGroupTargetAssignmentMemberValue {
    pub topic_partitions: Vec<TopicPartition>,
}

/// An element of `ConsumerGroupTargetAssignmentMemberValue::topic_partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicPartition {
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 8, versions = 0, flexible = none)]
pub struct ConsumerGroupCurrentMemberAssignmentKey {
    pub group_id: GroupId,
    pub member_id: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 8, versions = 0, flexible = 0..)]
pub struct ConsumerGroupCurrentMemberAssignmentValue {
    pub member_epoch: i32,
    pub previous_member_epoch: i32,
    pub state: i8,
    pub assigned_partitions: Vec<TopicPartitions>,
    pub partitions_pending_revocation: Vec<TopicPartitions>,
}

/// Shared by fields of `ConsumerGroupCurrentMemberAssignmentValue`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicPartitions {
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
    #[wire(nullable, tag = 0)]
    pub assignment_epochs: Option<Vec<i32>>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 16, versions = 0, flexible = none)]
pub struct ConsumerGroupRegularExpressionKey {
    pub group_id: GroupId,
    pub regular_expression: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 16, versions = 0, flexible = 0..)]
pub struct ConsumerGroupRegularExpressionValue {
    pub topics: Vec<TopicName>,
    pub version: i64,
    pub timestamp: i64,
}
