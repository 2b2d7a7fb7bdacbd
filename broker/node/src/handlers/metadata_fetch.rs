//! Fetch (key 1) at a controller's listener: voters and observers read the metadata log (KIP-595).
//!
//! The answer waits until there are records, or the asker does not know yet what is committed (KIP-1166), or its time is
//! over. Whoever does not lead says who does. Errors: NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH,
//! INCONSISTENT_CLUSTER_ID, UNKNOWN_TOPIC_OR_PARTITION. Source: KafkaRaftClient.handleFetchRequest.

use strandline_log::slice::FirstBatch;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicId, TopicName};
use strandline_protocol::messages::fetch::{
    EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData, SnapshotId,
};
use strandline_protocol::wire::Records;

use super::Answer;
use super::quorum::is_foreign;
use crate::broker::Broker;
use crate::controller::METADATA_TOPIC;
use crate::io::{Effect, FetchReply, Now, PartitionSlices, PeerAddress, Reply, RequestContext};
use crate::parked::{ParkedId, Place, Until};
use crate::quorum::message::{FetchAsk, FetchVerdict, LogEnd};
use crate::quorum::voters::ReplicaKey;
use crate::quorum::wire;
use crate::voter;

/// Topic ids instead of names from this version on.
const IDS_FROM: i16 = 13;
/// Most bytes of one answer. Source: KafkaRaftClient.MAX_FETCH_SIZE_BYTES.
const BYTES_MAX: i32 = 8 << 20;

/// A fetch that waits.
#[derive(Clone, Debug)]
pub struct MetadataFetch {
    ask: FetchAsk,
    bytes_max: u32,
    /// What the asker knows to be committed.
    committed: Offset,
}

pub(crate) fn fetch(broker: &mut Broker, now: Now, context: &RequestContext, request: &FetchRequest) -> Answer {
    if is_foreign(broker, request.cluster_id.as_deref()) {
        return Answer::now(FetchResponse { error_code: ErrorCode::INCONSISTENT_CLUSTER_ID, ..FetchResponse::default() });
    }
    let Some(partition) = metadata_partition(context, request) else {
        return Answer::now(FetchResponse { error_code: ErrorCode::INVALID_REQUEST, ..FetchResponse::default() });
    };
    let replica = if context.api_version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    let fetch = MetadataFetch {
        ask: FetchAsk {
            replica: ReplicaKey { id: replica.0, directory: partition.replica_directory_id },
            epoch: partition.current_leader_epoch,
            from: LogEnd { epoch: partition.last_fetched_epoch, offset: partition.fetch_offset },
        },
        bytes_max: u32::try_from(partition.partition_max_bytes.clamp(0, BYTES_MAX)).unwrap_or(0),
        committed: partition.high_watermark,
    };
    let verdict = broker.controller.on_fetch(now, fetch.ask);
    if verdict != FetchVerdict::Agree || request.max_wait_ms <= 0 || has_news(broker, &fetch) {
        return Answer::Reply(reply(broker, &fetch, verdict));
    }
    let deadline_ms = now.monotonic_ms + u64::try_from(request.max_wait_ms).unwrap_or(0);
    let place = Place { connection: context.connection, sequence: context.sequence };
    let parked = broker.waiting.park(place, Some(deadline_ms), Until::MetadataReadable(Box::new(fetch)));
    broker.controller.post.fetches.push(parked);
    Answer::Parked
}

/// Something changed: answers those that waited for it.
pub(crate) fn wake(broker: &mut Broker, outbox: &mut Vec<Effect>) {
    for parked in std::mem::take(&mut broker.controller.post.fetches) {
        let Some(Until::MetadataReadable(fetch)) = broker.waiting.get(parked).map(|parked| &parked.until) else { continue };
        if still_leads(broker, fetch) && !has_news(broker, fetch) {
            broker.controller.post.fetches.push(parked);
        } else {
            end(broker, parked, outbox);
        }
    }
}

