//! ShareFetch (key 78): acquire records of a share group (KIP-932).
//!
//! Versions 1 to 2, flexible.
//!
//! - v2: the request gains `share_acquire_mode`, `is_renew_ack` (KIP-1206, KIP-1222)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, GroupId, LeaderEpoch, Offset, TopicId};
use crate::wire::Records;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 78, versions = 1..=2, flexible = 0..)]
pub struct ShareFetchRequest {
    #[wire(nullable, default = null)]
    pub group_id: Option<GroupId>,
    #[wire(nullable)]
    pub member_id: Option<String>,
    pub share_session_epoch: i32,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    #[wire(default = 0x7fff_ffff)]
    pub max_bytes: i32,
    pub max_records: i32,
    pub batch_size: i32,
    #[wire(versions = 2.., ignorable)]
    pub share_acquire_mode: i8,
    #[wire(versions = 2..)]
    pub is_renew_ack: bool,
    pub topics: Vec<FetchTopic>,
    pub forgotten_topics_data: Vec<ForgottenTopic>,
}

/// An element of `ShareFetchRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct FetchTopic {
    pub topic_id: TopicId,
    pub partitions: Vec<FetchPartition>,
}

/// An element of `FetchTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct FetchPartition {
    pub partition_index: i32,
    #[wire(versions = 0)]
    pub partition_max_bytes: i32,
    pub acknowledgement_batches: Vec<AcknowledgementBatch>,
}

/// An element of `FetchPartition::acknowledgement_batches`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AcknowledgementBatch {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub acknowledge_types: Vec<i8>,
}

/// An element of `ShareFetchRequest::forgotten_topics_data`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ForgottenTopic {
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 78, versions = 1..=2, flexible = 0..)]
pub struct ShareFetchResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    pub acquisition_lock_timeout_ms: i32,
    pub responses: Vec<ShareFetchableTopicResponse>,
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// An element of `ShareFetchResponse::responses`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ShareFetchableTopicResponse {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionData>,
}

/// An element of `ShareFetchableTopicResponse::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionData {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    pub acknowledge_error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub acknowledge_error_message: Option<String>,
    pub current_leader: LeaderIdAndEpoch,
    pub records: Records,
    pub acquired_records: Vec<AcquiredRecords>,
}

/// The value of `PartitionData::current_leader`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct LeaderIdAndEpoch {
    pub leader_id: BrokerId,
    pub leader_epoch: LeaderEpoch,
}

/// An element of `PartitionData::acquired_records`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AcquiredRecords {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub delivery_count: i16,
}

/// An element of `ShareFetchResponse::node_endpoints`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct NodeEndpoint {
    pub node_id: BrokerId,
    pub host: String,
    pub port: i32,
    #[wire(nullable, default = null)]
    pub rack: Option<String>,
}
