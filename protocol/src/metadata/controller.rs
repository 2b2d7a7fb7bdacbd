//! Controllers register with the active one.
//!
//! - `RegisterControllerRecord`: key 27, version 0, flexible

use strandline_protocol_derive::Wire;

use crate::ids::{BrokerId, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 27, versions = 0, flexible = 0..)]
pub struct RegisterControllerRecord {
    pub controller_id: BrokerId,
    pub incarnation_id: Uuid,
    pub zk_migration_ready: bool,
    pub end_points: Vec<ControllerEndpoint>,
    pub features: Vec<ControllerFeature>,
}

/// An element of `RegisterControllerRecord::end_points`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ControllerEndpoint {
    pub name: String,
    pub host: String,
    pub port: u16,
    pub security_protocol: i16,
}

/// An element of `RegisterControllerRecord::features`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ControllerFeature {
    pub name: String,
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}
