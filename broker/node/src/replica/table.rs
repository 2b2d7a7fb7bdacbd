//! The partitions that this broker hosts, by slot and by topic.
//!
//! Slots are places in a table: operations of a slot's log come back by it. A slot is given up only when the last
//! operation of its log is done.

use std::collections::{BTreeMap, BTreeSet};

use strandline_log::disk::LogDir;
use strandline_protocol::ids::TopicId;

use super::Replica;

/// The table of hosted partitions.
#[derive(Default)]
pub struct Replicas {
    slots: Vec<Option<Box<Replica>>>,
    free: Vec<u32>,
    by_topic: BTreeMap<TopicId, BTreeMap<i32, u32>>,
    /// How many of those that are found by their topic lie where.
    by_log_dir: BTreeMap<LogDir, usize>,
    /// Slots whose log directory failed. They are not used again: operations may still be under way for them.
    abandoned: BTreeSet<u32>,
}

impl Replicas {
    /// The slot of a partition, if it is hosted here.
    pub fn slot(&self, topic: TopicId, partition: i32) -> Option<u32> {
        self.by_topic.get(&topic)?.get(&partition).copied()
    }

    /// The first hosted partition from this one on, in order of topic id and partition.
    pub fn at_or_behind(&self, (topic, partition): (TopicId, i32)) -> Option<((TopicId, i32), u32)> {
        self.by_topic.range(topic..).find_map(|(id, partitions)| {
            let least = if *id == topic { partition } else { i32::MIN };
            partitions.range(least..).next().map(|(index, slot)| ((*id, *index), *slot))
        })
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
        *self.by_log_dir.entry(replica.log_dir()).or_default() += 1;
        let slot = self.insert_unlisted(replica);
        self.by_topic.entry(key.0).or_default().insert(key.1, slot);
        slot
    }

    /// Takes in what is not to be found by its topic, and answers with its slot.
    pub fn insert_unlisted(&mut self, replica: Replica) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("hosted partitions are limited far below four billion")
        });
        self.slots[slot as usize] = Some(Box::new(replica));
        slot
    }

    /// Two replicas at once.
    pub fn two_mut(&mut self, left: u32, right: u32) -> Option<[&mut Replica; 2]> {
        let [left, right] = self.slots.get_disjoint_mut([left as usize, right as usize]).ok()?;
        Some([left.as_deref_mut()?, right.as_deref_mut()?])
    }

    /// A replica that is found by its topic lay in this log directory before.
    pub fn moved(&mut self, slot: u32, from: LogDir) {
        let Some(to) = self.get(slot).map(Replica::log_dir) else { return };
        *self.by_log_dir.entry(to).or_default() += 1;
        if let Some(count) = self.by_log_dir.get_mut(&from) {
            *count -= 1;
        }
    }

    /// The partition is no longer found by its topic; the slot stays until `release`.
    pub fn unlink(&mut self, topic: TopicId) -> Vec<u32> {
        let slots: Vec<u32> = self.by_topic.remove(&topic).into_iter().flat_map(BTreeMap::into_values).collect();
        slots.iter().for_each(|slot| self.leave_log_dir(*slot));
        slots
    }

    /// As `unlink`, for one partition.
    pub fn unlink_one(&mut self, topic: TopicId, partition: i32) -> Option<u32> {
        let slot = self.by_topic.get_mut(&topic)?.remove(&partition)?;
        self.leave_log_dir(slot);
        Some(slot)
    }

    fn leave_log_dir(&mut self, slot: u32) {
        if let Some(log_dir) = self.get(slot).map(Replica::log_dir)
            && let Some(count) = self.by_log_dir.get_mut(&log_dir)
        {
            *count -= 1;
        }
    }

    /// How many partitions lie in a log directory.
    pub fn count_in(&self, log_dir: LogDir) -> usize {
        self.by_log_dir.get(&log_dir).copied().unwrap_or(0)
    }

    /// Gives the slot of a deleted replica up.
    pub fn release(&mut self, slot: u32) {
        if self.slots.get_mut(slot as usize).and_then(Option::take).is_some() {
            self.free.push(slot);
        }
    }

    /// Forgets the replica in a slot whose log directory failed.
    pub fn abandon(&mut self, slot: u32) {
        if self.slots.get_mut(slot as usize).and_then(Option::take).is_some() {
            self.abandoned.insert(slot);
        }
    }

    /// Whether the log directory of what was hosted in a slot failed.
    pub fn is_abandoned(&self, slot: u32) -> bool {
        self.abandoned.contains(&slot)
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
        self.slots.len() - self.free.len() - self.abandoned.len()
    }
}
