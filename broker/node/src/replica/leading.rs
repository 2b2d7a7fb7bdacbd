//! The leader's side of a follower's fetch: who may ask, what the fetch says of the follower, and the answer.
//!
//! A replica fetches at the listener of brokers, is registered, and is no older than its registration (CVE-2018-1288, KIP-903). A
//! fetch of another leader epoch, or from a log that parts ways with ours, tells nothing of how far the follower is
//! (KAFKA-13141). A follower that is not in sync may have to wait for records (`throttles`): they are left out, and everything else is
//! answered. Source: ReplicaManager.readFromLog, Partition.updateFollowerFetchState.

use std::collections::BTreeSet;

use strandline_log::slice::{FirstBatch, Slice};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::messages::fetch::{EpochEndOffset, FetchRequest, FetchResponse, PartitionData};
use strandline_protocol::wire::Records;

use crate::broker::Broker;
use crate::epochs::{check_leader_epoch, diverging};
use crate::fetching::located;
use crate::fetching::{leader_of, put};
use crate::flaws::{self, Flaw};
use crate::handlers::Answer;
use crate::handlers::fetch::session_request;
use crate::io::{FetchReply, ListenerKind, Now, PartitionSlices, Reply, RequestContext};
use crate::parked::{Place, Until};
use crate::replica::Replica;
use crate::replica::leader::FollowerFetch;
use crate::sessions::{FetchKey, SessionRequest, Wanted};

/// The epoch of a request that opens a session.
const OPEN: i32 = 0;
/// The epoch of a request that wants none.
const SESSIONLESS: i32 = -1;

/// A follower's fetch that waits for news.
#[derive(Clone, Debug)]
pub struct FollowerWait {
    pub session: i32,
    bytes_min: i64,
    bytes_max: i64,
    /// What the request named and nobody hosts here, or everything of a session that opens: told whatever happens.
    refused: Vec<(FetchKey, ErrorCode)>,
    opening: bool,
}

impl FollowerWait {
    /// The same, for which anything is enough.
    pub(crate) fn at_once(&self) -> Self {
        Self { bytes_min: 0, ..self.clone() }
    }
}

/// Answers a follower, or parks its fetch.
pub(crate) fn fetch(broker: &mut Broker, now: Now, context: &RequestContext, request: FetchRequest) -> Answer {
    let (replica, said) = match context.api_version {
        15.. => (request.replica_state.replica_id.0, request.replica_state.replica_epoch),
        _ => (request.replica_id.0, -1),
    };
    let epoch = match admit(broker, context, replica, said) {
        Ok(epoch) => epoch,
        Err(code) => return failed(code),
    };
    broker.followers.saw(replica, now.monotonic_ms);
    let wait_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
    let (bytes_min, bytes_max) = (i64::from(request.min_bytes), i64::from(request.max_bytes));
    let asked = session_request(context, request);
    let opening = asked.epoch == OPEN || asked.epoch == SESSIONLESS;
    let session = match begin(broker, &asked, replica) {
        Ok(session) => session,
        Err(code) => return failed(code),
    };
    let sessionless = asked.epoch == SESSIONLESS;
    let refused = take_questions(broker, now, context, session, (replica, epoch), asked);
    let wait = FollowerWait { session, bytes_min, bytes_max, refused, opening };
    let reply = serve(broker, &wait);
    if sessionless {
        broker.followers.close(session);
    }
    if reply.is_enough(&wait) || wait_ms == 0 || sessionless {
        return Answer::Reply(reply.into_reply(if sessionless { 0 } else { session }));
    }
    let place = Place { connection: context.connection, sequence: context.sequence };
    let parked = broker.waiting.park(place, Some(now.monotonic_ms + wait_ms), Until::FollowerNews(Box::new(wait)));
    if let Some(session) = broker.followers.get_mut(session) {
        session.parked = Some(parked);
    }
    Answer::Parked
}

