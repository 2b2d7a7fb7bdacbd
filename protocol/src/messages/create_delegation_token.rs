//! CreateDelegationToken (key 38): issue a delegation token (KIP-48).
//!
//! Versions 1 to 3, flexible from 2.
//!
//! - v2: flexible (KIP-482)
//! - v3: the request gains `owner_principal_type`, `owner_principal_name`; the response gains
//!   `token_requester_principal_type`, `token_requester_principal_name` (KIP-373)

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 38, versions = 1..=3, flexible = 2..)]
pub struct CreateDelegationTokenRequest {
    #[wire(versions = 3.., nullable)]
    pub owner_principal_type: Option<String>,
    #[wire(versions = 3.., nullable)]
    pub owner_principal_name: Option<String>,
    pub renewers: Vec<CreatableRenewers>,
    pub max_lifetime_ms: i64,
}

/// An element of `CreateDelegationTokenRequest::renewers`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct CreatableRenewers {
    pub principal_type: String,
    pub principal_name: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 38, versions = 1..=3, flexible = 2..)]
pub struct CreateDelegationTokenResponse {
    pub error_code: ErrorCode,
    pub principal_type: String,
    pub principal_name: String,
    #[wire(versions = 3..)]
    pub token_requester_principal_type: String,
    #[wire(versions = 3..)]
    pub token_requester_principal_name: String,
    pub issue_timestamp_ms: i64,
    pub expiry_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub token_id: String,
    pub hmac: Bytes,
    pub throttle_time_ms: i32,
}
