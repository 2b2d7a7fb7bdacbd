//! OffsetFetch (key 9), versions 1 to 10: how far groups have read.
//!
//! v2 all topics by null · v7 require_stable (KIP-447) · v8 several groups (KIP-709) · v9 members of the new protocol
//! (KIP-848) · v10 topic ids. The answer waits for everything that was committed before it was asked, so that nobody is
//! told an offset that could still be lost. A group that does not exist has committed nothing.
//! Source: KafkaApis.handleOffsetFetchRequest, OffsetMetadataManager.fetchOffsets.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicId, TopicName};
use strandline_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::group::{Fetched, Groups};
use crate::coordinator::{enter, reply_when_committed, slot_of};
use crate::image::topics::Topics;
use crate::io::{Effect, Now, RequestContext};

/// From this version on a request names several groups.
const SEVERAL_FROM: i16 = 8;
/// From this version on topics are named by their ids.
const IDS_FROM: i16 = 10;
/// From this version on an error has a place beside the topics.
const ERROR_FROM: i16 = 2;

pub(crate) fn offset_fetch(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: OffsetFetchRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let stable = request.require_stable;
    let by_id = context.api_version >= IDS_FROM;
    let several = context.api_version >= SEVERAL_FROM;
    let asked = if several { request.groups } else { vec![only(request.group_id, request.topics)] };
    let mut slots = Vec::new();
    let mut groups = Vec::with_capacity(asked.len());
    for group in asked {
        groups.push(match slot_of(broker, &group.group_id) {
            Ok(slot) => {
                slots.push(slot);
                let names = named(&broker.image.topics, group.topics.as_deref(), by_id);
                enter(broker, now, slot, outbox, |groups, turn| {
                    let ids = |name: &TopicName| if by_id { turn.image.topics.id_of(name) } else { Some(TopicId::ZERO) };
                    answer(groups, &group, names, stable, ids)
                })
            }
            Err(error_code) => OffsetFetchResponseGroup {
                topics: if several { Vec::new() } else { refused_topics(group.topics.as_deref(), error_code) },
                group_id: group.group_id,
                error_code,
            },
        });
    }
    slots.sort_unstable();
    slots.dedup();
    let response =
        if several { OffsetFetchResponse { groups, ..OffsetFetchResponse::default() } } else { flat(context, groups) };
    reply_when_committed(broker, now, context, &slots, response.into())
}

/// A topic that is asked for, by its name if it exists.
struct Named {
    asked: OffsetFetchRequestTopics,
    name: Option<TopicName>,
}

fn named(topics: &Topics, asked: Option<&[OffsetFetchRequestTopics]>, by_id: bool) -> Option<Vec<Named>> {
    let name = |asked: &OffsetFetchRequestTopics| {
        if by_id { topics.by_id(asked.topic_id).map(|topic| topic.name.clone()) } else { Some(asked.name.clone()) }
    };
    Some(asked?.iter().map(|asked| Named { name: name(asked), asked: asked.clone() }).collect())
}

fn answer(
    groups: &mut Groups,
    group: &OffsetFetchRequestGroup,
    names: Option<Vec<Named>>,
    stable: bool,
    id_of: impl Fn(&TopicName) -> Option<TopicId>,
) -> OffsetFetchResponseGroup {
    let (member, epoch) = (group.member_id.as_deref(), group.member_epoch);
    if let Err(error_code) = groups.check_fetch(&group.group_id, member, epoch) {
        return OffsetFetchResponseGroup { group_id: group.group_id.clone(), topics: Vec::new(), error_code };
    }
    let topics = match names {
        Some(names) => names.into_iter().map(|named| topic_answer(groups, &group.group_id, named, stable)).collect(),
        None => everything(groups, &group.group_id, stable, id_of),
    };
    OffsetFetchResponseGroup { group_id: group.group_id.clone(), topics, error_code: ErrorCode::NONE }
}

fn topic_answer(groups: &Groups, group: &GroupId, named: Named, stable: bool) -> OffsetFetchResponseTopics {
    let indexes = named.asked.partition_indexes.into_iter();
    let partitions = match &named.name {
        Some(name) => indexes.map(|index| partition_answer(groups, group, name, index, stable)).collect(),
        None => indexes.map(|index| nothing(index, ErrorCode::UNKNOWN_TOPIC_ID)).collect(),
    };
    OffsetFetchResponseTopics { name: named.asked.name, topic_id: named.asked.topic_id, partitions }
}

/// Every offset of the group; where topics have ids, of those that exist.
fn everything(
    groups: &Groups,
    group: &GroupId,
    stable: bool,
    id_of: impl Fn(&TopicName) -> Option<TopicId>,
) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (name, index) in groups.committed_places(group) {
        let Some(topic_id) = id_of(&name) else { continue };
        let partition = partition_answer(groups, group, &name, index, stable);
        match topics.last_mut().filter(|topic| topic.name == name) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(OffsetFetchResponseTopics { name, topic_id, partitions: vec![partition] }),
        }
    }
    topics
}

fn partition_answer(
    groups: &Groups,
    group: &GroupId,
    topic: &TopicName,
    index: i32,
    stable: bool,
) -> OffsetFetchResponsePartitions {
    match groups.fetch(group, &(topic.clone(), index), stable) {
        Fetched::Committed(committed) => OffsetFetchResponsePartitions {
            partition_index: index,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(committed.metadata),
            error_code: ErrorCode::NONE,
        },
        Fetched::Nothing => nothing(index, ErrorCode::NONE),
        Fetched::Undecided => nothing(index, ErrorCode::UNSTABLE_OFFSET_COMMIT),
    }
}

fn nothing(partition_index: i32, error_code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: Offset::NONE,
        committed_leader_epoch: LeaderEpoch::NONE,
        metadata: Some(String::new()),
        error_code,
    }
}

fn refused_topics(asked: Option<&[OffsetFetchRequestTopics]>, code: ErrorCode) -> Vec<OffsetFetchResponseTopics> {
    let topics = asked.unwrap_or_default().iter().map(|topic| OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(|index| nothing(*index, code)).collect(),
    });
    topics.collect()
}

/// The one group of an old request, as the rest of this file knows groups.
fn only(group_id: GroupId, topics: Option<Vec<OffsetFetchRequestTopic>>) -> OffsetFetchRequestGroup {
    let topic = |topic: OffsetFetchRequestTopic| OffsetFetchRequestTopics {
        name: topic.name,
        topic_id: TopicId::ZERO,
        partition_indexes: topic.partition_indexes,
    };
    OffsetFetchRequestGroup {
        group_id,
        member_id: None,
        member_epoch: -1,
        topics: topics.map(|topics| topics.into_iter().map(topic).collect()),
    }
}

/// The answer of one group, as old requests have it.
fn flat(context: &RequestContext, groups: Vec<OffsetFetchResponseGroup>) -> OffsetFetchResponse {
    let group = groups.into_iter().next().unwrap_or_default();
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: partition.error_code,
            })
            .collect(),
    });
    let error_code = if context.api_version >= ERROR_FROM { group.error_code } else { ErrorCode::NONE };
    OffsetFetchResponse { topics: topics.collect(), error_code, ..OffsetFetchResponse::default() }
}
