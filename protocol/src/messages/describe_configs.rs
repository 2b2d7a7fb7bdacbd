//! DescribeConfigs (key 32): configuration of topics, brokers, groups and clients (KIP-133).
//!
//! Versions 1 to 4, flexible from 4.
//!
//! - v2: answers first and throttles then (KIP-219)
//! - v3: the request gains `include_documentation`; the response gains `config_type`, `documentation` (KIP-569)
//! - v4: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 32, versions = 1..=4, flexible = 4..)]
pub struct DescribeConfigsRequest {
    pub resources: Vec<DescribeConfigsResource>,
    pub include_synonyms: bool,
    #[wire(versions = 3..)]
    pub include_documentation: bool,
}

/// An element of `DescribeConfigsRequest::resources`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeConfigsResource {
    pub resource_type: i8,
    pub resource_name: String,
    #[wire(nullable)]
    pub configuration_keys: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 32, versions = 1..=4, flexible = 4..)]
pub struct DescribeConfigsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<DescribeConfigsResult>,
}

/// An element of `DescribeConfigsResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeConfigsResult {
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    pub resource_type: i8,
    pub resource_name: String,
    pub configs: Vec<DescribeConfigsResourceResult>,
}

/// An element of `DescribeConfigsResult::configs`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeConfigsResourceResult {
    pub name: String,
    #[wire(nullable)]
    pub value: Option<String>,
    pub read_only: bool,
    #[wire(default = -1, ignorable)]
    pub config_source: i8,
    pub is_sensitive: bool,
    #[wire(ignorable)]
    pub synonyms: Vec<DescribeConfigsSynonym>,
    #[wire(versions = 3.., ignorable)]
    pub config_type: i8,
    #[wire(versions = 3.., nullable, ignorable)]
    pub documentation: Option<String>,
}

/// An element of `DescribeConfigsResourceResult::synonyms`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeConfigsSynonym {
    pub name: String,
    #[wire(nullable)]
    pub value: Option<String>,
    pub source: i8,
}
