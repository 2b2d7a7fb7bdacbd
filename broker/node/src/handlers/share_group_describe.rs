//! ShareGroupDescribe (key 77), version 1: state and members of share groups (KIP-932).

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::GroupId;
use strandline_protocol::messages::share_group_describe::{
    DescribedGroup, ShareGroupDescribeRequest, ShareGroupDescribeResponse,
};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::{enter, reply_when_committed, slot_of};
use crate::features;
use crate::io::{Effect, Now, RequestContext};

pub(crate) fn share_group_describe(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: ShareGroupDescribeRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut slots = Vec::new();
    let mut described = Vec::with_capacity(request.group_ids.len());
    for group in request.group_ids {
        let slot = features::check_share_groups(&broker.image).and_then(|()| slot_of(broker, &group));
        let found = slot.and_then(|slot| {
            slots.push(slot);
            enter(broker, now, slot, outbox, |groups, turn| groups.describe_share(turn.image, &group))
        });
        described.push(found.unwrap_or_else(|code| missing(group, code)));
    }
    slots.sort_unstable();
    slots.dedup();
    let response = ShareGroupDescribeResponse { groups: described, ..ShareGroupDescribeResponse::default() };
    reply_when_committed(broker, now, context, &slots, response.into())
}

fn missing(group_id: GroupId, error_code: ErrorCode) -> DescribedGroup {
    let error_message = Some(error_code.meaning().to_owned());
    DescribedGroup { error_code, error_message, group_id, ..DescribedGroup::default() }
}
