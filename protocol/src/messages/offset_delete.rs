//! OffsetDelete (key 47): delete stored positions of a group (KIP-496).
//!
//! Version 0, never flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 47, versions = 0, flexible = none)]
pub struct OffsetDeleteRequest {
    pub group_id: GroupId,
    pub topics: Vec<OffsetDeleteRequestTopic>,
}

/// An element of `OffsetDeleteRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetDeleteRequestTopic {
    pub name: TopicName,
    pub partitions: Vec<OffsetDeleteRequestPartition>,
}

/// An element of `OffsetDeleteRequestTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetDeleteRequestPartition {
    pub partition_index: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 47, versions = 0, flexible = none)]
pub struct OffsetDeleteResponse {
    pub error_code: ErrorCode,
    #[wire(ignorable)]
    pub throttle_time_ms: i32,
    pub topics: Vec<OffsetDeleteResponseTopic>,
}

/// An element of `OffsetDeleteResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetDeleteResponseTopic {
    pub name: TopicName,
    pub partitions: Vec<OffsetDeleteResponsePartition>,
}

/// An element of `OffsetDeleteResponseTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetDeleteResponsePartition {
    pub partition_index: i32,
    pub error_code: ErrorCode,
}
