//! The reading side of a Fetch: what each partition has to give now, and whether that is enough to answer.
//!
//! Partitions are served in the order of the request or session. Until one of them gives records the limits do not
//! count for its first batch, so that a batch larger than any limit still gets through (KIP-74). Readers see records
//! below the high watermark, or below the last stable offset if they ask for committed transactions only. Consumers from
//! version 11 on may read from followers too, and are sent to one that is nearer if the broker selects by rack (KIP-392).
//! Source: ReplicaManager.readFromLog, DelayedFetch.

use std::collections::BTreeSet;
use std::sync::Arc;

use strandline_log::read::ReadError;
use strandline_log::slice::{FirstBatch, Slice};
use strandline_log::transactions::AbortedQuery;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Offset, TopicId};
use strandline_protocol::messages::fetch::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use strandline_protocol::wire::Records;

use crate::broker::Broker;
use crate::epochs::{check_leader_epoch, diverging};
use crate::flaws::{self, Flaw};
use crate::image::Image;
use crate::io::{FetchReply, PartitionSlices, Reply, unreadable};
use crate::replica::{Replica, Role, selection};
use crate::sessions::{FetchKey, Kind, Wanted};

/// From this version on topics are named by id.
pub(crate) const IDS_FROM: i16 = 13;
/// From this version on a consumer may read from a follower.
const FOLLOWERS_FROM: i16 = 11;
/// From this version on an answer says where the leader is (KIP-951).
const LEADER_FROM: i16 = 16;

/// Which records a reader wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

/// A Fetch that is ready to be served, now or when there is enough.
#[derive(Debug)]
pub struct FetchWait {
    pub api_version: i16,
    /// Where the consumer stands; empty if it does not say.
    pub rack: String,
    /// The name of the listener that it uses.
    pub listener: Arc<str>,
    pub kind: Kind,
    pub isolation: Isolation,
    pub bytes_min: i64,
    pub bytes_max: i64,
    pub wanted: Vec<Target>,
}

/// One partition of a Fetch, looked up.
#[derive(Clone, Debug)]
pub struct Target {
    pub key: FetchKey,
    pub wanted: Wanted,
    /// Where it is hosted, or why it is not.
    pub slot: Result<u32, ErrorCode>,
}

/// What all partitions have to give now.
pub(crate) struct Served {
    partitions: Vec<ServedPartition>,
    bytes: i64,
    /// Something that must be told at once: an error or a diverging epoch.
    urgent: bool,
}

struct ServedPartition {
    key: FetchKey,
    slot: Option<u32>,
    read: Read,
}

impl Served {
    /// Whether a Fetch that wants at least `bytes_min` bytes can be answered.
    pub(crate) fn is_enough(&self, bytes_min: i64) -> bool {
        self.urgent || self.bytes >= bytes_min
    }
}

/// Reads every partition of a Fetch.
pub(crate) fn serve(broker: &Broker, fetch: &FetchWait) -> Served {
    let mut served = Served { partitions: Vec::with_capacity(fetch.wanted.len()), bytes: 0, urgent: false };
    for target in &fetch.wanted {
        let remaining = (fetch.bytes_max - served.bytes).max(0);
        let first = if served.bytes == 0 { FirstBatch::Whole } else { FirstBatch::Fitting };
        let read = read(broker, fetch, target, remaining, first).unwrap_or_else(|failed| Read::without_records(*failed));
        served.urgent |= !is_plain(&read.data);
        served.bytes += read.bytes;
        served.partitions.push(ServedPartition { key: target.key.clone(), slot: target.slot.ok(), read });
    }
    served
}

/// Whether an answer has nothing to tell but records and ends.
fn is_plain(data: &PartitionData) -> bool {
    data.error_code == ErrorCode::NONE
        && data.diverging_epoch == EpochEndOffset::default()
        && data.preferred_read_replica == BrokerId::NONE
}

struct Read {
    data: PartitionData,
    slices: Vec<Slice>,
    aborted: Option<AbortedQuery>,
    bytes: i64,
}

impl Read {
    fn without_records(data: PartitionData) -> Self {
        Self { data, slices: Vec::new(), aborted: None, bytes: 0 }
    }
}

