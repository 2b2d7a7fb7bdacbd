//! The topics that clients know of, and what was promised about them: who was told what, and so what has to be true
//! whatever crashes. Also which doubts are allowed: an operation whose reply was lost happened or did not.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::ids::{TopicId, TopicName};

use crate::history::PartitionKey;

/// What a topic is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Records stay.
    Keeping,
    /// DeleteRecords is called on it.
    DeletingRecords,
    /// Retention removes segments.
    Expiring,
    /// Compaction removes records whose key has a newer one.
    Compacting,
    /// It is deleted and made again under the same name.
    Churning,
}

/// When an acknowledged record may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Never.
    Fsync,
    /// With the power, as long as it was not synced.
    Replicated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    Exists,
    /// Somebody asked for its end and knows no answer yet.
    InDoubt,
    Gone,
}

/// A topic to be made.
#[derive(Clone, Debug)]
pub struct Planned {
    pub name: String,
    pub partitions: i32,
    pub used_for: Use,
    pub promise: Promise,
    pub configs: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct Topic {
    pub name: TopicName,
    pub id: TopicId,
    /// As many were acknowledged.
    pub partitions: i32,
    /// Which row of the plan it was made from.
    pub row: usize,
    pub used_for: Use,
    /// The weakest that held at any time.
    pub promise: Promise,
    /// How many replicas at a time may lose what they had not synced without a loss to the topic; nothing if none of
    /// them ever loses what counts.
    pub losses_covered: Option<usize>,
    pub existence: Existence,
    /// Acknowledged settings; a key with a change under way is not here.
    pub configs: BTreeMap<String, String>,
    /// By partition: the log start is at least this.
    pub log_starts: BTreeMap<i32, i64>,
    /// By partition: the log start is at most this.
    pub log_starts_asked: BTreeMap<i32, i64>,
    /// Settings that were asked for without an answer.
    pub configs_in_doubt: BTreeSet<String>,
}

impl Topic {
    pub fn new(planned: &Planned, row: usize, id: TopicId, partitions: i32) -> Self {
        Self {
            name: TopicName::from(planned.name.as_str()),
            id,
            partitions,
            row,
            used_for: planned.used_for,
            promise: planned.promise,
            losses_covered: None,
            existence: Existence::Exists,
            configs: planned.configs.iter().cloned().collect(),
            log_starts: BTreeMap::new(),
            log_starts_asked: BTreeMap::new(),
            configs_in_doubt: BTreeSet::new(),
        }
    }

    pub fn key(&self, partition: i32) -> PartitionKey {
        PartitionKey { topic: self.id, partition }
    }
}

/// Every topic that any client ever knew; indices stay good.
#[derive(Clone, Debug, Default)]
pub struct Topics {
    all: Vec<Topic>,
}

impl Topics {
    /// Adds a topic unless its id is known, and answers with its place.
    pub fn learn(&mut self, topic: Topic) -> usize {
        if let Some(known) = self.all.iter().position(|known| known.id == topic.id) {
            return known;
        }
        self.all.push(topic);
        self.all.len() - 1
    }

    pub fn get(&self, place: usize) -> Option<&Topic> {
        self.all.get(place)
    }

    pub fn get_mut(&mut self, place: usize) -> Option<&mut Topic> {
        self.all.get_mut(place)
    }

    pub fn by_id(&self, id: TopicId) -> Option<&Topic> {
        self.all.iter().find(|topic| topic.id == id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.all.iter()
    }

    /// The place of the newest topic made from a row of the plan, if it exists.
    pub fn current(&self, row: usize) -> Option<usize> {
        let newest = self.all.iter().rposition(|topic| topic.row == row)?;
        (self.all[newest].existence == Existence::Exists).then_some(newest)
    }

    pub fn existing(&self) -> impl Iterator<Item = (usize, &Topic)> {
        self.all.iter().enumerate().filter(|(_, topic)| topic.existence == Existence::Exists)
    }
}
