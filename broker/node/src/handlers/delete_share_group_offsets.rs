//! DeleteShareGroupOffsets (key 92), version 0: forget topics of a share group without members (KIP-932).
//!
//! Errors: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP; by topic UNKNOWN_TOPIC_OR_PARTITION if the group has nothing of it, and those of the
//! share coordinator. Source: GroupCoordinatorService.deleteShareGroupOffsets.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, TopicId};
use strandline_protocol::messages::delete_share_group_offsets::{
    DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse, DeleteShareGroupOffsetsResponseTopic,
};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::share::ShareKey;
use crate::coordinator::{enter, reply_when_committed, slot_of};
use crate::features;
use crate::io::{Effect, Now, RequestContext};
use crate::share::flows::{self, Purpose, Results, error_of};
use crate::share::states::Question;

pub(crate) fn delete_share_group_offsets(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: DeleteShareGroupOffsetsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let group = request.group_id;
    let slot = features::check_share_groups(&broker.image).and_then(|()| slot_of(broker, &group));
    let checked = slot.and_then(|slot| {
        enter(broker, now, slot, outbox, |groups, _| groups.share(&group).and_then(|group| group.check_empty()))?;
        Ok(slot)
    });
    let slot = match checked {
        Ok(slot) => slot,
        Err(error_code) => {
            let error_message = Some(error_code.meaning().to_owned());
            return Answer::now(DeleteShareGroupOffsetsResponse { error_code, error_message, ..Default::default() });
        }
    };
    let (mut responses, mut questions) = (Vec::new(), Vec::new());
    for topic in request.topics {
        let id = broker.image.topics.id_of(&topic.topic_name);
        let parts = id
            .ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            .and_then(|id| enter(broker, now, slot, outbox, |groups, turn| groups.begin_forget(turn, &group, id)));
        let error_code = parts.as_ref().err().copied().unwrap_or(ErrorCode::NONE);
        for (topic, partition) in parts.iter().flat_map(|parts| parts.iter()) {
            questions.push((ShareKey { group: group.clone(), topic, partition }, Question::Forget));
        }
        responses.push(DeleteShareGroupOffsetsResponseTopic {
            topic_name: topic.topic_name,
            topic_id: id.unwrap_or(TopicId::ZERO),
            error_code,
            error_message: message(error_code),
        });
    }
    let response = DeleteShareGroupOffsetsResponse { responses, ..DeleteShareGroupOffsetsResponse::default() };
    let purpose = Purpose::ForgetTopics { context: context.clone(), group, response };
    flows::begin(broker, now, questions, purpose, outbox);
    Answer::Parked
}

fn message(code: ErrorCode) -> Option<String> {
    (!code.is_none()).then(|| code.meaning().to_owned())
}

/// Answers once the states are gone, and what the group says of that is committed.
pub(crate) fn finish(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    group: &GroupId,
    mut response: DeleteShareGroupOffsetsResponse,
    results: &Results,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let slot = slot_of(broker, group);
    for topic in response.responses.iter_mut().filter(|topic| topic.error_code.is_none()) {
        topic.error_code = error_of(results, group, topic.topic_id);
        topic.error_message = message(topic.error_code);
        if let (Ok(slot), true) = (slot, topic.error_code.is_none()) {
            enter(broker, now, slot, outbox, |groups, turn| groups.on_states_gone(turn, group, topic.topic_id));
        }
    }
    let slots: Vec<u32> = slot.into_iter().collect();
    reply_when_committed(broker, now, context, &slots, response.into())
}
