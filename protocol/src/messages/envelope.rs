//! Envelope (key 58): a client's request, forwarded to the controller with its principal (KIP-590).
//!
//! Version 0, flexible.

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 58, versions = 0, flexible = 0..)]
pub struct EnvelopeRequest {
    pub request_data: Bytes,
    #[wire(nullable)]
    pub request_principal: Option<Bytes>,
    pub client_host_address: Bytes,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 58, versions = 0, flexible = 0..)]
pub struct EnvelopeResponse {
    #[wire(nullable, default = null)]
    pub response_data: Option<Bytes>,
    pub error_code: ErrorCode,
}
