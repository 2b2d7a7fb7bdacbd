//! BeginQuorumEpoch (key 53): a new leader of the quorum presents itself to a voter (KIP-595).
//!
//! Versions 0 to 1, flexible from 1.
//!
//! - v1: flexible; the request gains `voter_id`, `voter_directory_id`, `leader_endpoints`; the response gains
//!   `node_endpoints` (KIP-482, KIP-853)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, TopicName, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 53, versions = 0..=1, flexible = 1..)]
pub struct BeginQuorumEpochRequest {
    #[wire(nullable, default = null)]
    pub cluster_id: Option<String>,
    #[wire(versions = 1.., default = -1, ignorable)]
    pub voter_id: BrokerId,
    pub topics: Vec<RequestTopicData>,
    #[wire(versions = 1.., ignorable)]
    pub leader_endpoints: Vec<LeaderEndpoint>,
}

/// An element of `BeginQuorumEpochRequest::topics`.
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
    #[wire(versions = 1.., ignorable)]
    pub voter_directory_id: Uuid,
    pub leader_id: BrokerId,
    pub leader_epoch: LeaderEpoch,
}

/// An element of `BeginQuorumEpochRequest::leader_endpoints`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct LeaderEndpoint {
    pub name: String,
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 53, versions = 0..=1, flexible = 1..)]
pub struct BeginQuorumEpochResponse {
    pub error_code: ErrorCode,
    pub topics: Vec<ResponseTopicData>,
    #[wire(versions = 1.., tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// An element of `BeginQuorumEpochResponse::topics`.
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
    pub leader_id: BrokerId,
    pub leader_epoch: LeaderEpoch,
}

/// An element of `BeginQuorumEpochResponse::node_endpoints`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct NodeEndpoint {
    pub node_id: BrokerId,
    pub host: String,
    pub port: u16,
}
