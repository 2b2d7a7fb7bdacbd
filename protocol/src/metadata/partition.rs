//! Replicas, in-sync set and leader of a partition, and changes to them.
//!
//! - `PartitionRecord`: key 3, versions 0 to 2, flexible; v1: gains `directories` (KIP-858); v2: gains
//!   `eligible_leader_replicas`, `last_known_elr` (KIP-966)
//! - `PartitionChangeRecord`: key 5, versions 0 to 2, flexible; v1: gains `directories` (KIP-858); v2: gains
//!   `eligible_leader_replicas`, `last_known_elr` (KIP-966)
//! - `ClearElrRecord`: key 28, version 0, flexible

use strandline_protocol_derive::Wire;

use crate::ids::{BrokerId, LeaderEpoch, TopicId, TopicName, Uuid};

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 3, versions = 0..=2, flexible = 0..)]
pub struct PartitionRecord {
    #[wire(default = -1)]
    pub partition_id: i32,
    pub topic_id: TopicId,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
    pub removing_replicas: Vec<BrokerId>,
    pub adding_replicas: Vec<BrokerId>,
    #[wire(default = -1)]
    pub leader: BrokerId,
    #[wire(tag = 0)]
    pub leader_recovery_state: i8,
    #[wire(default = -1)]
    pub leader_epoch: LeaderEpoch,
    #[wire(default = -1)]
    pub partition_epoch: i32,
    #[wire(versions = 1..)]
    pub directories: Vec<Uuid>,
    #[wire(versions = 2.., nullable, tag = 1, default = null)]
    pub eligible_leader_replicas: Option<Vec<BrokerId>>,
    #[wire(versions = 2.., nullable, tag = 2, default = null)]
    pub last_known_elr: Option<Vec<BrokerId>>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 5, versions = 0..=2, flexible = 0..)]
pub struct PartitionChangeRecord {
    #[wire(default = -1)]
    pub partition_id: i32,
    pub topic_id: TopicId,
    #[wire(nullable, tag = 0, default = null)]
    pub isr: Option<Vec<BrokerId>>,
    #[wire(tag = 1, default = -2)]
    pub leader: BrokerId,
    #[wire(nullable, tag = 2, default = null)]
    pub replicas: Option<Vec<BrokerId>>,
    #[wire(nullable, tag = 3, default = null)]
    pub removing_replicas: Option<Vec<BrokerId>>,
    #[wire(nullable, tag = 4, default = null)]
    pub adding_replicas: Option<Vec<BrokerId>>,
    #[wire(tag = 5, default = -1)]
    pub leader_recovery_state: i8,
    #[wire(versions = 1.., nullable, tag = 8, default = null)]
    pub directories: Option<Vec<Uuid>>,
    #[wire(versions = 2.., nullable, tag = 6, default = null)]
    pub eligible_leader_replicas: Option<Vec<BrokerId>>,
    #[wire(versions = 2.., nullable, tag = 7, default = null)]
    pub last_known_elr: Option<Vec<BrokerId>>,
}

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 28, versions = 0, flexible = 0..)]
pub struct ClearElrRecord {
    pub topic_name: TopicName,
}
