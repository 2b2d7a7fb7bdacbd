//! AlterConfigs (key 33): replace the whole configuration of resources (KIP-133).
//!
//! Versions 0 to 2, flexible from 2.
//!
//! - v1: answers first and throttles then (KIP-219)
//! - v2: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 33, versions = 0..=2, flexible = 2..)]
pub struct AlterConfigsRequest {
    pub resources: Vec<AlterConfigsResource>,
    pub validate_only: bool,
}

/// An element of `AlterConfigsRequest::resources`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterConfigsResource {
    pub resource_type: i8,
    pub resource_name: String,
    pub configs: Vec<AlterableConfig>,
}

/// An element of `AlterConfigsResource::configs`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterableConfig {
    pub name: String,
    #[wire(nullable)]
    pub value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 33, versions = 0..=2, flexible = 2..)]
pub struct AlterConfigsResponse {
    pub throttle_time_ms: i32,
    pub responses: Vec<AlterConfigsResourceResponse>,
}

/// An element of `AlterConfigsResponse::responses`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterConfigsResourceResponse {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    pub resource_type: i8,
    pub resource_name: String,
}
