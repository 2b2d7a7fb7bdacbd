//! Vote (key 52): ask for a vote, or for a pre-vote, of a voter of the quorum (KIP-595).
//!
//! Versions 0 to 2, flexible.
//!
//! - v1: the request gains `voter_id`, `replica_directory_id`, `voter_directory_id`; the response gains `node_endpoints`
//!   (KIP-853)
//! - v2: the request gains `pre_vote` (KIP-996)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, Offset, TopicName, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 52, versions = 0..=2, flexible = 0..)]
pub struct VoteRequest {
    #[wire(nullable, default = null)]
    pub cluster_id: Option<String>,
    #[wire(versions = 1.., default = -1, ignorable)]
    pub voter_id: BrokerId,
    pub topics: Vec<RequestTopicData>,
}

/// An element of `VoteRequest::topics`.
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
    pub replica_epoch: LeaderEpoch,
    pub replica_id: BrokerId,
    #[wire(versions = 1.., ignorable)]
    pub replica_directory_id: Uuid,
    #[wire(versions = 1.., ignorable)]
    pub voter_directory_id: Uuid,
    pub last_offset_epoch: LeaderEpoch,
    pub last_offset: Offset,
    #[wire(versions = 2..)]
    pub pre_vote: bool,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 52, versions = 0..=2, flexible = 0..)]
pub struct VoteResponse {
    pub error_code: ErrorCode,
    pub topics: Vec<ResponseTopicData>,
    #[wire(versions = 1.., tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// An element of `VoteResponse::topics`.
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
    pub vote_granted: bool,
}

/// An element of `VoteResponse::node_endpoints`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct NodeEndpoint {
    pub node_id: BrokerId,
    pub host: String,
    pub port: u16,
}
