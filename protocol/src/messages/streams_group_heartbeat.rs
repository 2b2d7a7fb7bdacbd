//! StreamsGroupHeartbeat (key 88): join, stay in and leave a streams group (KIP-1071).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, Offset, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 88, versions = 0, flexible = 0..)]
pub struct StreamsGroupHeartbeatRequest {
    pub group_id: GroupId,
    pub member_id: String,
    pub member_epoch: i32,
    pub endpoint_information_epoch: i32,
    #[wire(nullable, default = null)]
    pub instance_id: Option<String>,
    #[wire(nullable, default = null)]
    pub rack_id: Option<String>,
    #[wire(default = -1)]
    pub rebalance_timeout_ms: i32,
    #[wire(nullable, default = null)]
    pub topology: Option<Topology>,
    #[wire(nullable, default = null)]
    pub active_tasks: Option<Vec<RequestTaskIds>>,
    #[wire(nullable, default = null)]
    pub standby_tasks: Option<Vec<RequestTaskIds>>,
    #[wire(nullable, default = null)]
    pub warmup_tasks: Option<Vec<RequestTaskIds>>,
    #[wire(nullable, default = null)]
    pub process_id: Option<String>,
    #[wire(nullable, default = null)]
    pub user_endpoint: Option<RequestEndpoint>,
    #[wire(nullable, default = null)]
    pub client_tags: Option<Vec<KeyValue>>,
    #[wire(nullable, default = null)]
    pub task_offsets: Option<Vec<TaskOffset>>,
    #[wire(nullable, default = null)]
    pub task_end_offsets: Option<Vec<TaskOffset>>,
    pub shutdown_application: bool,
}

/// The value of `StreamsGroupHeartbeatRequest::topology`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Topology {
    pub epoch: i32,
    pub subtopologies: Vec<Subtopology>,
}

/// An element of `Topology::subtopologies`.
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

/// Shared by fields of `StreamsGroupHeartbeatRequest`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct KeyValue {
    pub key: String,
    pub value: String,
}

/// Shared by fields of `StreamsGroupHeartbeatRequest`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicInfo {
    pub name: TopicName,
    pub partitions: i32,
    pub replication_factor: i16,
    pub topic_configs: Vec<KeyValue>,
}

/// Shared by fields of `StreamsGroupHeartbeatRequest`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "Endpoint")]
pub struct RequestEndpoint {
    pub host: String,
    pub port: u16,
}

/// Shared by fields of `StreamsGroupHeartbeatRequest`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TaskOffset {
    pub subtopology_id: String,
    pub partition: i32,
    pub offset: Offset,
}

/// Shared by fields of `StreamsGroupHeartbeatRequest`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TaskIds")]
pub struct RequestTaskIds {
    pub subtopology_id: String,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 88, versions = 0, flexible = 0..)]
pub struct StreamsGroupHeartbeatResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    pub member_id: String,
    pub member_epoch: i32,
    pub heartbeat_interval_ms: i32,
    pub acceptable_recovery_lag: i32,
    pub task_offset_interval_ms: i32,
    #[wire(nullable)]
    pub status: Option<Vec<Status>>,
    #[wire(nullable, default = null)]
    pub active_tasks: Option<Vec<ResponseTaskIds>>,
    #[wire(nullable, default = null)]
    pub standby_tasks: Option<Vec<ResponseTaskIds>>,
    #[wire(nullable, default = null)]
    pub warmup_tasks: Option<Vec<ResponseTaskIds>>,
    pub endpoint_information_epoch: i32,
    #[wire(nullable, default = null)]
    pub partitions_by_user_endpoint: Option<Vec<EndpointToPartitions>>,
}

/// An element of `StreamsGroupHeartbeatResponse::partitions_by_user_endpoint`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct EndpointToPartitions {
    pub user_endpoint: ResponseEndpoint,
    pub active_partitions: Vec<TopicPartition>,
    pub standby_partitions: Vec<TopicPartition>,
}

/// Shared by fields of `StreamsGroupHeartbeatResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Status {
    pub status_code: i8,
    pub status_detail: String,
}

/// Shared by fields of `StreamsGroupHeartbeatResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicPartition {
    pub topic: TopicName,
    pub partitions: Vec<i32>,
}

/// Shared by fields of `StreamsGroupHeartbeatResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TaskIds")]
pub struct ResponseTaskIds {
    pub subtopology_id: String,
    pub partitions: Vec<i32>,
}

/// Shared by fields of `StreamsGroupHeartbeatResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "Endpoint")]
pub struct ResponseEndpoint {
    pub host: String,
    pub port: u16,
}
