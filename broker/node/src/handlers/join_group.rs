//! JoinGroup (key 11), versions 0 to 9: be in the next generation of a classic group.
//!
//! v1 rebalance timeout (KIP-62) · v4 newcomers get their id first (KIP-394) · v5 static members (KIP-345) · v7 protocol
//! type in the answer · v8 reason (KIP-800) · v9 skip_assignment (KIP-814). The answer waits for the other members.
//! Source: GroupCoordinatorService.joinGroup; the rules are in `coordinator/group/classic`.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::join_group::JoinGroupRequest;

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::group::classic::join_refusal;
use crate::coordinator::{ask, enter, slot_of};
use crate::io::{Effect, Now, RequestContext};

pub(crate) fn join_group(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: JoinGroupRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let refuse = |code: ErrorCode| join_refusal(context.api_version, &request.member_id, code);
    if request.group_id.as_str().is_empty() {
        return Answer::now(refuse(ErrorCode::INVALID_GROUP_ID));
    }
    let slot = match slot_of(broker, &request.group_id) {
        Ok(slot) => slot,
        Err(code) => return Answer::now(refuse(code)),
    };
    let asker = ask(broker, context, slot, refuse(ErrorCode::NOT_COORDINATOR).into());
    enter(broker, now, slot, outbox, |groups, turn| groups.join(turn, &asker, request));
    Answer::Parked
}
