//! Quotas of users, clients and addresses.
//!
//! - `ClientQuotaRecord`: key 14, version 0, flexible

use strandline_protocol_derive::Wire;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 14, versions = 0, flexible = 0..)]
pub struct ClientQuotaRecord {
    pub entity: Vec<EntityData>,
    pub key: String,
    pub value: f64,
    pub remove: bool,
}

/// An element of `ClientQuotaRecord::entity`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct EntityData {
    pub entity_type: String,
    #[wire(nullable)]
    pub entity_name: Option<String>,
}
