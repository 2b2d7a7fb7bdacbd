//! Replies of ShareFetch and ShareAcknowledge that wait: first for what was acknowledged to be written, then, of a fetch, for
//! records that may be given out, and for files to be read.
//!
//! A fetch acquires when its records are at hand, just before it is answered: whoever is gone by then has nothing.
//! Source: DelayedShareFetch.

use std::collections::BTreeMap;
use std::sync::Arc;

use strandline_log::disk::DiskError;
use strandline_log::slice::FirstBatch;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::Offset;

use super::acknowledging::{self, Decided, Said};
use super::answering::{Given, acknowledged, fetched};
use super::hosted::{Phase, bounds_of, config_of, host};
use super::partition::{Limit, Taker};
use super::sessions::{Owner, Place};
use super::spans::{ShareRead, SharedBatches};
use crate::broker::{Broker, JobOwner};
use crate::coordinator::share::ShareKey;
use crate::io::{Effect, Job, Now, Reply, RequestContext};
use crate::parked::{ParkedId, Place as ReplyPlace, Until};

/// Bytes that a fetch reads of one partition at once: records are given out by their number, and what is not needed is
/// read for nothing.
const PARTITION_BYTES_MAX: u32 = 1 << 20;

/// How long a fetch whose files are being read is kept; reading ends by itself.
const READING_MS: u64 = 60_000;

/// A reply that waits.
#[derive(Debug)]
pub struct ShareWait {
    pub(super) owner: Owner,
    /// At which the request came: there its client is told of other brokers.
    pub(super) listener: Arc<str>,
    /// What came of acknowledgements, partition by partition.
    pub(super) acknowledged: BTreeMap<Place, ErrorCode>,
    /// Of so many it is not known yet.
    outstanding: usize,
    pub(super) fetch: Option<FetchWait>,
}

/// The fetching side of a ShareFetch.
#[derive(Debug)]
pub(super) struct FetchWait {
    places: Vec<Place>,
    limits: FetchLimits,
    /// When it is answered whatever there is; not set before acknowledgements are done with.
    until_ms: Option<u64>,
    /// What could not be fetched, and why.
    pub(super) failed: BTreeMap<Place, ErrorCode>,
    reading: Option<Reading>,
}

/// What a fetch asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchLimits {
    pub limit: Limit,
    pub records_max: u64,
    pub bytes_min: u64,
    pub bytes_max: u32,
    pub wait_ms: u64,
}

/// Partitions that are being read.
#[derive(Debug, Default)]
struct Reading {
    reads: Vec<Read>,
    outstanding: usize,
}

#[derive(Debug)]
struct Read {
    place: Place,
    from: Offset,
    batches: Option<SharedBatches>,
}

/// Something that may be read now.
struct Candidate {
    place: Place,
    from: Offset,
    read: ShareRead,
    bytes: u64,
}

impl ShareWait {
    /// The share partitions that it looks at.
    pub(super) fn keys(&self) -> Vec<ShareKey> {
        let places = self.fetch.iter().flat_map(|fetch| &fetch.places);
        places.map(|place| key_of(&self.owner, *place)).collect()
    }
}

pub(super) fn key_of(owner: &Owner, place: Place) -> ShareKey {
    ShareKey { group: owner.0.clone(), topic: place.0, partition: place.1 }
}

fn wait_mut(broker: &mut Broker, id: ParkedId) -> Option<&mut ShareWait> {
    match &mut broker.waiting.get_mut(id)?.until {
        Until::Share(wait) => Some(wait),
        _ => None,
    }
}

