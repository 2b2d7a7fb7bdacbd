//! DescribeShareGroupOffsets (key 90): start offsets of share groups (KIP-932).
//!
//! Versions 0 to 1, flexible.
//!
//! - v1: the response gains `lag` (KIP-1226)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, LeaderEpoch, Offset, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 90, versions = 0..=1, flexible = 0..)]
pub struct DescribeShareGroupOffsetsRequest {
    pub groups: Vec<DescribeShareGroupOffsetsRequestGroup>,
}

/// An element of `DescribeShareGroupOffsetsRequest::groups`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeShareGroupOffsetsRequestGroup {
    pub group_id: GroupId,
    #[wire(nullable)]
    pub topics: Option<Vec<DescribeShareGroupOffsetsRequestTopic>>,
}

/// An element of `DescribeShareGroupOffsetsRequestGroup::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeShareGroupOffsetsRequestTopic {
    pub topic_name: TopicName,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 90, versions = 0..=1, flexible = 0..)]
pub struct DescribeShareGroupOffsetsResponse {
    pub throttle_time_ms: i32,
    pub groups: Vec<DescribeShareGroupOffsetsResponseGroup>,
}

/// An element of `DescribeShareGroupOffsetsResponse::groups`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeShareGroupOffsetsResponseGroup {
    pub group_id: GroupId,
    pub topics: Vec<DescribeShareGroupOffsetsResponseTopic>,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
}

/// An element of `DescribeShareGroupOffsetsResponseGroup::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeShareGroupOffsetsResponseTopic {
    pub topic_name: TopicName,
    pub topic_id: TopicId,
    pub partitions: Vec<DescribeShareGroupOffsetsResponsePartition>,
}

/// An element of `DescribeShareGroupOffsetsResponseTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeShareGroupOffsetsResponsePartition {
    pub partition_index: i32,
    pub start_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    #[wire(versions = 1.., default = -1, ignorable)]
    pub lag: i64,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
}
