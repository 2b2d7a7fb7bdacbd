//! The body of a `.snapshot` file: producers with state in a partition, up to the offset in the file's name.
//!
//! - `ProducerSnapshot`: version 1, never flexible

use strandline_protocol_derive::Wire;

use crate::ids::{Offset, ProducerEpoch, ProducerId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "data", versions = 1, flexible = none)]
pub struct ProducerSnapshot {
    pub crc: u32,
    pub producer_entries: Vec<ProducerEntry>,
}

/// An element of `ProducerSnapshot::producer_entries`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ProducerEntry {
    pub producer_id: ProducerId,
    pub epoch: ProducerEpoch,
    pub last_sequence: i32,
    pub last_offset: Offset,
    pub offset_delta: i32,
    pub timestamp: i64,
    pub coordinator_epoch: i32,
    pub current_txn_first_offset: Offset,
}
