//! ShareAcknowledge (key 79): say what became of acquired records (KIP-932).
//!
//! Versions 1 to 2, flexible.
//!
//! - v2: the request gains `is_renew_ack`; the response gains `acquisition_lock_timeout_ms` (KIP-1222)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, GroupId, LeaderEpoch, Offset, TopicId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 79, versions = 1..=2, flexible = 0..)]
pub struct ShareAcknowledgeRequest {
    #[wire(nullable, default = null)]
    pub group_id: Option<GroupId>,
    #[wire(nullable)]
    pub member_id: Option<String>,
    pub share_session_epoch: i32,
    #[wire(versions = 2..)]
    pub is_renew_ack: bool,
    pub topics: Vec<AcknowledgeTopic>,
}

/// An element of `ShareAcknowledgeRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AcknowledgeTopic {
    pub topic_id: TopicId,
    pub partitions: Vec<AcknowledgePartition>,
}

/// An element of `AcknowledgeTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AcknowledgePartition {
    pub partition_index: i32,
    pub acknowledgement_batches: Vec<AcknowledgementBatch>,
}

/// An element of `AcknowledgePartition::acknowledgement_batches`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AcknowledgementBatch {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub acknowledge_types: Vec<i8>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 79, versions = 1..=2, flexible = 0..)]
pub struct ShareAcknowledgeResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    #[wire(versions = 2.., ignorable)]
    pub acquisition_lock_timeout_ms: i32,
    pub responses: Vec<ShareAcknowledgeTopicResponse>,
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// An element of `ShareAcknowledgeResponse::responses`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ShareAcknowledgeTopicResponse {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionData>,
}

/// An element of `ShareAcknowledgeTopicResponse::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionData {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    pub current_leader: LeaderIdAndEpoch,
}

/// The value of `PartitionData::current_leader`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct LeaderIdAndEpoch {
    pub leader_id: BrokerId,
    pub leader_epoch: LeaderEpoch,
}

/// An element of `ShareAcknowledgeResponse::node_endpoints`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct NodeEndpoint {
    pub node_id: BrokerId,
    pub host: String,
    pub port: i32,
    #[wire(nullable, default = null)]
    pub rack: Option<String>,
}
