//! AlterPartitionReassignments (key 45): start or cancel moving replicas between brokers (KIP-455).
//!
//! Versions 0 to 1, flexible.
//!
//! - v1: the request gains `allow_replication_factor_change`; the response gains `allow_replication_factor_change`
//!   (KIP-860)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 45, versions = 0..=1, flexible = 0..)]
pub struct AlterPartitionReassignmentsRequest {
    #[wire(default = 60000)]
    pub timeout_ms: i32,
    #[wire(versions = 1.., default = true)]
    pub allow_replication_factor_change: bool,
    pub topics: Vec<ReassignableTopic>,
}

/// An element of `AlterPartitionReassignmentsRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ReassignableTopic {
    pub name: TopicName,
    pub partitions: Vec<ReassignablePartition>,
}

/// An element of `ReassignableTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ReassignablePartition {
    pub partition_index: i32,
    #[wire(nullable, default = null)]
    pub replicas: Option<Vec<BrokerId>>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 45, versions = 0..=1, flexible = 0..)]
pub struct AlterPartitionReassignmentsResponse {
    pub throttle_time_ms: i32,
    #[wire(versions = 1.., default = true, ignorable)]
    pub allow_replication_factor_change: bool,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    pub responses: Vec<ReassignableTopicResponse>,
}

/// An element of `AlterPartitionReassignmentsResponse::responses`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ReassignableTopicResponse {
    pub name: TopicName,
    pub partitions: Vec<ReassignablePartitionResponse>,
}

/// An element of `ReassignableTopicResponse::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ReassignablePartitionResponse {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
}
