//! Metadata (key 3): brokers, topics, partitions and their leaders.
//!
//! Versions 0 to 13, flexible from 9.
//!
//! - v1: the response gains `rack`, `controller_id`, `is_internal`
//! - v2: the response gains `cluster_id`
//! - v3: the response gains `throttle_time_ms` (KIP-124)
//! - v4: the request gains `allow_auto_topic_creation`
//! - v5: the response gains `offline_replicas` (KIP-112)
//! - v6: answers first and throttles then (KIP-219)
//! - v7: the response gains `leader_epoch` (KIP-320)
//! - v8: the request gains `include_cluster_authorized_operations`, `include_topic_authorized_operations`; the response
//!   gains `topic_authorized_operations`, `cluster_authorized_operations` (KIP-430)
//! - v9: flexible (KIP-482)
//! - v10: the request gains `topic_id`; the response gains `topic_id` (KIP-516)
//! - v11: the request loses `include_cluster_authorized_operations`; the response loses `cluster_authorized_operations`
//!   (KIP-700)
//! - v12: topics may be asked for by id alone (KIP-516)
//! - v13: the response gains `error_code` (KIP-1102)

use strandline_protocol_derive::Wire;

use crate::error::ErrorCode;
use crate::ids::{BrokerId, LeaderEpoch, TopicId, TopicName};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "request", key = 3, versions = 0..=13, flexible = 9..)]
pub struct MetadataRequest {
    #[wire(nullable = 1..)]
    pub topics: Option<Vec<MetadataRequestTopic>>,
    #[wire(versions = 4.., default = true)]
    pub allow_auto_topic_creation: bool,
    #[wire(versions = 8..=10)]
    pub include_cluster_authorized_operations: bool,
    #[wire(versions = 8..)]
    pub include_topic_authorized_operations: bool,
}

/// An element of `MetadataRequest::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct MetadataRequestTopic {
    #[wire(versions = 10.., ignorable)]
    pub topic_id: TopicId,
    #[wire(nullable = 10..)]
    pub name: Option<TopicName>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "response", key = 3, versions = 0..=13, flexible = 9..)]
pub struct MetadataResponse {
    #[wire(versions = 3.., ignorable)]
    pub throttle_time_ms: i32,
    pub brokers: Vec<MetadataResponseBroker>,
    #[wire(versions = 2.., nullable, default = null, ignorable)]
    pub cluster_id: Option<String>,
    #[wire(versions = 1.., default = -1, ignorable)]
    pub controller_id: BrokerId,
    pub topics: Vec<MetadataResponseTopic>,
    #[wire(versions = 8..=10, default = -2_147_483_648)]
    pub cluster_authorized_operations: i32,
    #[wire(versions = 13.., ignorable)]
    pub error_code: ErrorCode,
}

/// An element of `MetadataResponse::brokers`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct MetadataResponseBroker {
    pub node_id: BrokerId,
    pub host: String,
    pub port: i32,
    #[wire(versions = 1.., nullable, default = null, ignorable)]
    pub rack: Option<String>,
}

/// An element of `MetadataResponse::topics`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct MetadataResponseTopic {
    pub error_code: ErrorCode,
    #[wire(nullable = 12..)]
    pub name: Option<TopicName>,
    #[wire(versions = 10.., ignorable)]
    pub topic_id: TopicId,
    #[wire(versions = 1.., ignorable)]
    pub is_internal: bool,
    pub partitions: Vec<MetadataResponsePartition>,
    #[wire(versions = 8.., default = -2_147_483_648)]
    pub topic_authorized_operations: i32,
}

/// An element of `MetadataResponseTopic::partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
pub struct MetadataResponsePartition {
    pub error_code: ErrorCode,
    pub partition_index: i32,
    pub leader_id: BrokerId,
    #[wire(versions = 7.., default = -1, ignorable)]
    pub leader_epoch: LeaderEpoch,
    pub replica_nodes: Vec<BrokerId>,
    pub isr_nodes: Vec<BrokerId>,
    #[wire(versions = 5.., ignorable)]
    pub offline_replicas: Vec<BrokerId>,
}
