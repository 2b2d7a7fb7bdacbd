//! SaslHandshake (key 17): choose a SASL mechanism (KIP-43).
//!
//! Versions 0 to 1, never flexible.
//!
//! - v1: the exchange goes through SaslAuthenticate (KIP-152)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 17, versions = 0..=1, flexible = none)]
pub struct SaslHandshakeRequest {
    pub mechanism: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 17, versions = 0..=1, flexible = none)]
pub struct SaslHandshakeResponse {
    pub error_code: ErrorCode,
    pub mechanisms: Vec<String>,
}
