//! DescribeTransactions (key 65): state and partitions of transactions (KIP-664).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId, TopicName, TransactionalId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 65, versions = 0, flexible = 0..)]
pub struct DescribeTransactionsRequest {
    pub transactional_ids: Vec<TransactionalId>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 65, versions = 0, flexible = 0..)]
pub struct DescribeTransactionsResponse {
    pub throttle_time_ms: i32,
    pub transaction_states: Vec<TransactionState>,
}

/// An element of `DescribeTransactionsResponse::transaction_states`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TransactionState {
    pub error_code: ErrorCode,
    pub transactional_id: TransactionalId,
    pub transaction_state: String,
    pub transaction_timeout_ms: i32,
    pub transaction_start_time_ms: i64,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub topics: Vec<TopicData>,
}

/// An element of `TransactionState::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicData {
    pub topic: TopicName,
    pub partitions: Vec<i32>,
}
