//! ReadShareGroupState (key 84): read the state of share partitions (KIP-932).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, LeaderEpoch, Offset, TopicId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 84, versions = 0, flexible = 0..)]
pub struct ReadShareGroupStateRequest {
    pub group_id: GroupId,
    pub topics: Vec<ReadStateData>,
}

/// An element of `ReadShareGroupStateRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ReadStateData {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionData>,
}

/// An element of `ReadStateData::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionData {
    pub partition: i32,
    pub leader_epoch: LeaderEpoch,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 84, versions = 0, flexible = 0..)]
pub struct ReadShareGroupStateResponse {
    pub results: Vec<ReadStateResult>,
}

/// An element of `ReadShareGroupStateResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ReadStateResult {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionResult>,
}

/// An element of `ReadStateResult::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionResult {
    pub partition: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    pub state_epoch: i32,
    pub start_offset: Offset,
    pub state_batches: Vec<StateBatch>,
}

/// An element of `PartitionResult::state_batches`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct StateBatch {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub delivery_state: i8,
    pub delivery_count: i16,
}
