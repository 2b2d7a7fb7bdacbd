//! FindCoordinator (key 10), versions 0 to 6: who coordinates a group or a transaction.
//!
//! v4 several keys in one request (KIP-699) · v6 share groups (KIP-932). This broker has no coordinators yet, so the
//! answer is COORDINATOR_NOT_AVAILABLE, which clients take as "ask again later".

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::BrokerId;
use strandline_protocol::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

use super::Answer;
use crate::io::RequestContext;

/// From this version on a request names several keys.
const SEVERAL_FROM: i16 = 4;
/// Kinds of coordinators: group, transaction, share group state.
const KINDS: std::ops::RangeInclusive<i8> = 0..=2;
const REASON: &str = "this broker has no group or transaction coordinator";

pub(crate) fn find_coordinator(context: &RequestContext, request: FindCoordinatorRequest) -> Answer {
    let error_code =
        if KINDS.contains(&request.key_type) { ErrorCode::COORDINATOR_NOT_AVAILABLE } else { ErrorCode::INVALID_REQUEST };
    let message = Some(REASON.to_owned());
    if context.api_version < SEVERAL_FROM {
        return Answer::now(FindCoordinatorResponse {
            error_code,
            error_message: message,
            node_id: BrokerId::NONE,
            port: -1,
            ..FindCoordinatorResponse::default()
        });
    }
    let coordinator = |key: String| Coordinator {
        key,
        node_id: BrokerId::NONE,
        port: -1,
        error_code,
        error_message: message.clone(),
        ..Coordinator::default()
    };
    Answer::now(FindCoordinatorResponse {
        coordinators: request.coordinator_keys.into_iter().map(coordinator).collect(),
        ..FindCoordinatorResponse::default()
    })
}
