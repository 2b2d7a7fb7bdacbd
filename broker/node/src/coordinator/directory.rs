//! Where coordinators are, by the committed metadata: the leader of the partition that a key falls on.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;

use super::kind::Kind;
use super::placement;
use crate::broker::Broker;
use crate::controller::topics::{NewTopic, create};
use crate::controller_channel;
use crate::io::Now;

/// A coordinator, as clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coordinator {
    pub node: i32,
    pub host: String,
    pub port: u16,
}

/// The partition of a key; `None` while the topic does not exist.
pub(crate) fn partition_of(broker: &Broker, kind: Kind, key: &str) -> Option<i32> {
    let topic = broker.image.topics.by_name(&kind.topic().into())?;
    let partitions = i32::try_from(topic.partitions.len()).ok().filter(|count| *count > 0)?;
    Some(placement::partition_of(key, partitions))
}

/// Who coordinates a key, and where it listens by this name. Makes the topic if it does not exist; then clients ask again.
///
/// # Errors
/// COORDINATOR_NOT_AVAILABLE.
pub(crate) fn find(broker: &mut Broker, now: Now, listener: &str, kind: Kind, key: &str) -> Result<Coordinator, ErrorCode> {
    let Some(partition) = partition_of(broker, kind, key) else {
        make(broker, now, kind);
        return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
    };
    let leader = led_by(broker, kind, partition).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
    let alive = broker.image.brokers.iter().find(|known| known.id == leader && !known.fenced);
    let endpoint = alive.and_then(|known| known.endpoint_at(listener)).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
    Ok(Coordinator { node: leader, host: endpoint.host.clone(), port: endpoint.port })
}

/// The broker that coordinates a key, if the topic exists and the key's partition has a leader.
pub(crate) fn leader_of(broker: &Broker, kind: Kind, key: &str) -> Option<i32> {
    led_by(broker, kind, partition_of(broker, kind, key)?).filter(|leader| *leader >= 0)
}

fn led_by(broker: &Broker, kind: Kind, partition: i32) -> Option<i32> {
    let topic = broker.image.topics.by_name(&kind.topic().into())?;
    topic.partitions.get(&partition).map(|partition| partition.leader)
}

/// Makes the topic of a kind with as many replicas as are wanted, or as there are brokers.
fn make(broker: &mut Broker, now: Now, kind: Kind) {
    let (name, topic) = (TopicName::from(kind.topic()), broker.coordinators.settings.topic(kind));
    let exists = broker.controller.image.topics.by_name(&name).is_some();
    if exists || (broker.controller.is_active() && !broker.auto_creating.insert(name.clone())) {
        return;
    }
    let alive = broker.image.brokers.iter().filter(|known| !known.fenced).count();
    let alive = i16::try_from(alive).unwrap_or(i16::MAX).max(1);
    let config = |key: &str, value: String| (key.to_owned(), Some(value));
    let min_isr = topic.min_insync_replicas.map(|count| config("min.insync.replicas", count.to_string()));
    let configs = [
        config("cleanup.policy", topic.cleanup_policy.to_owned()),
        config("compression.type", topic.compression.to_owned()),
        config("segment.bytes", topic.segment_bytes.to_string()),
    ];
    // Who cuts it back does so by what it knows, not by age.
    let retention = (topic.cleanup_policy == "delete").then(|| config("retention.ms", "-1".to_owned()));
    let wanted = NewTopic {
        name: name.clone(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor.min(alive),
        configs: configs.into_iter().chain(min_isr).chain(retention).collect(),
        ..NewTopic::default()
    };
    if !broker.controller.is_active() {
        return controller_channel::create_later(broker, wanted);
    }
    let bounds = broker.bounds();
    match create(&broker.controller.image, bounds, &mut broker.dice, &wanted) {
        Ok(created) => {
            broker.controller.emit(now, created.records);
        }
        Err(_) => {
            broker.auto_creating.remove(&name);
        }
    }
}
