//! ConsumerGroupDescribe (key 69): state and members of consumer groups of the new protocol (KIP-848).
//!
//! Versions 0 to 1, flexible.
//!
//! - v1: the response gains `member_type` (KIP-1099)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{GroupId, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 69, versions = 0..=1, flexible = 0..)]
pub struct ConsumerGroupDescribeRequest {
    pub group_ids: Vec<GroupId>,
    pub include_authorized_operations: bool,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 69, versions = 0..=1, flexible = 0..)]
pub struct ConsumerGroupDescribeResponse {
    pub throttle_time_ms: i32,
    pub groups: Vec<DescribedGroup>,
}

/// An element of `ConsumerGroupDescribeResponse::groups`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct DescribedGroup {
    pub error_code: ErrorCode,
    #[wire(nullable, default = null)]
    pub error_message: Option<String>,
    pub group_id: GroupId,
    pub group_state: String,
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    pub assignor_name: String,
    pub members: Vec<Member>,
    #[wire(default = -2_147_483_648)]
    pub authorized_operations: i32,
}

/// An element of `DescribedGroup::members`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Member {
    pub member_id: String,
    #[wire(nullable, default = null)]
    pub instance_id: Option<String>,
    #[wire(nullable, default = null)]
    pub rack_id: Option<String>,
    pub member_epoch: i32,
    pub client_id: String,
    pub client_host: String,
    pub subscribed_topic_names: Vec<TopicName>,
    #[wire(nullable, default = null)]
    pub subscribed_topic_regex: Option<String>,
    pub assignment: Assignment,
    pub target_assignment: Assignment,
    #[wire(versions = 1.., default = -1, ignorable)]
    pub member_type: i8,
}

/// Shared by fields of `ConsumerGroupDescribeResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct TopicPartitions {
    pub topic_id: TopicId,
    pub topic_name: TopicName,
    pub partitions: Vec<i32>,
}

/// Shared by fields of `ConsumerGroupDescribeResponse`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct Assignment {
    pub topic_partitions: Vec<TopicPartitions>,
}
