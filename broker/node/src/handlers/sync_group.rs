//! SyncGroup (key 14), versions 0 to 5: the leader assigns, and every member of a classic group learns its part.
//!
//! v3 static members (KIP-345) · v5 protocol type and name are checked (KIP-559). The answer waits for the leader.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::sync_group::SyncGroupRequest;

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::group::classic::sync_refusal;
use crate::coordinator::{ask, enter, slot_of};
use crate::io::{Effect, Now, RequestContext};

pub(crate) fn sync_group(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: SyncGroupRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    if request.group_id.as_str().is_empty() {
        return Answer::now(sync_refusal(ErrorCode::INVALID_GROUP_ID));
    }
    let slot = match slot_of(broker, &request.group_id) {
        Ok(slot) => slot,
        // A client that syncs has just joined: it joins again once the coordinator is there.
        Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS) => return Answer::now(sync_refusal(ErrorCode::REBALANCE_IN_PROGRESS)),
        Err(code) => return Answer::now(sync_refusal(code)),
    };
    let asker = ask(broker, context, slot, sync_refusal(ErrorCode::NOT_COORDINATOR).into());
    enter(broker, now, slot, outbox, |groups, turn| groups.sync(turn, &asker, request));
    Answer::Parked
}
