//! FetchSnapshot (key 59): read a snapshot of the metadata log in pieces (KIP-630).
//!
//! Versions 0 to 1, flexible.
//!
//! - v1: the request gains `replica_directory_id`; the response gains `node_endpoints` (KIP-853)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, Offset, TopicName, Uuid};
use crate::wire::Records;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 59, versions = 0..=1, flexible = 0..)]
pub struct FetchSnapshotRequest {
    #[wire(nullable, tag = 0, default = null)]
    pub cluster_id: Option<String>,
    #[wire(default = -1)]
    pub replica_id: BrokerId,
    #[wire(default = 0x7fff_ffff)]
    pub max_bytes: i32,
    pub topics: Vec<RequestTopicSnapshot>,
}

/// An element of `FetchSnapshotRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicSnapshot")]
pub struct RequestTopicSnapshot {
    pub name: TopicName,
    pub partitions: Vec<RequestPartitionSnapshot>,
}

/// An element of `RequestTopicSnapshot::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "PartitionSnapshot")]
pub struct RequestPartitionSnapshot {
    pub partition: i32,
    pub current_leader_epoch: LeaderEpoch,
    pub snapshot_id: RequestSnapshotId,
    pub position: i64,
    #[wire(versions = 1.., tag = 0, ignorable)]
    pub replica_directory_id: Uuid,
}

/// The value of `RequestPartitionSnapshot::snapshot_id`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "SnapshotId")]
pub struct RequestSnapshotId {
    pub end_offset: Offset,
    pub epoch: LeaderEpoch,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 59, versions = 0..=1, flexible = 0..)]
pub struct FetchSnapshotResponse {
    #[wire(ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    pub topics: Vec<ResponseTopicSnapshot>,
    #[wire(versions = 1.., tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// An element of `FetchSnapshotResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicSnapshot")]
pub struct ResponseTopicSnapshot {
    pub name: TopicName,
    pub partitions: Vec<ResponsePartitionSnapshot>,
}

/// An element of `ResponseTopicSnapshot::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "PartitionSnapshot")]
pub struct ResponsePartitionSnapshot {
    pub index: i32,
    pub error_code: ErrorCode,
    pub snapshot_id: ResponseSnapshotId,
    #[wire(tag = 0)]
    pub current_leader: LeaderIdAndEpoch,
    pub size: i64,
    pub position: i64,
    pub unaligned_records: Records,
}

/// The value of `ResponsePartitionSnapshot::snapshot_id`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "SnapshotId")]
pub struct ResponseSnapshotId {
    pub end_offset: Offset,
    pub epoch: LeaderEpoch,
}

/// The value of `ResponsePartitionSnapshot::current_leader`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct LeaderIdAndEpoch {
    pub leader_id: BrokerId,
    pub leader_epoch: LeaderEpoch,
}

/// An element of `FetchSnapshotResponse::node_endpoints`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct NodeEndpoint {
    pub node_id: BrokerId,
    pub host: String,
    pub port: u16,
}
