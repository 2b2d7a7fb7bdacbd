//! AddPartitionsToTxn (key 24): add partitions to a transaction (KIP-98).
//!
//! Versions 0 to 5, flexible from 3.
//!
//! - v1: answers first and throttles then (KIP-219)
//! - v2: may be answered with PRODUCER_FENCED (KIP-588)
//! - v3: flexible (KIP-482)
//! - v4: the request gains `transactions` and loses `v3_and_below_transactional_id`, `v3_and_below_producer_id`,
//!   `v3_and_below_producer_epoch`, `v3_and_below_topics`; the response gains `error_code`, `results_by_transaction` and
//!   loses `results_by_topic_v3_and_below`; spoken by brokers only (KIP-890)
//! - v5: may be answered with TRANSACTION_ABORTABLE (KIP-890)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId, TopicName, TransactionalId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 24, versions = 0..=5, flexible = 3..)]
pub struct AddPartitionsToTxnRequest {
    #[wire(versions = 4..)]
    pub transactions: Vec<AddPartitionsToTxnTransaction>,
    #[wire(versions = ..=3)]
    pub v3_and_below_transactional_id: TransactionalId,
    #[wire(versions = ..=3)]
    pub v3_and_below_producer_id: ProducerId,
    #[wire(versions = ..=3)]
    pub v3_and_below_producer_epoch: ProducerEpoch,
    #[wire(versions = ..=3)]
    pub v3_and_below_topics: Vec<AddPartitionsToTxnTopic>,
}

/// An element of `AddPartitionsToTxnRequest::transactions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AddPartitionsToTxnTransaction {
    pub transactional_id: TransactionalId,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub verify_only: bool,
    pub topics: Vec<AddPartitionsToTxnTopic>,
}

/// Shared by fields of `AddPartitionsToTxnRequest`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AddPartitionsToTxnTopic {
    pub name: TopicName,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 24, versions = 0..=5, flexible = 3..)]
pub struct AddPartitionsToTxnResponse {
    pub throttle_time_ms: i32,
    #[wire(versions = 4.., ignorable)]
    pub error_code: ErrorCode,
    #[wire(versions = 4..)]
    pub results_by_transaction: Vec<AddPartitionsToTxnResult>,
    #[wire(versions = ..=3)]
    pub results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>,
}

/// An element of `AddPartitionsToTxnResponse::results_by_transaction`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AddPartitionsToTxnResult {
    pub transactional_id: TransactionalId,
    pub topic_results: Vec<AddPartitionsToTxnTopicResult>,
}

/// Shared by fields of `AddPartitionsToTxnResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AddPartitionsToTxnTopicResult {
    pub name: TopicName,
    pub results_by_partition: Vec<AddPartitionsToTxnPartitionResult>,
}

/// Shared by fields of `AddPartitionsToTxnResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AddPartitionsToTxnPartitionResult {
    pub partition_index: i32,
    pub partition_error_code: ErrorCode,
}