/// Does what a member says of its records, and parks the reply; `fetch` names what it wants to have then.
pub(crate) fn park(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    owner: &Owner,
    said: Vec<Said>,
    renews: bool,
    fetch: Option<(Vec<Place>, FetchLimits)>,
) {
    let fetch =
        fetch.map(|(places, limits)| FetchWait { places, limits, until_ms: None, failed: BTreeMap::new(), reading: None });
    let listener = Arc::clone(&context.listener_name);
    let wait = ShareWait { owner: owner.clone(), listener, acknowledged: BTreeMap::new(), outstanding: 0, fetch };
    let reply = ReplyPlace { connection: context.connection, sequence: context.sequence };
    let id = broker.waiting.park(reply, None, Until::Share(Box::new(wait)));
    for said in said {
        let place = said.place;
        let decided = acknowledging::acknowledge(broker, now, owner, said, renews);
        let Some(wait) = wait_mut(broker, id) else { return };
        match decided {
            Decided::Now(code) => drop(wait.acknowledged.insert(place, code)),
            Decided::With(write) => {
                wait.outstanding += 1;
                acknowledging::wait(broker, owner, place, id, write);
            }
        }
    }
    broker.shares.woken.insert(id);
}

/// What was acknowledged in one partition is written, or is not.
pub(super) fn decided(broker: &mut Broker, id: ParkedId, key: &ShareKey, code: ErrorCode) {
    let Some(wait) = wait_mut(broker, id) else { return };
    wait.acknowledged.insert((key.topic, key.partition), code);
    wait.outstanding -= 1;
    if wait.outstanding == 0 {
        broker.shares.woken.insert(id);
    }
}

/// A partition cannot be fetched.
pub(super) fn failed(broker: &mut Broker, id: ParkedId, key: &ShareKey, code: ErrorCode) {
    let Some(fetch) = wait_mut(broker, id).and_then(|wait| wait.fetch.as_mut()) else { return };
    fetch.failed.insert((key.topic, key.partition), code);
    broker.shares.woken.insert(id);
}

/// Looks whether a waiting reply may leave.
pub(super) fn look(broker: &mut Broker, now: Now, id: ParkedId, outbox: &mut Vec<Effect>) {
    let Some(wait) = wait_mut(broker, id) else { return };
    if wait.outstanding > 0 {
        return;
    }
    let owner = wait.owner.clone();
    // Without its session it is answered with nothing: who left gets nothing more.
    if broker.shares.sessions.check(&owner).is_err() {
        return answer(broker, now, id, outbox);
    }
    let Some(fetch) = wait_mut(broker, id).and_then(|wait| wait.fetch.as_mut()) else {
        return answer(broker, now, id, outbox);
    };
    if fetch.reading.is_some() {
        return;
    }
    let until_ms = *fetch.until_ms.get_or_insert(now.monotonic_ms + fetch.limits.wait_ms);
    broker.waiting.set_deadline(id, until_ms);
    let Some((candidates, is_enough)) = gather(broker, now, id) else { return };
    if !is_enough && until_ms > now.monotonic_ms {
        return;
    }
    begin_reading(broker, now, id, candidates, outbox);
}

/// What of a fetch's partitions may be read now; and whether that is enough to answer.
fn gather(broker: &mut Broker, now: Now, id: ParkedId) -> Option<(Vec<Candidate>, bool)> {
    let wait = wait_mut(broker, id)?;
    let (owner, fetch) = (wait.owner.clone(), wait.fetch.as_ref()?);
    let (places, mut left, bytes_min) = (fetch.places.clone(), fetch.limits.bytes_max, fetch.limits.bytes_min);
    let (mut candidates, mut failed): (Vec<Candidate>, BTreeMap<Place, ErrorCode>) = (Vec::new(), fetch.failed.clone());
    let mut bytes = 0;
    for place in places.into_iter().filter(|place| !failed.contains_key(place)).collect::<Vec<_>>() {
        let key = key_of(&owner, place);
        let slot = match host(broker, now, &key) {
            Ok(slot) => slot,
            Err(code) => {
                failed.insert(place, code);
                continue;
            }
        };
        broker.shares.data_waiters.entry(slot).or_default().insert(id);
        if let Some(hosted) = broker.shares.hosted.get_mut(&key) {
            hosted.fetches.insert(id);
        }
        if left == 0 {
            continue;
        }
        let first = if candidates.is_empty() { FirstBatch::Whole } else { FirstBatch::Fitting };
        if let Some(candidate) = candidate(broker, &key, slot, left.min(PARTITION_BYTES_MAX), first) {
            bytes += candidate.bytes;
            left = left.saturating_sub(u32::try_from(candidate.bytes).unwrap_or(u32::MAX));
            candidates.push(candidate);
        }
    }
    let is_enough = !failed.is_empty() || (!candidates.is_empty() && bytes >= bytes_min);
    wait_mut(broker, id)?.fetch.as_mut()?.failed = failed;
    Some((candidates, is_enough))
}

