//! DescribeUserScramCredentials (key 50): which SCRAM mechanisms users have credentials for (KIP-554).
//!
//! Version 0, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 50, versions = 0, flexible = 0..)]
pub struct DescribeUserScramCredentialsRequest {
    #[wire(nullable)]
    pub users: Option<Vec<UserName>>,
}

/// An element of `DescribeUserScramCredentialsRequest::users`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct UserName {
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 50, versions = 0, flexible = 0..)]
pub struct DescribeUserScramCredentialsResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    pub results: Vec<DescribeUserScramCredentialsResult>,
}

/// An element of `DescribeUserScramCredentialsResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribeUserScramCredentialsResult {
    pub user: String,
    pub error_code: ErrorCode,
    #[wire(nullable)]
    pub error_message: Option<String>,
    pub credential_infos: Vec<CredentialInfo>,
}

/// An element of `DescribeUserScramCredentialsResult::credential_infos`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct CredentialInfo {
    pub mechanism: i8,
    pub iterations: i32,
}
