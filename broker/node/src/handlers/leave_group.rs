//! LeaveGroup (key 13), versions 0 to 5: members leave a classic group, by themselves or by an operator's wish.
//!
//! v3 several members, static ones by instance id (KIP-345) · v5 reason (KIP-800).

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::{enter, reply_when_committed, slot_of};
use crate::io::{Effect, Now, RequestContext};

/// From this version on a request names several members.
const SEVERAL_FROM: i16 = 3;

pub(crate) fn leave_group(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: LeaveGroupRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    if request.group_id.as_str().is_empty() {
        return Answer::now(refused(ErrorCode::INVALID_GROUP_ID));
    }
    let slot = match slot_of(broker, &request.group_id) {
        Ok(slot) => slot,
        Err(code) => return Answer::now(refused(code)),
    };
    let single = context.api_version < SEVERAL_FROM;
    let members = if single {
        vec![MemberIdentity { member_id: request.member_id, ..MemberIdentity::default() }]
    } else {
        request.members
    };
    let mut response = enter(broker, now, slot, outbox, |groups, turn| groups.leave(turn, &request.group_id, members));
    if single && let Some(member) = response.members.pop() {
        response.error_code = member.error_code;
    }
    reply_when_committed(broker, now, context, &[slot], response.into())
}

fn refused(error_code: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() }
}
