//! What a node shows of itself to whoever checks its invariants between two steps: the simulator, and tests. Read-only,
//! and nothing is copied: it is looked at after every step.

use strandline_log::epochs::LeaderEpochs;
use strandline_log::log::Positions;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName, Uuid};

use crate::holding::HoldTotals;
use crate::image::Overrides;
use crate::node::Node;
use crate::offline::OfflinePartition;
use crate::replica::following;

/// A hosted partition.
#[derive(Clone, Copy, Debug)]
pub struct PartitionView<'a> {
    pub slot: u32,
    pub topic: TopicId,
    pub name: &'a TopicName,
    pub partition: i32,
    pub leader_epoch: LeaderEpoch,
    /// This broker leads it, and its log is whole.
    pub leads: bool,
    pub positions: Positions,
    /// Which epochs wrote the log.
    pub epochs: &'a LeaderEpochs,
    /// The log is being cut back: on disk it may be shorter than it says.
    pub is_cut: bool,
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

/// A partition as the committed metadata has it.
#[derive(Clone, Copy, Debug)]
pub struct PlacedPartition<'a> {
    pub topic: TopicId,
    pub name: &'a TopicName,
    pub partition: i32,
    /// -1 if there is none.
    pub leader: i32,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
    pub replicas: &'a [i32],
    pub isr: &'a [i32],
    pub elr: &'a [i32],
    /// Where the replicas lie, in their order.
    pub directories: &'a [Uuid],
    /// Replicas come or go.
    pub is_moving: bool,
}

/// The metadata quorum, as this member sees it.
#[derive(Clone, Copy, Debug)]
pub struct QuorumView<'a> {
    pub epoch: LeaderEpoch,
    /// To whom this node gave its vote in the epoch.
    pub voted: Option<i32>,
    /// This node leads, and decides.
    pub leads: bool,
    pub committed: Offset,
    pub positions: Positions,
    pub epochs: &'a LeaderEpochs,
}

impl Node {
    /// The broker's number in the cluster.
    pub fn number(&self) -> i32 {
        self.broker.identity.node_id
    }

    /// What became of requests that waited for the end of a transaction.
    pub fn held_requests(&self) -> HoldTotals {
        self.broker.held.totals
    }

    /// When its parts have something to do next: what a node that is busy for nothing waits for.
    pub fn due(&self) -> [(&'static str, u64); 7] {
        let broker = &self.broker;
        [
            ("membership", broker.membership.next_due_ms()),
            ("quorum", broker.controller.quorum.next_deadline()),
            ("quorum's fetch", broker.controller.next_due_ms(crate::snapshot::fetched::is_free(broker))),
            ("liveness", broker.controller.liveness.next_deadline()),
            ("forwarding", broker.channel.next_due_ms()),
            ("replies", broker.waiting.next_deadline().unwrap_or(u64::MAX)),
            ("replication", following::next_due_ms(broker).unwrap_or(u64::MAX)),
        ]
    }

    /// Every partition of the cluster by the committed metadata.
    pub fn placed(&self) -> impl Iterator<Item = PlacedPartition<'_>> {
        self.broker.image.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|(index, partition)| PlacedPartition {
                topic: topic.id,
                name: &topic.name,
                partition: *index,
                leader: partition.leader,
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                replicas: &partition.replicas,
                isr: &partition.isr,
                elr: &partition.elr,
                directories: &partition.directories,
                is_moving: partition.is_moving(),
            })
        })
    }

    /// Where the committed metadata ends that this broker has applied.
    pub fn applied(&self) -> Offset {
        self.broker.image.end
    }

    /// Brokers that are alive by the committed metadata.
    pub fn live_brokers(&self) -> impl Iterator<Item = i32> {
        self.broker.image.brokers.iter().filter(|known| known.is_active()).map(|known| known.id)
    }

    /// The metadata quorum.
    pub fn quorum(&self) -> QuorumView<'_> {
        let controller = &self.broker.controller;
        QuorumView {
            epoch: controller.epoch(),
            voted: controller.quorum.voted(),
            leads: controller.is_active(),
            committed: controller.committed(),
            positions: controller.log().positions(),
            epochs: controller.log().epochs(),
        }
    }

    /// The voters of the quorum by what this node's log says: numbers and directories.
    pub fn voters(&self) -> impl Iterator<Item = (i32, Uuid)> {
        self.broker.controller.quorum.voters().iter().map(|voter| (voter.key.id, voter.key.directory))
    }

    /// Where the record of them lies; of one in a snapshot, where that ends. Nothing if they stand in the configuration.
    pub fn voters_at(&self) -> Option<Offset> {
        self.broker.controller.quorum.history().voters_at()
    }

    /// Whether they are known to be committed.
    pub fn has_settled_voters(&self) -> bool {
        self.broker.controller.quorum.has_settled_voters()
    }

    /// Every hosted partition, deleted ones included.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionView<'_>> {
        self.broker.replicas.iter().filter(|(_, replica)| !replica.is_copy).map(|(slot, replica)| PartitionView {
            slot,
            topic: replica.topic,
            name: &replica.name,
            partition: replica.partition,
            leader_epoch: replica.leader_epoch(),
            leads: replica.leader().is_ok(),
            positions: replica.log.positions(),
            epochs: replica.log.epochs(),
            is_cut: replica.truncation.is_some(),
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

    /// The log directories that partitions are served from, by the ids that the cluster knows.
    pub fn online_directories(&self) -> Vec<Uuid> {
        self.broker.log_dirs.online_ids()
    }

    /// Whether the controller is being told where a replica of this broker lies.
    pub fn is_telling_directory(&self, topic: TopicId, partition: i32) -> bool {
        self.broker.assignments.is_telling((topic, partition))
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
