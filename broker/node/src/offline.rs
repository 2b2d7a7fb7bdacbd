//! Partitions that were found damaged below their recovery point: set aside alone, while everything else serves.
//!
//! Nothing of such a partition is opened, written or removed, so that whoever comes to its help finds what the crash or
//! the disk left. The metadata log says so as Kafka says it of a replica whose directory is lost ([`Uuid::LOST_DIRECTORY`]): the
//! replica is offline, and without another one in sync the partition has no leader. A start that can open it again takes
//! that back.
//!
//! Invariant: what the checkpoint files said of an offline partition is kept in them. Without its recovery point the next
//! start would take the damage for the end of the log and cut there.

use std::collections::BTreeMap;

use strandline_log::recover::Checkpoints;
#[cfg(doc)]
use strandline_protocol::ids::Uuid;
use strandline_protocol::ids::{TopicId, TopicName};

/// A partition whose files cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflinePartition {
    pub topic: TopicId,
    pub name: TopicName,
    pub partition: i32,
    /// What the checkpoint files say of it.
    pub checkpoints: Checkpoints,
}

/// The partitions of this broker that are offline.
#[derive(Debug, Default)]
pub struct Offline {
    by_topic: BTreeMap<TopicId, BTreeMap<i32, OfflinePartition>>,
}

impl Offline {
    pub fn new(partitions: Vec<OfflinePartition>) -> Self {
        let mut offline = Self::default();
        for partition in partitions {
            offline.by_topic.entry(partition.topic).or_default().insert(partition.partition, partition);
        }
        offline
    }

    pub fn contains(&self, topic: TopicId, partition: i32) -> bool {
        self.by_topic.get(&topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    pub fn count(&self) -> usize {
        self.by_topic.values().map(BTreeMap::len).sum()
    }

    /// In order of topic id and partition.
    pub fn iter(&self) -> impl Iterator<Item = &OfflinePartition> {
        self.by_topic.values().flat_map(BTreeMap::values)
    }

    /// The partition belongs elsewhere from now on: its directory is to go.
    pub fn take_one(&mut self, topic: TopicId, partition: i32) -> Option<OfflinePartition> {
        self.by_topic.get_mut(&topic)?.remove(&partition)
    }

    /// The topic is deleted: its partitions are not offline any more, their directories are to go.
    pub fn take(&mut self, topic: TopicId) -> impl Iterator<Item = OfflinePartition> {
        self.by_topic.remove(&topic).into_iter().flat_map(BTreeMap::into_values)
    }
}
