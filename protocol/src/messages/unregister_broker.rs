//! UnregisterBroker (key 64): remove the registration of a broker (KIP-631).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::BrokerId;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 64, versions = 0, flexible = 0..)]
pub struct UnregisterBrokerRequest {
    pub broker_id: BrokerId,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 64, versions = 0, flexible = 0..)]
pub struct UnregisterBrokerResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
}
