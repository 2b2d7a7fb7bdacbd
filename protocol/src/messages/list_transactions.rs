//! ListTransactions (key 66): transactions that a broker coordinates (KIP-664).
//!
//! Versions 0 to 2, flexible.
//!
//! - v1: the request gains `duration_filter` (KIP-994, KIP-1152)
//! - v2: the request gains `transactional_id_pattern` (KIP-1152)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{ProducerId, TransactionalId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 66, versions = 0..=2, flexible = 0..)]
pub struct ListTransactionsRequest {
    pub state_filters: Vec<String>,
    pub producer_id_filters: Vec<ProducerId>,
    #[wire(versions = 1.., default = -1)]
    pub duration_filter: i64,
    #[wire(versions = 2.., nullable, default = null)]
    pub transactional_id_pattern: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 66, versions = 0..=2, flexible = 0..)]
pub struct ListTransactionsResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    pub unknown_state_filters: Vec<String>,
    pub transaction_states: Vec<TransactionState>,
}

/// An element of `ListTransactionsResponse::transaction_states`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TransactionState {
    pub transactional_id: TransactionalId,
    pub producer_id: ProducerId,
    pub transaction_state: String,
}
