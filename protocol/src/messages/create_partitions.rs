//! CreatePartitions (key 37): add partitions to topics (KIP-195).
//!
//! Versions 0 to 3, flexible from 2.
//!
//! - v1: answers first and throttles then (KIP-219)
//! - v2: flexible (KIP-482)
//! - v3: may be answered with THROTTLING_QUOTA_EXCEEDED (KIP-599)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 37, versions = 0..=3, flexible = 2..)]
pub struct CreatePartitionsRequest {
    pub topics: Vec<CreatePartitionsTopic>,
    pub timeout_ms: i32,
    pub validate_only: bool,
}

/// An element of `CreatePartitionsRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct CreatePartitionsTopic {
    pub name: TopicName,
    pub count: i32,
    #[wire(nullable)]
    pub assignments: Option<Vec<CreatePartitionsAssignment>>,
}

/// An element of `CreatePartitionsTopic::assignments`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct CreatePartitionsAssignment {
    pub broker_ids: Vec<BrokerId>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 37, versions = 0..=3, flexible = 2..)]
pub struct CreatePartitionsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<CreatePartitionsTopicResult>,
}

/// An element of `CreatePartitionsResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct CreatePartitionsTopicResult {
    pub name: TopicName,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
}
