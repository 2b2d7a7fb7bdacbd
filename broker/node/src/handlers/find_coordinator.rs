//! FindCoordinator (key 10), versions 0 to 6: who coordinates a group or a transaction.
//!
//! v4 several keys in one request (KIP-699) · v6 share groups (KIP-932). The internal topic is made when somebody asks
//! for the first time; until it is there the answer is COORDINATOR_NOT_AVAILABLE, which clients take as "ask again".
//! The key of a share group's state is `group:topic-id:partition`.
//! Source: KafkaApis.getCoordinator.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicId};
use strandline_protocol::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::directory;
use crate::coordinator::kind::Kind;
use crate::io::{Now, RequestContext};

/// From this version on a request names several keys.
const SEVERAL_FROM: i16 = 4;
/// Kinds of coordinators: group, transaction, share group state.
const KINDS: std::ops::RangeInclusive<i8> = 0..=2;
const GROUP: i8 = 0;
const SHARE: i8 = 2;
const TRANSACTION: i8 = 1;

pub(crate) fn find_coordinator(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: FindCoordinatorRequest,
) -> Answer {
    if context.api_version < SEVERAL_FROM {
        let found = find(broker, now, context, request.key_type, request.key);
        return Answer::now(FindCoordinatorResponse {
            error_code: found.error_code,
            error_message: found.error_message,
            node_id: found.node_id,
            host: found.host,
            port: found.port,
            ..FindCoordinatorResponse::default()
        });
    }
    let keys = request.coordinator_keys.into_iter();
    let coordinators = keys.map(|key| find(broker, now, context, request.key_type, key)).collect();
    Answer::now(FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() })
}

fn find(broker: &mut Broker, now: Now, context: &RequestContext, kind: i8, key: String) -> Coordinator {
    let found = match kind {
        GROUP => directory::find(broker, now, &context.listener_name, Kind::Groups, &key),
        SHARE if !is_share_key(&key) => Err(ErrorCode::INVALID_REQUEST),
        SHARE => directory::find(broker, now, &context.listener_name, Kind::ShareStates, &key),
        TRANSACTION => directory::find(broker, now, &context.listener_name, Kind::Transactions, &key),
        kind if KINDS.contains(&kind) => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        _ => Err(ErrorCode::INVALID_REQUEST),
    };
    match found {
        Ok(found) => Coordinator {
            key,
            node_id: BrokerId(found.node),
            host: found.host,
            port: i32::from(found.port),
            ..Coordinator::default()
        },
        Err(error_code) => Coordinator {
            key,
            node_id: BrokerId::NONE,
            port: -1,
            error_code,
            error_message: Some(error_code.meaning().to_owned()),
            ..Coordinator::default()
        },
    }
}

/// Whether a key is that of a share group's state. Groups may have colons in their names.
fn is_share_key(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let (partition, topic, group) = (parts.next(), parts.next(), parts.next());
    let is_partition = partition.is_some_and(|index| index.parse::<i32>().is_ok_and(|index| index >= 0));
    is_partition && topic.is_some_and(|topic| topic.parse::<TopicId>().is_ok()) && group.is_some_and(|group| !group.is_empty())
}
