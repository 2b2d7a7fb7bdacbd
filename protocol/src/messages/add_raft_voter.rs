//! AddRaftVoter (key 80): add a voter to the quorum (KIP-853).
//!
//! Versions 0 to 1, flexible.
//!
//! - v1: the request gains `ack_when_committed` (KIP-1186)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 80, versions = 0..=1, flexible = 0..)]
pub struct AddRaftVoterRequest {
    #[wire(nullable)]
    pub cluster_id: Option<String>,
    pub timeout_ms: i32,
    pub voter_id: BrokerId,
    pub voter_directory_id: Uuid,
    pub listeners: Vec<Listener>,
    #[wire(versions = 1.., default = true)]
    pub ack_when_committed: bool,
}

/// An element of `AddRaftVoterRequest::listeners`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Listener {
    pub name: String,
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 80, versions = 0..=1, flexible = 0..)]
pub struct AddRaftVoterResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, ignorable)]
    pub error_message: Option<String>,
}
