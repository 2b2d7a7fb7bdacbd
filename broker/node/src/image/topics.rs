//! Topics and their partitions.

use std::collections::BTreeMap;

use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName, Uuid};
use strandline_protocol::metadata::partition::{PartitionChangeRecord, PartitionRecord};
use strandline_protocol::metadata::topic::TopicRecord;

use super::{ApplyError, Change};

/// `PartitionChangeRecord.leader` when the leader stays.
const LEADER_UNCHANGED: i32 = -2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub id: TopicId,
    pub name: TopicName,
    pub partitions: BTreeMap<i32, Partition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub replicas: Vec<i32>,
    pub directories: Vec<Uuid>,
    pub isr: Vec<i32>,
    pub elr: Vec<i32>,
    pub last_known_elr: Vec<i32>,
    pub leader: i32,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
}

#[derive(Clone, Debug, Default)]
pub struct Topics {
    by_id: BTreeMap<TopicId, Topic>,
    by_name: BTreeMap<TopicName, TopicId>,
    partition_count: usize,
}

impl Topics {
    pub fn by_id(&self, id: TopicId) -> Option<&Topic> {
        self.by_id.get(&id)
    }

    pub fn by_name(&self, name: &TopicName) -> Option<&Topic> {
        self.by_name.get(name).and_then(|id| self.by_id.get(id))
    }

    pub fn id_of(&self, name: &TopicName) -> Option<TopicId> {
        self.by_name.get(name).copied()
    }

    /// All topics in order of name.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values().filter_map(|id| self.by_id.get(id))
    }

    /// Topics whose name is not below `from`, in order of name.
    pub fn iter_from<'a>(&'a self, from: &TopicName) -> impl Iterator<Item = &'a Topic> {
        self.by_name.range(from.clone()..).filter_map(|(_, id)| self.by_id.get(id))
    }

    pub fn topic_count(&self) -> usize {
        self.by_id.len()
    }

    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    pub(super) fn create(&mut self, record: &TopicRecord) {
        let topic = Topic { id: record.topic_id, name: record.name.clone(), partitions: BTreeMap::new() };
        self.by_name.insert(record.name.clone(), record.topic_id);
        self.by_id.insert(record.topic_id, topic);
    }

    pub(super) fn remove(&mut self, id: TopicId) -> Option<Topic> {
        let topic = self.by_id.remove(&id)?;
        self.by_name.remove(&topic.name);
        self.partition_count -= topic.partitions.len();
        Some(topic)
    }

    pub(super) fn set_partition(&mut self, offset: Offset, record: &PartitionRecord) -> Result<Change, ApplyError> {
        let id = record.topic_id;
        let topic = self.by_id.get_mut(&id).ok_or(ApplyError::UnknownTopic { offset, topic: id })?;
        let partition = Partition {
            replicas: numbers(&record.replicas),
            directories: record.directories.clone(),
            isr: numbers(&record.isr),
            elr: record.eligible_leader_replicas.as_ref().map_or_else(Vec::new, |ids| numbers(ids)),
            last_known_elr: record.last_known_elr.as_ref().map_or_else(Vec::new, |ids| numbers(ids)),
            leader: record.leader.into(),
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
        };
        if topic.partitions.insert(record.partition_id, partition).is_none() {
            self.partition_count += 1;
        }
        Ok(Change::Partition { topic: id, partition: record.partition_id })
    }

    pub(super) fn change_partition(&mut self, offset: Offset, record: &PartitionChangeRecord) -> Result<Change, ApplyError> {
        let (id, index) = (record.topic_id, record.partition_id);
        let topic = self.by_id.get_mut(&id).ok_or(ApplyError::UnknownTopic { offset, topic: id })?;
        let partition =
            topic.partitions.get_mut(&index).ok_or(ApplyError::UnknownPartition { offset, topic: id, partition: index })?;
        partition.change(record);
        Ok(Change::Partition { topic: id, partition: index })
    }
}

impl Partition {
    /// Source: metadata/.../PartitionRegistration.merge. The leader epoch moves when a leader is named, even the same
    /// one; the partition epoch always.
    fn change(&mut self, record: &PartitionChangeRecord) {
        let leader: i32 = record.leader.into();
        if leader != LEADER_UNCHANGED {
            self.leader = leader;
            self.leader_epoch = self.leader_epoch.next().unwrap_or(self.leader_epoch);
        }
        set(&mut self.replicas, record.replicas.as_deref());
        set(&mut self.isr, record.isr.as_deref());
        set(&mut self.elr, record.eligible_leader_replicas.as_deref());
        set(&mut self.last_known_elr, record.last_known_elr.as_deref());
        if let Some(directories) = &record.directories {
            self.directories.clone_from(directories);
        }
        self.partition_epoch += 1;
    }
}

fn set<Id: Copy + Into<i32>>(field: &mut Vec<i32>, ids: Option<&[Id]>) {
    if let Some(ids) = ids {
        *field = numbers(ids);
    }
}

fn numbers<Id: Copy + Into<i32>>(ids: &[Id]) -> Vec<i32> {
    ids.iter().map(|id| (*id).into()).collect()
}
