//! DeleteRecords (key 21): move the log start offset forward (KIP-107).
//!
//! Versions 0 to 2, flexible from 2.
//!
//! - v1: answers first and throttles then (KIP-219)
//! - v2: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{Offset, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 21, versions = 0..=2, flexible = 2..)]
pub struct DeleteRecordsRequest {
    pub topics: Vec<DeleteRecordsTopic>,
    pub timeout_ms: i32,
}

/// An element of `DeleteRecordsRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeleteRecordsTopic {
    pub name: TopicName,
    pub partitions: Vec<DeleteRecordsPartition>,
}

/// An element of `DeleteRecordsTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeleteRecordsPartition {
    pub partition_index: i32,
    pub offset: Offset,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 21, versions = 0..=2, flexible = 2..)]
pub struct DeleteRecordsResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<DeleteRecordsTopicResult>,
}

/// An element of `DeleteRecordsResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeleteRecordsTopicResult {
    pub name: TopicName,
    pub partitions: Vec<DeleteRecordsPartitionResult>,
}

/// An element of `DeleteRecordsTopicResult::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeleteRecordsPartitionResult {
    pub partition_index: i32,
    pub low_watermark: Offset,
    pub error_code: ErrorCode,
}
