//! ListOffsets (key 2): offsets of partitions by timestamp, or their ends.
//!
//! Versions 1 to 11, flexible from 6.
//!
//! - v2: the request gains `isolation_level`; the response gains `throttle_time_ms` (KIP-98, KIP-124)
//! - v3: answers first and throttles then (KIP-219)
//! - v4: the request gains `current_leader_epoch`; the response gains `leader_epoch` (KIP-320)
//! - v6: flexible (KIP-482)
//! - v7: timestamp -3 asks for the greatest timestamp (KIP-734)
//! - v8: timestamp -4 asks for the first local offset (KIP-405)
//! - v9: timestamp -5 asks for the last offset in remote storage (KIP-1005)
//! - v10: the request gains `timeout_ms` (KIP-1075)
//! - v11: timestamp -6 asks for the first offset that is not in remote storage (KIP-1023)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, Offset, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 2, versions = 1..=11, flexible = 6..)]
pub struct ListOffsetsRequest {
    pub replica_id: BrokerId,
    #[wire(versions = 2..)]
    pub isolation_level: i8,
    pub topics: Vec<ListOffsetsTopic>,
    #[wire(versions = 10.., ignorable)]
    pub timeout_ms: i32,
}

/// An element of `ListOffsetsRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ListOffsetsTopic {
    pub name: TopicName,
    pub partitions: Vec<ListOffsetsPartition>,
}

/// An element of `ListOffsetsTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ListOffsetsPartition {
    pub partition_index: i32,
    #[wire(versions = 4.., default = -1, ignorable)]
    pub current_leader_epoch: LeaderEpoch,
    pub timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 2, versions = 1..=11, flexible = 6..)]
pub struct ListOffsetsResponse {
    #[wire(versions = 2.., ignorable)]
    pub throttle_time_ms: i32,
    pub topics: Vec<ListOffsetsTopicResponse>,
}

/// An element of `ListOffsetsResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ListOffsetsTopicResponse {
    pub name: TopicName,
    pub partitions: Vec<ListOffsetsPartitionResponse>,
}

/// An element of `ListOffsetsTopicResponse::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ListOffsetsPartitionResponse {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    #[wire(default = -1)]
    pub timestamp: i64,
    #[wire(default = -1)]
    pub offset: Offset,
    #[wire(versions = 4.., default = -1)]
    pub leader_epoch: LeaderEpoch,
}
