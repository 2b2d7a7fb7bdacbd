//! OffsetCommit (key 8), versions 2 to 10: remember how far a group has read.
//!
//! v2 to v4 the client says how long it is kept · v6 leader epochs (KIP-320) · v7 static members (KIP-345) · v9 groups of
//! the new protocol (KIP-848) · v10 topic ids. Whoever is no member commits with a negative generation, as long as the
//! group has no members. Source: KafkaApis.handleOffsetCommitRequest, OffsetMetadataManager.commitOffset.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::group::{Commit, Position};
use crate::coordinator::{enter, reply_when_committed, slot_of};
use crate::image::topics::Topic;
use crate::io::{Effect, Now, RequestContext};

/// From this version on topics are named by their ids.
const IDS_FROM: i16 = 10;
/// From this version on a group that does not exist is called so.
const GROUP_NOT_FOUND_FROM: i16 = 9;

pub(crate) fn offset_commit(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: OffsetCommitRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let slot = match slot_of(broker, &request.group_id) {
        Ok(slot) => slot,
        Err(code) => return Answer::now(refused(request, code)),
    };
    let by_id = context.api_version >= IDS_FROM;
    let known = |topic: &OffsetCommitRequestTopic| {
        let topics = &broker.image.topics;
        if by_id { topics.by_id(topic.topic_id).cloned() } else { topics.by_name(&topic.name).cloned() }
    };
    let wanted: Vec<_> = request.topics.iter().map(|topic| (topic.clone(), known(topic))).collect();
    let unknown = if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
    let unknown_group =
        if context.api_version >= GROUP_NOT_FOUND_FROM { ErrorCode::GROUP_ID_NOT_FOUND } else { ErrorCode::ILLEGAL_GENERATION };
    let commit = Commit {
        group: &request.group_id,
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
        unknown_group,
        stale: if context.api_version >= GROUP_NOT_FOUND_FROM { |code| code } else { |_| ErrorCode::UNSUPPORTED_VERSION },
        transaction: None,
    };
    let expire_ms = (request.retention_time_ms >= 0).then(|| now.wall_ms.saturating_add(request.retention_time_ms));
    let done = enter(broker, now, slot, outbox, |groups, turn| {
        groups.begin_commit(turn, &commit)?;
        let topics = wanted.into_iter().map(|(asked, known)| OffsetCommitResponseTopic {
            partitions: asked
                .partitions
                .into_iter()
                .map(|partition| {
                    let index = partition.partition_index;
                    let position = position(known.as_ref(), partition, expire_ms).ok_or(unknown);
                    let done = position.and_then(|position| groups.commit(turn, &commit, position));
                    OffsetCommitResponsePartition { partition_index: index, error_code: done.err().unwrap_or(ErrorCode::NONE) }
                })
                .collect(),
            name: asked.name,
            topic_id: asked.topic_id,
        });
        Ok(topics.collect::<Vec<_>>())
    });
    match done {
        Ok(topics) => {
            let response = OffsetCommitResponse { topics, ..OffsetCommitResponse::default() };
            reply_when_committed(broker, now, context, &[slot], response.into())
        }
        Err(code) => Answer::now(refused(request, code)),
    }
}

/// What is to be committed; `None` if there is no such partition.
fn position(topic: Option<&Topic>, partition: OffsetCommitRequestPartition, expire_ms: Option<i64>) -> Option<Position> {
    let topic = topic.filter(|topic| topic.partitions.contains_key(&partition.partition_index))?;
    Some(Position {
        place: (topic.name.clone(), partition.partition_index),
        topic_id: topic.id,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata,
        expire_ms,
    })
}

fn refused(request: OffsetCommitRequest, error_code: ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.into_iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition { partition_index: partition.partition_index, error_code })
            .collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
}
