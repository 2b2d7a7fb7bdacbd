//! Produce (key 0): append record batches to partitions.
//!
//! Versions 3 to 13, flexible from 9. Versions 0 to 2 carried older record formats and are gone (KIP-896); librdkafka
//! wants to see them advertised all the same, so Kafka lists them and refuses them.
//!
//! - v5: the response gains `log_start_offset` (KIP-107)
//! - v7: zstd may be used (KIP-110)
//! - v8: the response gains `record_errors`, `error_message` (KIP-467)
//! - v9: flexible (KIP-482)
//! - v10: the response gains `current_leader`, `node_endpoints` (KIP-951)
//! - v11: may be answered with TRANSACTION_ABORTABLE (KIP-890)
//! - v12: adds its partitions to the transaction by itself (KIP-890)
//! - v13: the request gains `topic_id` and loses `name`; the response gains `topic_id` and loses `name` (KIP-516)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, Offset, TopicId, TopicName, TransactionalId};
use crate::wire::Records;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 0, versions = 3..=13, flexible = 9..)]
pub struct ProduceRequest {
    #[wire(nullable, default = null)]
    pub transactional_id: Option<TransactionalId>,
    pub acks: i16,
    pub timeout_ms: i32,
    pub topic_data: Vec<TopicProduceData>,
}

/// An element of `ProduceRequest::topic_data`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicProduceData {
    #[wire(versions = ..=12, ignorable)]
    pub name: TopicName,
    #[wire(versions = 13.., ignorable)]
    pub topic_id: TopicId,
    pub partition_data: Vec<PartitionProduceData>,
}

/// An element of `TopicProduceData::partition_data`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionProduceData {
    pub index: i32,
    #[wire(nullable, default = null)]
    pub records: Option<Records>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 0, versions = 3..=13, flexible = 9..)]
pub struct ProduceResponse {
    pub responses: Vec<TopicProduceResponse>,
    #[wire(ignorable)]
    pub throttle_time_ms: i32,
    #[wire(versions = 10.., tag = 0)]
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// An element of `ProduceResponse::responses`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicProduceResponse {
    #[wire(versions = ..=12, ignorable)]
    pub name: TopicName,
    #[wire(versions = 13.., ignorable)]
    pub topic_id: TopicId,
    pub partition_responses: Vec<PartitionProduceResponse>,
}

/// An element of `TopicProduceResponse::partition_responses`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionProduceResponse {
    pub index: i32,
    pub error_code: ErrorCode,
    pub base_offset: Offset,
    #[wire(default = -1, ignorable)]
    pub log_append_time_ms: i64,
    #[wire(versions = 5.., default = -1, ignorable)]
    pub log_start_offset: Offset,
    #[wire(versions = 8.., ignorable)]
    pub record_errors: Vec<BatchIndexAndErrorMessage>,
    #[wire(versions = 8.., nullable, default = null, ignorable)]
    pub error_message: Option<String>,
    #[wire(versions = 10.., tag = 0)]
    pub current_leader: LeaderIdAndEpoch,
}

/// An element of `PartitionProduceResponse::record_errors`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct BatchIndexAndErrorMessage {
    pub batch_index: i32,
    #[wire(nullable, default = null)]
    pub batch_index_error_message: Option<String>,
}

/// The value of `PartitionProduceResponse::current_leader`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct LeaderIdAndEpoch {
    #[wire(default = -1)]
    pub leader_id: BrokerId,
    #[wire(default = -1)]
    pub leader_epoch: LeaderEpoch,
}

/// An element of `ProduceResponse::node_endpoints`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct NodeEndpoint {
    pub node_id: BrokerId,
    pub host: String,
    pub port: i32,
    #[wire(nullable, default = null)]
    pub rack: Option<String>,
}
