//! ElectLeaders (key 43): elect the preferred leaders, or any replica (KIP-183).
//!
//! Versions 0 to 2, flexible from 2.
//!
//! - v1: the request gains `election_type`; the response gains `error_code` (KIP-460)
//! - v2: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::TopicName;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 43, versions = 0..=2, flexible = 2..)]
pub struct ElectLeadersRequest {
    #[wire(versions = 1..)]
    pub election_type: i8,
    #[wire(nullable)]
    pub topic_partitions: Option<Vec<TopicPartitions>>,
    #[wire(default = 60000)]
    pub timeout_ms: i32,
}

/// An element of `ElectLeadersRequest::topic_partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicPartitions {
    pub topic: TopicName,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 43, versions = 0..=2, flexible = 2..)]
pub struct ElectLeadersResponse {
    pub throttle_time_ms: i32,
    #[wire(versions = 1..)]
    pub error_code: ErrorCode,
    pub replica_election_results: Vec<ReplicaElectionResult>,
}

/// An element of `ElectLeadersResponse::replica_election_results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ReplicaElectionResult {
    pub topic: TopicName,
    pub partition_result: Vec<PartitionResult>,
}

/// An element of `ReplicaElectionResult::partition_result`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionResult {
    pub partition_id: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
}
