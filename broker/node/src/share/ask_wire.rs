//! Questions to share coordinators as requests, and their answers.

use std::collections::BTreeMap;

use strandline_protocol::api::{Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicId};
use strandline_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use strandline_protocol::messages::{
    delete_share_group_state as delete, initialize_share_group_state as initialize, read_share_group_state as read,
    read_share_group_state_summary as summary, write_share_group_state as write,
};

use super::states::{Ask, Question, Told};
use crate::broker::Broker;
use crate::coordinator::share::{Batch, Known, Update};

/// Of ListOffsets: the latest offset.
const LATEST: i64 = -1;

/// Answers by partition.
pub(super) type Answers = BTreeMap<(TopicId, i32), Result<Told, ErrorCode>>;

/// One request for questions of one kind and group; nothing if their topics are gone.
pub(super) fn request(broker: &Broker, asks: &[Ask]) -> Option<Request> {
    let group_id = asks.first()?.key.group.clone();
    let by_topic = by_topic(asks);
    Some(match asks.first()?.question {
        Question::Begin { .. } => {
            let topic = |(topic_id, asks): (TopicId, Vec<&Ask>)| initialize::InitializeStateData {
                topic_id,
                partitions: asks.into_iter().filter_map(begin).collect(),
            };
            let topics = by_topic.into_iter().map(topic).collect();
            initialize::InitializeShareGroupStateRequest { group_id, topics }.into()
        }
        Question::Read { .. } => {
            let topic = |(topic_id, asks): (TopicId, Vec<&Ask>)| read::ReadStateData {
                topic_id,
                partitions: asks.into_iter().filter_map(read_one).collect(),
            };
            read::ReadShareGroupStateRequest { group_id, topics: by_topic.into_iter().map(topic).collect() }.into()
        }
        Question::Write(_) => {
            let topic = |(topic_id, asks): (TopicId, Vec<&Ask>)| write::WriteStateData {
                topic_id,
                partitions: asks.into_iter().filter_map(write_one).collect(),
            };
            write::WriteShareGroupStateRequest { group_id, topics: by_topic.into_iter().map(topic).collect() }.into()
        }
        Question::Forget => {
            let partition = |ask: &Ask| delete::PartitionData { partition: ask.key.partition };
            let topic = |(topic_id, asks): (TopicId, Vec<&Ask>)| delete::DeleteStateData {
                topic_id,
                partitions: asks.into_iter().map(partition).collect(),
            };
            delete::DeleteShareGroupStateRequest { group_id, topics: by_topic.into_iter().map(topic).collect() }.into()
        }
        Question::Summary => {
            let partition =
                |ask: &Ask| summary::PartitionData { partition: ask.key.partition, leader_epoch: LeaderEpoch::NONE };
            let topic = |(topic_id, asks): (TopicId, Vec<&Ask>)| summary::ReadStateSummaryData {
                topic_id,
                partitions: asks.into_iter().map(partition).collect(),
            };
            let topics = by_topic.into_iter().map(topic).collect();
            summary::ReadShareGroupStateSummaryRequest { group_id, topics }.into()
        }
        Question::End => return ends(broker, by_topic),
    })
}

fn by_topic(asks: &[Ask]) -> BTreeMap<TopicId, Vec<&Ask>> {
    let mut by_topic: BTreeMap<TopicId, Vec<&Ask>> = BTreeMap::new();
    for ask in asks {
        by_topic.entry(ask.key.topic).or_default().push(ask);
    }
    by_topic
}

fn begin(ask: &Ask) -> Option<initialize::PartitionData> {
    let Question::Begin { state_epoch, start } = ask.question else { return None };
    Some(initialize::PartitionData { partition: ask.key.partition, state_epoch, start_offset: start })
}

fn read_one(ask: &Ask) -> Option<read::PartitionData> {
    let Question::Read { leader_epoch } = ask.question else { return None };
    Some(read::PartitionData { partition: ask.key.partition, leader_epoch })
}

fn write_one(ask: &Ask) -> Option<write::PartitionData> {
    let Question::Write(Update { state_epoch, leader_epoch, start, complete, batches }) = &ask.question else { return None };
    let batch = |batch: &Batch| write::StateBatch {
        first_offset: batch.first,
        last_offset: batch.last,
        delivery_state: batch.state,
        delivery_count: batch.deliveries,
    };
    Some(write::PartitionData {
        partition: ask.key.partition,
        state_epoch: *state_epoch,
        leader_epoch: *leader_epoch,
        start_offset: *start,
        delivery_complete_count: *complete,
        state_batches: batches.iter().map(batch).collect(),
    })
}

