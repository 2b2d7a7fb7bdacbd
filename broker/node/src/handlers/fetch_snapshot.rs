//! FetchSnapshot (key 59), versions 0 to 1: a piece of a snapshot of the metadata log (KIP-630).
//!
//! Served by the leader alone, to voters and observers that are behind the beginning of its log; a voter that asks counts as heard. Errors:
//! NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, SNAPSHOT_NOT_FOUND, POSITION_OUT_OF_RANGE, INCONSISTENT_CLUSTER_ID,
//! UNKNOWN_TOPIC_OR_PARTITION, KAFKA_STORAGE_ERROR. Source: KafkaRaftClient.handleFetchSnapshotRequest.

use bytes::Bytes;
use strandline_log::disk::DiskError;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicName};
use strandline_protocol::messages::fetch_snapshot::{
    FetchSnapshotRequest, FetchSnapshotResponse, LeaderIdAndEpoch, NodeEndpoint, ResponsePartitionSnapshot, ResponseSnapshotId,
    ResponseTopicSnapshot,
};
use strandline_protocol::wire::Records;

use super::Answer;
use super::metadata_fetch::error_of;
use super::quorum::is_foreign;
use crate::broker::{Broker, JobOwner};
use crate::controller::METADATA_TOPIC;
use crate::io::{Effect, Job, Now, RequestContext};
use crate::parked::{Place, Until};
use crate::quorum::wire;
use crate::snapshot::KeptSnapshot;
use crate::voter;

/// Most bytes of one answer. Source: KafkaRaftClient.MAX_FETCH_SIZE_BYTES.
const BYTES_MAX: i32 = 8 << 20;

pub(crate) fn fetch_snapshot(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: &FetchSnapshotRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    if is_foreign(broker, request.cluster_id.as_deref()) {
        let error_code = ErrorCode::INCONSISTENT_CLUSTER_ID;
        return Answer::now(FetchSnapshotResponse { error_code, ..FetchSnapshotResponse::default() });
    }
    let Some(ask) = wire::snapshot_ask(request) else {
        return Answer::now(response(broker, failed(broker, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)));
    };
    if let Err(verdict) = broker.controller.quorum.on_snapshot_fetch(now.monotonic_ms, ask) {
        return Answer::now(response(broker, failed(broker, error_of(verdict))));
    }
    let is_asked = |kept: &&KeptSnapshot| kept.id.end == ask.id.offset && kept.id.epoch == ask.id.epoch;
    let Some(kept) = broker.snapshots.kept().iter().find(is_asked).copied() else {
        return Answer::now(response(broker, failed(broker, ErrorCode::SNAPSHOT_NOT_FOUND)));
    };
    if ask.position >= kept.bytes {
        return Answer::now(response(broker, failed(broker, ErrorCode::POSITION_OUT_OF_RANGE)));
    }
    let partition = ResponsePartitionSnapshot {
        snapshot_id: ResponseSnapshotId { end_offset: kept.id.end, epoch: kept.id.epoch },
        size: i64::try_from(kept.bytes).unwrap_or(i64::MAX),
        position: i64::try_from(ask.position).unwrap_or(i64::MAX),
        ..failed(broker, ErrorCode::NONE)
    };
    let bytes_max = u64::try_from(request.max_bytes.clamp(1, BYTES_MAX)).unwrap_or(1);
    let bytes = usize::try_from(bytes_max.min(kept.bytes - ask.position)).unwrap_or(0);
    let response = Box::new(Response::FetchSnapshot(response(broker, partition)));
    let place = Place { connection: context.connection, sequence: context.sequence };
    let parked = broker.waiting.park(place, None, Until::Jobs { outstanding: 1, response });
    let what = Job::ReadPiece { file: kept.file(), position: ask.position, bytes };
    broker.start_job(JobOwner::Reply { parked, topic: 0, partition: 0 }, what, outbox);
    Answer::Parked
}

/// Puts the bytes into the parked reply. A snapshot may go while it is read.
pub(crate) fn piece_read(response: &mut Response, read: Result<Bytes, DiskError>) {
    let Response::FetchSnapshot(response) = response else { return };
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        match &read {
            Ok(bytes) => partition.unaligned_records = Records::from(bytes.clone()),
            Err(DiskError::Missing { .. }) => partition.error_code = ErrorCode::SNAPSHOT_NOT_FOUND,
            Err(_) => partition.error_code = ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

fn failed(broker: &Broker, error_code: ErrorCode) -> ResponsePartitionSnapshot {
    let leadership = broker.controller.quorum.leadership();
    ResponsePartitionSnapshot {
        index: 0,
        error_code,
        snapshot_id: ResponseSnapshotId { end_offset: Offset(-1), ..ResponseSnapshotId::default() },
        current_leader: LeaderIdAndEpoch { leader_id: wire::id(leadership.leader), leader_epoch: leadership.epoch },
        size: 0,
        position: 0,
        unaligned_records: Records::default(),
    }
}

fn response(broker: &Broker, partition: ResponsePartitionSnapshot) -> FetchSnapshotResponse {
    let known = broker.controller.quorum.leadership().leader.and_then(|leader| voter::address(broker, leader));
    let endpoint = known.map(|at| NodeEndpoint { node_id: at.node.into(), host: at.host.to_string(), port: at.port });
    FetchSnapshotResponse {
        topics: vec![ResponseTopicSnapshot { name: TopicName::from(METADATA_TOPIC), partitions: vec![partition] }],
        node_endpoints: endpoint.into_iter().collect(),
        ..FetchSnapshotResponse::default()
    }
}
