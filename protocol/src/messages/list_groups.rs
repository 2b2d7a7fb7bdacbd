//! ListGroups (key 16): groups that a broker coordinates.
//!
//! Versions 0 to 5, flexible from 3.
//!
//! - v1: the response gains `throttle_time_ms` (KIP-124)
//! - v2: answers first and throttles then (KIP-219)
//! - v3: flexible (KIP-482)
//! - v4: the request gains `states_filter`; the response gains `group_state` (KIP-518)
//! - v5: the request gains `types_filter`; the response gains `group_type` (KIP-848)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::GroupId;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 16, versions = 0..=5, flexible = 3..)]
pub struct ListGroupsRequest {
    #[wire(versions = 4..)]
    pub states_filter: Vec<String>,
    #[wire(versions = 5..)]
    pub types_filter: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 16, versions = 0..=5, flexible = 3..)]
pub struct ListGroupsResponse {
    #[wire(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    pub groups: Vec<ListedGroup>,
}

/// An element of `ListGroupsResponse::groups`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct ListedGroup {
    pub group_id: GroupId,
    pub protocol_type: String,
    #[wire(versions = 4.., ignorable)]
    pub group_state: String,
    #[wire(versions = 5.., ignorable)]
    pub group_type: String,
}
