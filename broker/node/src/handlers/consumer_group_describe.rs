//! ConsumerGroupDescribe (key 69), versions 0 and 1: state and members of consumer groups of the new protocol (KIP-848).
//!
//! v1 says of which protocol a member is (KIP-1099).

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::GroupId;
use strandline_protocol::messages::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup,
};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::{enter, reply_when_committed, slot_of};
use crate::io::{Effect, Now, RequestContext};

pub(crate) fn consumer_group_describe(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: ConsumerGroupDescribeRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut slots = Vec::new();
    let mut described = Vec::with_capacity(request.group_ids.len());
    for group in request.group_ids {
        let found = slot_of(broker, &group).and_then(|slot| {
            slots.push(slot);
            enter(broker, now, slot, outbox, |groups, turn| groups.describe_consumer(turn, &group))
        });
        described.push(found.unwrap_or_else(|code| missing(group, code)));
    }
    slots.sort_unstable();
    slots.dedup();
    let response = ConsumerGroupDescribeResponse { groups: described, ..ConsumerGroupDescribeResponse::default() };
    reply_when_committed(broker, now, context, &slots, response.into())
}

fn missing(group_id: GroupId, error_code: ErrorCode) -> DescribedGroup {
    let error_message = Some(error_code.meaning().to_owned());
    DescribedGroup { error_code, error_message, group_id, ..DescribedGroup::default() }
}
