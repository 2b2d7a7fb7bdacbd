//! Partitions of this broker that cannot be served from here, while everything else serves: damaged ones, and those whose log
//! directory does not work or is not here.
//!
//! *Damaged* is a partition that was found so below its recovery point.
//! Nothing of it is opened, written or removed, so that whoever comes to its help finds what the crash or
//! the disk left. The metadata log says so as Kafka says it of a replica whose directory is lost ([`Uuid::LOST_DIRECTORY`]): the
//! replica is offline, and without another one in sync the partition has no leader. A start that can open it again takes
//! that back.
//!
//! Invariant: what the checkpoint files said of a damaged partition is kept in them. Without its recovery point the next
//! start would take the damage for the end of the log and cut there.
//!
//! *Away* is a partition of which the metadata says that it lies in a directory that failed, or that this broker does not have
//! any more. It comes back with the directory: at a start, never before.

use std::collections::BTreeMap;

use strandline_log::disk::LogDir;
use strandline_log::recover::Checkpoints;
#[cfg(doc)]
use strandline_protocol::ids::Uuid;
use strandline_protocol::ids::{TopicId, TopicName};

/// Why a partition is offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its files cannot be trusted; `checkpoints` is what the files of its log directory say of it.
    Damaged { log_dir: LogDir, checkpoints: Checkpoints },
    /// The log directory that it lies in does not work, or is not here.
    Away,
}

/// A partition that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflinePartition {
    pub topic: TopicId,
    pub name: TopicName,
    pub partition: i32,
    pub cause: Cause,
}

/// The partitions of this broker that are offline.
#[derive(Debug, Default)]
pub struct Offline {
    by_topic: BTreeMap<TopicId, BTreeMap<i32, OfflinePartition>>,
}

impl Offline {
    pub fn new(partitions: Vec<OfflinePartition>) -> Self {
        let mut offline = Self::default();
        partitions.into_iter().for_each(|partition| offline.insert(partition));
        offline
    }

    pub fn insert(&mut self, partition: OfflinePartition) {
        self.by_topic.entry(partition.topic).or_default().insert(partition.partition, partition);
    }

    /// Why a partition is offline, if it is.
    pub fn cause(&self, topic: TopicId, partition: i32) -> Option<Cause> {
        Some(self.by_topic.get(&topic)?.get(&partition)?.cause)
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
