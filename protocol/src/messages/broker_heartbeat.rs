//! BrokerHeartbeat (key 63): a broker keeps its registration alive and asks to be unfenced or shut down (KIP-631).
//!
//! Versions 0 to 2, flexible.
//!
//! - v1: the request gains `offline_log_dirs` (KIP-858)
//! - v2: the request gains `cordoned_log_dirs` (KIP-1066)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, Offset, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 63, versions = 0..=2, flexible = 0..)]
pub struct BrokerHeartbeatRequest {
    pub broker_id: BrokerId,
    #[wire(default = -1)]
    pub broker_epoch: i64,
    pub current_metadata_offset: Offset,
    pub want_fence: bool,
    pub want_shut_down: bool,
    #[wire(versions = 1.., tag = 0)]
    pub offline_log_dirs: Vec<Uuid>,
    #[wire(versions = 2.., nullable, tag = 1, default = null)]
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 63, versions = 0..=2, flexible = 0..)]
pub struct BrokerHeartbeatResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    pub is_caught_up: bool,
    #[wire(default = true)]
    pub is_fenced: bool,
    pub should_shut_down: bool,
}
