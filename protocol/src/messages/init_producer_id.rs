//! InitProducerId (key 22): a producer id and epoch, and an end to what was open under them (KIP-98).
//!
//! Versions 0 to 6, flexible from 2.
//!
//! - v1: answers first and throttles then (KIP-219)
//! - v2: flexible (KIP-482)
//! - v3: the request gains `producer_id`, `producer_epoch` (KIP-360)
//! - v4: may be answered with PRODUCER_FENCED (KIP-588)
//! - v5: may be answered with TRANSACTION_ABORTABLE (KIP-890)
//! - v6: the request gains `enable_2pc`, `keep_prepared_txn`; the response gains `ongoing_txn_producer_id`,
//!   `ongoing_txn_producer_epoch` (KIP-939)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId, TransactionalId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 22, versions = 0..=6, flexible = 2..)]
pub struct InitProducerIdRequest {
    #[wire(nullable)]
    pub transactional_id: Option<TransactionalId>,
    pub transaction_timeout_ms: i32,
    #[wire(versions = 3.., default = -1)]
    pub producer_id: ProducerId,
    #[wire(versions = 3.., default = -1)]
    pub producer_epoch: ProducerEpoch,
    #[wire(versions = 6.., name = "Enable2Pc")]
    pub enable_2pc: bool,
    #[wire(versions = 6..)]
    pub keep_prepared_txn: bool,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 22, versions = 0..=6, flexible = 2..)]
pub struct InitProducerIdResponse {
    #[wire(ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(default = -1)]
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    #[wire(versions = 6.., default = -1)]
    pub ongoing_txn_producer_id: ProducerId,
    #[wire(versions = 6.., default = -1)]
    pub ongoing_txn_producer_epoch: ProducerEpoch,
}
