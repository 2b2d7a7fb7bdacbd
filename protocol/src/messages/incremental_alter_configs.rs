//! IncrementalAlterConfigs (key 44): change single configuration keys (KIP-339).
//!
//! Versions 0 to 1, flexible from 1.
//!
//! - v1: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 44, versions = 0..=1, flexible = 1..)]
pub struct IncrementalAlterConfigsRequest {
    pub resources: Vec<AlterConfigsResource>,
    pub validate_only: bool,
}

/// An element of `IncrementalAlterConfigsRequest::resources`.
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
    pub config_operation: i8,
    #[wire(nullable)]
    pub value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 44, versions = 0..=1, flexible = 1..)]
pub struct IncrementalAlterConfigsResponse {
    pub throttle_time_ms: i32,
    pub responses: Vec<AlterConfigsResourceResponse>,
}

/// An element of `IncrementalAlterConfigsResponse::responses`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterConfigsResourceResponse {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    pub resource_type: i8,
    pub resource_name: String,
}
