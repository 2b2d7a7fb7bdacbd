//! AlterPartition (key 56): a leader proposes a new in-sync set to the controller (KIP-497).
//!
//! Versions 2 to 3, flexible.
//!
//! - v2: topics by id (KIP-841)
//! - v3: the request gains `new_isr_with_epochs` and loses `new_isr` (KIP-903)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, TopicId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 56, versions = 2..=3, flexible = 0..)]
pub struct AlterPartitionRequest {
    pub broker_id: BrokerId,
    #[wire(default = -1)]
    pub broker_epoch: i64,
    pub topics: Vec<RequestTopicData>,
}

/// An element of `AlterPartitionRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicData")]
pub struct RequestTopicData {
    #[wire(ignorable)]
    pub topic_id: TopicId,
    pub partitions: Vec<RequestPartitionData>,
}

/// An element of `RequestTopicData::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "PartitionData")]
pub struct RequestPartitionData {
    pub partition_index: i32,
    pub leader_epoch: LeaderEpoch,
    #[wire(versions = ..=2)]
    pub new_isr: Vec<BrokerId>,
    #[wire(versions = 3..)]
    pub new_isr_with_epochs: Vec<BrokerState>,
    pub leader_recovery_state: i8,
    pub partition_epoch: i32,
}

/// An element of `RequestPartitionData::new_isr_with_epochs`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct BrokerState {
    pub broker_id: BrokerId,
    #[wire(default = -1)]
    pub broker_epoch: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 56, versions = 2..=3, flexible = 0..)]
pub struct AlterPartitionResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    pub topics: Vec<ResponseTopicData>,
}

/// An element of `AlterPartitionResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicData")]
pub struct ResponseTopicData {
    #[wire(ignorable)]
    pub topic_id: TopicId,
    pub partitions: Vec<ResponsePartitionData>,
}

/// An element of `ResponseTopicData::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "PartitionData")]
pub struct ResponsePartitionData {
    pub partition_index: i32,
    pub error_code: ErrorCode,
    pub leader_id: BrokerId,
    pub leader_epoch: LeaderEpoch,
    pub isr: Vec<BrokerId>,
    #[wire(ignorable)]
    pub leader_recovery_state: i8,
    pub partition_epoch: i32,
}
