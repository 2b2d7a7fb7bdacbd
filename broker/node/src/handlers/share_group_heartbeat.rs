//! ShareGroupHeartbeat (key 76), version 1: be in a share group (KIP-932).
//!
//! Errors: UNSUPPORTED_VERSION unless the feature `share.version` is on, INVALID_REQUEST, GROUP_ID_NOT_FOUND for a group of
//! another kind, and what the group says. Source: GroupCoordinatorService.shareGroupHeartbeat.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::share_group_heartbeat::ShareGroupHeartbeatRequest;

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::group::share::{JOINING, LEAVING, refusal};
use crate::coordinator::{ask, enter, slot_of};
use crate::features;
use crate::io::{Effect, Now, RequestContext};

pub(crate) fn share_group_heartbeat(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: ShareGroupHeartbeatRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let slot = match check(broker, &request).and_then(|()| slot_of(broker, &request.group_id)) {
        Ok(slot) => slot,
        Err(code) => return Answer::now(refusal(code)),
    };
    let asker = ask(broker, context, slot, refusal(ErrorCode::NOT_COORDINATOR).into());
    enter(broker, now, slot, outbox, |groups, turn| match groups.share_heartbeat(turn, &asker, request) {
        Ok(response) => turn.reply(asker.to, response),
        Err(code) => turn.reply_now(asker.to, refusal(code)),
    });
    Answer::Parked
}

fn check(broker: &Broker, request: &ShareGroupHeartbeatRequest) -> Result<(), ErrorCode> {
    features::check_share_groups(&broker.image)?;
    let joins_for_nothing =
        request.member_epoch == JOINING && request.subscribed_topic_names.as_ref().is_none_or(Vec::is_empty);
    let is_odd = request.group_id.as_str().trim().is_empty()
        || request.member_id.trim().is_empty()
        || request.member_epoch < LEAVING
        || request.rack_id.as_ref().is_some_and(|rack| rack.trim().is_empty())
        || joins_for_nothing;
    if is_odd { Err(ErrorCode::INVALID_REQUEST) } else { Ok(()) }
}
