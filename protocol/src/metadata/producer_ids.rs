//! Blocks of producer ids that brokers were given.
//!
//! - `ProducerIdsRecord`: key 15, version 0, flexible

use strandline_protocol_derive::Wire;

use crate::ids::{BrokerId, ProducerId};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 15, versions = 0, flexible = 0..)]
pub struct ProducerIdsRecord {
    pub broker_id: BrokerId,
    #[wire(default = -1)]
    pub broker_epoch: i64,
    pub next_producer_id: ProducerId,
}
