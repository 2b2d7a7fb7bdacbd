//! DescribeGroups (key 15): state and members of classic groups.
//!
//! Versions 0 to 6, flexible from 5.
//!
//! - v1: the response gains `throttle_time_ms` (KIP-124)
//! - v2: answers first and throttles then (KIP-219)
//! - v3: the request gains `include_authorized_operations`; the response gains `authorized_operations` (KIP-430)
//! - v4: the response gains `group_instance_id` (KIP-345)
//! - v5: flexible (KIP-482)
//! - v6: the response gains `error_message`; an unknown group is answered with GROUP_ID_NOT_FOUND (KIP-1043)

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::GroupId;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 15, versions = 0..=6, flexible = 5..)]
pub struct DescribeGroupsRequest {
    pub groups: Vec<GroupId>,
    #[wire(versions = 3..)]
    pub include_authorized_operations: bool,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 15, versions = 0..=6, flexible = 5..)]
pub struct DescribeGroupsResponse {
    #[wire(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    pub groups: Vec<DescribedGroup>,
}

/// An element of `DescribeGroupsResponse::groups`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribedGroup {
    pub error_code: ErrorCode,
    #[wire(versions = 6.., nullable, default = null)]
    pub error_message: Option<String>,
    pub group_id: GroupId,
    pub group_state: String,
    pub protocol_type: String,
    pub protocol_data: String,
    pub members: Vec<DescribedGroupMember>,
    #[wire(versions = 3.., default = -2_147_483_648)]
    pub authorized_operations: i32,
}

/// An element of `DescribedGroup::members`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribedGroupMember {
    pub member_id: String,
    #[wire(versions = 4.., nullable, default = null, ignorable)]
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub member_metadata: Bytes,
    pub member_assignment: Bytes,
}
