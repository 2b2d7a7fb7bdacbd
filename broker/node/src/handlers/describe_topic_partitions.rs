//! DescribeTopicPartitions (key 75), version 0: topics page by page, with eligible leader replicas (KIP-966).
//!
//! Topics come in order of name; a page that is full ends with a cursor to the next partition.
//! Source: DescribeTopicPartitionsRequestHandler.

use std::collections::BTreeSet;
use std::sync::Arc;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicName};
use strandline_protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic, ResponseCursor,
};

use super::Answer;
use super::metadata::{is_internal, offline};
use crate::broker::Broker;
use crate::controller::topics::check_topic_name;
use crate::image::Image;
use crate::image::topics::{Partition, Topic};

/// Where the last page ended.
struct Begin {
    topic: TopicName,
    partition: i32,
}

pub(crate) fn describe_topic_partitions(broker: &mut Broker, request: DescribeTopicPartitionsRequest) -> Answer {
    let limit = request.response_partition_limit.clamp(1, broker.settings.describe_partitions_max);
    let begin = request.cursor.map(|cursor| Begin { topic: cursor.topic_name, partition: cursor.partition_index });
    let from = begin.as_ref().map(|begin| begin.topic.clone()).unwrap_or_default();
    let names: BTreeSet<TopicName> = if request.topics.is_empty() {
        broker.image.topics.iter_from(&from).map(|topic| topic.name.clone()).collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name).filter(|name| *name >= from).collect()
    };
    let mut room = usize::try_from(limit).unwrap_or(1);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        let Some(topic) = broker.image.topics.by_name(&name) else {
            response.topics.push(unknown(name));
            continue;
        };
        let first = begin.as_ref().filter(|begin| begin.topic == name).map_or(0, |begin| begin.partition);
        if room == 0 {
            response.next_cursor = Some(ResponseCursor { topic_name: name, partition_index: first });
            break;
        }
        let page: Vec<_> = topic.partitions.range(first..).take(room).collect();
        room -= page.len();
        let next = page.last().map_or(first, |(index, _)| **index + 1);
        response.topics.push(described(&broker.image, topic, page.into_iter()));
        if topic.partitions.range(next..).next().is_some() {
            response.next_cursor = Some(ResponseCursor { topic_name: name, partition_index: next });
            break;
        }
    }
    Answer::now(response)
}

fn unknown(name: TopicName) -> DescribeTopicPartitionsResponseTopic {
    let error_code = if check_topic_name(name.as_str()).is_ok() {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    } else {
        ErrorCode::INVALID_TOPIC_EXCEPTION
    };
    DescribeTopicPartitionsResponseTopic { error_code, name: Some(name), ..DescribeTopicPartitionsResponseTopic::default() }
}

fn described<'a>(
    image: &Image,
    topic: &Topic,
    partitions: impl Iterator<Item = (&'a i32, &'a Arc<Partition>)>,
) -> DescribeTopicPartitionsResponseTopic {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    let partitions = partitions.map(|(index, partition)| DescribeTopicPartitionsResponsePartition {
        error_code: if partition.leader < 0 { ErrorCode::LEADER_NOT_AVAILABLE } else { ErrorCode::NONE },
        partition_index: *index,
        leader_id: BrokerId(partition.leader),
        leader_epoch: partition.leader_epoch,
        replica_nodes: ids(&partition.replicas),
        isr_nodes: ids(&partition.isr),
        eligible_leader_replicas: Some(ids(&partition.elr)),
        last_known_elr: Some(ids(&partition.last_known_elr)),
        offline_replicas: offline(image, partition),
    });
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}
