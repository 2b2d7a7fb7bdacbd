//! EndQuorumEpoch (key 54): a leader of the quorum resigns and proposes successors (KIP-595).
//!
//! Versions 0 to 1, flexible from 1.
//!
//! - v1: flexible; the request gains `preferred_candidates`, `leader_endpoints` and loses `preferred_successors`; the
//!   response gains `node_endpoints` (KIP-482, KIP-853)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, TopicName, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 54, versions = 0..=1, flexible = 1..)]
pub struct EndQuorumEpochRequest {
    #[wire(nullable, default = null)]
    pub cluster_id: Option<String>,
    pub topics: Vec<RequestTopicData>,
    #[wire(versions = 1.., ignorable)]
    pub leader_endpoints: Vec<LeaderEndpoint>,
}

/// An element of `EndQuorumEpochRequest::topics`.
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
    pub leader_id: BrokerId,
    pub leader_epoch: LeaderEpoch,
    #[wire(versions = 0, ignorable)]
    pub preferred_successors: Vec<i32>,
    #[wire(versions = 1.., ignorable)]
    pub preferred_candidates: Vec<ReplicaInfo>,
}

/// An element of `RequestPartitionData::preferred_candidates`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ReplicaInfo {
    pub candidate_id: BrokerId,
    pub candidate_directory_id: Uuid,
}

/// An element of `EndQuorumEpochRequest::leader_endpoints`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct LeaderEndpoint {
    pub name: String,
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 54, versions = 0..=1, flexible = 1..)]
pub struct EndQuorumEpochResponse {
    pub error_code: ErrorCode,
    pub topics: Vec<ResponseTopicData>,
    #[wire(versions = 1.., tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// An element of `EndQuorumEpochResponse::topics`.
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

/// An element of `EndQuorumEpochResponse::node_endpoints`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct NodeEndpoint {
    pub node_id: BrokerId,
    pub host: String,
    pub port: u16,
}
