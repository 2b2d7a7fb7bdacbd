//! Fetch (key 1), versions 4 to 18: read record batches.
//!
//! v7 sessions (KIP-227) · v9 leader epochs (KIP-320) · v11 the nearest replica (KIP-392) · v12 diverging epochs (KIP-595) · v13 topic ids (KIP-516) · v15
//! replica state (KIP-903). Waits up to max_wait_ms for min_bytes. Fetches of replicas go to `replica::leading`.

use std::sync::Arc;

use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::fetch::{FetchRequest, FetchResponse};

use super::Answer;
use crate::broker::Broker;
use crate::fetching::{self, FetchWait, IDS_FROM, Isolation, Target, located};
use crate::io::{Now, RequestContext};
use crate::parked::{Place, Until};
use crate::replica::leading;
use crate::sessions::{FetchKey, SessionRequest, Wanted};

/// From this version on a consumer says where it stands.
const RACK_FROM: i16 = 11;

pub(crate) fn fetch(broker: &mut Broker, now: Now, context: &RequestContext, request: FetchRequest) -> Answer {
    let replica = if context.api_version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    if i32::from(replica) >= 0 {
        return leading::fetch(broker, now, context, request);
    }
    let isolation = if request.isolation_level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    let (bytes_min, bytes_max, wait_ms) = (i64::from(request.min_bytes), i64::from(request.max_bytes), request.max_wait_ms);
    let rack = if context.api_version >= RACK_FROM { request.rack_id.clone() } else { String::new() };
    let (kind, wanted) = match broker.sessions.resolve(now.monotonic_ms, session_request(context, request)) {
        Ok(resolved) => resolved,
        Err(code) => return failed(code),
    };
    let wanted = wanted.into_iter().map(|(key, wanted)| target(broker, context, key, wanted)).collect();
    let bytes_max = bytes_max.min(broker.settings.fetch_bytes_max);
    let fetch = FetchWait {
        api_version: context.api_version,
        rack,
        listener: Arc::clone(&context.listener_name),
        kind,
        isolation,
        bytes_min,
        bytes_max,
        wanted,
    };
    let served = fetching::serve(broker, &fetch);
    if fetch.wanted.is_empty() || wait_ms <= 0 || served.is_enough(bytes_min) {
        return Answer::Reply(fetching::reply(broker, &fetch, served));
    }
    park(broker, now, context, u64::try_from(wait_ms).unwrap_or(0), fetch)
}

fn park(broker: &mut Broker, now: Now, context: &RequestContext, wait_ms: u64, fetch: FetchWait) -> Answer {
    let slots: Vec<u32> = fetch.wanted.iter().filter_map(|target| target.slot.ok()).collect();
    let place = Place { connection: context.connection, sequence: context.sequence };
    let parked = broker.waiting.park(place, Some(now.monotonic_ms + wait_ms), Until::BytesReadable(Box::new(fetch)));
    for slot in slots {
        if let Some(replica) = broker.replicas.get_mut(slot) {
            replica.fetch_waiters.push(parked);
        }
    }
    Answer::Parked
}

pub(crate) fn session_request(context: &RequestContext, request: FetchRequest) -> SessionRequest {
    let mut wanted = Vec::new();
    for topic in request.topics {
        for partition in topic.partitions {
            let key = FetchKey { name: topic.topic.clone(), id: topic.topic_id, partition: partition.partition };
            let want = Wanted {
                fetch_offset: partition.fetch_offset,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                bytes_max: partition.partition_max_bytes,
                log_start: partition.log_start_offset,
            };
            wanted.push((key, want));
        }
    }
    let mut forgotten = Vec::new();
    for topic in request.forgotten_topics_data {
        forgotten.extend(topic.partitions.iter().map(|partition| FetchKey {
            name: topic.topic.clone(),
            id: topic.topic_id,
            partition: *partition,
        }));
    }
    let (session_id, epoch) = if context.api_version >= 7 { (request.session_id, request.session_epoch) } else { (0, -1) };
    SessionRequest { session_id, epoch, by_id: context.api_version >= IDS_FROM, wanted, forgotten }
}

fn target(broker: &Broker, context: &RequestContext, key: FetchKey, wanted: Wanted) -> Target {
    let slot = located(broker, context.api_version, &key);
    Target { key, wanted, slot }
}

fn failed(code: ErrorCode) -> Answer {
    Answer::now(Response::Fetch(FetchResponse { error_code: code, ..FetchResponse::default() }))
}
