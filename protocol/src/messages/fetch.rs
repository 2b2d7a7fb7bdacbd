//! Fetch (key 1): read record batches, as a consumer, a follower or an observer of the quorum.
//!
//! Versions 4 to 18, flexible from 12.
//!
//! - v5: the request gains `log_start_offset`; the response gains `log_start_offset` (KIP-107)
//! - v7: the request gains `session_id`, `session_epoch`, `forgotten_topics_data`; the response gains `error_code`,
//!   `session_id`; sessions, so that only changes travel (KIP-227)
//! - v8: answers first and throttles then (KIP-219)
//! - v9: the request gains `current_leader_epoch` (KIP-320)
//! - v10: zstd may be answered (KIP-110)
//! - v11: the request gains `rack_id`; the response gains `preferred_read_replica`; reading from the closest replica
//!   (KIP-392)
//! - v12: flexible; the request gains `cluster_id`, `last_fetched_epoch`; the response gains `diverging_epoch`,
//!   `current_leader`, `snapshot_id`; the quorum fetches, and diverging epochs are told (KIP-482, KIP-595)
//! - v13: the request gains `topic_id` and loses `topic`; the response gains `topic_id` and loses `topic` (KIP-516)
//! - v14: may be answered with OFFSET_MOVED_TO_TIERED_STORAGE (KIP-405)
//! - v15: the request gains `replica_state` and loses `replica_id` (KIP-903)
//! - v16: the response gains `node_endpoints` (KIP-951)
//! - v17: the request gains `replica_directory_id` (KIP-853)
//! - v18: the request gains `high_watermark` (KIP-1166)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, Offset, ProducerId, TopicId, TopicName, Uuid};
use crate::wire::Records;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 1, versions = 4..=18, flexible = 12..)]
pub struct FetchRequest {
    #[wire(versions = 12.., nullable, tag = 0, default = null, ignorable)]
    pub cluster_id: Option<String>,
    #[wire(versions = ..=14, default = -1)]
    pub replica_id: BrokerId,
    #[wire(versions = 15.., tag = 1)]
    pub replica_state: ReplicaState,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    #[wire(default = 0x7fff_ffff, ignorable)]
    pub max_bytes: i32,
    #[wire(ignorable)]
    pub isolation_level: i8,
    #[wire(versions = 7.., ignorable)]
    pub session_id: i32,
    #[wire(versions = 7.., default = -1, ignorable)]
    pub session_epoch: i32,
    pub topics: Vec<FetchTopic>,
    #[wire(versions = 7..)]
    pub forgotten_topics_data: Vec<ForgottenTopic>,
    #[wire(versions = 11.., ignorable)]
    pub rack_id: String,
}

/// The value of `FetchRequest::replica_state`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ReplicaState {
    #[wire(default = -1)]
    pub replica_id: BrokerId,
    #[wire(default = -1)]
    pub replica_epoch: i64,
}

/// An element of `FetchRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct FetchTopic {
    #[wire(versions = ..=12, ignorable)]
    pub topic: TopicName,
    #[wire(versions = 13.., ignorable)]
    pub topic_id: TopicId,
    pub partitions: Vec<FetchPartition>,
}

/// An element of `FetchTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct FetchPartition {
    pub partition: i32,
    #[wire(versions = 9.., default = -1, ignorable)]
    pub current_leader_epoch: LeaderEpoch,
    pub fetch_offset: Offset,
    #[wire(versions = 12.., default = -1)]
    pub last_fetched_epoch: LeaderEpoch,
    #[wire(versions = 5.., default = -1, ignorable)]
    pub log_start_offset: Offset,
    pub partition_max_bytes: i32,
    #[wire(versions = 17.., tag = 0, ignorable)]
    pub replica_directory_id: Uuid,
    #[wire(versions = 18.., tag = 1, default = 0x7fff_ffff_ffff_ffff, ignorable)]
    pub high_watermark: Offset,
}

/// An element of `FetchRequest::forgotten_topics_data`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ForgottenTopic {
    #[wire(versions = ..=12, ignorable)]
    pub topic: TopicName,
    #[wire(versions = 13.., ignorable)]
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 1, versions = 4..=18, flexible = 12..)]
pub struct FetchResponse {
    #[wire(ignorable)]
    pub throttle_time_ms: i32,
    #[wire(versions = 7.., ignorable)]
    pub error_code: ErrorCode,
    #[wire(versions = 7..)]
    pub session_id: i32,
    pub responses: Vec<FetchableTopicResponse>,
    #[wire(versions = 16.., tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// An element of `FetchResponse::responses`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct FetchableTopicResponse {
    #[wire(versions = ..=12, ignorable)]
    pub topic: TopicName,
    #[wire(versions = 13.., ignorable)]
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionData>,
}

/// An element of `FetchableTopicResponse::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionData {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    pub high_watermark: Offset,
    #[wire(default = -1, ignorable)]
    pub last_stable_offset: Offset,
    #[wire(versions = 5.., default = -1, ignorable)]
    pub log_start_offset: Offset,
    #[wire(versions = 12.., tag = 0)]
    pub diverging_epoch: EpochEndOffset,
    #[wire(versions = 12.., tag = 1)]
    pub current_leader: LeaderIdAndEpoch,
    #[wire(versions = 12.., tag = 2)]
    pub snapshot_id: SnapshotId,
    #[wire(nullable, ignorable)]
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    #[wire(versions = 11.., default = -1)]
    pub preferred_read_replica: BrokerId,
    #[wire(nullable, default = null)]
    pub records: Option<Records>,
}

/// The value of `PartitionData::diverging_epoch`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct EpochEndOffset {
    #[wire(default = -1)]
    pub epoch: LeaderEpoch,
    #[wire(default = -1)]
    pub end_offset: Offset,
}

/// The value of `PartitionData::current_leader`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct LeaderIdAndEpoch {
    #[wire(default = -1)]
    pub leader_id: BrokerId,
    #[wire(default = -1)]
    pub leader_epoch: LeaderEpoch,
}

/// The value of `PartitionData::snapshot_id`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct SnapshotId {
    #[wire(default = -1)]
    pub end_offset: Offset,
    #[wire(default = -1)]
    pub epoch: LeaderEpoch,
}

/// An element of `PartitionData::aborted_transactions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AbortedTransaction {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
}

/// An element of `FetchResponse::node_endpoints`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct NodeEndpoint {
    pub node_id: BrokerId,
    pub host: String,
    pub port: i32,
    #[wire(nullable, default = null)]
    pub rack: Option<String>,
}
