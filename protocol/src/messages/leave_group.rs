//! LeaveGroup (key 13): leave a classic group.
//!
//! Versions 0 to 5, flexible from 4.
//!
//! - v1: the response gains `throttle_time_ms` (KIP-124)
//! - v2: answers first and throttles then (KIP-219)
//! - v3: the request gains `members` and loses `member_id`; the response gains `members` (KIP-345)
//! - v4: flexible (KIP-482)
//! - v5: the request gains `reason` (KIP-800)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::GroupId;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 13, versions = 0..=5, flexible = 4..)]
pub struct LeaveGroupRequest {
    pub group_id: GroupId,
    #[wire(versions = ..=2)]
    pub member_id: String,
    #[wire(versions = 3..)]
    pub members: Vec<MemberIdentity>,
}

/// An element of `LeaveGroupRequest::members`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct MemberIdentity {
    pub member_id: String,
    #[wire(nullable, default = null)]
    pub group_instance_id: Option<String>,
    #[wire(versions = 5.., nullable, default = null, ignorable)]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 13, versions = 0..=5, flexible = 4..)]
pub struct LeaveGroupResponse {
    #[wire(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(versions = 3..)]
    pub members: Vec<MemberResponse>,
}

/// An element of `LeaveGroupResponse::members`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct MemberResponse {
    pub member_id: String,
    #[wire(nullable)]
    pub group_instance_id: Option<String>,
    pub error_code: ErrorCode,
}
