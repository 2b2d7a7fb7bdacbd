//! DescribeDelegationToken (key 41): delegation tokens by owner (KIP-48).
//!
//! Versions 1 to 3, flexible from 2.
//!
//! - v2: flexible (KIP-482)
//! - v3: the response gains `token_requester_principal_type`, `token_requester_principal_name` (KIP-373)

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 41, versions = 1..=3, flexible = 2..)]
pub struct DescribeDelegationTokenRequest {
    #[wire(nullable)]
    pub owners: Option<Vec<DescribeDelegationTokenOwner>>,
}

/// An element of `DescribeDelegationTokenRequest::owners`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeDelegationTokenOwner {
    pub principal_type: String,
    pub principal_name: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 41, versions = 1..=3, flexible = 2..)]
pub struct DescribeDelegationTokenResponse {
    pub error_code: ErrorCode,
    pub tokens: Vec<DescribedDelegationToken>,
    pub throttle_time_ms: i32,
}

/// An element of `DescribeDelegationTokenResponse::tokens`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribedDelegationToken {
    pub principal_type: String,
    pub principal_name: String,
    #[wire(versions = 3..)]
    pub token_requester_principal_type: String,
    #[wire(versions = 3..)]
    pub token_requester_principal_name: String,
    pub issue_timestamp: i64,
    pub expiry_timestamp: i64,
    pub max_timestamp: i64,
    pub token_id: String,
    pub hmac: Bytes,
    pub renewers: Vec<DescribedDelegationTokenRenewer>,
}

/// An element of `DescribedDelegationToken::renewers`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribedDelegationTokenRenewer {
    pub principal_type: String,
    pub principal_name: String,
}
