//! ShareGroupHeartbeat (key 76): join, stay in and leave a share group (KIP-932).
//!
//! Version 1, flexible.

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 76, versions = 1, flexible = 0..)]
pub struct ShareGroupHeartbeatRequest {
    pub group_id: GroupId,
    pub member_id: String,
    pub member_epoch: i32,
    #[wire(nullable, default = null)]
    pub rack_id: Option<String>,
    #[wire(nullable, default = null)]
    pub subscribed_topic_names: Option<Vec<TopicName>>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 76, versions = 1, flexible = 0..)]
pub struct ShareGroupHeartbeatResponse {
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    #[wire(nullable, default = null)]
    pub member_id: Option<String>,
    pub member_epoch: i32,
    pub heartbeat_interval_ms: i32,
    #[wire(nullable, default = null)]
    pub assignment: Option<Assignment>,
}

/// The value of `ShareGroupHeartbeatResponse::assignment`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Assignment {
    pub topic_partitions: Vec<TopicPartitions>,
}

/// Shared by fields of `ShareGroupHeartbeatResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicPartitions {
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}
