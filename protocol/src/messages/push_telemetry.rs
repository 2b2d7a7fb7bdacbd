//! PushTelemetry (key 72): metrics of a client (KIP-714).
//!
//! Version 0, flexible.

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::Uuid;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 72, versions = 0, flexible = 0..)]
pub struct PushTelemetryRequest {
    pub client_instance_id: Uuid,
    pub subscription_id: i32,
    pub terminating: bool,
    pub compression_type: i8,
    pub metrics: Bytes,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 72, versions = 0, flexible = 0..)]
pub struct PushTelemetryResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
}
