//! ListPartitionReassignments (key 46): partitions whose replicas are moving (KIP-455).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 46, versions = 0, flexible = 0..)]
pub struct ListPartitionReassignmentsRequest {
    #[wire(default = 60000)]
    pub timeout_ms: i32,
    #[wire(nullable, default = null)]
    pub topics: Option<Vec<ListPartitionReassignmentsTopics>>,
}

/// An element of `ListPartitionReassignmentsRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ListPartitionReassignmentsTopics {
    pub name: TopicName,
    pub partition_indexes: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 46, versions = 0, flexible = 0..)]
pub struct ListPartitionReassignmentsResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    pub topics: Vec<OngoingTopicReassignment>,
}

/// An element of `ListPartitionReassignmentsResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OngoingTopicReassignment {
    pub name: TopicName,
    pub partitions: Vec<OngoingPartitionReassignment>,
}

/// An element of `OngoingTopicReassignment::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OngoingPartitionReassignment {
    pub partition_index: i32,
    pub replicas: Vec<BrokerId>,
    pub adding_replicas: Vec<BrokerId>,
    pub removing_replicas: Vec<BrokerId>,
}
