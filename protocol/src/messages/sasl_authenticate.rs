//! SaslAuthenticate (key 36): one message of a SASL exchange (KIP-152).
//!
//! Versions 0 to 2, flexible from 2.
//!
//! - v1: the response gains `session_lifetime_ms` (KIP-368)
//! - v2: flexible (KIP-482)

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 36, versions = 0..=2, flexible = 2..)]
pub struct SaslAuthenticateRequest {
    pub auth_bytes: Bytes,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 36, versions = 0..=2, flexible = 2..)]
pub struct SaslAuthenticateResponse {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    pub auth_bytes: Bytes,
    #[wire(versions = 1.., ignorable)]
    pub session_lifetime_ms: i64,
}