/// Answers a fetch that waited with what there is.
pub(crate) fn end(broker: &mut Broker, parked: ParkedId, outbox: &mut Vec<Effect>) {
    let Some(parked) = broker.waiting.take(parked) else { return };
    let Until::MetadataReadable(fetch) = parked.until else { return };
    let verdict = if still_leads(broker, &fetch) { FetchVerdict::Agree } else { FetchVerdict::NotLeader };
    let reply = reply(broker, &fetch, verdict);
    outbox.push(Effect::Reply { connection: parked.place.connection, sequence: parked.place.sequence, reply });
}

fn metadata_partition<'a>(context: &RequestContext, request: &'a FetchRequest) -> Option<&'a FetchPartition> {
    let [topic] = &request.topics[..] else { return None };
    let is_metadata = if context.api_version >= IDS_FROM {
        topic.topic_id == TopicId::METADATA
    } else {
        topic.topic.as_str() == METADATA_TOPIC
    };
    topic.partitions.first().filter(|partition| is_metadata && partition.partition == 0 && topic.partitions.len() == 1)
}

fn still_leads(broker: &Broker, fetch: &MetadataFetch) -> bool {
    broker.controller.quorum.leading().is_some() && broker.controller.epoch() == fetch.ask.epoch
}

fn has_news(broker: &Broker, fetch: &MetadataFetch) -> bool {
    let readable = broker.controller.log().positions().readable_end;
    fetch.ask.from.offset < readable || fetch.committed < broker.controller.committed()
}

fn reply(broker: &Broker, fetch: &MetadataFetch, verdict: FetchVerdict) -> Reply {
    let leadership = broker.controller.quorum.leadership();
    let mut data = PartitionData {
        partition_index: 0,
        error_code: error_of(verdict),
        high_watermark: broker.controller.committed(),
        last_stable_offset: broker.controller.committed(),
        log_start_offset: broker.controller.log().positions().log_start,
        current_leader: LeaderIdAndEpoch { leader_id: wire::id(leadership.leader), leader_epoch: leadership.epoch },
        aborted_transactions: None,
        records: Some(Records::default()),
        ..PartitionData::default()
    };
    let mut slices = Vec::new();
    match verdict {
        FetchVerdict::Agree => {
            let read = broker.controller.log().read(fetch.ask.from.offset, Offset::MAX, fetch.bytes_max, FirstBatch::Whole);
            slices = read.map_or_else(|_| Vec::new(), |read| read.slices);
        }
        FetchVerdict::Diverging(end) => {
            data.diverging_epoch = EpochEndOffset { epoch: end.epoch, end_offset: end.offset };
        }
        FetchVerdict::InSnapshot(end) => data.snapshot_id = SnapshotId { end_offset: end.offset, epoch: end.epoch },
        _ => {}
    }
    let topic =
        FetchableTopicResponse { topic: TopicName::from(METADATA_TOPIC), topic_id: TopicId::METADATA, partitions: vec![data] };
    let response = FetchResponse { responses: vec![topic], node_endpoints: endpoints(broker), ..FetchResponse::default() };
    if slices.is_empty() {
        return Reply::Body(Box::new(Response::Fetch(response)));
    }
    let slices = vec![PartitionSlices { topic: 0, partition: 0, slices, aborted: None }];
    Reply::Fetch(Box::new(FetchReply { response, slices }))
}

pub(super) fn error_of(verdict: FetchVerdict) -> ErrorCode {
    match verdict {
        FetchVerdict::Agree | FetchVerdict::Diverging(_) | FetchVerdict::InSnapshot(_) => ErrorCode::NONE,
        FetchVerdict::NotLeader => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        FetchVerdict::Fenced => ErrorCode::FENCED_LEADER_EPOCH,
        FetchVerdict::Unknown => ErrorCode::UNKNOWN_LEADER_EPOCH,
    }
}

/// Where the leader is, so that whoever asked the wrong one finds it.
fn endpoints(broker: &Broker) -> Vec<NodeEndpoint> {
    let known = broker.controller.quorum.leadership().leader.and_then(|leader| voter::address(broker, leader));
    let endpoint = |at: PeerAddress| NodeEndpoint {
        node_id: at.node.into(),
        host: at.host.to_string(),
        port: i32::from(at.port),
        rack: None,
    };
    known.map(endpoint).into_iter().collect()
}
