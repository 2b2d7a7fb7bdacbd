//! DeleteGroups (key 42), versions 0 to 2: forget groups that have no members, with their offsets (KIP-229).

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::{enter, reply_when_committed, slot_of};
use crate::io::{Effect, Now, RequestContext};

pub(crate) fn delete_groups(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: DeleteGroupsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut slots = Vec::new();
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let done = slot_of(broker, &group_id).and_then(|slot| {
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
