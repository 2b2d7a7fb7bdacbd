//! RenewDelegationToken (key 39): let a delegation token live longer (KIP-48).
//!
//! Versions 1 to 2, flexible from 2.
//!
//! - v2: flexible (KIP-482)

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 39, versions = 1..=2, flexible = 2..)]
pub struct RenewDelegationTokenRequest {
    pub hmac: Bytes,
    pub renew_period_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 39, versions = 1..=2, flexible = 2..)]
pub struct RenewDelegationTokenResponse {
    pub error_code: ErrorCode,
    pub expiry_timestamp_ms: i64,
    pub throttle_time_ms: i32,
}
