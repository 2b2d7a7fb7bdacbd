//! TxnOffsetCommit (key 28): commit positions of a group within a transaction (KIP-98).
//!
//! Versions 0 to 5, flexible from 3.
//!
//! - v1: answers first and throttles then (KIP-219)
//! - v2: the request gains `committed_leader_epoch` (KIP-320)
//! - v3: flexible; the request gains `generation_id`, `member_id`, `group_instance_id` (KIP-447, KIP-482)
//! - v4: may be answered with TRANSACTION_ABORTABLE (KIP-890)
//! - v5: adds its group to the transaction by itself (KIP-890)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicName, TransactionalId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 28, versions = 0..=5, flexible = 3..)]
pub struct TxnOffsetCommitRequest {
    pub transactional_id: TransactionalId,
    pub group_id: GroupId,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    #[wire(versions = 3.., default = -1)]
    pub generation_id: i32,
    #[wire(versions = 3..)]
    pub member_id: String,
    #[wire(versions = 3.., nullable, default = null)]
    pub group_instance_id: Option<String>,
    pub topics: Vec<TxnOffsetCommitRequestTopic>,
}

/// An element of `TxnOffsetCommitRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TxnOffsetCommitRequestTopic {
    pub name: TopicName,
    pub partitions: Vec<TxnOffsetCommitRequestPartition>,
}

/// An element of `TxnOffsetCommitRequestTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TxnOffsetCommitRequestPartition {
    pub partition_index: i32,
    pub committed_offset: Offset,
    #[wire(versions = 2.., default = -1, ignorable)]
    pub committed_leader_epoch: LeaderEpoch,
    #[wire(nullable)]
    pub committed_metadata: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 28, versions = 0..=5, flexible = 3..)]
pub struct TxnOffsetCommitResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<TxnOffsetCommitResponseTopic>,
}

/// An element of `TxnOffsetCommitResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TxnOffsetCommitResponseTopic {
    pub name: TopicName,
    pub partitions: Vec<TxnOffsetCommitResponsePartition>,
}

/// An element of `TxnOffsetCommitResponseTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TxnOffsetCommitResponsePartition {
    pub partition_index: i32,
    pub error_code: ErrorCode,
}
