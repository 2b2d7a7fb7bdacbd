//! DescribeProducers (key 61): producers with state in partitions (KIP-664).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{Offset, ProducerId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 61, versions = 0, flexible = 0..)]
pub struct DescribeProducersRequest {
    pub topics: Vec<TopicRequest>,
}

/// An element of `DescribeProducersRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicRequest {
    pub name: TopicName,
    pub partition_indexes: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 61, versions = 0, flexible = 0..)]
pub struct DescribeProducersResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<TopicResponse>,
}

/// An element of `DescribeProducersResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicResponse {
    pub name: TopicName,
    pub partitions: Vec<PartitionResponse>,
}

/// An element of `TopicResponse::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionResponse {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    pub active_producers: Vec<ProducerState>,
}

/// An element of `PartitionResponse::active_producers`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ProducerState {
    pub producer_id: ProducerId,
    pub producer_epoch: i32,
    #[wire(default = -1)]
    pub last_sequence: i32,
    #[wire(default = -1)]
    pub last_timestamp: i64,
    pub coordinator_epoch: i32,
    #[wire(default = -1)]
    pub current_txn_start_offset: Offset,
}
