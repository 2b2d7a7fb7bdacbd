//! Heartbeat (key 12): keep a member of a classic group alive.
//!
//! Versions 0 to 4, flexible from 4.
//!
//! - v1: the response gains `throttle_time_ms` (KIP-124)
//! - v2: answers first and throttles then (KIP-219)
//! - v3: the request gains `group_instance_id` (KIP-345)
//! - v4: flexible (KIP-482)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::GroupId;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 12, versions = 0..=4, flexible = 4..)]
pub struct HeartbeatRequest {
    pub group_id: GroupId,
    pub generation_id: i32,
    pub member_id: String,
    #[wire(versions = 3.., nullable, default = null)]
    pub group_instance_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 12, versions = 0..=4, flexible = 4..)]
pub struct HeartbeatResponse {
    #[wire(versions = 1.., ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
}
