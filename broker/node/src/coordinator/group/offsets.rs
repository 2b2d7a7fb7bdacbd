//! What groups have committed: one offset a partition, and those of transactions that are not decided yet.

use std::collections::BTreeMap;

use strandline_protocol::coordinator::ConsumerOffsetsRecord;
use strandline_protocol::coordinator::offset_commit::{OffsetCommitKey, OffsetCommitValue};
use strandline_protocol::ids::{GroupId, LeaderEpoch, Offset, ProducerId, TopicId, TopicName};

/// Where in a topic.
pub(crate) type Place = (TopicName, i32);

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub metadata: String,
    /// By the wall clock.
    pub committed_ms: i64,
    /// Clients before OffsetCommit v5 say themselves how long it is to be kept.
    pub expire_ms: Option<i64>,
    pub topic_id: TopicId,
}

/// A pending commit and its place in the order in which the shard's records were applied.
#[derive(Clone, Debug)]
struct Ordered {
    order: u64,
    committed: Committed,
}

/// All offsets of a shard.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    groups: BTreeMap<GroupId, BTreeMap<Place, Ordered>>,
    /// Of open transactions.
    pending: BTreeMap<ProducerId, BTreeMap<GroupId, BTreeMap<Place, Ordered>>>,
    applied: u64,
}

impl Offsets {
    pub(crate) fn get(&self, group: &GroupId, place: &Place) -> Option<&Committed> {
        self.groups.get(group)?.get(place).map(|ordered| &ordered.committed)
    }

    pub(crate) fn of_group(&self, group: &GroupId) -> impl Iterator<Item = (&Place, &Committed)> {
        let places = self.groups.get(group).into_iter().flatten();
        places.map(|(place, ordered)| (place, &ordered.committed))
    }

    /// Everything that is committed, by group.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&GroupId, &Place, &Committed)> {
        self.groups
            .iter()
            .flat_map(|(group, places)| places.iter().map(move |(place, ordered)| (group, place, &ordered.committed)))
    }

    pub(crate) fn has_any(&self, group: &GroupId) -> bool {
        self.groups.contains_key(group) || self.has_pending(group)
    }

    pub(crate) fn has_pending(&self, group: &GroupId) -> bool {
        self.pending.values().any(|groups| groups.contains_key(group))
    }

    /// Whether an open transaction has committed here.
    pub(crate) fn is_pending(&self, group: &GroupId, place: &Place) -> bool {
        self.pending.values().filter_map(|groups| groups.get(group)).any(|places| places.contains_key(place))
    }

    /// Committed offsets of a topic, over all groups.
    pub(crate) fn of_topic(&self, topic: &TopicName) -> Vec<(GroupId, Place)> {
        let all = self.groups.iter().flat_map(|(group, places)| places.keys().map(move |place| (group, place)));
        all.filter(|(_, place)| place.0 == *topic).map(|(group, place)| (group.clone(), place.clone())).collect()
    }

    /// An offset is committed, or gone.
    pub(crate) fn apply(&mut self, group: GroupId, place: Place, committed: Option<Committed>) {
        self.applied += 1;
        let order = self.applied;
        match committed {
            Some(committed) => {
                self.groups.entry(group).or_default().insert(place, Ordered { order, committed });
            }
            None => {
                for groups in self.pending.values_mut() {
                    remove(groups, &group, &place);
                }
                self.pending.retain(|_, groups| !groups.is_empty());
                remove(&mut self.groups, &group, &place);
            }
        }
    }

    /// An offset is committed within a transaction.
    pub(crate) fn apply_pending(&mut self, producer: ProducerId, group: GroupId, place: Place, committed: Committed) {
        self.applied += 1;
        let ordered = Ordered { order: self.applied, committed };
        self.pending.entry(producer).or_default().entry(group).or_default().insert(place, ordered);
    }

    /// A transaction is decided. What was committed outside of it later than within stays.
    pub(crate) fn decide(&mut self, producer: ProducerId, commits: bool) {
        let Some(groups) = self.pending.remove(&producer).filter(|_| commits) else { return };
        for (group, places) in groups {
            let known = self.groups.entry(group).or_default();
            for (place, ordered) in places {
                if known.get(&place).is_none_or(|before| before.order < ordered.order) {
                    known.insert(place, ordered);
                }
            }
        }
    }
}

fn remove(groups: &mut BTreeMap<GroupId, BTreeMap<Place, Ordered>>, group: &GroupId, place: &Place) {
    if let Some(places) = groups.get_mut(group) {
        places.remove(place);
        if places.is_empty() {
            groups.remove(group);
        }
    }
}

/// The record of a committed offset, or of its removal.
pub(crate) fn record(group: &GroupId, place: &Place, committed: Option<&Committed>) -> ConsumerOffsetsRecord {
    let key = OffsetCommitKey { group: group.to_string(), topic: place.0.to_string(), partition: place.1 };
    let value = committed.map(|committed| OffsetCommitValue {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.clone(),
        commit_timestamp: committed.committed_ms,
        expire_timestamp: committed.expire_ms.unwrap_or(-1),
        topic_id: committed.topic_id,
    });
    ConsumerOffsetsRecord::OffsetCommit(key, value)
}

/// The version that a value is written in: old clients' own expiry has a place in version 1 alone, topic ids from 4 on.
pub(crate) fn value_version(value: &OffsetCommitValue) -> i16 {
    if value.expire_timestamp >= 0 {
        1
    } else if value.topic_id.is_zero() {
        3
    } else {
        4
    }
}

/// What a record says.
pub(crate) fn committed(value: OffsetCommitValue) -> Committed {
    Committed {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata,
        committed_ms: value.commit_timestamp,
        expire_ms: (value.expire_timestamp >= 0).then_some(value.expire_timestamp),
        topic_id: value.topic_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Committed {
        Committed {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch::NONE,
            metadata: String::new(),
            committed_ms: 0,
            expire_ms: None,
            topic_id: TopicId::ZERO,
        }
    }

    fn place() -> Place {
        ("t".into(), 0)
    }

    #[test]
    fn an_offset_of_a_transaction_shows_only_once_it_is_committed() {
        let mut offsets = Offsets::default();
        offsets.apply_pending(ProducerId(7), "g".into(), place(), at(5));
        assert_eq!(offsets.get(&"g".into(), &place()), None);
        assert!(offsets.is_pending(&"g".into(), &place()));
        offsets.decide(ProducerId(7), true);
        assert_eq!(offsets.get(&"g".into(), &place()), Some(&at(5)));
        assert!(!offsets.is_pending(&"g".into(), &place()));
    }

    #[test]
    fn an_aborted_transaction_leaves_what_was_there() {
        let mut offsets = Offsets::default();
        offsets.apply("g".into(), place(), Some(at(3)));
        offsets.apply_pending(ProducerId(7), "g".into(), place(), at(5));
        offsets.decide(ProducerId(7), false);
        assert_eq!(offsets.get(&"g".into(), &place()), Some(&at(3)));
    }

    #[test]
    fn a_later_plain_commit_stands_against_an_earlier_one_of_a_transaction() {
        let mut offsets = Offsets::default();
        offsets.apply_pending(ProducerId(7), "g".into(), place(), at(5));
        offsets.apply("g".into(), place(), Some(at(9)));
        offsets.decide(ProducerId(7), true);
        assert_eq!(offsets.get(&"g".into(), &place()), Some(&at(9)));
    }
}
