//! Records that belong together, and records that say nothing.
//!
//! - `BeginTransactionRecord`: key 23, version 0, flexible
//! - `EndTransactionRecord`: key 24, version 0, flexible
//! - `AbortTransactionRecord`: key 25, version 0, flexible
//! - `NoOpRecord`: key 20, version 0, flexible

use strandline_protocol_derive::Wire;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 23, versions = 0, flexible = 0..)]
pub struct BeginTransactionRecord {
    #[wire(nullable, tag = 0, default = null)]
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 24, versions = 0, flexible = 0..)]
pub struct EndTransactionRecord {}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 25, versions = 0, flexible = 0..)]
pub struct AbortTransactionRecord {
    #[wire(nullable, tag = 0, default = null)]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 20, versions = 0, flexible = 0..)]
pub struct NoOpRecord {}
