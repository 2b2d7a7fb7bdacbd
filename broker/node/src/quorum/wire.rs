//! The quorum's messages as Kafka writes them. Pure translation: nothing is decided here.
//!
//! With `kraft.version` 0 voters have no directories, so these fields stay zero.

use bytes::Bytes;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicId, TopicName};
use strandline_protocol::messages::begin_quorum_epoch::{self, BeginQuorumEpochRequest, BeginQuorumEpochResponse};
use strandline_protocol::messages::end_quorum_epoch::{self, EndQuorumEpochRequest, EndQuorumEpochResponse};
use strandline_protocol::messages::fetch::{
    EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData, ReplicaState,
};
use strandline_protocol::messages::fetch_snapshot::{
    FetchSnapshotRequest, FetchSnapshotResponse, RequestPartitionSnapshot, RequestSnapshotId, RequestTopicSnapshot,
};
use strandline_protocol::messages::vote::{self, VoteRequest, VoteResponse};

use super::FetchAnswer;
use super::message::{
    Ballot, FetchAsk, FetchVerdict, Leadership, LogEnd, SnapshotAnswer, SnapshotAsk, SnapshotPlace, VoteAnswer, VoteAsk,
};
use crate::controller::METADATA_TOPIC;
use crate::image::brokers::Endpoint;

/// How long a leader keeps a fetch waiting. Source: KafkaRaftClient.MAX_FETCH_WAIT_MS.
pub(crate) const FETCH_WAIT_MS: i32 = 500;
/// Most bytes of one answer; a batch larger than that still comes.
const FETCH_BYTES: i32 = 1 << 20;

fn topic() -> TopicName {
    TopicName::from(METADATA_TOPIC)
}

pub(crate) fn vote_request(cluster: &str, to: i32, ask: VoteAsk) -> VoteRequest {
    let partition = vote::RequestPartitionData {
        replica_epoch: ask.epoch,
        replica_id: BrokerId(ask.candidate),
        last_offset_epoch: ask.log_end.epoch,
        last_offset: ask.log_end.offset,
        pre_vote: ask.ballot == Ballot::Pre,
        ..Default::default()
    };
    VoteRequest {
        cluster_id: Some(cluster.to_owned()),
        voter_id: BrokerId(to),
        topics: vec![vote::RequestTopicData { topic_name: topic(), partitions: vec![partition] }],
    }
}

/// The question in a request; `None` if it is not about the metadata log.
pub(crate) fn vote_ask(request: &VoteRequest) -> Option<VoteAsk> {
    let topic = request.topics.first().filter(|topic| topic.topic_name.as_str() == METADATA_TOPIC)?;
    let partition = topic.partitions.first().filter(|partition| partition.partition_index == 0)?;
    Some(VoteAsk {
        ballot: if partition.pre_vote { Ballot::Pre } else { Ballot::Real },
        epoch: partition.replica_epoch,
        candidate: partition.replica_id.0,
        log_end: LogEnd { epoch: partition.last_offset_epoch, offset: partition.last_offset },
    })
}

pub(crate) fn vote_response(answer: VoteAnswer) -> VoteResponse {
    let partition = vote::ResponsePartitionData {
        partition_index: 0,
        error_code: ErrorCode::NONE,
        leader_id: id(answer.leadership.leader),
        leader_epoch: answer.leadership.epoch,
        vote_granted: answer.granted,
    };
    let topics = vec![vote::ResponseTopicData { topic_name: topic(), partitions: vec![partition] }];
    VoteResponse { error_code: ErrorCode::NONE, topics, node_endpoints: Vec::new() }
}

/// What a voter said; `None` if it refused to answer.
pub(crate) fn vote_answer(response: &VoteResponse, ballot: Ballot) -> Option<VoteAnswer> {
    let partition = response.topics.first()?.partitions.first()?;
    let leadership = leadership(partition.leader_id, partition.leader_epoch);
    Some(VoteAnswer { ballot, leadership, granted: partition.vote_granted })
}

pub(crate) fn begin_request(cluster: &str, to: i32, leadership: Leadership, endpoints: &[Endpoint]) -> BeginQuorumEpochRequest {
    let partition = begin_quorum_epoch::RequestPartitionData {
        leader_id: id(leadership.leader),
        leader_epoch: leadership.epoch,
        ..Default::default()
    };
    let leader_endpoints = endpoints.iter().map(|end| begin_quorum_epoch::LeaderEndpoint {
        name: end.listener.clone(),
        host: end.host.clone(),
        port: end.port,
    });
    BeginQuorumEpochRequest {
        cluster_id: Some(cluster.to_owned()),
        voter_id: BrokerId(to),
        topics: vec![begin_quorum_epoch::RequestTopicData { topic_name: topic(), partitions: vec![partition] }],
        leader_endpoints: leader_endpoints.collect(),
    }
}

