//! AlterShareGroupOffsets (key 91): set start offsets of a share group (KIP-932).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, Offset, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 91, versions = 0, flexible = 0..)]
pub struct AlterShareGroupOffsetsRequest {
    pub group_id: GroupId,
    pub topics: Vec<AlterShareGroupOffsetsRequestTopic>,
}

/// An element of `AlterShareGroupOffsetsRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterShareGroupOffsetsRequestTopic {
    pub topic_name: TopicName,
    pub partitions: Vec<AlterShareGroupOffsetsRequestPartition>,
}

/// An element of `AlterShareGroupOffsetsRequestTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterShareGroupOffsetsRequestPartition {
    pub partition_index: i32,
    pub start_offset: Offset,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 91, versions = 0, flexible = 0..)]
pub struct AlterShareGroupOffsetsResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    pub responses: Vec<AlterShareGroupOffsetsResponseTopic>,
}

/// An element of `AlterShareGroupOffsetsResponse::responses`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterShareGroupOffsetsResponseTopic {
    pub topic_name: TopicName,
    pub topic_id: TopicId,
    pub partitions: Vec<AlterShareGroupOffsetsResponsePartition>,
}

/// An element of `AlterShareGroupOffsetsResponseTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterShareGroupOffsetsResponsePartition {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
}
