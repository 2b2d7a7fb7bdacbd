//! The cluster's metadata as committed records left it: brokers, topics, configs, features, producer ids.
//!
//! An image changes only by [`Image::apply`], one record at a time, in the order of the metadata log. The controller
//! holds one that is ahead (records emitted), the broker one that is committed; both go through the same code.

pub(crate) mod brokers;
pub(crate) mod kept;
pub(crate) mod standing;
pub(crate) mod topics;

use std::collections::BTreeMap;

use strandline_protocol::ids::{Offset, ProducerId, TopicId, TopicName};
use strandline_protocol::metadata::MetadataRecord;

use crate::config::{BrokerConfig, Layers};
use crate::features::KRAFT_VERSION_NAME;
use brokers::Brokers;
use kept::Kept;
use topics::Topics;

/// Keys and values of one resource.
pub(crate) type Overrides = BTreeMap<String, String>;

/// What a config record is about, with Kafka's numbers (ConfigResource.Type).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Topic(TopicName),
    /// One broker by its id, or all of them if empty.
    Broker(String),
    Group(String),
    /// Kinds that this broker keeps but does not act on (client metrics).
    Other(i8, String),
}

impl Resource {
    pub const TOPIC: i8 = 2;
    pub const BROKER: i8 = 4;
    pub const GROUP: i8 = 32;

    /// From a record's or request's type and name.
    pub fn new(kind: i8, name: &str) -> Self {
        match kind {
            Self::TOPIC => Self::Topic(TopicName::from(name)),
            Self::BROKER => Self::Broker(name.to_owned()),
            Self::GROUP => Self::Group(name.to_owned()),
            other => Self::Other(other, name.to_owned()),
        }
    }
}

/// What an applied record changed, for whoever has to act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Partitions appeared or changed in this topic.
    Partition {
        topic: TopicId,
        partition: i32,
    },
    TopicRemoved {
        topic: TopicId,
        name: TopicName,
        partitions: Vec<i32>,
    },
    Config(Resource),
    None,
}

/// Why a record cannot be applied: the log and the image do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("a record at offset {offset} names the topic id {topic}, which does not exist")]
    UnknownTopic { offset: Offset, topic: TopicId },
    #[error("a record at offset {offset} names partition {partition} of topic id {topic}, which does not exist")]
    UnknownPartition { offset: Offset, topic: TopicId, partition: i32 },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    pub brokers: Brokers,
    pub topics: Topics,
    pub configs: BTreeMap<Resource, Overrides>,
    /// Finalized levels by feature name.
    pub features: BTreeMap<String, i16>,
    pub next_producer_id: ProducerId,
    /// Everything else that records left and nobody here acts on.
    pub kept: Kept,
    /// The next offset of the metadata log to apply.
    pub end: Offset,
}

impl Image {
    /// Applies the record at `offset`.
    ///
    /// # Errors
    /// [`ApplyError`] if it names what does not exist.
    pub fn apply(&mut self, offset: Offset, record: &MetadataRecord) -> Result<Change, ApplyError> {
        self.end = offset.next();
        match record {
            MetadataRecord::RegisterBrokerRecord(record) => self.brokers.register(record),
            MetadataRecord::UnregisterBrokerRecord(record) => self.brokers.unregister(record),
            MetadataRecord::FenceBrokerRecord(record) => self.brokers.set_fenced(record.id, true),
            MetadataRecord::UnfenceBrokerRecord(record) => self.brokers.set_fenced(record.id, false),
            MetadataRecord::BrokerRegistrationChangeRecord(record) => self.brokers.change(record),
            MetadataRecord::TopicRecord(record) => self.topics.create(record),
            MetadataRecord::PartitionRecord(record) => return self.topics.set_partition(offset, record),
            MetadataRecord::PartitionChangeRecord(record) => return self.topics.change_partition(offset, record),
            MetadataRecord::RemoveTopicRecord(record) => return self.remove_topic(offset, record.topic_id),
            MetadataRecord::ConfigRecord(record) => {
                return Ok(self.set_config(record.resource_type, &record.resource_name, &record.name, record.value.as_deref()));
            }
            MetadataRecord::FeatureLevelRecord(record) => self.set_feature(&record.name, record.feature_level),
            MetadataRecord::ProducerIdsRecord(record) => self.next_producer_id = record.next_producer_id,
            MetadataRecord::ClearElrRecord(record) => self.topics.clear_elr(&record.topic_name),
            other => self.kept.apply(other),
        }
        Ok(Change::None)
    }

    /// The overrides of a topic.
    pub fn topic_overrides(&self, name: &TopicName) -> Option<&Overrides> {
        self.configs.get(&Resource::Topic(name.clone()))
    }

    /// The overrides of a group.
    pub(crate) fn group_overrides(&self, group: &str) -> Option<&Overrides> {
        self.configs.get(&Resource::Group(group.to_owned()))
    }

    /// The layers of broker keys as they hold for broker `id`.
    pub fn layers<'a>(&'a self, start: &'a BrokerConfig, id: i32) -> Layers<'a> {
        Layers {
            start,
            broker: self.configs.get(&Resource::Broker(id.to_string())),
            all_brokers: self.configs.get(&Resource::Broker(String::new())),
        }
    }

    /// The layers of broker keys as they hold for all brokers alike.
    pub fn cluster_layers<'a>(&'a self, start: &'a BrokerConfig) -> Layers<'a> {
        Layers { start, broker: None, all_brokers: self.configs.get(&Resource::Broker(String::new())) }
    }

    fn remove_topic(&mut self, offset: Offset, topic: TopicId) -> Result<Change, ApplyError> {
        let removed = self.topics.remove(topic).ok_or(ApplyError::UnknownTopic { offset, topic })?;
        self.configs.remove(&Resource::Topic(removed.name.clone()));
        let partitions = removed.partitions.keys().copied().collect();
        Ok(Change::TopicRemoved { topic, name: removed.name, partitions })
    }

    fn set_config(&mut self, kind: i8, resource: &str, key: &str, value: Option<&str>) -> Change {
        let resource = Resource::new(kind, resource);
        let overrides = self.configs.entry(resource.clone()).or_default();
        match value {
            Some(value) => {
                overrides.insert(key.to_owned(), value.to_owned());
            }
            None => {
                overrides.remove(key);
            }
        }
        if overrides.is_empty() {
            self.configs.remove(&resource);
        }
        Change::Config(resource)
    }

    /// The level of `kraft.version` is the quorum's: what Kafka's `format` says of it is left to it.
    fn set_feature(&mut self, name: &str, level: i16) {
        if name == KRAFT_VERSION_NAME {
            return;
        }
        if level == 0 {
            self.features.remove(name);
        } else {
            self.features.insert(name.to_owned(), level);
        }
    }
}