/// Answers with the registration as which the replica fetches: the one that is known if it does not say.
fn admit(broker: &Broker, context: &RequestContext, replica: i32, epoch: i64) -> Result<i64, ErrorCode> {
    if context.listener != ListenerKind::Broker {
        return Err(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
    }
    // A broker that the metadata does not know yet will ask again.
    let known = broker.image.brokers.get(replica).ok_or(ErrorCode::BROKER_ID_NOT_REGISTERED)?;
    if epoch >= 0 && epoch < known.epoch {
        return Err(ErrorCode::STALE_BROKER_EPOCH);
    }
    Ok(if epoch >= 0 { epoch } else { known.epoch })
}

fn begin(broker: &mut Broker, asked: &SessionRequest, replica: i32) -> Result<i32, ErrorCode> {
    if asked.epoch == OPEN || asked.epoch == SESSIONLESS {
        broker.followers.close(asked.session_id);
        return Ok(broker.followers.open(replica));
    }
    broker.followers.resume(asked.session_id, asked.epoch, replica)?;
    Ok(asked.session_id)
}

/// Puts the request's partitions into the session, and notes what they say of the follower.
fn take_questions(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    session: i32,
    replica: (i32, i64),
    asked: SessionRequest,
) -> Vec<(FetchKey, ErrorCode)> {
    let mut refused = Vec::new();
    for key in asked.forgotten {
        if let Ok(slot) = located(broker, context.api_version, &key) {
            broker.followers.forget(session, slot);
        }
    }
    for (key, wanted) in asked.wanted {
        match located(broker, context.api_version, &key) {
            Ok(slot) => {
                note(broker, now, slot, replica, &wanted);
                broker.followers.want(session, slot, key, wanted);
            }
            Err(code) => refused.push((key, code)),
        }
    }
    refused
}

/// What a fetch says of the follower's log: it has everything below the offset, if its log is a prefix of ours.
fn note(broker: &mut Broker, now: Now, slot: u32, (replica, broker_epoch): (i32, i64), wanted: &Wanted) {
    let Some(partition) = broker.replicas.get_mut(slot) else { return };
    let Ok(leader) = partition.leader() else { return };
    let end = partition.log.positions().log_end;
    let same_epoch = wanted.current_leader_epoch == leader.epoch || flaws::is(Flaw::OldEpochFetchCounts);
    let is_prefix = matches!(diverging(partition, wanted), Ok(None)) && wanted.fetch_offset <= end;
    if !same_epoch || !is_prefix || wanted.fetch_offset < partition.log_start() {
        return;
    }
    let leader_end = partition.log.positions().readable_end;
    let (end, log_start) = (wanted.fetch_offset, wanted.log_start);
    let fetch = FollowerFetch { replica, broker_epoch, end, log_start, now_ms: now.monotonic_ms, leader_end };
    if let Some(leader) = partition.leader_mut() {
        leader.fetched(fetch);
    }
    partition.advance(now.monotonic_ms);
    broker.mark_dirty(slot);
    expand(broker, now, slot);
}

/// Proposes followers that have come far enough, if they may join.
pub(crate) fn expand(broker: &mut Broker, now: Now, slot: u32) {
    let Some(partition) = broker.replicas.get_mut(slot) else { return };
    let high_watermark = partition.high_watermark();
    let Some(leader) = partition.leader_mut() else { return };
    let brokers = &broker.image.brokers;
    // Whoever was silent for the lag time would leave again at once.
    let since_ms = now.monotonic_ms.saturating_sub(broker.settings.replica_lag_max_ms);
    let may = |(id, epoch): &(i32, i64)| {
        let is_heard = broker.followers.seen_ms(*id) >= since_ms;
        is_heard && brokers.get(*id).is_some_and(|known| known.is_active() && *epoch >= known.epoch)
    };
    let ready = leader.joining(high_watermark);
    let joining: Vec<(i32, i64)> = ready.iter().copied().filter(may).collect();
    let proposed = leader.propose(&joining, &[], |id| brokers.get(id).map(|known| known.epoch));
    // An idle partition is not named in fetches again: whoever may not join now is thought of later.
    let is_over = ready.is_empty() || (proposed && joining.len() == ready.len());
    if !is_over {
        broker.in_sync.reconsider(slot);
    }
    if proposed {
        broker.in_sync.want(slot);
    }
}

/// The metadata moved, or time passed: whoever could not join before may be able to now.
pub(crate) fn expand_again(broker: &mut Broker, now: Now) {
    for slot in broker.in_sync.take_reconsidered() {
        expand(broker, now, slot);
    }
}

/// Proposes to leave out followers that have not kept up. To be called every now and then.
pub(crate) fn shrink(broker: &mut Broker, now: Now) {
    expand_again(broker, now);
    let lag_max_ms = broker.settings.replica_lag_max_ms;
    let (brokers, followers) = (&broker.image.brokers, &broker.followers);
    for (slot, partition) in broker.replicas.iter_mut().filter(|(_, replica)| !replica.deleted) {
        let end = partition.log.positions().readable_end;
        let Some(leader) = partition.leader_mut().filter(|leader| !leader.is_alone()) else { continue };
        let lagging = leader.lagging(end, now.monotonic_ms, lag_max_ms, |id| followers.seen_ms(id));
        if leader.propose(&[], &lagging, |id| brokers.get(id).map(|known| known.epoch)) {
            broker.in_sync.want(slot);
        }
    }
}

/// What there is to tell now.
pub(crate) struct News {
    response: FetchResponse,
    slices: Vec<PartitionSlices>,
    bytes: i64,
    urgent: bool,
}

impl News {
    pub(crate) fn is_enough(&self, wait: &FollowerWait) -> bool {
        self.urgent || self.bytes >= wait.bytes_min || wait.opening
    }

    pub(crate) fn into_reply(mut self, session: i32) -> Reply {
        self.response.session_id = session;
        if self.slices.is_empty() {
            Reply::Body(Box::new(Response::Fetch(self.response)))
        } else {
            Reply::Fetch(Box::new(FetchReply { response: self.response, slices: self.slices }))
        }
    }
}

/// Reads what the session's partitions have to tell. What is told counts as told when there is enough to send it.
pub(crate) fn serve(broker: &mut Broker, wait: &FollowerWait) -> News {
    let mut news = News { response: FetchResponse::default(), slices: Vec::new(), bytes: 0, urgent: false };
    for (key, code) in &wait.refused {
        news.urgent = true;
        put(&mut news.response, key, PartitionData { partition_index: key.partition, error_code: *code, ..nothing() });
    }
    let here = broker.identity.node_id;
    let holds = broker.throttles.holds_followers();
    let (mut throttled_bytes, mut left_out) = (0, Vec::new());
    let Some(session) = broker.followers.get_mut(wait.session) else { return news };
    let (mut told, mut quiet) = (Vec::new(), Vec::new());
    let (mut without_room, mut unsure) = (None, Vec::new());
    let mut endpoints = BTreeSet::new();
    for slot in session.in_turn() {
        let Some(followed) = session.followed.get(&slot) else { continue };
        let room = wait.bytes_max - news.bytes;
        if room <= 0 {
            break;
        }
        let partition = broker.replicas.get(slot).filter(|replica| !replica.deleted);
        let Some(partition) = partition else { continue };
        let ends = (partition.high_watermark(), partition.log_start());
        let mut data = PartitionData { partition_index: followed.key.partition, ..nothing() };
        let mut given = Vec::new();
        let is_first = news.bytes == 0;
        match read(partition, session.replica, &followed.wanted, room, is_first, &mut data) {
            Ok(slices) => given = slices,
            Err(code) => {
                data.error_code = code;
                leader_of(&broker.image, partition.topic, partition.partition, code, &mut data, &mut endpoints);
            }
        }
        let is_throttled = partition.config.leader_throttled.has(partition.partition, here);
        let must_wait = is_throttled && holds && partition.leader().is_ok_and(|leader| !leader.is_in_sync(session.replica));
        if must_wait && !given.is_empty() {
            left_out.push(slot);
            continue;
        }
        let is_special = data.error_code != ErrorCode::NONE || data.diverging_epoch != EpochEndOffset::default();
        let has_records = !given.is_empty();
        let has_more = !has_records && !is_special && followed.wanted.fetch_offset < partition.log.positions().readable_end;
        if has_more {
            // Its next batch did not fit behind the others: it is still to be told, and comes first next time.
            without_room = without_room.or(Some(slot));
            continue;
        }
        if !is_special && !has_records && !wait.opening && followed.told == Some(ends) {
            quiet.push((slot, Some(ends)));
            continue;
        }
        if !is_first && given.iter().any(|(slice, _)| matches!(slice, Slice::File(_))) {
            // Only who reads the file sees whether a batch fits.
            without_room = without_room.or(Some(slot));
            unsure.push(slot);
        }
        news.urgent |= is_special;
        let bytes = given.iter().map(|(_, bytes)| bytes).sum::<i64>();
        news.bytes += bytes;
        throttled_bytes += if is_throttled { bytes } else { 0 };
        let key = followed.key.clone();
        let (topic, index) = put(&mut news.response, &key, data);
        if has_records {
            let slices = given.into_iter().map(|(slice, _)| slice).collect();
            news.slices.push(PartitionSlices { topic, partition: index, slices, aborted: None });
        }
        told.push((slot, (!is_special).then_some(ends)));
    }
    // What is not sent now is still to be told.
    if news.is_enough(wait) {
        quiet.append(&mut told);
        broker.throttles.gave(usize::try_from(throttled_bytes).unwrap_or(0));
    }
    left_out.into_iter().for_each(|slot| broker.throttles.left_out(slot));
    quiet.into_iter().for_each(|(slot, ends)| session.told(slot, ends));
    unsure.into_iter().for_each(|slot| session.is_to_be_told(slot));
    if let Some(slot) = without_room {
        session.begin_with(slot);
    }
    news.response.node_endpoints = crate::fetching::endpoints(&broker.image, &broker.topology.inter_broker, endpoints);
    news
}

fn read(
    partition: &Replica,
    replica: i32,
    wanted: &Wanted,
    room: i64,
    is_first: bool,
    data: &mut PartitionData,
) -> Result<Vec<(Slice, i64)>, ErrorCode> {
    (data.high_watermark, data.log_start_offset) = (partition.high_watermark(), partition.log_start());
    let leader = partition.leader()?;
    // A replica that the metadata here does not assign yet: what it says of itself was not noted, so it has to say it again.
    if wanted.current_leader_epoch == LeaderEpoch::NONE || !leader.assigned.contains(&replica) {
        return Err(ErrorCode::UNKNOWN_LEADER_EPOCH);
    }
    check_leader_epoch(leader.epoch, wanted.current_leader_epoch)?;
    if let Some(diverging) = diverging(partition, wanted)? {
        data.diverging_epoch = diverging;
        return Ok(Vec::new());
    }
    let limit = u32::try_from(room.min(i64::from(wanted.bytes_max)).max(0)).unwrap_or(u32::MAX);
    let first = if is_first { FirstBatch::Whole } else { FirstBatch::Fitting };
    let below = partition.log.positions().readable_end;
    let read = partition.log.read(wanted.fetch_offset, below, limit, first).map_err(|_| ErrorCode::OFFSET_OUT_OF_RANGE)?;
    let bytes = i64::try_from(read.bytes_estimate).unwrap_or(i64::MAX);
    Ok(read.slices.into_iter().enumerate().map(|(place, slice)| (slice, if place == 0 { bytes } else { 0 })).collect())
}

fn nothing() -> PartitionData {
    PartitionData {
        high_watermark: Offset::NONE,
        last_stable_offset: Offset::NONE,
        log_start_offset: Offset::NONE,
        records: Some(Records::default()),
        ..PartitionData::default()
    }
}

fn failed(code: ErrorCode) -> Answer {
    Answer::now(Response::Fetch(FetchResponse { error_code: code, ..FetchResponse::default() }))
}
