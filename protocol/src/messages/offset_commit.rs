//! OffsetCommit (key 8): store the positions of a group.
//!
//! Versions 2 to 10, flexible from 8.
//!
//! - v3: the response gains `throttle_time_ms` (KIP-124)
//! - v4: answers first and throttles then (KIP-219)
//! - v5: the request loses `retention_time_ms` (KIP-211)
//! - v6: the request gains `committed_leader_epoch` (KIP-320)
//! - v7: the request gains `group_instance_id` (KIP-345)
//! - v8: flexible (KIP-482)
//! - v9: serves the new consumer groups too (KIP-848)
//! - v10: the request gains `topic_id` and loses `name`; the response gains `topic_id` and loses `name` (KIP-848)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, LeaderEpoch, Offset, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 8, versions = 2..=10, flexible = 8..)]
pub struct OffsetCommitRequest {
    pub group_id: GroupId,
    #[wire(default = -1, ignorable)]
    pub generation_id_or_member_epoch: i32,
    #[wire(ignorable)]
    pub member_id: String,
    #[wire(versions = 7.., nullable, default = null)]
    pub group_instance_id: Option<String>,
    #[wire(versions = ..=4, default = -1, ignorable)]
    pub retention_time_ms: i64,
    pub topics: Vec<OffsetCommitRequestTopic>,
}

/// An element of `OffsetCommitRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetCommitRequestTopic {
    #[wire(versions = ..=9, ignorable)]
    pub name: TopicName,
    #[wire(versions = 10.., ignorable)]
    pub topic_id: TopicId,
    pub partitions: Vec<OffsetCommitRequestPartition>,
}

/// An element of `OffsetCommitRequestTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetCommitRequestPartition {
    pub partition_index: i32,
    pub committed_offset: Offset,
    #[wire(versions = 6.., default = -1, ignorable)]
    pub committed_leader_epoch: LeaderEpoch,
    #[wire(nullable)]
    pub committed_metadata: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 8, versions = 2..=10, flexible = 8..)]
pub struct OffsetCommitResponse {
    #[wire(versions = 3.., ignorable)]
    pub throttle_time_ms: i32,
    pub topics: Vec<OffsetCommitResponseTopic>,
}

/// An element of `OffsetCommitResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetCommitResponseTopic {
    #[wire(versions = ..=9, ignorable)]
    pub name: TopicName,
    #[wire(versions = 10.., ignorable)]
    pub topic_id: TopicId,
    pub partitions: Vec<OffsetCommitResponsePartition>,
}

/// An element of `OffsetCommitResponseTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct OffsetCommitResponsePartition {
    pub partition_index: i32,
    pub error_code: ErrorCode,
}
