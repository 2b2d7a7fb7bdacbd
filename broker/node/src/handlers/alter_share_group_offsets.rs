//! AlterShareGroupOffsets (key 91), version 0: set where a share group without members begins (KIP-932).
//!
//! What the group has done behind that is forgotten: the states begin anew. Makes the group if there is none of the name.
//! Errors: GROUP_ID_NOT_FOUND for a group of another kind, NON_EMPTY_GROUP; by partition UNKNOWN_TOPIC_OR_PARTITION and those of
//! the share coordinator. Source: GroupCoordinatorService.alterShareGroupOffsets.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, Offset, TopicId};
use strandline_protocol::messages::alter_share_group_offsets::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse, AlterShareGroupOffsetsResponsePartition,
    AlterShareGroupOffsetsResponseTopic,
};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::group::consumer::parts::Parts;
use crate::coordinator::share::ShareKey;
use crate::coordinator::{enter, reply_when_committed, slot_of};
use crate::features;
use crate::io::{Effect, Now, RequestContext};
use crate::share::flows::{self, Purpose, Results};
use crate::share::states::Question;

pub(crate) fn alter_share_group_offsets(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: AlterShareGroupOffsetsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let group = request.group_id.clone();
    let (responses, starts) = resolve(broker, request);
    let parts: Parts = starts.iter().map(|(topic, partition, _)| (*topic, *partition)).collect();
    let begun = features::check_share_groups(&broker.image)
        .and_then(|()| slot_of(broker, &group))
        .and_then(|slot| enter(broker, now, slot, outbox, |groups, turn| groups.begin_alter(turn, &group, &parts)));
    let state_epoch = match begun {
        Ok(state_epoch) => state_epoch,
        Err(error_code) => {
            let error_message = Some(error_code.meaning().to_owned());
            return Answer::now(AlterShareGroupOffsetsResponse { error_code, error_message, ..Default::default() });
        }
    };
    let question = |(topic, partition, start)| {
        (ShareKey { group: group.clone(), topic, partition }, Question::Begin { state_epoch, start })
    };
    let questions = starts.into_iter().map(question).collect();
    let response = AlterShareGroupOffsetsResponse { responses, ..AlterShareGroupOffsetsResponse::default() };
    let purpose = Purpose::Alter { context: context.clone(), group, response };
    flows::begin(broker, now, questions, purpose, outbox);
    Answer::Parked
}

/// The response as it is if all goes well, and where which partitions are to begin.
fn resolve(
    broker: &Broker,
    request: AlterShareGroupOffsetsRequest,
) -> (Vec<AlterShareGroupOffsetsResponseTopic>, Vec<(TopicId, i32, Offset)>) {
    let mut starts = Vec::new();
    let topics = request.topics.into_iter().map(|asked| {
        let topic = broker.image.topics.by_name(&asked.topic_name);
        let partitions = asked.partitions.into_iter().map(|partition| {
            let index = partition.partition_index;
            let known = topic.filter(|topic| topic.partitions.contains_key(&index));
            starts.extend(known.map(|topic| (topic.id, index, partition.start_offset)));
            let code = if known.is_some() { ErrorCode::NONE } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
            result(index, code)
        });
        let partitions = partitions.collect();
        let topic_id = topic.map_or(TopicId::ZERO, |topic| topic.id);
        AlterShareGroupOffsetsResponseTopic { topic_name: asked.topic_name, topic_id, partitions }
    });
    (topics.collect(), starts)
}

fn result(partition_index: i32, error_code: ErrorCode) -> AlterShareGroupOffsetsResponsePartition {
    let error_message = (!error_code.is_none()).then(|| error_code.meaning().to_owned());
    AlterShareGroupOffsetsResponsePartition { partition_index, error_code, error_message }
}

/// Answers once the states have begun, and what the group says of them is committed.
pub(crate) fn finish(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    group: &GroupId,
    mut response: AlterShareGroupOffsetsResponse,
    results: &Results,
) -> Answer {
    for topic in &mut response.responses {
        for partition in topic.partitions.iter_mut().filter(|partition| partition.error_code.is_none()) {
            let key = ShareKey { group: group.clone(), topic: topic.topic_id, partition: partition.partition_index };
            if let Some(code) = results.get(&key).and_then(|answers| answers.error) {
                *partition = result(partition.partition_index, code);
            }
        }
    }
    let slots: Vec<u32> = slot_of(broker, group).into_iter().collect();
    reply_when_committed(broker, now, context, &slots, response.into())
}
