//! The consumer's embedded protocol: what members of a classic group say to their leader, and what it assigns. The broker
//! stores these bytes; it reads them for lag and for migration to the new protocol only.
//!
//! - `ConsumerProtocolSubscription`: versions 0 to 3, never flexible; v1: gains `owned_partitions`; v2: gains `generation_id`;
//!   v3: gains `rack_id`
//! - `ConsumerProtocolAssignment`: versions 0 to 3, never flexible

use bytes::Bytes;
use strandline_protocol_derive::Wire;

use crate::ids::TopicName;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "data", versions = 0..=3, flexible = none)]
pub struct ConsumerProtocolSubscription {
    pub topics: Vec<TopicName>,
    #[wire(nullable, default = null)]
    pub user_data: Option<Bytes>,
    #[wire(versions = 1.., ignorable)]
    pub owned_partitions: Vec<ConsumerProtocolSubscriptionTopicPartition>,
    #[wire(versions = 2.., default = -1, ignorable)]
    pub generation_id: i32,
    #[wire(versions = 3.., nullable, default = null, ignorable)]
    pub rack_id: Option<String>,
}

/// An element of `ConsumerProtocolSubscription::owned_partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicPartition")]
pub struct ConsumerProtocolSubscriptionTopicPartition {
    pub topic: TopicName,
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "data", versions = 0..=3, flexible = none)]
pub struct ConsumerProtocolAssignment {
    pub assigned_partitions: Vec<ConsumerProtocolAssignmentTopicPartition>,
    #[wire(nullable, default = null)]
    pub user_data: Option<Bytes>,
}

/// An element of `ConsumerProtocolAssignment::assigned_partitions`.
#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(name = "TopicPartition")]
pub struct ConsumerProtocolAssignmentTopicPartition {
    pub topic: TopicName,
    pub partitions: Vec<i32>,
}
