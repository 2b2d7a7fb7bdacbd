//! Metadata (key 3), versions 0 to 13: brokers, and topics with their partitions.
//!
//! v0 an empty list is all topics, from v1 on null is all and empty is none · v4 allow_auto_topic_creation · v7 leader
//! epochs · v10 and v12 topic ids (KIP-516) · v13 top-level error. A topic that does not exist and may be created is
//! answered with UNKNOWN_TOPIC_OR_PARTITION now and made in the background; clients ask again.
//! Source: KafkaApis.handleTopicMetadataRequest, AutoTopicCreationManager.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicId, TopicName};
use strandline_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};

use super::Answer;
use crate::broker::Broker;
use crate::controller::topics::{NewTopic, check_topic_name, create};
use crate::controller_channel;
use crate::image::Image;
use crate::image::topics::{Partition, Topic};
use crate::io::{Now, RequestContext};

/// From this version on a client is told that the leader has no listener for it.
const LISTENERS_FROM: i16 = 6;

/// Most topics that one request creates on its way; the next request creates more.
const AUTO_CREATED_MAX: usize = 100;

pub(crate) fn metadata(broker: &mut Broker, now: Now, context: &RequestContext, request: MetadataRequest) -> Answer {
    let everything = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && context.api_version == 0,
    };
    let may_create = broker.settings.auto_create_topics && (request.allow_auto_topic_creation || context.api_version < 4);
    let topics = if everything {
        broker.image.topics.iter().map(|topic| reachable(broker, context, described(&broker.image, topic))).collect()
    } else {
        let asked = request.topics.unwrap_or_default();
        create_missing(broker, now, may_create, &asked);
        asked.iter().map(|topic| reachable(broker, context, answer(broker, topic))).collect()
    };
    Answer::now(MetadataResponse {
        brokers: brokers(broker, context),
        cluster_id: Some(broker.identity.cluster_id.clone()),
        controller_id: BrokerId(broker.identity.node_id),
        topics,
        ..MetadataResponse::default()
    })
}

fn brokers(broker: &Broker, context: &RequestContext) -> Vec<MetadataResponseBroker> {
    let alive = broker.image.brokers.iter().filter(|known| !known.fenced);
    let described = alive.filter_map(|known| {
        let endpoint = known.endpoint_at(&context.listener_name)?;
        Some(MetadataResponseBroker {
            node_id: BrokerId(known.id),
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: known.rack.clone(),
        })
    });
    described.collect()
}

fn answer(broker: &Broker, asked: &MetadataRequestTopic) -> MetadataResponseTopic {
    let by_id = asked.topic_id != TopicId::default();
    let known = match &asked.name {
        _ if by_id => broker.image.topics.by_id(asked.topic_id),
        Some(name) => broker.image.topics.by_name(name),
        None => None,
    };
    if let Some(topic) = known {
        return described(&broker.image, topic);
    }
    let error_code = match &asked.name {
        _ if by_id => ErrorCode::UNKNOWN_TOPIC_ID,
        Some(name) if check_topic_name(name.as_str()).is_ok() => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        _ => ErrorCode::INVALID_TOPIC_EXCEPTION,
    };
    MetadataResponseTopic { error_code, name: asked.name.clone(), topic_id: asked.topic_id, ..MetadataResponseTopic::default() }
}

/// A leader that does not listen by the name that the client uses is none for it. Source: KRaftMetadataCache.partitionMetadata.
fn reachable(broker: &Broker, context: &RequestContext, mut topic: MetadataResponseTopic) -> MetadataResponseTopic {
    let listens =
        |id: i32| broker.image.brokers.get(id).is_none_or(|known| known.endpoint_at(&context.listener_name).is_some());
    let error_code =
        if context.api_version >= LISTENERS_FROM { ErrorCode::LISTENER_NOT_FOUND } else { ErrorCode::LEADER_NOT_AVAILABLE };
    for partition in topic.partitions.iter_mut().filter(|partition| !listens(partition.leader_id.0)) {
        (partition.error_code, partition.leader_id) = (error_code, BrokerId::NONE);
    }
    topic
}

/// A topic as it stands in a response.
pub(crate) fn described(image: &Image, topic: &Topic) -> MetadataResponseTopic {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    let partitions = topic.partitions.iter().map(|(index, partition)| MetadataResponsePartition {
        error_code: if partition.leader < 0 { ErrorCode::LEADER_NOT_AVAILABLE } else { ErrorCode::NONE },
        partition_index: *index,
        leader_id: BrokerId(partition.leader),
        leader_epoch: partition.leader_epoch,
        replica_nodes: ids(&partition.replicas),
        isr_nodes: ids(&partition.isr),
        offline_replicas: offline(image, partition),
    });
    MetadataResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        ..MetadataResponseTopic::default()
    }
}

/// Replicas that nobody serves: their broker is fenced or unknown, or their directory failed.
/// Source: KRaftMetadataCache.getOfflineReplicas.
pub(crate) fn offline(image: &Image, partition: &Partition) -> Vec<BrokerId> {
    let is_served = |replica: i32| {
        let known = image.brokers.get(replica).filter(|known| !known.fenced);
        known.is_some_and(|known| known.has_online(partition.directory_of(replica)))
    };
    partition.replicas.iter().copied().filter(|replica| !is_served(*replica)).map(BrokerId).collect()
}

/// Topics that belong to the cluster itself. Source: Topic.INTERNAL_TOPICS.
pub(crate) fn is_internal(name: &TopicName) -> bool {
    matches!(name.as_str(), "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

fn create_missing(broker: &mut Broker, now: Now, may_create: bool, asked: &[MetadataRequestTopic]) {
    if !may_create {
        return;
    }
    let named = asked.iter().filter_map(|topic| topic.name.as_ref());
    let missing: Vec<TopicName> = named
        .filter(|name| {
            broker.image.topics.by_name(name).is_none() && !broker.auto_creating.contains(*name) && !is_internal(name)
        })
        .take(AUTO_CREATED_MAX)
        .cloned()
        .collect();
    if !broker.controller.is_active() {
        for name in missing {
            controller_channel::create_later(broker, by_defaults(name));
        }
        return;
    }
    for name in missing {
        let topic = by_defaults(name.clone());
        let bounds = broker.bounds();
        if let Ok(created) = create(&broker.controller.image, bounds, &mut broker.dice, &topic) {
            broker.controller.emit(now, created.records);
            broker.auto_creating.insert(name);
        }
    }
}

fn by_defaults(name: TopicName) -> NewTopic {
    NewTopic { name, partitions: -1, replication_factor: -1, ..NewTopic::default() }
}
