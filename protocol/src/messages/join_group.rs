//! JoinGroup (key 11): enter a classic group, or a new round of it.
//!
//! Versions 0 to 9, flexible from 6.
//!
//! - v1: the request gains `rebalance_timeout_ms` (KIP-62)
//! - v2: the response gains `throttle_time_ms` (KIP-124)
//! - v3: answers first and throttles then (KIP-219)
//! - v4: the first answer hands out a member id, the second request joins (KIP-394)
//! - v5: the request gains `group_instance_id`; the response gains `group_instance_id` (KIP-345)
//! - v6: flexible (KIP-482)
//! - v7: the response gains `protocol_type` (KIP-559)
//! - v8: the request gains `reason` (KIP-800)
//! - v9: the response gains `skip_assignment` (KIP-814)

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::GroupId;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 11, versions = 0..=9, flexible = 6..)]
pub struct JoinGroupRequest {
    pub group_id: GroupId,
    pub session_timeout_ms: i32,
    #[wire(versions = 1.., default = -1, ignorable)]
    pub rebalance_timeout_ms: i32,
    pub member_id: String,
    #[wire(versions = 5.., nullable, default = null)]
    pub group_instance_id: Option<String>,
    pub protocol_type: String,
    pub protocols: Vec<JoinGroupRequestProtocol>,
    #[wire(versions = 8.., nullable, default = null, ignorable)]
    pub reason: Option<String>,
}

/// An element of `JoinGroupRequest::protocols`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct JoinGroupRequestProtocol {
    pub name: String,
    pub metadata: Bytes,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 11, versions = 0..=9, flexible = 6..)]
pub struct JoinGroupResponse {
    #[wire(versions = 2.., ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(default = -1)]
    pub generation_id: i32,
    #[wire(versions = 7.., nullable, default = null, ignorable)]
    pub protocol_type: Option<String>,
    #[wire(nullable = 7..)]
    pub protocol_name: Option<String>,
    pub leader: String,
    #[wire(versions = 9..)]
    pub skip_assignment: bool,
    pub member_id: String,
    pub members: Vec<JoinGroupResponseMember>,
}

/// An element of `JoinGroupResponse::members`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct JoinGroupResponseMember {
    pub member_id: String,
    #[wire(versions = 5.., nullable, default = null, ignorable)]
    pub group_instance_id: Option<String>,
    pub metadata: Bytes,
}