fn candidate(broker: &mut Broker, key: &ShareKey, slot: u32, bytes_max: u32, first: FirstBatch) -> Option<Candidate> {
    let config = config_of(broker, key);
    let replica = broker.replicas.get(slot)?;
    let hosted = broker.shares.hosted.get_mut(key).filter(|hosted| !hosted.is_read)?;
    let partition = hosted.active()?;
    if replica.log_start() > partition.start() {
        partition.on_log_start(replica.log_start());
        broker.shares.changed.insert(key.clone());
    }
    if !partition.has_room(bounds_of(&config)) {
        return None;
    }
    let from = partition.fetch_offset();
    let below = if config.reads_committed { replica.last_stable_offset() } else { replica.high_watermark() };
    let read = replica.log.read(from, below, bytes_max, first).ok().filter(|read| read.bytes_estimate > 0)?;
    let aborted = config.reads_committed.then(|| replica.log.aborted(from, below));
    let aborted = aborted.filter(|query| !query.indexes.is_empty());
    let bytes = read.bytes_estimate;
    Some(Candidate { place: (key.topic, key.partition), from, read: ShareRead { slices: read.slices, aborted }, bytes })
}

fn begin_reading(broker: &mut Broker, now: Now, id: ParkedId, candidates: Vec<Candidate>, outbox: &mut Vec<Effect>) {
    let Some(owner) = wait_mut(broker, id).map(|wait| wait.owner.clone()) else { return };
    let (mut reading, mut jobs) = (Reading::default(), Vec::new());
    for (index, candidate) in candidates.into_iter().enumerate() {
        let batches = candidate.read.at_hand();
        if batches.is_none() {
            reading.outstanding += 1;
            jobs.push((index, key_of(&owner, candidate.place), candidate.read));
        }
        reading.reads.push(Read { place: candidate.place, from: candidate.from, batches });
    }
    if let Some(fetch) = wait_mut(broker, id).and_then(|wait| wait.fetch.as_mut()) {
        fetch.reading = Some(reading);
    }
    if jobs.is_empty() {
        return answer(broker, now, id, outbox);
    }
    broker.waiting.set_deadline(id, now.monotonic_ms + READING_MS);
    for (index, key, read) in jobs {
        if let Some(hosted) = broker.shares.hosted.get_mut(&key) {
            hosted.is_read = true;
        }
        broker.start_job(JobOwner::ShareRead { parked: id, index, key }, Job::ReadShare(read), outbox);
    }
}

/// Files were read.
pub(crate) fn read(
    broker: &mut Broker,
    now: Now,
    id: ParkedId,
    index: usize,
    key: &ShareKey,
    result: Result<SharedBatches, DiskError>,
    outbox: &mut Vec<Effect>,
) {
    if let Some(hosted) = broker.shares.hosted.get_mut(key) {
        hosted.is_read = false;
    }
    broker.shares.changed.insert(key.clone());
    broker.shares.wake(key);
    let Some(fetch) = wait_mut(broker, id).and_then(|wait| wait.fetch.as_mut()) else { return };
    let Some(reading) = fetch.reading.as_mut() else { return };
    match result {
        Ok(batches) => {
            if let Some(read) = reading.reads.get_mut(index) {
                read.batches = Some(batches);
            }
        }
        // It was removed or moved since: who asks again is sent elsewhere.
        Err(DiskError::Missing { .. }) => {}
        Err(_) => drop(fetch.failed.insert((key.topic, key.partition), ErrorCode::KAFKA_STORAGE_ERROR)),
    }
    reading.outstanding -= 1;
    if reading.outstanding == 0 {
        answer(broker, now, id, outbox);
    }
}

