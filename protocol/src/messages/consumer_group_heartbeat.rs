//! ConsumerGroupHeartbeat (key 68): join, stay in and leave a consumer group of the new protocol (KIP-848).
//!
//! Versions 0 to 1, flexible.
//!
//! - v1: the request gains `subscribed_topic_regex`; the member chooses its own id (KIP-848, KIP-1082)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 68, versions = 0..=1, flexible = 0..)]
pub struct ConsumerGroupHeartbeatRequest {
    pub group_id: GroupId,
    pub member_id: String,
    pub member_epoch: i32,
    #[wire(nullable, default = null)]
    pub instance_id: Option<String>,
    #[wire(nullable, default = null)]
    pub rack_id: Option<String>,
    #[wire(default = -1)]
    pub rebalance_timeout_ms: i32,
    #[wire(nullable, default = null)]
    pub subscribed_topic_names: Option<Vec<TopicName>>,
    #[wire(versions = 1.., nullable, default = null)]
    pub subscribed_topic_regex: Option<String>,
    #[wire(nullable, default = null)]
    pub server_assignor: Option<String>,
    #[wire(nullable, default = null)]
    pub topic_partitions: Option<Vec<RequestTopicPartitions>>,
}

/// An element of `ConsumerGroupHeartbeatRequest::topic_partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicPartitions")]
pub struct RequestTopicPartitions {
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 68, versions = 0..=1, flexible = 0..)]
pub struct ConsumerGroupHeartbeatResponse {
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

/// The value of `ConsumerGroupHeartbeatResponse::assignment`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Assignment {
    pub topic_partitions: Vec<ResponseTopicPartitions>,
}

/// Shared by fields of `ConsumerGroupHeartbeatResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicPartitions")]
pub struct ResponseTopicPartitions {
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}
