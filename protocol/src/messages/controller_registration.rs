//! ControllerRegistration (key 70): a controller registers with the active controller (KIP-919).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 70, versions = 0, flexible = 0..)]
pub struct ControllerRegistrationRequest {
    pub controller_id: BrokerId,
    pub incarnation_id: Uuid,
    pub zk_migration_ready: bool,
    pub listeners: Vec<Listener>,
    pub features: Vec<Feature>,
}

/// An element of `ControllerRegistrationRequest::listeners`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Listener {
    pub name: String,
    pub host: String,
    pub port: u16,
    pub security_protocol: i16,
}

/// An element of `ControllerRegistrationRequest::features`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Feature {
    pub name: String,
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 70, versions = 0, flexible = 0..)]
pub struct ControllerRegistrationResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
}
