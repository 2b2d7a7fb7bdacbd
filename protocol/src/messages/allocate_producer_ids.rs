//! AllocateProducerIds (key 67): a block of producer ids for a broker (KIP-730).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, ProducerId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 67, versions = 0, flexible = 0..)]
pub struct AllocateProducerIdsRequest {
    pub broker_id: BrokerId,
    #[wire(default = -1)]
    pub broker_epoch: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 67, versions = 0, flexible = 0..)]
pub struct AllocateProducerIdsResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    pub producer_id_start: ProducerId,
    pub producer_id_len: i32,
}
