//! Configuration of topics, brokers and groups, key by key.
//!
//! - `ConfigRecord`: key 4, version 0, flexible

use strandline_protocol_derive::Wire;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 4, versions = 0, flexible = 0..)]
pub struct ConfigRecord {
    pub resource_type: i8,
    pub resource_name: String,
    pub name: String,
    #[wire(nullable)]
    pub value: Option<String>,
}
