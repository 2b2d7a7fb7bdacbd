//! CreateTopics (key 19): create topics (KIP-4).
//!
//! Versions 2 to 7, flexible from 5.
//!
//! - v3: answers first and throttles then (KIP-219)
//! - v4: partitions and replication factor may be left to the broker (KIP-464)
//! - v5: flexible; the response gains `topic_config_error_code`, `num_partitions`, `replication_factor`, `configs`
//!   (KIP-482, KIP-525)
//! - v6: may be answered with THROTTLING_QUOTA_EXCEEDED (KIP-599)
//! - v7: the response gains `topic_id` (KIP-516)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 19, versions = 2..=7, flexible = 5..)]
pub struct CreateTopicsRequest {
    pub topics: Vec<CreatableTopic>,
    #[wire(default = 60000, name = "timeoutMs")]
    pub timeout_ms: i32,
    #[wire(name = "validateOnly")]
    pub validate_only: bool,
}

/// An element of `CreateTopicsRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct CreatableTopic {
    pub name: TopicName,
    pub num_partitions: i32,
    pub replication_factor: i16,
    pub assignments: Vec<CreatableReplicaAssignment>,
    pub configs: Vec<CreatableTopicConfig>,
}

/// An element of `CreatableTopic::assignments`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct CreatableReplicaAssignment {
    pub partition_index: i32,
    pub broker_ids: Vec<BrokerId>,
}

/// An element of `CreatableTopic::configs`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct CreatableTopicConfig {
    pub name: String,
    #[wire(nullable)]
    pub value: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 19, versions = 2..=7, flexible = 5..)]
pub struct CreateTopicsResponse {
    #[wire(ignorable)]
    pub throttle_time_ms: i32,
    pub topics: Vec<CreatableTopicResult>,
}

/// An element of `CreateTopicsResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct CreatableTopicResult {
    pub name: TopicName,
    #[wire(versions = 7.., ignorable)]
    pub topic_id: TopicId,
    pub error_code: ErrorCode,
    #[wire(nullable, ignorable)]
    pub error_message: Option<String>,
    #[wire(versions = 5.., tag = 0, ignorable)]
    pub topic_config_error_code: ErrorCode,
    #[wire(versions = 5.., default = -1, ignorable)]
    pub num_partitions: i32,
    #[wire(versions = 5.., default = -1, ignorable)]
    pub replication_factor: i16,
    #[wire(versions = 5.., nullable, ignorable)]
    pub configs: Option<Vec<CreatableTopicConfigs>>,
}

/// An element of `CreatableTopicResult::configs`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct CreatableTopicConfigs {
    pub name: String,
    #[wire(nullable)]
    pub value: Option<String>,
    pub read_only: bool,
    #[wire(default = -1, ignorable)]
    pub config_source: i8,
    pub is_sensitive: bool,
}