/// The time of a reply is over.
pub(super) fn overdue(broker: &mut Broker, now: Now, id: ParkedId, outbox: &mut Vec<Effect>) {
    let Some(wait) = wait_mut(broker, id) else { return };
    match wait.fetch.as_ref() {
        Some(fetch) if fetch.reading.is_none() => look(broker, now, id, outbox),
        _ => answer(broker, now, id, outbox),
    }
}

/// Acquires what was read and sends the reply; a fetch that came too late for all of it goes on waiting.
fn answer(broker: &mut Broker, now: Now, id: ParkedId, outbox: &mut Vec<Effect>) {
    let Some(owner) = wait_mut(broker, id).map(|wait| wait.owner.clone()) else { return };
    let is_here = broker.shares.sessions.check(&owner).is_ok();
    let mut given = BTreeMap::new();
    if is_here && let Some(fetch) = wait_mut(broker, id).and_then(|wait| wait.fetch.as_mut()) {
        let (limit, mut left) = (fetch.limits.limit, fetch.limits.records_max);
        let reads = fetch.reading.take().map(|reading| reading.reads).unwrap_or_default();
        let may_wait =
            fetch.failed.is_empty() && !reads.is_empty() && fetch.until_ms.is_some_and(|until| until > now.monotonic_ms);
        for read in reads.into_iter().filter(|read| read.batches.is_some()) {
            let key = key_of(&owner, read.place);
            let Some(gift) = acquire(broker, now, &key, &owner, read, limit, left) else { continue };
            left = left.saturating_sub(gift.acquired.iter().map(|one| one.last.0.abs_diff(one.first.0) + 1).sum());
            given.insert((key.topic, key.partition), gift);
        }
        if given.is_empty() && may_wait {
            broker.shares.woken.insert(id);
            return;
        }
    }
    let Some(parked) = broker.waiting.take(id) else { return };
    let Until::Share(wait) = parked.until else { return };
    broker.shares.forget_waiter(id, &wait);
    let response = match wait.fetch.is_some() {
        true => fetched(broker, *wait, given),
        false => acknowledged(broker, *wait),
    };
    let ReplyPlace { connection, sequence } = parked.place;
    outbox.push(Effect::Reply { connection, sequence, reply: Reply::Body(Box::new(response)) });
}

fn acquire(broker: &mut Broker, now: Now, key: &ShareKey, owner: &Owner, read: Read, limit: Limit, left: u64) -> Option<Given> {
    let config = config_of(broker, key);
    let batches = read.batches?;
    let hosted = broker.shares.hosted.get_mut(key)?;
    let (slot, Phase::Active(partition)) = (hosted.slot, &mut hosted.phase) else { return None };
    let taker = Taker {
        member: owner.1.clone(),
        now_ms: now.monotonic_ms,
        lock_ms: config.lock_ms,
        records_max: left,
        limit,
        bounds: bounds_of(&config),
    };
    let acquired = partition.acquire(&taker, read.from, &batches.spans());
    broker.shares.changed.insert(key.clone());
    if acquired.is_empty() {
        return None;
    }
    let pieces = batches.bytes_of(&acquired);
    if let Some(replica) = broker.replicas.get_mut(slot) {
        replica.traffic.bytes_out += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
    }
    Some(Given { acquired, records: pieces.into() })
}
