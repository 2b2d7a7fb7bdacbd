//! DeleteAcls (key 31): remove access rules that match filters (KIP-140).
//!
//! Versions 1 to 3, flexible from 2.
//!
//! - v2: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 31, versions = 1..=3, flexible = 2..)]
pub struct DeleteAclsRequest {
    pub filters: Vec<DeleteAclsFilter>,
}

/// An element of `DeleteAclsRequest::filters`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeleteAclsFilter {
    pub resource_type_filter: i8,
    #[wire(nullable)]
    pub resource_name_filter: Option<String>,
    #[wire(default = 3)]
    pub pattern_type_filter: i8,
    #[wire(nullable)]
    pub principal_filter: Option<String>,
    #[wire(nullable)]
    pub host_filter: Option<String>,
    pub operation: i8,
    pub permission_type: i8,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 31, versions = 1..=3, flexible = 2..)]
pub struct DeleteAclsResponse {
    pub throttle_time_ms: i32,
    pub filter_results: Vec<DeleteAclsFilterResult>,
}

/// An element of `DeleteAclsResponse::filter_results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeleteAclsFilterResult {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    pub matching_acls: Vec<DeleteAclsMatchingAcl>,
}

/// An element of `DeleteAclsFilterResult::matching_acls`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeleteAclsMatchingAcl {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    pub resource_type: i8,
    pub resource_name: String,
    #[wire(default = 3)]
    pub pattern_type: i8,
    pub principal: String,
    pub host: String,
    pub operation: i8,
    pub permission_type: i8,
}
