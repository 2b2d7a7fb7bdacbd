//! DeleteShareGroupState (key 86): delete the state of share partitions (KIP-932).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, TopicId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 86, versions = 0, flexible = 0..)]
pub struct DeleteShareGroupStateRequest {
    pub group_id: GroupId,
    pub topics: Vec<DeleteStateData>,
}

/// An element of `DeleteShareGroupStateRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeleteStateData {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionData>,
}

/// An element of `DeleteStateData::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionData {
    pub partition: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 86, versions = 0, flexible = 0..)]
pub struct DeleteShareGroupStateResponse {
    pub results: Vec<DeleteStateResult>,
}

/// An element of `DeleteShareGroupStateResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeleteStateResult {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionResult>,
}

/// An element of `DeleteStateResult::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionResult {
    pub partition: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
}
