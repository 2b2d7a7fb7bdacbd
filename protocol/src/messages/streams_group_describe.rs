//! StreamsGroupDescribe (key 89): state, topology and members of streams groups (KIP-1071).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, Offset, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 89, versions = 0, flexible = 0..)]
pub struct StreamsGroupDescribeRequest {
    pub group_ids: Vec<GroupId>,
    pub include_authorized_operations: bool,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 89, versions = 0, flexible = 0..)]
pub struct StreamsGroupDescribeResponse {
    pub throttle_time_ms: i32,
    pub groups: Vec<DescribedGroup>,
}

/// An element of `StreamsGroupDescribeResponse::groups`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribedGroup {
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    pub group_id: GroupId,
    pub group_state: String,
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    #[wire(nullable, default = null)]
    pub topology: Option<Topology>,
    pub members: Vec<Member>,
    #[wire(default = -2_147_483_648)]
    pub authorized_operations: i32,
}

/// The value of `DescribedGroup::topology`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Topology {
    pub epoch: i32,
    #[wire(nullable, default = null)]
    pub subtopologies: Option<Vec<Subtopology>>,
}

/// An element of `Topology::subtopologies`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Subtopology {
    pub subtopology_id: String,
    pub source_topics: Vec<TopicName>,
    pub repartition_sink_topics: Vec<TopicName>,
    pub state_changelog_topics: Vec<TopicInfo>,
    pub repartition_source_topics: Vec<TopicInfo>,
}

/// An element of `DescribedGroup::members`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Member {
    pub member_id: String,
    pub member_epoch: i32,
    #[wire(nullable, default = null)]
    pub instance_id: Option<String>,
    #[wire(nullable, default = null)]
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub topology_epoch: i32,
    pub process_id: String,
    #[wire(nullable, default = null)]
    pub user_endpoint: Option<Endpoint>,
    pub client_tags: Vec<KeyValue>,
    pub task_offsets: Vec<TaskOffset>,
    pub task_end_offsets: Vec<TaskOffset>,
    pub assignment: Assignment,
    pub target_assignment: Assignment,
    pub is_classic: bool,
}

/// Shared by fields of `StreamsGroupDescribeResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

/// Shared by fields of `StreamsGroupDescribeResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TaskOffset {
    pub subtopology_id: String,
    pub partition: i32,
    pub offset: Offset,
}

/// Shared by fields of `StreamsGroupDescribeResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Assignment {
    pub active_tasks: Vec<TaskIds>,
    pub standby_tasks: Vec<TaskIds>,
    pub warmup_tasks: Vec<TaskIds>,
}

/// Shared by fields of `StreamsGroupDescribeResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TaskIds {
    pub subtopology_id: String,
    pub partitions: Vec<i32>,
}

/// Shared by fields of `StreamsGroupDescribeResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct KeyValue {
    pub key: String,
    pub value: String,
}

/// Shared by fields of `StreamsGroupDescribeResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicInfo {
    pub name: TopicName,
    pub partitions: i32,
    pub replication_factor: i16,
    pub topic_configs: Vec<KeyValue>,
}
