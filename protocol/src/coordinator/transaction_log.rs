//! State of transactions: `__transaction_state`.
//!
//! - `TransactionLogKey`: key 0, version 0, never flexible
//! - `TransactionLogValue`: key 0, versions 0 to 1, flexible from 1; v1: flexible; gains `previous_producer_id`,
//!   `next_producer_id`, `next_producer_epoch`, `client_transaction_version` (KIP-482, KIP-915)

use strandline_protocol_derive::Wire;

use crate::ids::{ProducerEpoch, ProducerId, TopicName, TransactionalId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-key", key = 0, versions = 0, flexible = none)]
pub struct TransactionLogKey {
    pub transactional_id: TransactionalId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "coordinator-value", key = 0, versions = 0..=1, flexible = 1..)]
pub struct TransactionLogValue {
    pub producer_id: ProducerId,
    #[wire(versions = 1.., tag = 0, default = -1)]
    pub previous_producer_id: ProducerId,
    #[wire(versions = 1.., tag = 1, default = -1)]
    pub next_producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    #[wire(versions = 1.., tag = 3, default = -1)]
    pub next_producer_epoch: ProducerEpoch,
    pub transaction_timeout_ms: i32,
    pub transaction_status: i8,
    #[wire(nullable)]
    pub transaction_partitions: Option<Vec<PartitionsSchema>>,
    pub transaction_last_update_timestamp_ms: i64,
    pub transaction_start_timestamp_ms: i64,
    #[wire(versions = 1.., tag = 2)]
    pub client_transaction_version: i16,
}

/// An element of `TransactionLogValue::transaction_partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct PartitionsSchema {
    pub topic: TopicName,
    pub partition_ids: Vec<i32>,
}
