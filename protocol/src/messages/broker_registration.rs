//! BrokerRegistration (key 62): a broker registers with the controller (KIP-631).
//!
//! Versions 0 to 4, flexible.
//!
//! - v1: the request gains `is_migrating_zk_broker` (KIP-866)
//! - v2: the request gains `log_dirs` (KIP-858)
//! - v3: the request gains `previous_broker_epoch` (KIP-966)
//! - v4: a feature may start at level 0

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 62, versions = 0..=4, flexible = 0..)]
pub struct BrokerRegistrationRequest {
    pub broker_id: BrokerId,
    pub cluster_id: String,
    pub incarnation_id: Uuid,
    pub listeners: Vec<Listener>,
    pub features: Vec<Feature>,
    #[wire(nullable)]
    pub rack: Option<String>,
    #[wire(versions = 1..)]
    pub is_migrating_zk_broker: bool,
    #[wire(versions = 2.., ignorable)]
    pub log_dirs: Vec<Uuid>,
    #[wire(versions = 3.., default = -1, ignorable)]
    pub previous_broker_epoch: i64,
}

/// An element of `BrokerRegistrationRequest::listeners`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Listener {
    pub name: String,
    pub host: String,
    pub port: u16,
    pub security_protocol: i16,
}

/// An element of `BrokerRegistrationRequest::features`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Feature {
    pub name: String,
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 62, versions = 0..=4, flexible = 0..)]
pub struct BrokerRegistrationResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(default = -1)]
    pub broker_epoch: i64,
}
