//! Delegation tokens.
//!
//! - `DelegationTokenRecord`: key 10, version 0, flexible
//! - `RemoveDelegationTokenRecord`: key 26, version 0, flexible

use strandline_protocol_derive::Wire;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 10, versions = 0, flexible = 0..)]
pub struct DelegationTokenRecord {
    pub owner: String,
    pub requester: String,
    pub renewers: Vec<String>,
    pub issue_timestamp: i64,
    pub max_timestamp: i64,
    pub expiration_timestamp: i64,
    pub token_id: String,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 26, versions = 0, flexible = 0..)]
pub struct RemoveDelegationTokenRecord {
    pub token_id: String,
}
