//! ConsumerGroupHeartbeat (key 68), versions 0 and 1: be in a consumer group of the new protocol (KIP-848).
//!
//! v1 subscriptions by regular expression, and members choose their own id (KIP-1082); in version 0 a member that joins
//! without one is given one. Online migration from and to the classic protocol is not served: a group changes its
//! protocol while it has no members. Source: GroupCoordinatorService.consumerGroupHeartbeat.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::group::consumer::{JOINING, LEAVING, refusal};
use crate::coordinator::{ask, enter, slot_of};
use crate::io::{Effect, Now, RequestContext};

/// From this version on members choose their ids.
const OWN_ID_FROM: i16 = 1;

pub(crate) fn consumer_group_heartbeat(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    mut request: ConsumerGroupHeartbeatRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    if let Err(code) = check(context, &request) {
        return Answer::now(refusal(code));
    }
    if request.member_id.is_empty() {
        request.member_id = broker.dice.uuid().to_string();
    }
    let slot = match slot_of(broker, &request.group_id) {
        Ok(slot) => slot,
        Err(code) => return Answer::now(refusal(code)),
    };
    let asker = ask(broker, context, slot, refusal(ErrorCode::NOT_COORDINATOR).into());
    enter(broker, now, slot, outbox, |groups, turn| match groups.consumer_heartbeat(turn, &asker, request) {
        Ok(response) => turn.reply(asker.to, response),
        Err(code) => turn.reply_now(asker.to, refusal(code)),
    });
    Answer::Parked
}

fn check(context: &RequestContext, request: &ConsumerGroupHeartbeatRequest) -> Result<(), ErrorCode> {
    let joins = request.member_epoch == JOINING;
    let names_itself = !request.member_id.is_empty() || joins && context.api_version < OWN_ID_FROM;
    let leaves_oddly = request.member_epoch < LEAVING && request.instance_id.is_none();
    let subscribes = request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
    let joins_whole = request.rebalance_timeout_ms >= 0 && subscribes;
    let owns_nothing = request.topic_partitions.as_ref().is_some_and(Vec::is_empty);
    let is_odd = request.group_id.as_str().trim().is_empty()
        || !names_itself
        || leaves_oddly
        || request.member_epoch < LEAVING - 1
        || request.instance_id.as_ref().is_some_and(String::is_empty)
        || request.rack_id.as_ref().is_some_and(String::is_empty)
        || joins && !(joins_whole && owns_nothing);
    if is_odd { Err(ErrorCode::INVALID_REQUEST) } else { Ok(()) }
}