pub(crate) fn begin_ask(request: &BeginQuorumEpochRequest) -> Option<Leadership> {
    let topic = request.topics.first().filter(|topic| topic.topic_name.as_str() == METADATA_TOPIC)?;
    let partition = topic.partitions.first()?;
    Some(leadership(partition.leader_id, partition.leader_epoch))
}

pub(crate) fn begin_response(told: Leadership) -> BeginQuorumEpochResponse {
    let partition = begin_quorum_epoch::ResponsePartitionData {
        partition_index: 0,
        error_code: ErrorCode::NONE,
        leader_id: id(told.leader),
        leader_epoch: told.epoch,
    };
    let topics = vec![begin_quorum_epoch::ResponseTopicData { topic_name: topic(), partitions: vec![partition] }];
    BeginQuorumEpochResponse { error_code: ErrorCode::NONE, topics, node_endpoints: Vec::new() }
}

pub(crate) fn begin_answer(response: &BeginQuorumEpochResponse) -> Option<Leadership> {
    let partition = response.topics.first()?.partitions.first()?;
    Some(leadership(partition.leader_id, partition.leader_epoch))
}

pub(crate) fn end_request(
    cluster: &str,
    told: Leadership,
    successors: &[i32],
    endpoints: &[Endpoint],
) -> EndQuorumEpochRequest {
    let candidate = |id: &i32| end_quorum_epoch::ReplicaInfo { candidate_id: BrokerId(*id), ..Default::default() };
    let partition = end_quorum_epoch::RequestPartitionData {
        leader_id: id(told.leader),
        leader_epoch: told.epoch,
        preferred_successors: successors.to_vec(),
        preferred_candidates: successors.iter().map(candidate).collect(),
        ..Default::default()
    };
    let leader_endpoints = endpoints.iter().map(|end| end_quorum_epoch::LeaderEndpoint {
        name: end.listener.clone(),
        host: end.host.clone(),
        port: end.port,
    });
    EndQuorumEpochRequest {
        cluster_id: Some(cluster.to_owned()),
        topics: vec![end_quorum_epoch::RequestTopicData { topic_name: topic(), partitions: vec![partition] }],
        leader_endpoints: leader_endpoints.collect(),
    }
}

/// Who resigns, and who should stand, the best first.
pub(crate) fn end_ask(request: &EndQuorumEpochRequest) -> Option<(Leadership, Vec<i32>)> {
    let topic = request.topics.first().filter(|topic| topic.topic_name.as_str() == METADATA_TOPIC)?;
    let partition = topic.partitions.first()?;
    let mut successors: Vec<i32> = partition.preferred_candidates.iter().map(|info| info.candidate_id.0).collect();
    if successors.is_empty() {
        successors.clone_from(&partition.preferred_successors);
    }
    Some((leadership(partition.leader_id, partition.leader_epoch), successors))
}

pub(crate) fn end_response(told: Leadership) -> EndQuorumEpochResponse {
    let partition = end_quorum_epoch::ResponsePartitionData {
        partition_index: 0,
        error_code: ErrorCode::NONE,
        leader_id: id(told.leader),
        leader_epoch: told.epoch,
    };
    let topics = vec![end_quorum_epoch::ResponseTopicData { topic_name: topic(), partitions: vec![partition] }];
    EndQuorumEpochResponse { error_code: ErrorCode::NONE, topics, node_endpoints: Vec::new() }
}

pub(crate) fn end_answer(response: &EndQuorumEpochResponse) -> Option<Leadership> {
    let partition = response.topics.first()?.partitions.first()?;
    Some(leadership(partition.leader_id, partition.leader_epoch))
}

