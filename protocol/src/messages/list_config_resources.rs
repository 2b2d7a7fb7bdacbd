//! ListConfigResources (key 74): resources that have a configuration (KIP-1142).
//!
//! Versions 0 to 1, flexible.
//!
//! - v1: the request gains `resource_types`; the response gains `resource_type` (KIP-1142)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 74, versions = 0..=1, flexible = 0..)]
pub struct ListConfigResourcesRequest {
    #[wire(versions = 1..)]
    pub resource_types: Vec<i8>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 74, versions = 0..=1, flexible = 0..)]
pub struct ListConfigResourcesResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    pub config_resources: Vec<ConfigResource>,
}

/// An element of `ListConfigResourcesResponse::config_resources`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ConfigResource {
    pub resource_name: String,
    #[wire(versions = 1.., default = 16, ignorable)]
    pub resource_type: i8,
}
