//! State of a migration from ZooKeeper; a cluster of Kafka 4 has it behind it.
//!
//! - `ZkMigrationStateRecord`: key 21, version 0, flexible

use strandline_protocol_derive::Wire;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 21, versions = 0, flexible = 0..)]
pub struct ZkMigrationStateRecord {
    pub zk_migration_state: i8,
}