fn read(
    broker: &Broker,
    fetch: &FetchWait,
    target: &Target,
    bytes_max: i64,
    first: FirstBatch,
) -> Result<Read, Box<PartitionData>> {
    let fail = |code| failed(target, code);
    let slot = target.slot.map_err(fail)?;
    let hosted = broker.replicas.get(slot).filter(|replica| !replica.deleted);
    let replica = hosted.ok_or_else(|| fail(why_gone(broker, fetch, target)))?;
    let (high_watermark, log_start) = (replica.high_watermark(), replica.log_start());
    if fetch.api_version < FOLLOWERS_FROM {
        replica.leader().map_err(fail)?;
    } else if replica.truncation.is_some() || is_behind(broker, replica) {
        return Err(fail(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    }
    check_leader_epoch(replica.leader_epoch(), target.wanted.current_leader_epoch).map_err(fail)?;
    if !replica.knows_high_watermark() && target.wanted.fetch_offset > high_watermark {
        return Err(fail(ErrorCode::OFFSET_NOT_AVAILABLE));
    }
    let stable = replica.last_stable_offset();
    let mut data = PartitionData {
        partition_index: target.key.partition,
        high_watermark,
        last_stable_offset: if flaws::is(Flaw::StableIgnoresOpen) { high_watermark } else { stable },
        log_start_offset: log_start,
        aborted_transactions: None,
        records: Some(Records::default()),
        ..PartitionData::default()
    };
    if let Some(diverging) = diverging(replica, &target.wanted).map_err(fail)? {
        data.diverging_epoch = diverging;
        return Ok(Read::without_records(data));
    }
    let from = target.wanted.fetch_offset;
    if let Some(nearer) = selection::nearer(broker, replica, &fetch.rack, from) {
        data.preferred_read_replica = BrokerId(nearer);
        return Ok(Read::without_records(data));
    }
    let below = match fetch.isolation {
        Isolation::ReadUncommitted if flaws::is(Flaw::ReadsAboveHw) => replica.log.positions().readable_end,
        Isolation::ReadUncommitted => high_watermark,
        Isolation::ReadCommitted if flaws::is(Flaw::StableIgnoresOpen) => high_watermark,
        Isolation::ReadCommitted => stable,
    };
    let limit = bytes_max.min(i64::from(target.wanted.bytes_max)).max(0);
    let read = replica.log.read(from, below, u32::try_from(limit).unwrap_or(u32::MAX), first);
    let read = read.map_err(|ReadError::OutOfRange { .. }| out_of_range(target, high_watermark, log_start))?;
    let mut aborted = None;
    if fetch.isolation == Isolation::ReadCommitted {
        data.aborted_transactions = Some(Vec::new());
        aborted = Some(replica.log.aborted(from, below)).filter(|query| !query.indexes.is_empty());
        aborted = aborted.filter(|_| !flaws::is(Flaw::AbortedNotTold));
    }
    Ok(Read { data, slices: read.slices, aborted, bytes: i64::try_from(read.bytes_estimate).unwrap_or(i64::MAX) })
}

/// Where a partition is hosted, or why it is not.
pub(crate) fn located(broker: &Broker, api_version: i16, key: &FetchKey) -> Result<u32, ErrorCode> {
    let by_id = api_version >= IDS_FROM;
    let id = if by_id { Some(key.id) } else { broker.image.topics.id_of(&key.name) };
    let unknown = if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
    let topic = id.and_then(|id| broker.image.topics.by_id(id)).ok_or(unknown)?;
    if !topic.partitions.contains_key(&key.partition) {
        return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
    broker.slot(topic.id, key.partition)
}

/// The replica was given up while the request waited; another may have its place.
fn why_gone(broker: &Broker, fetch: &FetchWait, target: &Target) -> ErrorCode {
    located(broker, fetch.api_version, &target.key).err().unwrap_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)
}

/// A follower that is not in sync may have nothing yet, and its end would pass for the partition's: whoever still asks here after the
/// lead went elsewhere would take an empty log for one that he has read.
fn is_behind(broker: &Broker, replica: &Replica) -> bool {
    let Role::Follower(_) = &replica.role else { return false };
    let state = broker.image.topics.by_id(replica.topic).and_then(|topic| topic.partitions.get(&replica.partition));
    state.is_some_and(|state| !state.isr.contains(&broker.identity.node_id))
}

fn failed(target: &Target, code: ErrorCode) -> Box<PartitionData> {
    Box::new(unreadable(target.key.partition, code))
}

/// Who asks for an offset outside of the log does not stand at an end of it, and may be told where they are.
fn out_of_range(target: &Target, high_watermark: Offset, log_start: Offset) -> Box<PartitionData> {
    let answer = unreadable(target.key.partition, ErrorCode::OFFSET_OUT_OF_RANGE);
    Box::new(PartitionData { high_watermark, log_start_offset: log_start, ..answer })
}

/// Makes the reply of what was served; an incremental one names only what changed.
pub(crate) fn reply(broker: &mut Broker, fetch: &FetchWait, served: Served) -> Reply {
    let mut response = FetchResponse { session_id: fetch.kind.session(), ..FetchResponse::default() };
    let (mut slices, mut leaders) = (Vec::new(), BTreeSet::new());
    for partition in served.partitions {
        if !must_tell(broker, fetch.kind, &partition) {
            continue;
        }
        let mut data = partition.read.data;
        if fetch.api_version >= LEADER_FROM
            && let Some(replica) = partition.slot.and_then(|slot| broker.replicas.get(slot))
        {
            leader_of(&broker.image, replica.topic, replica.partition, data.error_code, &mut data, &mut leaders);
        }
        let (topic, index) = put(&mut response, &partition.key, data);
        if !partition.read.slices.is_empty() {
            if let Some(replica) = partition.slot.and_then(|slot| broker.replicas.get_mut(slot)) {
                replica.traffic.bytes_out += u64::try_from(partition.read.bytes).unwrap_or(0);
            }
            slices.push(PartitionSlices {
                topic,
                partition: index,
                slices: partition.read.slices,
                aborted: partition.read.aborted,
            });
        }
    }
    response.node_endpoints = endpoints(&broker.image, &fetch.listener, leaders);
    if slices.is_empty() {
        Reply::Body(Box::new(Response::Fetch(response)))
    } else {
        Reply::Fetch(Box::new(FetchReply { response, slices }))
    }
}

fn must_tell(broker: &mut Broker, kind: Kind, partition: &ServedPartition) -> bool {
    let told =
        is_plain(&partition.read.data).then_some((partition.read.data.high_watermark, partition.read.data.log_start_offset));
    match kind {
        Kind::Full { session: 0 } => true,
        Kind::Full { session } => {
            broker.sessions.must_tell(session, &partition.key, told, !partition.read.slices.is_empty());
            true
        }
        Kind::Incremental { session } => {
            broker.sessions.must_tell(session, &partition.key, told, !partition.read.slices.is_empty())
        }
    }
}

/// Puts a partition into the answer, and says where.
pub(crate) fn put(response: &mut FetchResponse, key: &FetchKey, data: PartitionData) -> (usize, usize) {
    let topic = topic_index(response, key);
    let partitions = &mut response.responses[topic].partitions;
    partitions.push(data);
    (topic, partitions.len() - 1)
}

/// Whoever is not at the leader, or believes in another epoch, is told who leads (KIP-951).
pub(crate) fn leader_of(
    image: &Image,
    topic: TopicId,
    partition: i32,
    code: ErrorCode,
    data: &mut PartitionData,
    leaders: &mut BTreeSet<i32>,
) {
    if !matches!(code, ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH) {
        return;
    }
    if let Some(state) = image.topics.by_id(topic).and_then(|topic| topic.partitions.get(&partition)) {
        data.current_leader = LeaderIdAndEpoch { leader_id: BrokerId(state.leader), leader_epoch: state.leader_epoch };
        leaders.insert(state.leader);
    }
}

/// Where these brokers are reached.
pub(crate) fn endpoints(image: &Image, listener: &str, brokers: BTreeSet<i32>) -> Vec<NodeEndpoint> {
    let endpoint = |id: i32| {
        let known = image.brokers.get(id)?;
        let end = known.endpoint_at(listener)?;
        let (host, port) = (end.host.clone(), i32::from(end.port));
        Some(NodeEndpoint { node_id: BrokerId(id), host, port, rack: known.rack.clone() })
    };
    brokers.into_iter().filter_map(endpoint).collect()
}

fn topic_index(response: &mut FetchResponse, key: &FetchKey) -> usize {
    let same = |topic: &FetchableTopicResponse| topic.topic == key.name && topic.topic_id == key.id;
    if let Some(last) = response.responses.len().checked_sub(1).filter(|last| same(&response.responses[*last])) {
        return last;
    }
    if let Some(known) = response.responses.iter().position(same) {
        return known;
    }
    response.responses.push(FetchableTopicResponse {
        topic: key.name.clone(),
        topic_id: key.id,
        ..FetchableTopicResponse::default()
    });
    response.responses.len() - 1
}
