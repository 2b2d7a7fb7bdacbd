//! AddOffsetsToTxn (key 25): add a group's offsets to a transaction (KIP-98).
//!
//! Versions 0 to 4, flexible from 3.
//!
//! - v1: answers first and throttles then (KIP-219)
//! - v2: may be answered with PRODUCER_FENCED (KIP-588)
//! - v3: flexible (KIP-482)
//! - v4: may be answered with TRANSACTION_ABORTABLE (KIP-890)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, ProducerEpoch, ProducerId, TransactionalId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 25, versions = 0..=4, flexible = 3..)]
pub struct AddOffsetsToTxnRequest {
    pub transactional_id: TransactionalId,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub group_id: GroupId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 25, versions = 0..=4, flexible = 3..)]
pub struct AddOffsetsToTxnResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
}
