//! Topics and their partitions.
//!
//! Topics and partitions are shared: a copy of them all, as a snapshot takes one between two steps, copies only
//! pointers, and a change afterwards copies only what it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName, Uuid};
use strandline_protocol::metadata::partition::{PartitionChangeRecord, PartitionRecord};
use strandline_protocol::metadata::topic::TopicRecord;

use super::standing::Standings;
use super::{ApplyError, Change};
use crate::flaws::{self, Flaw};

/// `PartitionChangeRecord.leader` when the leader stays.
pub(crate) const LEADER_UNCHANGED: i32 = -2;
/// `Partition.leader` when there is none.
pub(crate) const NO_LEADER: i32 = -1;
/// `PartitionChangeRecord.leader_recovery_state` when that stays.
const RECOVERY_STATE_UNCHANGED: i8 = -1;
/// `Partition.leader_recovery_state`: the leader has all that its partition acknowledged.
pub(crate) const RECOVERED: i8 = 0;
/// The leader may miss records (KIP-704): it settles what its log holds before the in-sync set may grow.
pub(crate) const RECOVERING: i8 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub id: TopicId,
    pub name: TopicName,
    pub partitions: BTreeMap<i32, Arc<Partition>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub replicas: Vec<i32>,
    pub directories: Vec<Uuid>,
    pub isr: Vec<i32>,
    pub removing_replicas: Vec<i32>,
    pub adding_replicas: Vec<i32>,
    pub elr: Vec<i32>,
    pub last_known_elr: Vec<i32>,
    pub leader: i32,
    /// Kafka's number: 0 recovered, 1 recovering from an unclean election.
    pub leader_recovery_state: i8,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    by_id: BTreeMap<TopicId, Arc<Topic>>,
    by_name: BTreeMap<TopicName, TopicId>,
    partition_count: usize,
    pub(crate) standings: Arc<Standings>,
}

impl Topics {
    pub fn by_id(&self, id: TopicId) -> Option<&Topic> {
        self.by_id.get(&id).map(AsRef::as_ref)
    }

    pub fn by_name(&self, name: &TopicName) -> Option<&Topic> {
        self.by_name.get(name).and_then(|id| self.by_id(*id))
    }

    pub fn id_of(&self, name: &TopicName) -> Option<TopicId> {
        self.by_name.get(name).copied()
    }

    /// All topics in order of id.
    pub fn iter_by_id(&self) -> impl Iterator<Item = &Topic> {
        self.by_id.values().map(AsRef::as_ref)
    }

