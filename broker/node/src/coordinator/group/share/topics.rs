//! Which partitions of which topics the share coordinator keeps a state for, on behalf of one group.
//!
//! *Initializing* (it was asked to begin), *initialized* (only these are assigned), *deleting* (it was asked to forget). All
//! of it is one record, so that whoever coordinates the group next goes on where this one stopped.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::coordinator::ConsumerOffsetsRecord;
use strandline_protocol::coordinator::share_group::{
    ShareGroupStatePartitionMetadataKey, ShareGroupStatePartitionMetadataValue, TopicInfo, TopicPartitionsInfo,
};
use strandline_protocol::ids::{GroupId, TopicId, TopicName};

use crate::coordinator::group::consumer::parts::Parts;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateTopics {
    names: BTreeMap<TopicId, TopicName>,
    initializing: Parts,
    initialized: Parts,
    deleting: BTreeSet<TopicId>,
}

impl StateTopics {
    pub(crate) fn initialized(&self) -> &Parts {
        &self.initialized
    }

    pub(crate) fn initializing(&self) -> &Parts {
        &self.initializing
    }

    /// Topics whose state is being deleted, with all their partitions that had one.
    pub(crate) fn deleting(&self) -> impl Iterator<Item = TopicId> {
        self.deleting.iter().copied()
    }

    pub(crate) fn name(&self, topic: TopicId) -> Option<&TopicName> {
        self.names.get(&topic)
    }

    /// Everything that has a state, or may have one.
    pub(crate) fn all(&self) -> Parts {
        self.initialized.with(&self.initializing)
    }

    /// Partitions whose state is to begin.
    pub(crate) fn begin(&mut self, topic: TopicId, name: &TopicName, partitions: &Parts) {
        self.names.insert(topic, name.clone());
        self.deleting.remove(&topic);
        self.initializing = self.initializing.with(partitions);
    }

    /// The share coordinator has begun with them.
    pub(crate) fn begun(&mut self, partitions: &Parts) {
        self.initialized = self.initialized.with(&self.initializing.both(partitions));
        self.initializing = self.initializing.without(partitions);
    }

    /// The states of a topic are to go.
    pub(crate) fn delete(&mut self, topic: TopicId) {
        self.forget_partitions(topic);
        self.deleting.insert(topic);
    }

    /// The states of a topic are gone.
    pub(crate) fn deleted(&mut self, topic: TopicId) {
        self.forget_partitions(topic);
        self.deleting.remove(&topic);
        self.names.remove(&topic);
    }

    fn forget_partitions(&mut self, topic: TopicId) {
        let other = |parts: &Parts| parts.iter().filter(|(id, _)| *id != topic).collect();
        self.initialized = other(&self.initialized);
        self.initializing = other(&self.initializing);
    }

    pub(crate) fn record(&self, group: &GroupId) -> ConsumerOffsetsRecord {
        let name = |topic: &TopicId| self.names.get(topic).cloned().unwrap_or_default();
        let lists = |parts: &Parts| {
            let lists = parts.lists();
            lists
                .map(|(topic_id, partitions)| TopicPartitionsInfo { topic_id, topic_name: name(&topic_id), partitions })
                .collect()
        };
        let deleting = self.deleting.iter().map(|topic| TopicInfo { topic_id: *topic, topic_name: name(topic) });
        let value = ShareGroupStatePartitionMetadataValue {
            initializing_topics: lists(&self.initializing),
            initialized_topics: lists(&self.initialized),
            deleting_topics: deleting.collect(),
        };
        ConsumerOffsetsRecord::ShareGroupStatePartitionMetadata(key(group), Some(value))
    }

    pub(crate) fn of_record(value: ShareGroupStatePartitionMetadataValue) -> Self {
        let mut topics = Self::default();
        let parts = |lists: Vec<TopicPartitionsInfo>| Parts::of(lists.into_iter().map(|list| (list.topic_id, list.partitions)));
        for list in value.initializing_topics.iter().chain(&value.initialized_topics) {
            topics.names.insert(list.topic_id, list.topic_name.clone());
        }
        for topic in value.deleting_topics {
            topics.names.insert(topic.topic_id, topic.topic_name);
            topics.deleting.insert(topic.topic_id);
        }
        topics.initializing = parts(value.initializing_topics);
        topics.initialized = parts(value.initialized_topics);
        topics
    }
}

pub(super) fn key(group: &GroupId) -> ShareGroupStatePartitionMetadataKey {
    ShareGroupStatePartitionMetadataKey { group_id: group.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: TopicId = TopicId([1; 16]);

    #[test]
    fn a_record_says_all_of_it() {
        let mut topics = StateTopics::default();
        topics.begin(TOPIC, &"t".into(), &Parts::of([(TOPIC, vec![0, 1, 2])]));
        topics.begun(&Parts::of([(TOPIC, vec![0, 1])]));
        topics.begin(TopicId([2; 16]), &"u".into(), &Parts::of([(TopicId([2; 16]), vec![0])]));
        topics.delete(TopicId([2; 16]));
        let ConsumerOffsetsRecord::ShareGroupStatePartitionMetadata(_, Some(value)) = topics.record(&"g".into()) else {
            panic!("another record")
        };
        assert_eq!(StateTopics::of_record(value), topics);
        assert_eq!(topics.initialized().count(), 2);
        assert_eq!(topics.initializing().count(), 1);
        assert_eq!(topics.deleting().collect::<Vec<_>>(), [TopicId([2; 16])]);
    }
}
