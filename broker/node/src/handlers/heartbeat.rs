//! Heartbeat (key 12), versions 0 to 4: a member of a classic group lives, and learns whether it has to join again.
//!
//! v3 static members (KIP-345). Answered at once: nothing is written for it.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::{enter, slot_of};
use crate::io::{Effect, Now};

pub(crate) fn heartbeat(broker: &mut Broker, now: Now, request: HeartbeatRequest, outbox: &mut Vec<Effect>) -> Answer {
    let error_code = if request.group_id.as_str().is_empty() {
        ErrorCode::INVALID_GROUP_ID
    } else {
        match slot_of(broker, &request.group_id) {
            Ok(slot) => enter(broker, now, slot, outbox, |groups, turn| groups.heartbeat(turn, &request)),
            // The member's session cannot end meanwhile: clocks start when the coordinator is there.
            Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS) => ErrorCode::NONE,
            Err(code) => code,
        }
    };
    Answer::now(HeartbeatResponse { error_code, ..HeartbeatResponse::default() })
}
