//! DescribeShareGroupOffsets (key 90), versions 0 to 1: where share groups begin in their partitions (KIP-932).
//!
//! v1 lag (KIP-1226): records behind the start that nobody is done with, -1 if it cannot be told. Without topics all of a group are
//! described. A partition that was never read has the start -1. Source: GroupCoordinatorService.describeShareGroupOffsets.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicId, TopicName};
use strandline_protocol::messages::describe_share_group_offsets::{
    DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsResponse,
    DescribeShareGroupOffsetsResponseGroup, DescribeShareGroupOffsetsResponsePartition, DescribeShareGroupOffsetsResponseTopic,
};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::group::consumer::parts::Parts;
use crate::coordinator::share::ShareKey;
use crate::coordinator::{enter, slot_of};
use crate::features;
use crate::io::{Effect, Now, RequestContext};
use crate::share::flows::{self, Answers, Purpose, Results};
use crate::share::states::{Question, Told};

pub(crate) fn describe_share_group_offsets(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: DescribeShareGroupOffsetsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut questions = Vec::new();
    let mut groups = Vec::with_capacity(request.groups.len());
    for asked in request.groups {
        let group_id = asked.group_id.clone();
        let described = match topics(broker, now, asked, outbox) {
            Ok(topics) => DescribeShareGroupOffsetsResponseGroup { group_id, topics, ..Default::default() },
            Err(error_code) => {
                let error_message = Some(error_code.meaning().to_owned());
                DescribeShareGroupOffsetsResponseGroup { group_id, error_code, error_message, ..Default::default() }
            }
        };
        for (key, _) in keys(&described) {
            questions.push((key.clone(), Question::Summary));
            questions.push((key, Question::End));
        }
        groups.push(described);
    }
    let response = DescribeShareGroupOffsetsResponse { groups, ..DescribeShareGroupOffsetsResponse::default() };
    let purpose = Purpose::Describe { context: context.clone(), response };
    flows::begin(broker, now, questions, purpose, outbox);
    Answer::Parked
}

/// What is described of a group, without what is known of it.
fn topics(
    broker: &mut Broker,
    now: Now,
    asked: DescribeShareGroupOffsetsRequestGroup,
    outbox: &mut Vec<Effect>,
) -> Result<Vec<DescribeShareGroupOffsetsResponseTopic>, ErrorCode> {
    features::check_share_groups(&broker.image)?;
    let slot = slot_of(broker, &asked.group_id)?;
    let group = &asked.group_id;
    let known =
        enter(broker, now, slot, outbox, |groups, _| groups.share(group).map(|group| group.topics().initialized().clone()))?;
    let Some(topics) = asked.topics else { return Ok(all(broker, &known)) };
    let topic = |topic: strandline_protocol::messages::describe_share_group_offsets::DescribeShareGroupOffsetsRequestTopic| {
        let id = broker.image.topics.id_of(&topic.topic_name);
        let partition = |index: i32| match id {
            Some(_) => unknown(index, ErrorCode::NONE),
            None => unknown(index, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        };
        let partitions = topic.partitions.into_iter().map(partition).collect();
        described(topic.topic_name, id.unwrap_or(TopicId::ZERO), partitions)
    };
    Ok(topics.into_iter().map(topic).collect())
}

fn all(broker: &Broker, known: &Parts) -> Vec<DescribeShareGroupOffsetsResponseTopic> {
    let topic = |(id, partitions): (TopicId, Vec<i32>)| {
        let name = broker.image.topics.by_id(id)?.name.clone();
        Some(described(name, id, partitions.into_iter().map(|index| unknown(index, ErrorCode::NONE)).collect()))
    };
    known.lists().filter_map(topic).collect()
}

fn described(
    topic_name: TopicName,
    topic_id: TopicId,
    partitions: Vec<DescribeShareGroupOffsetsResponsePartition>,
) -> DescribeShareGroupOffsetsResponseTopic {
    DescribeShareGroupOffsetsResponseTopic { topic_name, topic_id, partitions }
}

fn unknown(partition_index: i32, error_code: ErrorCode) -> DescribeShareGroupOffsetsResponsePartition {
    DescribeShareGroupOffsetsResponsePartition {
        partition_index,
        start_offset: Offset::NONE,
        leader_epoch: LeaderEpoch(0),
        error_code,
        error_message: (!error_code.is_none()).then(|| error_code.meaning().to_owned()),
        ..DescribeShareGroupOffsetsResponsePartition::default()
    }
}

/// The partitions that are asked about, with their places.
fn keys(group: &DescribeShareGroupOffsetsResponseGroup) -> Vec<(ShareKey, (usize, usize))> {
    let mut keys = Vec::new();
    for (topic_at, topic) in group.topics.iter().enumerate() {
        for (partition_at, partition) in topic.partitions.iter().enumerate().filter(|(_, one)| one.error_code.is_none()) {
            keys.push((key(&group.group_id, topic.topic_id, partition.partition_index), (topic_at, partition_at)));
        }
    }
    keys
}

fn key(group: &GroupId, topic: TopicId, partition: i32) -> ShareKey {
    ShareKey { group: group.clone(), topic, partition }
}

/// Puts what was answered into the response.
pub(crate) fn finish(mut response: DescribeShareGroupOffsetsResponse, results: &Results) -> DescribeShareGroupOffsetsResponse {
    for group in &mut response.groups {
        for (key, (topic, partition)) in keys(group) {
            let Some(answers) = results.get(&key) else { continue };
            tell(&mut group.topics[topic].partitions[partition], answers);
        }
    }
    response
}

fn tell(partition: &mut DescribeShareGroupOffsetsResponsePartition, answers: &Answers) {
    let mut end = None;
    let mut complete = -1;
    for told in &answers.told {
        match told {
            Told::State(known) => {
                partition.start_offset = known.start;
                partition.leader_epoch = known.leader_epoch;
                complete = known.complete;
            }
            Told::End(offset) => end = Some(*offset),
            Told::Done => {}
        }
    }
    let has_state = answers.told.iter().any(|told| matches!(told, Told::State(_)));
    if let (Some(code), false) = (answers.error, has_state) {
        partition.error_code = code;
        partition.error_message = Some(code.meaning().to_owned());
    }
    if let Some(end) = end
        && partition.start_offset >= Offset::ZERO
        && complete >= 0
    {
        partition.lag = (end.0 - partition.start_offset.0 - i64::from(complete)).max(0);
    }
}
