//! OffsetForLeaderEpoch (key 23): where the epoch of a leader ends (KIP-101).
//!
//! Versions 2 to 4, flexible from 4.
//!
//! - v3: the request gains `replica_id` (KIP-392)
//! - v4: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, Offset, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 23, versions = 2..=4, flexible = 4..)]
pub struct OffsetForLeaderEpochRequest {
    #[wire(versions = 3.., default = -2, ignorable)]
    pub replica_id: BrokerId,
    pub topics: Vec<OffsetForLeaderTopic>,
}

/// An element of `OffsetForLeaderEpochRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetForLeaderTopic {
    pub topic: TopicName,
    pub partitions: Vec<OffsetForLeaderPartition>,
}

/// An element of `OffsetForLeaderTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetForLeaderPartition {
    pub partition: i32,
    #[wire(default = -1, ignorable)]
    pub current_leader_epoch: LeaderEpoch,
    pub leader_epoch: LeaderEpoch,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 23, versions = 2..=4, flexible = 4..)]
pub struct OffsetForLeaderEpochResponse {
    #[wire(ignorable)]
    pub throttle_time_ms: i32,
    pub topics: Vec<OffsetForLeaderTopicResult>,
}

/// An element of `OffsetForLeaderEpochResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetForLeaderTopicResult {
    pub topic: TopicName,
    pub partitions: Vec<EpochEndOffset>,
}

/// An element of `OffsetForLeaderTopicResult::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct EpochEndOffset {
    pub error_code: ErrorCode,
    pub partition: i32,
    #[wire(default = -1, ignorable)]
    pub leader_epoch: LeaderEpoch,
    #[wire(default = -1)]
    pub end_offset: Offset,
}