    /// All topics in order of name.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values().filter_map(|id| self.by_id(*id))
    }

    /// Topics whose name is not below `from`, in order of name.
    pub fn iter_from<'a>(&'a self, from: &TopicName) -> impl Iterator<Item = &'a Topic> {
        self.by_name.range(from.clone()..).filter_map(|(_, id)| self.by_id(*id))
    }

    pub fn topic_count(&self) -> usize {
        self.by_id.len()
    }

    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// Partitions that have no leader. Costs a walk over all of them.
    pub fn leaderless_count(&self) -> usize {
        let leaderless = |topic: &Topic| topic.partitions.values().filter(|partition| partition.leader < 0).count();
        self.iter_by_id().map(leaderless).sum()
    }

    pub(super) fn create(&mut self, record: &TopicRecord) {
        let topic = Topic { id: record.topic_id, name: record.name.clone(), partitions: BTreeMap::new() };
        self.by_name.insert(record.name.clone(), record.topic_id);
        self.by_id.insert(record.topic_id, Arc::new(topic));
    }

    pub(super) fn remove(&mut self, id: TopicId) -> Option<Topic> {
        let topic = self.by_id.remove(&id)?;
        self.by_name.remove(&topic.name);
        self.partition_count -= topic.partitions.len();
        let standings = Arc::make_mut(&mut self.standings);
        topic.partitions.iter().for_each(|(index, partition)| standings.forget((id, *index), partition));
        Some(Arc::unwrap_or_clone(topic))
    }

    pub(super) fn set_partition(&mut self, offset: Offset, record: &PartitionRecord) -> Result<Change, ApplyError> {
        let id = record.topic_id;
        let topic = self.by_id.get_mut(&id).ok_or(ApplyError::UnknownTopic { offset, topic: id })?;
        let partition = Partition {
            replicas: numbers(&record.replicas),
            directories: record.directories.clone(),
            isr: numbers(&record.isr),
            removing_replicas: numbers(&record.removing_replicas),
            adding_replicas: numbers(&record.adding_replicas),
            elr: record.eligible_leader_replicas.as_ref().map_or_else(Vec::new, |ids| numbers(ids)),
            last_known_elr: record.last_known_elr.as_ref().map_or_else(Vec::new, |ids| numbers(ids)),
            leader: record.leader.into(),
            leader_recovery_state: record.leader_recovery_state,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
        };
        let (standings, place) = (Arc::make_mut(&mut self.standings), (id, record.partition_id));
        standings.note(place, &partition);
        match Arc::make_mut(topic).partitions.insert(record.partition_id, Arc::new(partition)) {
            None => self.partition_count += 1,
            Some(before) => {
                standings.forget(place, &before);
                standings.note(place, &topic.partitions[&record.partition_id]);
            }
        }
        Ok(Change::Partition { topic: id, partition: record.partition_id })
    }

    pub(super) fn change_partition(&mut self, offset: Offset, record: &PartitionChangeRecord) -> Result<Change, ApplyError> {
        let (id, index) = (record.topic_id, record.partition_id);
        let topic = self.by_id.get_mut(&id).ok_or(ApplyError::UnknownTopic { offset, topic: id })?;
        let partition = Arc::make_mut(topic).partitions.get_mut(&index).ok_or(ApplyError::UnknownPartition {
            offset,
            topic: id,
            partition: index,
        })?;
        let standings = Arc::make_mut(&mut self.standings);
        standings.forget((id, index), partition);
        Arc::make_mut(partition).change(record);
        standings.note((id, index), partition);
        Ok(Change::Partition { topic: id, partition: index })
    }

    /// Forgets eligible leaders of one topic, or of all of them if the name is empty.
    ///
    /// Source: metadata/.../TopicsDelta.replay(ClearElrRecord): what has none is not touched.
    pub(super) fn clear_elr(&mut self, name: &TopicName) {
        let named: Vec<TopicId> = match name.as_str() {
            "" => self.by_id.keys().copied().collect(),
            _ => self.id_of(name).into_iter().collect(),
        };
        for id in named {
            if let Some(topic) = self.by_id.get_mut(&id).filter(|topic| topic.partitions.values().any(|known| known.has_elr()))
            {
                Arc::make_mut(topic).clear_elr();
            }
        }
    }
}

impl Topic {
    fn clear_elr(&mut self) {
        let none = || Some(Vec::new());
        let record = PartitionChangeRecord {
            eligible_leader_replicas: none(),
            last_known_elr: none(),
            ..PartitionChangeRecord::default()
        };
        for partition in self.partitions.values_mut().filter(|partition| partition.has_elr()) {
            Arc::make_mut(partition).change(&record);
        }
    }
}

impl Partition {
    /// The directory of a replica, as far as it is known.
    pub fn directory_of(&self, broker: i32) -> Option<Uuid> {
        let place = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(place).copied()
    }

    /// The replica that leads whenever it can: the first one.
    pub fn preferred(&self) -> Option<i32> {
        self.replicas.first().copied()
    }

    /// Whether replicas are being moved.
    pub fn is_moving(&self) -> bool {
        !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty()
    }

    fn has_elr(&self) -> bool {
        !self.elr.is_empty() || !self.last_known_elr.is_empty()
    }

    /// Source: metadata/.../PartitionRegistration.merge. The leader epoch moves when a leader is named, even the same
    /// one; the partition epoch always.
    pub(crate) fn change(&mut self, record: &PartitionChangeRecord) {
        let leader: i32 = record.leader.into();
        if leader != LEADER_UNCHANGED {
            self.leader = leader;
            let next = self.leader_epoch.next().unwrap_or(self.leader_epoch);
            self.leader_epoch = if flaws::is(Flaw::LeaderEpochNotRaised) { self.leader_epoch } else { next };
        }
        if record.leader_recovery_state != RECOVERY_STATE_UNCHANGED {
            self.leader_recovery_state = record.leader_recovery_state;
        }
        set(&mut self.replicas, record.replicas.as_deref());
        set(&mut self.removing_replicas, record.removing_replicas.as_deref());
        set(&mut self.adding_replicas, record.adding_replicas.as_deref());
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
