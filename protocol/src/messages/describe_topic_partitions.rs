//! DescribeTopicPartitions (key 75): partitions of topics, page by page (KIP-966).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 75, versions = 0, flexible = 0..)]
pub struct DescribeTopicPartitionsRequest {
    pub topics: Vec<TopicRequest>,
    #[wire(default = 2000)]
    pub response_partition_limit: i32,
    #[wire(nullable, default = null)]
    pub cursor: Option<RequestCursor>,
}

/// An element of `DescribeTopicPartitionsRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicRequest {
    pub name: TopicName,
}

/// The value of `DescribeTopicPartitionsRequest::cursor`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "Cursor")]
pub struct RequestCursor {
    pub topic_name: TopicName,
    pub partition_index: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 75, versions = 0, flexible = 0..)]
pub struct DescribeTopicPartitionsResponse {
    #[wire(ignorable)]
    pub throttle_time_ms: i32,
    pub topics: Vec<DescribeTopicPartitionsResponseTopic>,
    #[wire(nullable, default = null)]
    pub next_cursor: Option<ResponseCursor>,
}

/// An element of `DescribeTopicPartitionsResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeTopicPartitionsResponseTopic {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub name: Option<TopicName>,
    #[wire(ignorable)]
    pub topic_id: TopicId,
    #[wire(ignorable)]
    pub is_internal: bool,
    pub partitions: Vec<DescribeTopicPartitionsResponsePartition>,
    #[wire(default = -2_147_483_648)]
    pub topic_authorized_operations: i32,
}

/// An element of `DescribeTopicPartitionsResponseTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeTopicPartitionsResponsePartition {
    pub error_code: ErrorCode,
    pub partition_index: i32,
    pub leader_id: BrokerId,
    #[wire(default = -1, ignorable)]
    pub leader_epoch: LeaderEpoch,
    pub replica_nodes: Vec<BrokerId>,
    pub isr_nodes: Vec<BrokerId>,
    #[wire(nullable, default = null)]
    pub eligible_leader_replicas: Option<Vec<BrokerId>>,
    #[wire(nullable, default = null)]
    pub last_known_elr: Option<Vec<BrokerId>>,
    #[wire(ignorable)]
    pub offline_replicas: Vec<BrokerId>,
}

/// The value of `DescribeTopicPartitionsResponse::next_cursor`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "Cursor")]
pub struct ResponseCursor {
    pub topic_name: TopicName,
    pub partition_index: i32,
}
