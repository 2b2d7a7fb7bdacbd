//! GetTelemetrySubscriptions (key 71): which metrics a client shall push (KIP-714).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::Uuid;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 71, versions = 0, flexible = 0..)]
pub struct GetTelemetrySubscriptionsRequest {
    pub client_instance_id: Uuid,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 71, versions = 0, flexible = 0..)]
pub struct GetTelemetrySubscriptionsResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    pub client_instance_id: Uuid,
    pub subscription_id: i32,
    pub accepted_compression_types: Vec<i8>,
    pub push_interval_ms: i32,
    pub telemetry_max_bytes: i32,
    pub delta_temporality: bool,
    pub requested_metrics: Vec<String>,
}
