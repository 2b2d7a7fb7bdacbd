//! Records of `__remote_log_metadata`: segments in remote storage (KIP-405).
//!
//! - `RemoteLogSegmentMetadataRecord`: key 0, version 0, flexible
//! - `RemoteLogSegmentMetadataUpdateRecord`: key 1, version 0, flexible
//! - `RemotePartitionDeleteMetadataRecord`: key 2, version 0, flexible
//! - `RemoteLogSegmentMetadataSnapshotRecord`: key 3, version 0, flexible

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::ids::{BrokerId, LeaderEpoch, Offset, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 0, versions = 0, flexible = 0..)]
pub struct RemoteLogSegmentMetadataRecord {
    pub remote_log_segment_id: RemoteLogSegmentMetadataRemoteLogSegmentIdEntry,
    pub start_offset: Offset,
    pub end_offset: Offset,
    pub broker_id: BrokerId,
    pub max_timestamp_ms: i64,
    pub event_timestamp_ms: i64,
    pub segment_leader_epochs: Vec<RemoteLogSegmentMetadataSegmentLeaderEpochEntry>,
    pub segment_size_in_bytes: i32,
    #[wire(nullable, default = null)]
    pub custom_metadata: Option<Bytes>,
    pub remote_log_segment_state: i8,
    #[wire(tag = 0)]
    pub txn_index_empty: bool,
}

/// The value of `RemoteLogSegmentMetadataRecord::remote_log_segment_id`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "RemoteLogSegmentIdEntry")]
pub struct RemoteLogSegmentMetadataRemoteLogSegmentIdEntry {
    pub topic_id_partition: RemoteLogSegmentMetadataTopicIdPartitionEntry,
    pub id: Uuid,
}

/// The value of `RemoteLogSegmentMetadataRemoteLogSegmentIdEntry::topic_id_partition`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicIdPartitionEntry")]
pub struct RemoteLogSegmentMetadataTopicIdPartitionEntry {
    pub name: String,
    pub id: Uuid,
    pub partition: i32,
}

/// An element of `RemoteLogSegmentMetadataRecord::segment_leader_epochs`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "SegmentLeaderEpochEntry")]
pub struct RemoteLogSegmentMetadataSegmentLeaderEpochEntry {
    pub leader_epoch: LeaderEpoch,
    pub offset: Offset,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 1, versions = 0, flexible = 0..)]
pub struct RemoteLogSegmentMetadataUpdateRecord {
    pub remote_log_segment_id: RemoteLogSegmentMetadataUpdateRemoteLogSegmentIdEntry,
    pub broker_id: BrokerId,
    pub event_timestamp_ms: i64,
    #[wire(nullable, default = null)]
    pub custom_metadata: Option<Bytes>,
    pub remote_log_segment_state: i8,
}

/// The value of `RemoteLogSegmentMetadataUpdateRecord::remote_log_segment_id`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "RemoteLogSegmentIdEntry")]
pub struct RemoteLogSegmentMetadataUpdateRemoteLogSegmentIdEntry {
    pub topic_id_partition: RemoteLogSegmentMetadataUpdateTopicIdPartitionEntry,
    pub id: Uuid,
}

/// The value of `RemoteLogSegmentMetadataUpdateRemoteLogSegmentIdEntry::topic_id_partition`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicIdPartitionEntry")]
pub struct RemoteLogSegmentMetadataUpdateTopicIdPartitionEntry {
    pub name: String,
    pub id: Uuid,
    pub partition: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 2, versions = 0, flexible = 0..)]
pub struct RemotePartitionDeleteMetadataRecord {
    pub topic_id_partition: RemotePartitionDeleteMetadataTopicIdPartitionEntry,
    pub broker_id: BrokerId,
    pub event_timestamp_ms: i64,
    pub remote_partition_delete_state: i8,
}

/// The value of `RemotePartitionDeleteMetadataRecord::topic_id_partition`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicIdPartitionEntry")]
pub struct RemotePartitionDeleteMetadataTopicIdPartitionEntry {
    pub name: String,
    pub id: Uuid,
    pub partition: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 3, versions = 0, flexible = 0..)]
pub struct RemoteLogSegmentMetadataSnapshotRecord {
    pub segment_id: Uuid,
    pub start_offset: Offset,
    pub end_offset: Offset,
    pub broker_id: BrokerId,
    pub max_timestamp_ms: i64,
    pub event_timestamp_ms: i64,
    pub segment_leader_epochs: Vec<RemoteLogSegmentMetadataSnapshotSegmentLeaderEpochEntry>,
    pub segment_size_in_bytes: i32,
    #[wire(nullable, default = null)]
    pub custom_metadata: Option<Bytes>,
    pub remote_log_segment_state: i8,
    #[wire(tag = 0)]
    pub txn_index_empty: bool,
}

/// An element of `RemoteLogSegmentMetadataSnapshotRecord::segment_leader_epochs`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "SegmentLeaderEpochEntry")]
pub struct RemoteLogSegmentMetadataSnapshotSegmentLeaderEpochEntry {
    pub leader_epoch: LeaderEpoch,
    pub offset: Offset,
}
