//! UpdateRaftVoter (key 82): a voter reports new endpoints and versions (KIP-853).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 82, versions = 0, flexible = 0..)]
pub struct UpdateRaftVoterRequest {
    #[wire(nullable)]
    pub cluster_id: Option<String>,
    pub current_leader_epoch: LeaderEpoch,
    pub voter_id: BrokerId,
    pub voter_directory_id: Uuid,
    pub listeners: Vec<Listener>,
    pub k_raft_version_feature: KRaftVersionFeature,
}

/// An element of `UpdateRaftVoterRequest::listeners`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Listener {
    pub name: String,
    pub host: String,
    pub port: u16,
}

/// The value of `UpdateRaftVoterRequest::k_raft_version_feature`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct KRaftVersionFeature {
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 82, versions = 0, flexible = 0..)]
pub struct UpdateRaftVoterResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(tag = 0)]
    pub current_leader: CurrentLeader,
}

/// The value of `UpdateRaftVoterResponse::current_leader`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct CurrentLeader {
    #[wire(default = -1)]
    pub leader_id: BrokerId,
    #[wire(default = -1)]
    pub leader_epoch: LeaderEpoch,
    pub host: String,
    pub port: i32,
}
