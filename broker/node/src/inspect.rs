//! What a node shows of itself to whoever checks its invariants between two steps: the simulator, and tests. Read-only,
//! and nothing is copied: it is looked at after every step.

use strandline_log::log::Positions;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName};

use crate::image::Overrides;
use crate::node::Node;
use crate::offline::OfflinePartition;

/// A hosted partition.
#[derive(Clone, Copy, Debug)]
pub struct PartitionView<'a> {
    pub slot: u32,
    pub topic: TopicId,
    pub name: &'a TopicName,
    pub partition: i32,
    pub leader_epoch: LeaderEpoch,
    pub positions: Positions,
    pub recovery_point: Offset,
    pub high_watermark: Offset,
    /// Whether records count only once they are on the device.
    pub durability: strandline_log::disk::Durability,
    /// The topic is gone; only the log's last operations are still under way.
    pub deleted: bool,
    pub cached_bytes: usize,
    /// Produced batches that wait for their acknowledgement.
    pub produce_waiters: usize,
    pub fetch_waiters: usize,
}

/// A partition that the committed metadata gives to this broker.
#[derive(Clone, Copy, Debug)]
pub struct LedPartition<'a> {
    pub topic: TopicId,
    pub name: &'a TopicName,
    pub partition: i32,
    pub leader_epoch: LeaderEpoch,
}

impl Node {
    /// Every hosted partition, deleted ones included.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionView<'_>> {
        self.broker.replicas.iter().map(|(slot, replica)| PartitionView {
            slot,
            topic: replica.topic,
            name: &replica.name,
            partition: replica.partition,
            leader_epoch: replica.leader_epoch(),
            positions: replica.log.positions(),
            recovery_point: replica.log.recovery_point(),
            high_watermark: replica.high_watermark(),
            durability: replica.log.config().durability,
            deleted: replica.deleted,
            cached_bytes: replica.log.cached_bytes(),
            produce_waiters: replica.produce_waiters.len() + replica.leader_waiters.len(),
            fetch_waiters: replica.fetch_waiters.len(),
        })
    }

    /// Every partition that this broker leads by the committed metadata.
    pub fn led(&self) -> impl Iterator<Item = LedPartition<'_>> {
        let here = self.broker.identity.node_id;
        self.broker.image.topics.iter().flat_map(move |topic| {
            let led = topic.partitions.iter().filter(move |(_, partition)| partition.leader == here);
            led.map(|(index, partition)| LedPartition {
                topic: topic.id,
                name: &topic.name,
                partition: *index,
                leader_epoch: partition.leader_epoch,
            })
        })
    }

    /// Partitions of this broker that were found damaged.
    pub fn offline(&self) -> impl Iterator<Item = &OfflinePartition> {
        self.broker.offline.iter()
    }

    /// A topic's own configuration by the committed metadata.
    pub fn topic_overrides(&self, name: &TopicName) -> Option<&Overrides> {
        self.broker.image.topic_overrides(name)
    }

    /// Replies that wait for something.
    pub fn parked_replies(&self) -> usize {
        self.broker.waiting.count()
    }

    /// Sessions kept, and how many may be.
    pub fn fetch_sessions(&self) -> (usize, usize) {
        (self.broker.sessions.count(), self.broker.settings.fetch_sessions_max)
    }

    /// Bytes that the tail cache may hold.
    pub fn tail_cache_bytes_max(&self) -> usize {
        self.broker.settings.tail_cache_bytes
    }

    /// The epoch of the metadata quorum, and who leads it as far as this node knows.
    pub fn metadata_leader(&self) -> (LeaderEpoch, Option<i32>) {
        let leadership = self.broker.controller.quorum.leadership();
        (leadership.epoch, leadership.leader)
    }

    /// Positions of the metadata log.
    pub fn metadata_positions(&self) -> Positions {
        self.broker.controller.log().positions()
    }
}
