//! DescribeGroups (key 15), versions 0 to 6: state and members of classic groups.
//!
//! v4 static members (KIP-345) · v6 a group that does not exist is GROUP_ID_NOT_FOUND (KIP-1043); before, it is `Dead`.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::GroupId;
use strandline_protocol::messages::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::{enter, reply_when_committed, slot_of};
use crate::io::{Effect, Now, RequestContext};

/// From this version on a group that does not exist is an error.
const NOT_FOUND_FROM: i16 = 6;

pub(crate) fn describe_groups(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: DescribeGroupsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut slots = Vec::new();
    let mut described = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        let found = slot_of(broker, &group).and_then(|slot| {
            slots.push(slot);
            enter(broker, now, slot, outbox, |groups, _| groups.describe(&group))
        });
        described.push(found.unwrap_or_else(|code| missing(context, group, code)));
    }
    slots.sort_unstable();
    slots.dedup();
    let response = DescribeGroupsResponse { groups: described, ..DescribeGroupsResponse::default() };
    reply_when_committed(broker, now, context, &slots, response.into())
}

fn missing(context: &RequestContext, group_id: GroupId, code: ErrorCode) -> DescribedGroup {
    if code != ErrorCode::GROUP_ID_NOT_FOUND {
        return DescribedGroup { error_code: code, group_id, ..DescribedGroup::default() };
    }
    let told = context.api_version >= NOT_FOUND_FROM;
    DescribedGroup {
        error_code: if told { code } else { ErrorCode::NONE },
        error_message: told.then(|| format!("Group {group_id} not found.")),
        group_id,
        group_state: "Dead".to_owned(),
        ..DescribedGroup::default()
    }
}
