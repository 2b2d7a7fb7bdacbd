//! RemoveRaftVoter (key 81): remove a voter from the quorum (KIP-853).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 81, versions = 0, flexible = 0..)]
pub struct RemoveRaftVoterRequest {
    #[wire(nullable)]
    pub cluster_id: Option<String>,
    pub voter_id: BrokerId,
    pub voter_directory_id: Uuid,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 81, versions = 0, flexible = 0..)]
pub struct RemoveRaftVoterResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, ignorable)]
    pub error_message: Option<String>,
}
