//! DescribeQuorum (key 55): leader, voters and observers of the quorum and how far they are (KIP-595).
//!
//! Versions 0 to 2, flexible.
//!
//! - v1: the response gains `last_fetch_timestamp`, `last_caught_up_timestamp` (KIP-836)
//! - v2: the response gains `error_message`, `nodes`, `replica_directory_id` (KIP-853)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, Offset, TopicName, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 55, versions = 0..=2, flexible = 0..)]
pub struct DescribeQuorumRequest {
    pub topics: Vec<RequestTopicData>,
}

/// An element of `DescribeQuorumRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicData")]
pub struct RequestTopicData {
    pub topic_name: TopicName,
    pub partitions: Vec<RequestPartitionData>,
}

/// An element of `RequestTopicData::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "PartitionData")]
pub struct RequestPartitionData {
    pub partition_index: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 55, versions = 0..=2, flexible = 0..)]
pub struct DescribeQuorumResponse {
    pub error_code: ErrorCode,
    #[wire(versions = 2.., nullable, ignorable)]
    pub error_message: Option<String>,
    pub topics: Vec<ResponseTopicData>,
    #[wire(versions = 2..)]
    pub nodes: Vec<Node>,
}

/// An element of `DescribeQuorumResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicData")]
pub struct ResponseTopicData {
    pub topic_name: TopicName,
    pub partitions: Vec<ResponsePartitionData>,
}

/// An element of `ResponseTopicData::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "PartitionData")]
pub struct ResponsePartitionData {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    #[wire(versions = 2.., nullable, ignorable)]
    pub error_message: Option<String>,
    pub leader_id: BrokerId,
    pub leader_epoch: LeaderEpoch,
    pub high_watermark: Offset,
    pub current_voters: Vec<ReplicaState>,
    pub observers: Vec<ReplicaState>,
}

/// An element of `DescribeQuorumResponse::nodes`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Node {
    pub node_id: BrokerId,
    pub listeners: Vec<Listener>,
}

/// An element of `Node::listeners`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Listener {
    pub name: String,
    pub host: String,
    pub port: u16,
}

/// Shared by fields of `DescribeQuorumResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ReplicaState {
    pub replica_id: BrokerId,
    #[wire(versions = 2..)]
    pub replica_directory_id: Uuid,
    pub log_end_offset: Offset,
    #[wire(versions = 1.., default = -1, ignorable)]
    pub last_fetch_timestamp: i64,
    #[wire(versions = 1.., default = -1, ignorable)]
    pub last_caught_up_timestamp: i64,
}
