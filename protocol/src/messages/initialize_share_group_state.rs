//! InitializeShareGroupState (key 83): start the state of share partitions (KIP-932).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, Offset, TopicId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 83, versions = 0, flexible = 0..)]
pub struct InitializeShareGroupStateRequest {
    pub group_id: GroupId,
    pub topics: Vec<InitializeStateData>,
}

/// An element of `InitializeShareGroupStateRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct InitializeStateData {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionData>,
}

/// An element of `InitializeStateData::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionData {
    pub partition: i32,
    pub state_epoch: i32,
    pub start_offset: Offset,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 83, versions = 0, flexible = 0..)]
pub struct InitializeShareGroupStateResponse {
    pub results: Vec<InitializeStateResult>,
}

/// An element of `InitializeShareGroupStateResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct InitializeStateResult {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionResult>,
}

/// An element of `InitializeStateResult::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionResult {
    pub partition: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
}
