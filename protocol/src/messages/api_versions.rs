//! ApiVersions (key 18): which APIs and features the peer has, in which versions (KIP-35).
//!
//! Versions 0 to 4, flexible from 3.
//!
//! - v1: the response gains `throttle_time_ms` (KIP-124)
//! - v2: answers first and throttles then (KIP-219)
//! - v3: flexible; the request gains `client_software_name`, `client_software_version`; the response gains
//!   `supported_features`, `finalized_features_epoch`, `finalized_features`, `zk_migration_ready` (KIP-482, KIP-511,
//!   KIP-584)
//! - v4: a feature may start at level 0

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 18, versions = 0..=4, flexible = 3..)]
pub struct ApiVersionsRequest {
    #[wire(versions = 3.., ignorable)]
    pub client_software_name: String,
    #[wire(versions = 3.., ignorable)]
    pub client_software_version: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 18, versions = 0..=4, flexible = 3..)]
pub struct ApiVersionsResponse {
    pub error_code: ErrorCode,
    pub api_keys: Vec<ApiVersion>,
    #[wire(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    #[wire(versions = 3.., tag = 0, ignorable)]
    pub supported_features: Vec<SupportedFeatureKey>,
    #[wire(versions = 3.., tag = 1, default = -1, ignorable)]
    pub finalized_features_epoch: i64,
    #[wire(versions = 3.., tag = 2, ignorable)]
    pub finalized_features: Vec<FinalizedFeatureKey>,
    #[wire(versions = 3.., tag = 3, ignorable)]
    pub zk_migration_ready: bool,
}

/// An element of `ApiVersionsResponse::api_keys`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ApiVersion {
    pub api_key: i16,
    pub min_version: i16,
    pub max_version: i16,
}

/// An element of `ApiVersionsResponse::supported_features`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct SupportedFeatureKey {
    pub name: String,
    pub min_version: i16,
    pub max_version: i16,
}

/// An element of `ApiVersionsResponse::finalized_features`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct FinalizedFeatureKey {
    pub name: String,
    pub max_version_level: i16,
    pub min_version_level: i16,
}
