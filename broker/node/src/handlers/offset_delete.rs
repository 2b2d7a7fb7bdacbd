//! OffsetDelete (key 47), version 0: forget how far a group has read topics that it does not use any more (KIP-496).

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::{enter, reply_when_committed, slot_of};
use crate::io::{Effect, Now, RequestContext};

pub(crate) fn offset_delete(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: OffsetDeleteRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let slot = match slot_of(broker, &request.group_id) {
        Ok(slot) => slot,
        Err(error_code) => return Answer::now(refused(error_code)),
    };
    let group = request.group_id;
    let exists = |topic: &_, partition: i32| {
        broker.image.topics.by_name(topic).is_some_and(|topic| topic.partitions.contains_key(&partition))
    };
    let wanted: Vec<_> = request
        .topics
        .into_iter()
        .map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
            let partitions: Vec<(i32, bool)> = partitions.map(|index| (index, exists(&topic.name, index))).collect();
            (topic.name, partitions)
        })
        .collect();
    let done = enter(broker, now, slot, outbox, |groups, turn| {
        groups.check_offset_delete(&group)?;
        let topics = wanted.into_iter().map(|(name, partitions)| {
            let subscribed = groups.is_subscribed(&group, &name);
            let partitions = partitions.into_iter().map(|(partition_index, exists)| {
                let error_code = match (subscribed, exists) {
                    (true, _) => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
                    (false, false) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    (false, true) => {
                        groups.delete_offset(turn, &group, &(name.clone(), partition_index));
                        ErrorCode::NONE
                    }
                };
                OffsetDeleteResponsePartition { partition_index, error_code }
            });
            let partitions = partitions.collect();
            OffsetDeleteResponseTopic { name, partitions }
        });
        Ok(topics.collect::<Vec<_>>())
    });
    match done {
        Ok(topics) => {
            let response = OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() };
            reply_when_committed(broker, now, context, &[slot], response.into())
        }
        Err(error_code) => Answer::now(refused(error_code)),
    }
}

fn refused(error_code: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() }
}
