//! Bodies of control records: transaction markers, and what the quorum writes into its own log.
//!
//! The key of a control record is a `ControlRecordTypeSchema` behind a version; these are the values.
//!
//! - `ControlRecordTypeSchema`: version 0, never flexible
//! - `EndTxnMarker`: version 0, never flexible
//! - `LeaderChangeMessage`: versions 0 to 1, flexible; v1: gains `voter_directory_id` (KIP-853)
//! - `SnapshotHeaderRecord`: version 0, flexible
//! - `SnapshotFooterRecord`: version 0, flexible
//! - `KRaftVersionRecord`: version 0, flexible
//! - `VotersRecord`: version 0, flexible

use strandline_protocol_derive::Wire;

use crate::ids::{BrokerId, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "data", versions = 0, flexible = none)]
pub struct ControlRecordTypeSchema {
    #[wire(name = "Type")]
    pub kind: i16,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "data", versions = 0, flexible = none)]
pub struct EndTxnMarker {
    pub coordinator_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "data", versions = 0..=1, flexible = 0..)]
pub struct LeaderChangeMessage {
    pub version: i16,
    pub leader_id: BrokerId,
    pub voters: Vec<LeaderChangeMessageVoter>,
    pub granting_voters: Vec<LeaderChangeMessageVoter>,
}

/// Shared by fields of `LeaderChangeMessage`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "Voter")]
pub struct LeaderChangeMessageVoter {
    pub voter_id: BrokerId,
    #[wire(versions = 1..)]
    pub voter_directory_id: Uuid,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "data", versions = 0, flexible = 0..)]
pub struct SnapshotHeaderRecord {
    pub version: i16,
    pub last_contained_log_timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "data", versions = 0, flexible = 0..)]
pub struct SnapshotFooterRecord {
    pub version: i16,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "data", versions = 0, flexible = 0..)]
pub struct KRaftVersionRecord {
    pub version: i16,
    pub k_raft_version: i16,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "data", versions = 0, flexible = 0..)]
pub struct VotersRecord {
    pub version: i16,
    pub voters: Vec<VotersVoter>,
}

/// An element of `VotersRecord::voters`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "Voter")]
pub struct VotersVoter {
    pub voter_id: BrokerId,
    pub voter_directory_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub k_raft_version_feature: KRaftVersionFeature,
}

/// An element of `VotersVoter::endpoints`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Endpoint {
    pub name: String,
    pub host: String,
    pub port: u16,
}

/// The value of `VotersVoter::k_raft_version_feature`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct KRaftVersionFeature {
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}
