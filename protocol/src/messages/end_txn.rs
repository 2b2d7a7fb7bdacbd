//! EndTxn (key 26): commit or abort a transaction (KIP-98).
//!
//! Versions 0 to 5, flexible from 3.
//!
//! - v1: answers first and throttles then (KIP-219)
//! - v2: may be answered with PRODUCER_FENCED (KIP-588)
//! - v3: flexible (KIP-482)
//! - v4: may be answered with TRANSACTION_ABORTABLE (KIP-890)
//! - v5: the response gains `producer_id`, `producer_epoch`; the epoch is raised with every transaction (KIP-890)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId, TransactionalId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 26, versions = 0..=5, flexible = 3..)]
pub struct EndTxnRequest {
    pub transactional_id: TransactionalId,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub committed: bool,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 26, versions = 0..=5, flexible = 3..)]
pub struct EndTxnResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(versions = 5.., default = -1, ignorable)]
    pub producer_id: ProducerId,
    #[wire(versions = 5.., default = -1, ignorable)]
    pub producer_epoch: ProducerEpoch,
}
