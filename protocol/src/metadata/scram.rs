//! SCRAM credentials of users.
//!
//! - `UserScramCredentialRecord`: key 11, version 0, flexible
//! - `RemoveUserScramCredentialRecord`: key 22, version 0, flexible

use bytes::Bytes;
use strandline_protocol_derive::Wire;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 11, versions = 0, flexible = 0..)]
pub struct UserScramCredentialRecord {
    pub name: String,
    pub mechanism: i8,
    pub salt: Bytes,
    pub stored_key: Bytes,
    pub server_key: Bytes,
    pub iterations: i32,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 22, versions = 0, flexible = 0..)]
pub struct RemoveUserScramCredentialRecord {
    pub name: String,
    pub mechanism: i8,
}
