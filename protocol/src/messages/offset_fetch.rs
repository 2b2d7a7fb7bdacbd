//! OffsetFetch (key 9): read the stored positions of groups.
//!
//! Versions 1 to 10, flexible from 6.
//!
//! - v2: the response gains `error_code`; a null list asks for all topics (KIP-88)
//! - v3: the response gains `throttle_time_ms` (KIP-124)
//! - v4: answers first and throttles then (KIP-219)
//! - v5: the response gains `committed_leader_epoch` (KIP-320)
//! - v6: flexible (KIP-482)
//! - v7: the request gains `require_stable` (KIP-447)
//! - v8: the request gains `groups` and loses `group_id`, `topics`; the response gains `groups` and loses `topics`,
//!   `error_code`; several groups at once (KIP-709)
//! - v9: the request gains `member_id`, `member_epoch` (KIP-848)
//! - v10: the request gains `topic_id` and loses `name`; the response gains `topic_id` and loses `name` (KIP-848)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, LeaderEpoch, Offset, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 9, versions = 1..=10, flexible = 6..)]
pub struct OffsetFetchRequest {
    #[wire(versions = ..=7)]
    pub group_id: GroupId,
    #[wire(versions = ..=7, nullable = 2..)]
    pub topics: Option<Vec<OffsetFetchRequestTopic>>,
    #[wire(versions = 8..)]
    pub groups: Vec<OffsetFetchRequestGroup>,
    #[wire(versions = 7..)]
    pub require_stable: bool,
}

/// An element of `OffsetFetchRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetFetchRequestTopic {
    pub name: TopicName,
    pub partition_indexes: Vec<i32>,
}

/// An element of `OffsetFetchRequest::groups`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetFetchRequestGroup {
    pub group_id: GroupId,
    #[wire(versions = 9.., nullable, default = null, ignorable)]
    pub member_id: Option<String>,
    #[wire(versions = 9.., default = -1, ignorable)]
    pub member_epoch: i32,
    #[wire(nullable)]
    pub topics: Option<Vec<OffsetFetchRequestTopics>>,
}

/// An element of `OffsetFetchRequestGroup::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetFetchRequestTopics {
    #[wire(versions = ..=9, ignorable)]
    pub name: TopicName,
    #[wire(versions = 10.., ignorable)]
    pub topic_id: TopicId,
    pub partition_indexes: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 9, versions = 1..=10, flexible = 6..)]
pub struct OffsetFetchResponse {
    #[wire(versions = 3.., ignorable)]
    pub throttle_time_ms: i32,
    #[wire(versions = ..=7)]
    pub topics: Vec<OffsetFetchResponseTopic>,
    #[wire(versions = 2..=7, ignorable)]
    pub error_code: ErrorCode,
    #[wire(versions = 8..)]
    pub groups: Vec<OffsetFetchResponseGroup>,
}

/// An element of `OffsetFetchResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetFetchResponseTopic {
    pub name: TopicName,
    pub partitions: Vec<OffsetFetchResponsePartition>,
}

/// An element of `OffsetFetchResponseTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetFetchResponsePartition {
    pub partition_index: i32,
    pub committed_offset: Offset,
    #[wire(versions = 5.., default = -1, ignorable)]
    pub committed_leader_epoch: LeaderEpoch,
    #[wire(nullable)]
    pub metadata: Option<String>,
    pub error_code: ErrorCode,
}

/// An element of `OffsetFetchResponse::groups`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetFetchResponseGroup {
    pub group_id: GroupId,
    pub topics: Vec<OffsetFetchResponseTopics>,
    pub error_code: ErrorCode,
}

/// An element of `OffsetFetchResponseGroup::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetFetchResponseTopics {
    #[wire(versions = ..=9, ignorable)]
    pub name: TopicName,
    #[wire(versions = 10.., ignorable)]
    pub topic_id: TopicId,
    pub partitions: Vec<OffsetFetchResponsePartitions>,
}

/// An element of `OffsetFetchResponseTopics::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetFetchResponsePartitions {
    pub partition_index: i32,
    pub committed_offset: Offset,
    #[wire(default = -1, ignorable)]
    pub committed_leader_epoch: LeaderEpoch,
    #[wire(nullable)]
    pub metadata: Option<String>,
    pub error_code: ErrorCode,
}
