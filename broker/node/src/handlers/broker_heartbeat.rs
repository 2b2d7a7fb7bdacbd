//! BrokerHeartbeat (key 63), versions 0 to 2: a broker is alive, and may be unfenced or end (KIP-631).
//!
//! v1 offline log directories (KIP-858) · v2 cordoned ones (KIP-1066), which are not acted on: nothing is refused to them.
//! What the answer says is committed.

use strandline_protocol::messages::broker_heartbeat::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};

use super::Answer;
use crate::broker::Broker;
use crate::controller::membership;
use crate::io::{Now, RequestContext};

pub(crate) fn broker_heartbeat(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: BrokerHeartbeatRequest,
) -> Answer {
    match membership::heartbeat(broker, now, Some(context.connection), &request) {
        Ok(beat) => {
            let response = BrokerHeartbeatResponse {
                is_caught_up: beat.is_caught_up,
                is_fenced: beat.is_fenced,
                should_shut_down: beat.should_shut_down,
                ..Default::default()
            };
            let before = broker.controller.end();
            broker.reply_when_committed(context, before, response.into())
        }
        Err(error_code) => Answer::now(BrokerHeartbeatResponse { error_code, ..Default::default() }),
    }
}