fn ends(broker: &Broker, by_topic: BTreeMap<TopicId, Vec<&Ask>>) -> Option<Request> {
    let partition = |ask: &Ask| ListOffsetsPartition {
        partition_index: ask.key.partition,
        timestamp: LATEST,
        ..ListOffsetsPartition::default()
    };
    let topic = |(id, asks): (TopicId, Vec<&Ask>)| {
        let name = broker.image.topics.by_id(id)?.name.clone();
        Some(ListOffsetsTopic { name, partitions: asks.into_iter().map(partition).collect() })
    };
    let topics: Vec<ListOffsetsTopic> = by_topic.into_iter().filter_map(topic).collect();
    let request = ListOffsetsRequest { topics, ..ListOffsetsRequest::default() };
    (!request.topics.is_empty()).then(|| request.into())
}

/// What an answer says of each partition.
pub(super) fn answers(broker: &Broker, response: Response) -> Answers {
    let mut answers = Answers::new();
    match response {
        Response::InitializeShareGroupState(response) => {
            for topic in response.results {
                let done = |partition: initialize::PartitionResult| (partition.partition, done(partition.error_code));
                put(&mut answers, topic.topic_id, topic.partitions.into_iter().map(done));
            }
        }
        Response::ReadShareGroupState(response) => {
            for topic in response.results {
                put(&mut answers, topic.topic_id, topic.partitions.into_iter().map(known));
            }
        }
        Response::WriteShareGroupState(response) => {
            for topic in response.results {
                let done = |partition: write::PartitionResult| (partition.partition, done(partition.error_code));
                put(&mut answers, topic.topic_id, topic.partitions.into_iter().map(done));
            }
        }
        Response::DeleteShareGroupState(response) => {
            for topic in response.results {
                let done = |partition: delete::PartitionResult| (partition.partition, done(partition.error_code));
                put(&mut answers, topic.topic_id, topic.partitions.into_iter().map(done));
            }
        }
        Response::ReadShareGroupStateSummary(response) => {
            for topic in response.results {
                put(&mut answers, topic.topic_id, topic.partitions.into_iter().map(summarised));
            }
        }
        Response::ListOffsets(response) => {
            for topic in response.topics {
                let Some(id) = broker.image.topics.id_of(&topic.name) else { continue };
                let end = |partition: strandline_protocol::messages::list_offsets::ListOffsetsPartitionResponse| {
                    (partition.partition_index, done(partition.error_code).map(|_| Told::End(partition.offset)))
                };
                put(&mut answers, id, topic.partitions.into_iter().map(end));
            }
        }
        _ => {}
    }
    answers
}

fn put(answers: &mut Answers, topic: TopicId, partitions: impl Iterator<Item = (i32, Result<Told, ErrorCode>)>) {
    answers.extend(partitions.map(|(partition, answer)| ((topic, partition), answer)));
}

fn done(code: ErrorCode) -> Result<Told, ErrorCode> {
    if code.is_none() { Ok(Told::Done) } else { Err(code) }
}

fn known(partition: read::PartitionResult) -> (i32, Result<Told, ErrorCode>) {
    let batch = |batch: read::StateBatch| Batch {
        first: batch.first_offset,
        last: batch.last_offset,
        state: batch.delivery_state,
        deliveries: batch.delivery_count,
    };
    let known = done(partition.error_code).map(|_| {
        Told::State(Known {
            state_epoch: partition.state_epoch,
            leader_epoch: LeaderEpoch::NONE,
            start: partition.start_offset,
            complete: -1,
            batches: partition.state_batches.into_iter().map(batch).collect(),
        })
    });
    (partition.partition, known)
}

fn summarised(partition: summary::PartitionResult) -> (i32, Result<Told, ErrorCode>) {
    let known = done(partition.error_code).map(|_| {
        Told::State(Known {
            state_epoch: partition.state_epoch,
            leader_epoch: partition.leader_epoch,
            start: partition.start_offset,
            complete: partition.delivery_complete_count,
            batches: Vec::new(),
        })
    });
    (partition.partition, known)
}

/// A start that is not known yet.
pub(crate) const UNKNOWN_START: Offset = Offset::NONE;
