//! CreateAcls (key 30): add access rules (KIP-140).
//!
//! Versions 1 to 3, flexible from 2.
//!
//! - v2: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 30, versions = 1..=3, flexible = 2..)]
pub struct CreateAclsRequest {
    pub creations: Vec<AclCreation>,
}

/// An element of `CreateAclsRequest::creations`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AclCreation {
    pub resource_type: i8,
    pub resource_name: String,
    #[wire(default = 3)]
    pub resource_pattern_type: i8,
    pub principal: String,
    pub host: String,
    pub operation: i8,
    pub permission_type: i8,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 30, versions = 1..=3, flexible = 2..)]
pub struct CreateAclsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<AclCreationResult>,
}

/// An element of `CreateAclsResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AclCreationResult {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
}
