//! What members of a classic group say to their leader, and what it assigns: bytes that begin with their version.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolAssignmentTopicPartition, ConsumerProtocolSubscription,
    ConsumerProtocolSubscriptionTopicPartition,
};
use strandline_protocol::wire::Message;

use crate::TopicPartition;

/// Versions that are written: the newest subscription, with rack and generation, and the assignment that all can read.
const SUBSCRIPTION_VERSION: i16 = 3;
const ASSIGNMENT_VERSION: i16 = 1;

/// Partitions by topic.
pub(crate) fn by_topic<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> BTreeMap<&'a str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    topics
}

/// A subscription as it is sent with JoinGroup.
pub(crate) fn subscription_bytes(
    topics: &BTreeSet<String>,
    owned: &BTreeSet<TopicPartition>,
    generation: i32,
    rack: Option<&str>,
) -> Bytes {
    let owned = by_topic(owned)
        .into_iter()
        .map(|(topic, partitions)| ConsumerProtocolSubscriptionTopicPartition { topic: TopicName::from(topic), partitions });
    let subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(|topic| TopicName::from(topic.as_str())).collect(),
        user_data: None,
        owned_partitions: owned.collect(),
        generation_id: generation,
        rack_id: rack.map(str::to_owned),
    };
    versioned(SUBSCRIPTION_VERSION, &subscription)
}

/// Reads a subscription; `None` if it is damaged.
pub(crate) fn subscription_of(bytes: &Bytes) -> Option<ConsumerProtocolSubscription> {
    let (version, body) = opened(bytes)?;
    ConsumerProtocolSubscription::from_bytes(body, version.min(SUBSCRIPTION_VERSION)).ok()
}

/// An assignment as the leader sends it with SyncGroup.
pub(crate) fn assigned_bytes(partitions: &BTreeSet<TopicPartition>) -> Bytes {
    let assigned = by_topic(partitions)
        .into_iter()
        .map(|(topic, partitions)| ConsumerProtocolAssignmentTopicPartition { topic: TopicName::from(topic), partitions });
    let assignment = ConsumerProtocolAssignment { assigned_partitions: assigned.collect(), user_data: None };
    versioned(ASSIGNMENT_VERSION, &assignment)
}

/// Reads an assignment; no bytes are no partitions, `None` is damage.
pub(crate) fn assigned_partitions(bytes: &Bytes) -> Option<BTreeSet<TopicPartition>> {
    if bytes.is_empty() {
        return Some(BTreeSet::new());
    }
    let (version, body) = opened(bytes)?;
    let last = ConsumerProtocolAssignment::MESSAGE.versions.last;
    let assignment = ConsumerProtocolAssignment::from_bytes(body, version.min(last)).ok()?;
    let partitions = assignment.assigned_partitions.into_iter().flat_map(|one| {
        let topic = one.topic.0;
        one.partitions.into_iter().map(move |partition| (topic.clone(), partition))
    });
    Some(partitions.collect())
}

fn versioned(version: i16, message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    bytes.extend_from_slice(&message.to_bytes(version));
    bytes.freeze()
}

fn opened(bytes: &Bytes) -> Option<(i16, Bytes)> {
    let head = bytes.first_chunk::<2>()?;
    Some((i16::from_be_bytes(*head), bytes.slice(2..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(of: &[(&str, i32)]) -> BTreeSet<TopicPartition> {
        of.iter().map(|(topic, partition)| ((*topic).to_owned(), *partition)).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let owned = partitions(&[("a", 1), ("b", 0), ("a", 0)]);
        let bytes = subscription_bytes(&BTreeSet::from(["a".to_owned()]), &owned, 7, Some("r"));
        let read = subscription_of(&bytes).unwrap();
        assert_eq!((read.topics.len(), read.generation_id, read.rack_id.as_deref()), (1, 7, Some("r")));
        assert_eq!(read.owned_partitions[0].partitions, [0, 1]);
        assert_eq!(assigned_partitions(&assigned_bytes(&owned)), Some(owned));
    }

    #[test]
    fn damage_is_no_assignment_and_nothing_is_an_empty_one() {
        assert_eq!(assigned_partitions(&Bytes::new()), Some(BTreeSet::new()));
        assert_eq!(assigned_partitions(&Bytes::from_static(&[0])), None);
        assert_eq!(assigned_partitions(&Bytes::from_static(&[0, 0, 0xff, 0xff])), None);
    }
}
