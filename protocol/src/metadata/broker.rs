//! Brokers register, are fenced and unfenced, and go.
//!
//! - `RegisterBrokerRecord`: key 0, versions 0 to 4, flexible; v1: gains `in_controlled_shutdown`; v2: gains
//!   `is_migrating_zk_broker`; v3: gains `log_dirs`; v4: gains `cordoned_log_dirs`
//! - `UnregisterBrokerRecord`: key 1, version 0, flexible
//! - `FenceBrokerRecord`: key 7, version 0, flexible
//! - `UnfenceBrokerRecord`: key 8, version 0, flexible
//! - `BrokerRegistrationChangeRecord`: key 17, versions 0 to 3, flexible; v1: gains `in_controlled_shutdown`; v2: gains
//!   `log_dirs`; v3: gains `cordoned_log_dirs`

use strandline_protocol_derive::Wire;

use crate::ids::{BrokerId, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 0, versions = 0..=4, flexible = 0..)]
pub struct RegisterBrokerRecord {
    pub broker_id: BrokerId,
    #[wire(versions = 2..)]
    pub is_migrating_zk_broker: bool,
    pub incarnation_id: Uuid,
    pub broker_epoch: i64,
    pub end_points: Vec<BrokerEndpoint>,
    pub features: Vec<BrokerFeature>,
    #[wire(nullable)]
    pub rack: Option<String>,
    #[wire(default = true)]
    pub fenced: bool,
    #[wire(versions = 1..)]
    pub in_controlled_shutdown: bool,
    #[wire(versions = 3.., tag = 0)]
    pub log_dirs: Vec<Uuid>,
    #[wire(versions = 4.., nullable, tag = 1, default = null)]
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

/// An element of `RegisterBrokerRecord::end_points`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct BrokerEndpoint {
    pub name: String,
    pub host: String,
    pub port: u16,
    pub security_protocol: i16,
}

/// An element of `RegisterBrokerRecord::features`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct BrokerFeature {
    pub name: String,
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 1, versions = 0, flexible = 0..)]
pub struct UnregisterBrokerRecord {
    pub broker_id: BrokerId,
    pub broker_epoch: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 7, versions = 0, flexible = 0..)]
pub struct FenceBrokerRecord {
    pub id: BrokerId,
    pub epoch: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 8, versions = 0, flexible = 0..)]
pub struct UnfenceBrokerRecord {
    pub id: BrokerId,
    pub epoch: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 17, versions = 0..=3, flexible = 0..)]
pub struct BrokerRegistrationChangeRecord {
    pub broker_id: BrokerId,
    pub broker_epoch: i64,
    #[wire(tag = 0)]
    pub fenced: i8,
    #[wire(versions = 1.., tag = 1)]
    pub in_controlled_shutdown: i8,
    #[wire(versions = 2.., tag = 2)]
    pub log_dirs: Vec<Uuid>,
    #[wire(versions = 3.., nullable, tag = 3, default = null)]
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}
