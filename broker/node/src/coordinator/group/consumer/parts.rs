//! Sets of partitions, by topic id: what members own, are assigned and give back.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::ids::TopicId;

/// Topics without partitions are not kept, so that equal sets compare equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts(BTreeMap<TopicId, BTreeSet<i32>>);

impl Parts {
    /// Of lists as they stand in messages and records.
    pub(crate) fn of(lists: impl IntoIterator<Item = (TopicId, Vec<i32>)>) -> Self {
        lists.into_iter().flat_map(|(topic, partitions)| partitions.into_iter().map(move |index| (topic, index))).collect()
    }

    pub(crate) fn insert(&mut self, topic: TopicId, partition: i32) {
        self.0.entry(topic).or_default().insert(partition);
    }

    pub(crate) fn contains(&self, topic: TopicId, partition: i32) -> bool {
        self.0.get(&topic).is_some_and(|partitions| partitions.contains(&partition))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TopicId, i32)> {
        self.0.iter().flat_map(|(topic, partitions)| partitions.iter().map(|index| (*topic, *index)))
    }

    /// By topic, in order.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (TopicId, Vec<i32>)> {
        self.0.iter().map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()))
    }

    pub(crate) fn both(&self, other: &Self) -> Self {
        self.iter().filter(|(topic, index)| other.contains(*topic, *index)).collect()
    }

    pub(crate) fn without(&self, other: &Self) -> Self {
        self.iter().filter(|(topic, index)| !other.contains(*topic, *index)).collect()
    }

    pub(crate) fn with(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    pub(crate) fn touches(&self, other: &Self) -> bool {
        self.iter().any(|(topic, index)| other.contains(topic, index))
    }
}

impl FromIterator<(TopicId, i32)> for Parts {
    fn from_iter<T: IntoIterator<Item = (TopicId, i32)>>(places: T) -> Self {
        let mut parts = Self::default();
        places.into_iter().for_each(|(topic, partition)| parts.insert(topic, partition));
        parts
    }
}
