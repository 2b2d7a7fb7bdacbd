//! DescribeAcls (key 29): access rules that match a filter (KIP-140).
//!
//! Versions 1 to 3, flexible from 2.
//!
//! - v2: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 29, versions = 1..=3, flexible = 2..)]
pub struct DescribeAclsRequest {
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
#[wire(kind = "response", key = 29, versions = 1..=3, flexible = 2..)]
pub struct DescribeAclsResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    pub resources: Vec<DescribeAclsResource>,
}

/// An element of `DescribeAclsResponse::resources`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeAclsResource {
    pub resource_type: i8,
    pub resource_name: String,
    #[wire(default = 3)]
    pub pattern_type: i8,
    pub acls: Vec<AclDescription>,
}

/// An element of `DescribeAclsResource::acls`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AclDescription {
    pub principal: String,
    pub host: String,
    pub operation: i8,
    pub permission_type: i8,
}
