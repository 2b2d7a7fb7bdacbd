//! DeleteGroups (key 42), versions 0 to 2: forget groups that have no members, with their offsets (KIP-229).
//!
//! What share coordinators keep of a share group is forgotten first.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::GroupId;
use strandline_protocol::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::share::ShareKey;
use crate::coordinator::{enter, reply_when_committed, slot_of};
use crate::io::{Effect, Now, RequestContext};
use crate::share::flows::{self, Purpose, Results};
use crate::share::states::Question;

pub(crate) fn delete_groups(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: DeleteGroupsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut questions = Vec::new();
    for group in &request.groups_names {
        let Ok(slot) = slot_of(broker, group) else { continue };
        // Of a group that cannot be deleted nothing is.
        let parts = enter(broker, now, slot, outbox, |groups, _| groups.states_to_delete(group)).unwrap_or_default();
        let key = |(topic, partition)| ShareKey { group: group.clone(), topic, partition };
        questions.extend(parts.iter().map(|place| (key(place), Question::Forget)));
    }
    if questions.is_empty() {
        return finish(broker, now, context, request, &Results::new(), outbox);
    }
    flows::begin(broker, now, questions, Purpose::DeleteGroups { context: context.clone(), request }, outbox);
    Answer::Parked
}

/// Deletes the groups, all of whose states are gone.
pub(crate) fn finish(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: DeleteGroupsRequest,
    forgotten: &Results,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut slots = Vec::new();
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let done = kept(forgotten, &group_id).and_then(|()| slot_of(broker, &group_id)).and_then(|slot| {
            slots.push(slot);
            enter(broker, now, slot, outbox, |groups, turn| groups.delete(turn, &group_id))
        });
        results.push(DeletableGroupResult { group_id, error_code: done.err().unwrap_or(ErrorCode::NONE) });
    }
    slots.sort_unstable();
    slots.dedup();
    let response = DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() };
    reply_when_committed(broker, now, context, &slots, response.into())
}

/// Whether a state of the group could not be deleted.
fn kept(forgotten: &Results, group: &GroupId) -> Result<(), ErrorCode> {
    let of_group = forgotten.iter().filter(|(key, _)| key.group == *group);
    of_group.filter_map(|(_, answers)| answers.error).next().map_or(Ok(()), Err)
}
