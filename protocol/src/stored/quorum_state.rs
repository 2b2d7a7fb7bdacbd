//! Kafka's `quorum-state` file: epoch, leader and vote of a voter. The file is JSON with these names; only the definition lives
//! here.
//!
//! - `QuorumStateData`: versions 0 to 1, flexible; v1: gains `voted_directory_id` and loses `cluster_id`, `applied_offset`,
//!   `current_voters`

use strandline_protocol_derive::Wire;

use crate::ids::{BrokerId, LeaderEpoch, Offset, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "data", versions = 0..=1, flexible = 0..)]
pub struct QuorumStateData {
    #[wire(versions = 0)]
    pub cluster_id: String,
    #[wire(default = -1)]
    pub leader_id: BrokerId,
    #[wire(default = -1)]
    pub leader_epoch: LeaderEpoch,
    #[wire(default = -1)]
    pub voted_id: BrokerId,
    #[wire(versions = 1..)]
    pub voted_directory_id: Uuid,
    #[wire(versions = 0)]
    pub applied_offset: Offset,
    #[wire(versions = 0, nullable)]
    pub current_voters: Option<Vec<Voter>>,
}

/// An element of `QuorumStateData::current_voters`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Voter {
    pub voter_id: BrokerId,
}
