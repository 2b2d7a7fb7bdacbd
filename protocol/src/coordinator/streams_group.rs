//! Streams groups (KIP-1071): `__consumer_offsets`.
//!
//! - `StreamsGroupMetadataKey`: key 17, version 0, never flexible
//! - `StreamsGroupMetadataValue`: key 17, version 0, flexible
//! - `StreamsGroupMemberMetadataKey`: key 19, version 0, never flexible
//! - `StreamsGroupMemberMetadataValue`: key 19, version 0, flexible
//! - `StreamsGroupTopologyKey`: key 23, version 0, never flexible
//! - `StreamsGroupTopologyValue`: key 23, version 0, flexible
//! - `StreamsGroupTargetAssignmentMetadataKey`: key 20, version 0, never flexible
//! - `StreamsGroupTargetAssignmentMetadataValue`: key 20, version 0, flexible
//! - `StreamsGroupTargetAssignmentMemberKey`: key 21, version 0, never flexible
//! - `StreamsGroupTargetAssignmentMemberValue`: key 21, version 0, flexible
//! - `StreamsGroupCurrentMemberAssignmentKey`: key 22, version 0, never flexible
//! - `StreamsGroupCurrentMemberAssignmentValue`: key 22, version 0, flexible

use strandline_protocol_derive::Wire;

use crate::ids::{GroupId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 17, versions = 0, flexible = none)]
pub struct StreamsGroupMetadataKey {
    pub group_id: GroupId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 17, versions = 0, flexible = 0..)]
pub struct StreamsGroupMetadataValue {
    pub epoch: i32,
    pub metadata_hash: i64,
    #[wire(tag = 0, default = -1)]
    pub validated_topology_epoch: i32,
    #[wire(nullable, tag = 1)]
    pub last_assignment_configs: Option<Vec<LastAssignmentConfig>>,
}

/// Shared by fields of `StreamsGroupMetadataValue`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct LastAssignmentConfig {
    pub key: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 19, versions = 0, flexible = none)]
pub struct StreamsGroupMemberMetadataKey {
    pub group_id: GroupId,
    pub member_id: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 19, versions = 0, flexible = 0..)]
pub struct StreamsGroupMemberMetadataValue {
    #[wire(nullable)]
    pub instance_id: Option<String>,
    #[wire(nullable)]
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    #[wire(default = -1)]
    pub rebalance_timeout_ms: i32,
    pub topology_epoch: i32,
    pub process_id: String,
    #[wire(nullable, default = null)]
    pub user_endpoint: Option<Endpoint>,
    pub client_tags: Vec<KeyValue>,
}

/// Shared by fields of `StreamsGroupMemberMetadataValue`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

/// Shared by fields of `StreamsGroupMemberMetadataValue`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct KeyValue {
    pub key: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 23, versions = 0, flexible = none)]
pub struct StreamsGroupTopologyKey {
    pub group_id: GroupId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 23, versions = 0, flexible = 0..)]
pub struct StreamsGroupTopologyValue {
    pub epoch: i32,
    pub subtopologies: Vec<Subtopology>,
}

/// An element of `StreamsGroupTopologyValue::subtopologies`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Subtopology {
    pub subtopology_id: String,
    pub source_topics: Vec<TopicName>,
    pub source_topic_regex: Vec<String>,
    pub state_changelog_topics: Vec<TopicInfo>,
    pub repartition_sink_topics: Vec<TopicName>,
    pub repartition_source_topics: Vec<TopicInfo>,
    pub copartition_groups: Vec<CopartitionGroup>,
}

/// An element of `Subtopology::copartition_groups`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct CopartitionGroup {
    pub source_topics: Vec<i16>,
    pub source_topic_regex: Vec<i16>,
    pub repartition_source_topics: Vec<i16>,
}

/// Shared by fields of `StreamsGroupTopologyValue`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicConfig {
    #[wire(name = "key")]
    pub key: String,
    #[wire(name = "value")]
    pub value: String,
}

/// Shared by fields of `StreamsGroupTopologyValue`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicInfo {
    pub name: String,
    pub partitions: i32,
    pub replication_factor: i16,
    pub topic_configs: Vec<TopicConfig>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 20, versions = 0, flexible = none)]
pub struct StreamsGroupTargetAssignmentMetadataKey {
    pub group_id: GroupId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 20, versions = 0, flexible = 0..)]
pub struct StreamsGroupTargetAssignmentMetadataValue {
    pub assignment_epoch: i32,
    #[wire(tag = 0, ignorable)]
    pub assignment_timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 21, versions = 0, flexible = none)]
pub struct StreamsGroupTargetAssignmentMemberKey {
    pub group_id: GroupId,
    pub member_id: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 21, versions = 0, flexible = 0..)]
pub struct StreamsGroupTargetAssignmentMemberValue {
    pub active_tasks: Vec<StreamsGroupTargetAssignmentMemberTaskIds>,
    pub standby_tasks: Vec<StreamsGroupTargetAssignmentMemberTaskIds>,
    pub warmup_tasks: Vec<StreamsGroupTargetAssignmentMemberTaskIds>,
}

/// Shared by fields of `StreamsGroupTargetAssignmentMemberValue`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TaskIds")]
pub struct StreamsGroupTargetAssignmentMemberTaskIds {
    pub subtopology_id: String,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 22, versions = 0, flexible = none)]
pub struct StreamsGroupCurrentMemberAssignmentKey {
    pub group_id: GroupId,
    pub member_id: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 22, versions = 0, flexible = 0..)]
pub struct StreamsGroupCurrentMemberAssignmentValue {
    pub member_epoch: i32,
    pub previous_member_epoch: i32,
    pub state: i8,
    pub active_tasks: Vec<StreamsGroupCurrentMemberAssignmentTaskIds>,
    pub standby_tasks: Vec<StreamsGroupCurrentMemberAssignmentTaskIds>,
    pub warmup_tasks: Vec<StreamsGroupCurrentMemberAssignmentTaskIds>,
    pub active_tasks_pending_revocation: Vec<StreamsGroupCurrentMemberAssignmentTaskIds>,
    pub standby_tasks_pending_revocation: Vec<StreamsGroupCurrentMemberAssignmentTaskIds>,
    pub warmup_tasks_pending_revocation: Vec<StreamsGroupCurrentMemberAssignmentTaskIds>,
}

/// Shared by fields of `StreamsGroupCurrentMemberAssignmentValue`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TaskIds")]
pub struct StreamsGroupCurrentMemberAssignmentTaskIds {
    pub subtopology_id: String,
    pub partitions: Vec<i32>,
    #[wire(nullable, tag = 0)]
    pub assignment_epochs: Option<Vec<i32>>,
}
