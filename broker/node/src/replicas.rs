//! The partitions that this broker hosts.
//!
//! A replica is its log and whoever waits for it. Slots are places in a table: operations of a slot's log come back by
//! it. A slot is given up only when the last operation of its log is done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use strandline_log::log::Log;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName};

use crate::config::topic::TopicConfig;
use crate::parked::ParkedId;

/// A produced batch that waits for the high watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceWaiter {
    /// The offset behind the batch: it is acknowledged when the high watermark is there.
    pub end: Offset,
    pub parked: ParkedId,
}

/// What went through a partition since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub records_in: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// One hosted partition.
pub struct Replica {
    pub topic: TopicId,
    pub name: TopicName,
    pub partition: i32,
    pub leader_epoch: LeaderEpoch,
    pub config: Arc<TopicConfig>,
    pub log: Log,
    /// In order of `end`.
    pub produce_waiters: VecDeque<ProduceWaiter>,
    pub fetch_waiters: Vec<ParkedId>,
    /// The topic is gone; only the log's last operations are still under way.
    pub deleted: bool,
    /// Something may be for the disk to do: looked at when the burst of inputs is over.
    pub dirty: bool,
    /// High watermark and log start when they were last written.
    pub checkpointed: (Offset, Offset),
    pub traffic: Traffic,
    /// `traffic.bytes_in` when the log's indexes were last written.
    pub flushed_bytes_in: u64,
}

impl Replica {
    /// Records below are committed and may be read. With one replica that is what the log may show.
    pub fn high_watermark(&self) -> Offset {
        self.log.positions().readable_end
    }

    /// Records below are decided: no open transaction lies there.
    pub fn last_stable_offset(&self) -> Offset {
        self.log.last_stable(self.high_watermark())
    }

    pub fn log_start(&self) -> Offset {
        self.log.positions().log_start
    }

    /// The waiters whose batches are below the high watermark now.
    pub fn acknowledged(&mut self) -> Vec<ParkedId> {
        let high_watermark = self.high_watermark();
        let count = self.produce_waiters.partition_point(|waiter| waiter.end <= high_watermark);
        self.produce_waiters.drain(..count).map(|waiter| waiter.parked).collect()
    }
}

/// The table of hosted partitions.
#[derive(Default)]
pub struct Replicas {
    slots: Vec<Option<Box<Replica>>>,
    free: Vec<u32>,
    by_topic: BTreeMap<TopicId, BTreeMap<i32, u32>>,
}

impl Replicas {
    /// The slot of a partition, if it is hosted here.
    pub fn slot(&self, topic: TopicId, partition: i32) -> Option<u32> {
        self.by_topic.get(&topic)?.get(&partition).copied()
    }

    pub fn get(&self, slot: u32) -> Option<&Replica> {
        self.slots.get(slot as usize)?.as_deref()
    }

    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Replica> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// Takes a replica in and answers with its slot.
    pub fn insert(&mut self, replica: Replica) -> u32 {
        let key = (replica.topic, replica.partition);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("hosted partitions are limited far below four billion")
        });
        self.slots[slot as usize] = Some(Box::new(replica));
        self.by_topic.entry(key.0).or_default().insert(key.1, slot);
        slot
    }

    /// The partition is no longer found by its topic; the slot stays until `release`.
    pub fn unlink(&mut self, topic: TopicId) -> Vec<u32> {
        self.by_topic.remove(&topic).map_or_else(Vec::new, |partitions| partitions.into_values().collect())
    }

    /// Gives the slot of a deleted replica up.
    pub fn release(&mut self, slot: u32) {
        if self.slots.get_mut(slot as usize).and_then(Option::take).is_some() {
            self.free.push(slot);
        }
    }

    /// Slots of a topic, in order of partition.
    pub fn of_topic(&self, topic: TopicId) -> impl Iterator<Item = u32> {
        self.by_topic.get(&topic).into_iter().flat_map(|partitions| partitions.values().copied())
    }

    /// Every replica with its slot, deleted ones included.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Replica)> {
        (0u32..).zip(&self.slots).filter_map(|(slot, replica)| Some((slot, replica.as_deref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Replica)> {
        (0u32..).zip(&mut self.slots).filter_map(|(slot, replica)| Some((slot, replica.as_deref_mut()?)))
    }

    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
