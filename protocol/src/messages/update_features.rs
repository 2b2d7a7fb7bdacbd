//! UpdateFeatures (key 57): raise or lower finalized features (KIP-584).
//!
//! Versions 0 to 2, flexible.
//!
//! - v1: the request gains `upgrade_type`, `validate_only` and loses `allow_downgrade` (KIP-778)
//! - v2: the response loses `results`

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 57, versions = 0..=2, flexible = 0..)]
pub struct UpdateFeaturesRequest {
    #[wire(default = 60000, name = "timeoutMs")]
    pub timeout_ms: i32,
    pub feature_updates: Vec<FeatureUpdateKey>,
    #[wire(versions = 1..)]
    pub validate_only: bool,
}

/// An element of `UpdateFeaturesRequest::feature_updates`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct FeatureUpdateKey {
    pub feature: String,
    pub max_version_level: i16,
    #[wire(versions = 0)]
    pub allow_downgrade: bool,
    #[wire(versions = 1.., default = 1)]
    pub upgrade_type: i8,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 57, versions = 0..=2, flexible = 0..)]
pub struct UpdateFeaturesResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    #[wire(versions = ..=1, ignorable)]
    pub results: Vec<UpdatableFeatureResult>,
}

/// An element of `UpdateFeaturesResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct UpdatableFeatureResult {
    pub feature: String,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
}
