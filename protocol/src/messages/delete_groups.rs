//! DeleteGroups (key 42): delete groups that have no members (KIP-229).
//!
//! Versions 0 to 2, flexible from 2.
//!
//! - v1: answers first and throttles then (KIP-219)
//! - v2: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::GroupId;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 42, versions = 0..=2, flexible = 2..)]
pub struct DeleteGroupsRequest {
    pub groups_names: Vec<GroupId>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 42, versions = 0..=2, flexible = 2..)]
pub struct DeleteGroupsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<DeletableGroupResult>,
}

/// An element of `DeleteGroupsResponse::results`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DeletableGroupResult {
    pub group_id: GroupId,
    pub error_code: ErrorCode,
}
