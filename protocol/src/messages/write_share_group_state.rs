//! WriteShareGroupState (key 85): write the state of share partitions (KIP-932).
//!
//! Versions 0 to 1, flexible.
//!
//! - v1: the request gains `delivery_complete_count` (KIP-1226)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, LeaderEpoch, Offset, TopicId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 85, versions = 0..=1, flexible = 0..)]
pub struct WriteShareGroupStateRequest {
    pub group_id: GroupId,
    pub topics: Vec<WriteStateData>,
}

/// An element of `WriteShareGroupStateRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct WriteStateData {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionData>,
}

/// An element of `WriteStateData::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionData {
    pub partition: i32,
    pub state_epoch: i32,
    pub leader_epoch: LeaderEpoch,
    pub start_offset: Offset,
    #[wire(versions = 1.., default = -1, ignorable)]
    pub delivery_complete_count: i32,
    pub state_batches: Vec<StateBatch>,
}

/// An element of `PartitionData::state_batches`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct StateBatch {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub delivery_state: i8,
    pub delivery_count: i16,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 85, versions = 0..=1, flexible = 0..)]
pub struct WriteShareGroupStateResponse {
    pub results: Vec<WriteStateResult>,
}

/// An element of `WriteShareGroupStateResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct WriteStateResult {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionResult>,
}

/// An element of `WriteStateResult::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionResult {
    pub partition: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
}
