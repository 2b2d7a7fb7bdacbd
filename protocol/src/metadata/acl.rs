//! Access rules.
//!
//! - `AccessControlEntryRecord`: key 18, version 0, flexible
//! - `RemoveAccessControlEntryRecord`: key 19, version 0, flexible

use strandline_protocol_derive::Wire;

use crate::ids::Uuid;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 18, versions = 0, flexible = 0..)]
pub struct AccessControlEntryRecord {
    pub id: Uuid,
    pub resource_type: i8,
    pub resource_name: String,
    pub pattern_type: i8,
    pub principal: String,
    pub host: String,
    pub operation: i8,
    pub permission_type: i8,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 19, versions = 0, flexible = 0..)]
pub struct RemoveAccessControlEntryRecord {
    pub id: Uuid,
}
