//! ReadShareGroupStateSummary (key 87): read start offsets and epochs of share partitions (KIP-932).
//!
//! Versions 0 to 1, flexible.
//!
//! - v1: the response gains `delivery_complete_count` (KIP-1226)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, LeaderEpoch, Offset, TopicId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 87, versions = 0..=1, flexible = 0..)]
pub struct ReadShareGroupStateSummaryRequest {
    pub group_id: GroupId,
    pub topics: Vec<ReadStateSummaryData>,
}

/// An element of `ReadShareGroupStateSummaryRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ReadStateSummaryData {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionData>,
}

/// An element of `ReadStateSummaryData::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionData {
    pub partition: i32,
    pub leader_epoch: LeaderEpoch,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 87, versions = 0..=1, flexible = 0..)]
pub struct ReadShareGroupStateSummaryResponse {
    pub results: Vec<ReadStateSummaryResult>,
}

/// An element of `ReadShareGroupStateSummaryResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ReadStateSummaryResult {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionResult>,
}

/// An element of `ReadStateSummaryResult::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionResult {
    pub partition: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    pub state_epoch: i32,
    pub leader_epoch: LeaderEpoch,
    pub start_offset: Offset,
    #[wire(versions = 1.., default = -1, ignorable)]
    pub delivery_complete_count: i32,
}
