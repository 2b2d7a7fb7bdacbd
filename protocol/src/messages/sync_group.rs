//! SyncGroup (key 14): hand out the leader's assignment in a classic group.
//!
//! Versions 0 to 5, flexible from 4.
//!
//! - v1: the response gains `throttle_time_ms` (KIP-124)
//! - v2: answers first and throttles then (KIP-219)
//! - v3: the request gains `group_instance_id` (KIP-345)
//! - v4: flexible (KIP-482)
//! - v5: the request gains `protocol_type`, `protocol_name`; the response gains `protocol_type`, `protocol_name` (KIP-559)

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::GroupId;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 14, versions = 0..=5, flexible = 4..)]
pub struct SyncGroupRequest {
    pub group_id: GroupId,
    pub generation_id: i32,
    pub member_id: String,
    #[wire(versions = 3.., nullable, default = null)]
    pub group_instance_id: Option<String>,
    #[wire(versions = 5.., nullable, default = null, ignorable)]
    pub protocol_type: Option<String>,
    #[wire(versions = 5.., nullable, default = null, ignorable)]
    pub protocol_name: Option<String>,
    pub assignments: Vec<SyncGroupRequestAssignment>,
}

/// An element of `SyncGroupRequest::assignments`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct SyncGroupRequestAssignment {
    pub member_id: String,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 14, versions = 0..=5, flexible = 4..)]
pub struct SyncGroupResponse {
    #[wire(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(versions = 5.., nullable, default = null, ignorable)]
    pub protocol_type: Option<String>,
    #[wire(versions = 5.., nullable, default = null, ignorable)]
    pub protocol_name: Option<String>,
    pub assignment: Bytes,
}