/// `committed` is what this node knows to be committed: a leader that knows more answers at once (KIP-1166).
pub(crate) fn fetch_request(cluster: &str, ask: FetchAsk, committed: Offset) -> FetchRequest {
    let partition = FetchPartition {
        partition: 0,
        current_leader_epoch: ask.epoch,
        fetch_offset: ask.from.offset,
        last_fetched_epoch: ask.from.epoch,
        partition_max_bytes: FETCH_BYTES,
        high_watermark: committed,
        ..Default::default()
    };
    FetchRequest {
        cluster_id: Some(cluster.to_owned()),
        replica_id: BrokerId(ask.replica),
        replica_state: ReplicaState { replica_id: BrokerId(ask.replica), ..Default::default() },
        max_wait_ms: FETCH_WAIT_MS,
        min_bytes: 0,
        max_bytes: FETCH_BYTES,
        topics: vec![FetchTopic { topic: topic(), topic_id: TopicId::METADATA, partitions: vec![partition] }],
        ..Default::default()
    }
}

/// What a leader answered, with the partition that holds its records; `None` if it refused altogether.
pub(crate) fn fetch_answer(mut response: FetchResponse) -> Option<(FetchAnswer, PartitionData)> {
    let data = response.responses.first_mut()?.partitions.pop()?;
    let verdict = if data.error_code != ErrorCode::NONE {
        None
    } else if data.diverging_epoch != EpochEndOffset::default() {
        let EpochEndOffset { epoch, end_offset } = data.diverging_epoch;
        Some(FetchVerdict::Diverging(LogEnd { epoch, offset: end_offset }))
    } else if data.snapshot_id.end_offset >= Offset::ZERO {
        Some(FetchVerdict::InSnapshot(LogEnd { epoch: data.snapshot_id.epoch, offset: data.snapshot_id.end_offset }))
    } else {
        Some(FetchVerdict::Agree)
    };
    let leadership = leadership(data.current_leader.leader_id, data.current_leader.leader_epoch);
    Some((FetchAnswer { leadership, verdict, high_watermark: data.high_watermark }, data))
}

pub(crate) fn snapshot_request(cluster: &str, ask: SnapshotAsk) -> FetchSnapshotRequest {
    let partition = RequestPartitionSnapshot {
        partition: 0,
        current_leader_epoch: ask.epoch,
        snapshot_id: RequestSnapshotId { end_offset: ask.id.offset, epoch: ask.id.epoch },
        position: i64::try_from(ask.position).unwrap_or(i64::MAX),
        ..Default::default()
    };
    FetchSnapshotRequest {
        cluster_id: Some(cluster.to_owned()),
        replica_id: BrokerId(ask.replica),
        max_bytes: FETCH_BYTES,
        topics: vec![RequestTopicSnapshot { name: topic(), partitions: vec![partition] }],
    }
}

/// The question in a request; `None` if it is not about the metadata log.
pub(crate) fn snapshot_ask(request: &FetchSnapshotRequest) -> Option<SnapshotAsk> {
    let topic = request.topics.first().filter(|topic| topic.name.as_str() == METADATA_TOPIC)?;
    let partition = topic.partitions.first().filter(|partition| partition.partition == 0)?;
    Some(SnapshotAsk {
        replica: request.replica_id.0,
        epoch: partition.current_leader_epoch,
        id: LogEnd { epoch: partition.snapshot_id.epoch, offset: partition.snapshot_id.end_offset },
        position: u64::try_from(partition.position).unwrap_or(u64::MAX),
    })
}

/// What a leader answered, with the bytes; `None` if it refused altogether.
pub(crate) fn snapshot_answer(mut response: FetchSnapshotResponse) -> Option<(SnapshotAnswer, Bytes)> {
    let partition = response.topics.first_mut()?.partitions.pop()?;
    let bytes = partition.unaligned_records.into_bytes();
    let place = SnapshotPlace {
        id: LogEnd { epoch: partition.snapshot_id.epoch, offset: partition.snapshot_id.end_offset },
        size: u64::try_from(partition.size).unwrap_or(0),
        position: u64::try_from(partition.position).unwrap_or(u64::MAX),
        bytes: bytes.len() as u64,
    };
    let piece = Some(place).filter(|_| partition.error_code == ErrorCode::NONE);
    let leadership = leadership(partition.current_leader.leader_id, partition.current_leader.leader_epoch);
    Some((SnapshotAnswer { leadership, piece }, bytes))
}

pub(crate) fn id(leader: Option<i32>) -> BrokerId {
    BrokerId(leader.unwrap_or(-1))
}

fn leadership(leader: BrokerId, epoch: LeaderEpoch) -> Leadership {
    Leadership { epoch, leader: Some(leader.0).filter(|id| *id >= 0) }
}
