//! ExpireDelegationToken (key 40): end a delegation token (KIP-48).
//!
//! Versions 1 to 2, flexible from 2.
//!
//! - v2: flexible (KIP-482)

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 40, versions = 1..=2, flexible = 2..)]
pub struct ExpireDelegationTokenRequest {
    pub hmac: Bytes,
    pub expiry_time_period_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 40, versions = 1..=2, flexible = 2..)]
pub struct ExpireDelegationTokenResponse {
    pub error_code: ErrorCode,
    pub expiry_timestamp_ms: i64,
    pub throttle_time_ms: i32,
}
