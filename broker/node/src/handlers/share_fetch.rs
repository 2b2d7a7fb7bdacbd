//! ShareFetch (key 78), versions 1 to 2: acquire records of a share group, and say what became of others (KIP-932).
//!
//! v2 acquire mode (KIP-1206), renewing locks (KIP-1222). Sessions name partitions once: epoch 0 opens one and -1 closes it, which
//! gives everything back that was not acknowledged. The answer waits until acknowledgements are written, then for records. One
//! partition is read a piece at a time, whatever `max_bytes` says. `batch_size` changes nothing here: acquired records are told in
//! runs as long as they are. Errors: SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH, SHARE_SESSION_LIMIT_REACHED, INVALID_REQUEST,
//! UNSUPPORTED_VERSION unless the feature `share.version` is on. Source: KafkaApis.handleShareFetchRequest.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::GroupId;
use strandline_protocol::messages::share_fetch::{FetchPartition, ShareFetchRequest, ShareFetchResponse};

use super::Answer;
use crate::broker::Broker;
use crate::features;
use crate::io::{Now, RequestContext};
use crate::share;
use crate::share::acknowledging::{Said, SaidBatch};
use crate::share::partition::{Limit, MemberId};
use crate::share::sessions::{CLOSES, OPENS, Owner, Place};
use crate::share::waiting::{FetchLimits, park};

/// The acquire mode that never passes the limit of records.
const RECORD_LIMIT: i8 = 1;

pub(crate) fn share_fetch(broker: &mut Broker, now: Now, context: &RequestContext, mut request: ShareFetchRequest) -> Answer {
    let said = said(&mut request);
    let owner = match check(broker, &request, &said) {
        Ok(owner) => owner,
        Err(code) => return refused(code),
    };
    if let Err(code) = session(broker, context, &owner, &request) {
        return refused(code);
    }
    let renews = request.is_renew_ack;
    if request.share_session_epoch == CLOSES {
        park(broker, now, context, &owner, said, renews, None);
        broker.shares.sessions.close(&owner);
        share::release(broker, &owner);
        return Answer::Parked;
    }
    let places = broker.shares.sessions.places(&owner);
    park(broker, now, context, &owner, said, renews, Some((places, limits(broker, &request))));
    Answer::Parked
}

fn limits(broker: &Broker, request: &ShareFetchRequest) -> FetchLimits {
    let bytes_max = i64::from(request.max_bytes).min(broker.settings.fetch_bytes_max);
    let asks_nothing = request.max_records <= 0;
    FetchLimits {
        limit: if request.share_acquire_mode == RECORD_LIMIT { Limit::Records } else { Limit::Batches },
        records_max: u64::try_from(request.max_records).unwrap_or(0),
        bytes_min: u64::try_from(request.min_bytes).unwrap_or(0),
        bytes_max: if asks_nothing { 0 } else { u32::try_from(bytes_max).unwrap_or(0) },
        wait_ms: u64::try_from(request.max_wait_ms).unwrap_or(0),
    }
}

/// Takes the acknowledgements out of a request.
fn said(request: &mut ShareFetchRequest) -> Vec<Said> {
    let mut said = Vec::new();
    for topic in &mut request.topics {
        for partition in &mut topic.partitions {
            let batches = taken(partition);
            if !batches.is_empty() {
                said.push(Said { place: (topic.topic_id, partition.partition_index), batches });
            }
        }
    }
    said
}

fn taken(partition: &mut FetchPartition) -> Vec<SaidBatch> {
    let batches = std::mem::take(&mut partition.acknowledgement_batches).into_iter();
    batches
        .map(|batch| SaidBatch { first: batch.first_offset, last: batch.last_offset, types: batch.acknowledge_types })
        .collect()
}

fn check(broker: &Broker, request: &ShareFetchRequest, said: &[Said]) -> Result<Owner, ErrorCode> {
    features::check_share_groups(&broker.image)?;
    // Who renews does not fetch, and who opens a session has nothing yet.
    let renews_and_fetches = request.is_renew_ack
        && (request.max_bytes != 0 || request.max_records != 0 || request.min_bytes != 0 || request.max_wait_ms != 0);
    if renews_and_fetches || (request.share_session_epoch == OPENS && !said.is_empty()) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    owner(request.group_id.as_ref(), request.member_id.as_deref())
}

/// Who asks.
///
/// # Errors
/// INVALID_REQUEST.
pub(super) fn owner(group: Option<&GroupId>, member: Option<&str>) -> Result<Owner, ErrorCode> {
    match (group, member) {
        (Some(group), Some(member)) if !group.as_str().is_empty() && !member.is_empty() => {
            Ok((group.clone(), MemberId::from(member)))
        }
        _ => Err(ErrorCode::INVALID_REQUEST),
    }
}

fn session(broker: &mut Broker, context: &RequestContext, owner: &Owner, request: &ShareFetchRequest) -> Result<(), ErrorCode> {
    let topics = request.topics.iter();
    let places: Vec<Place> =
        topics.flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, partition.partition_index))).collect();
    let forgotten = request.forgotten_topics_data.iter();
    let forgotten: Vec<Place> =
        forgotten.flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, *partition))).collect();
    match request.share_session_epoch {
        OPENS => {
            if broker.shares.sessions.check(owner).is_ok() {
                // Whoever had the earlier session is gone.
                share::release(broker, owner);
            }
            share::on_opened(broker, owner, &places);
            broker.shares.sessions.open(owner, context.connection, places)
        }
        CLOSES => broker.shares.sessions.check(owner),
        epoch => broker.shares.sessions.go_on(owner, epoch, places, &forgotten),
    }
}

fn refused(error_code: ErrorCode) -> Answer {
    let error_message = Some(error_code.meaning().to_owned());
    Answer::now(ShareFetchResponse { error_code, error_message, ..ShareFetchResponse::default() })
}
