//! AlterUserScramCredentials (key 51): set and remove SCRAM credentials (KIP-554).
//!
//! Version 0, flexible.

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 51, versions = 0, flexible = 0..)]
pub struct AlterUserScramCredentialsRequest {
    pub deletions: Vec<ScramCredentialDeletion>,
    pub upsertions: Vec<ScramCredentialUpsertion>,
}

/// An element of `AlterUserScramCredentialsRequest::deletions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ScramCredentialDeletion {
    pub name: String,
    pub mechanism: i8,
}

/// An element of `AlterUserScramCredentialsRequest::upsertions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ScramCredentialUpsertion {
    pub name: String,
    pub mechanism: i8,
    pub iterations: i32,
    pub salt: Bytes,
    pub salted_password: Bytes,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 51, versions = 0, flexible = 0..)]
pub struct AlterUserScramCredentialsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<AlterUserScramCredentialsResult>,
}

/// An element of `AlterUserScramCredentialsResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct AlterUserScramCredentialsResult {
    pub user: String,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
}
