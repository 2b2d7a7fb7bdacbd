//! The quorum's messages as Kafka writes them. Pure translation: nothing is decided here.
//!
//! Voters of the configuration have no directories: where one is asked as such, the directory is zero.

use bytes::Bytes;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicId, TopicName};
use strandline_protocol::messages::add_raft_voter::{self, AddRaftVoterRequest};
use strandline_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use strandline_protocol::messages::begin_quorum_epoch::{self, BeginQuorumEpochRequest, BeginQuorumEpochResponse};
use strandline_protocol::messages::end_quorum_epoch::{self, EndQuorumEpochRequest, EndQuorumEpochResponse};
use strandline_protocol::messages::fetch::{
    EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData, ReplicaState,
};
use strandline_protocol::messages::fetch_snapshot::{
    FetchSnapshotRequest, FetchSnapshotResponse, RequestPartitionSnapshot, RequestSnapshotId, RequestTopicSnapshot,
};
use strandline_protocol::messages::remove_raft_voter::RemoveRaftVoterRequest;
use strandline_protocol::messages::update_raft_voter::{self, UpdateRaftVoterRequest};
use strandline_protocol::messages::vote::{self, VoteRequest, VoteResponse};

use super::FetchAnswer;
use super::message::{
    Ballot, FetchAsk, FetchVerdict, Leadership, LogEnd, SnapshotAnswer, SnapshotAsk, SnapshotPlace, VoteAnswer, VoteAsk,
};
use super::voters::{ReplicaKey, Voter, VoterEndpoint};
use crate::controller::METADATA_TOPIC;
use crate::features::KRAFT_VERSION_NAME;
use crate::io::PeerAddress;

/// How long a leader keeps a fetch waiting. Source: KafkaRaftClient.MAX_FETCH_WAIT_MS.
pub(crate) const FETCH_WAIT_MS: i32 = 500;

fn topic() -> TopicName {
    TopicName::from(METADATA_TOPIC)
}

pub(crate) fn vote_request(cluster: &str, to: ReplicaKey, ask: VoteAsk) -> VoteRequest {
    let partition = vote::RequestPartitionData {
        replica_epoch: ask.epoch,
        replica_id: BrokerId(ask.candidate.id),
        replica_directory_id: ask.candidate.directory,
        voter_directory_id: to.directory,
        last_offset_epoch: ask.log_end.epoch,
        last_offset: ask.log_end.offset,
        pre_vote: ask.ballot == Ballot::Pre,
        ..Default::default()
    };
    VoteRequest {
        cluster_id: Some(cluster.to_owned()),
        voter_id: BrokerId(to.id),
        topics: vec![vote::RequestTopicData { topic_name: topic(), partitions: vec![partition] }],
    }
}

/// The question in a request, and who is asked; `None` if it is not about the metadata log.
pub(crate) fn vote_ask(request: &VoteRequest) -> Option<(VoteAsk, ReplicaKey)> {
    let topic = request.topics.first().filter(|topic| topic.topic_name.as_str() == METADATA_TOPIC)?;
    let partition = topic.partitions.first().filter(|partition| partition.partition_index == 0)?;
    let ask = VoteAsk {
        ballot: if partition.pre_vote { Ballot::Pre } else { Ballot::Real },
        epoch: partition.replica_epoch,
        candidate: ReplicaKey { id: partition.replica_id.0, directory: partition.replica_directory_id },
        log_end: LogEnd { epoch: partition.last_offset_epoch, offset: partition.last_offset },
    };
    Some((ask, ReplicaKey { id: request.voter_id.0, directory: partition.voter_directory_id }))
}

pub(crate) fn vote_response(error_code: ErrorCode, answer: VoteAnswer, leader: Option<&PeerAddress>) -> VoteResponse {
    let partition = vote::ResponsePartitionData {
        partition_index: 0,
        error_code,
        leader_id: id(answer.leadership.leader),
        leader_epoch: answer.leadership.epoch,
        vote_granted: answer.granted,
    };
    let topics = vec![vote::ResponseTopicData { topic_name: topic(), partitions: vec![partition] }];
    let endpoint =
        |to: &PeerAddress| vote::NodeEndpoint { node_id: BrokerId(to.node), host: to.host.to_string(), port: to.port };
    VoteResponse { error_code: ErrorCode::NONE, topics, node_endpoints: leader.map(endpoint).into_iter().collect() }
}

/// What a voter said; `None` if it refused to answer. Who is not the voter that was meant grants nothing.
pub(crate) fn vote_answer(response: &VoteResponse, ballot: Ballot) -> Option<VoteAnswer> {
    let partition = response.topics.first()?.partitions.first()?;
    let leadership = leadership(partition.leader_id, partition.leader_epoch);
    Some(VoteAnswer { ballot, leadership, granted: partition.vote_granted })
}

pub(crate) fn begin_request(
    cluster: &str,
    to: ReplicaKey,
    leadership: Leadership,
    endpoints: &[VoterEndpoint],
) -> BeginQuorumEpochRequest {
    let partition = begin_quorum_epoch::RequestPartitionData {
        voter_directory_id: to.directory,
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
        voter_id: BrokerId(to.id),
        topics: vec![begin_quorum_epoch::RequestTopicData { topic_name: topic(), partitions: vec![partition] }],
        leader_endpoints: leader_endpoints.collect(),
    }
}

/// Who leads, and who is told so.
pub(crate) fn begin_ask(request: &BeginQuorumEpochRequest) -> Option<(Leadership, ReplicaKey)> {
    let topic = request.topics.first().filter(|topic| topic.topic_name.as_str() == METADATA_TOPIC)?;
    let partition = topic.partitions.first()?;
    let to = ReplicaKey { id: request.voter_id.0, directory: partition.voter_directory_id };
    Some((leadership(partition.leader_id, partition.leader_epoch), to))
}

pub(crate) fn begin_response(error_code: ErrorCode, told: Leadership) -> BeginQuorumEpochResponse {
    let partition = begin_quorum_epoch::ResponsePartitionData {
        partition_index: 0,
        error_code,
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
    successors: &[ReplicaKey],
    endpoints: &[VoterEndpoint],
) -> EndQuorumEpochRequest {
    let candidate = |key: &ReplicaKey| end_quorum_epoch::ReplicaInfo {
        candidate_id: BrokerId(key.id),
        candidate_directory_id: key.directory,
    };
    let partition = end_quorum_epoch::RequestPartitionData {
        leader_id: id(told.leader),
        leader_epoch: told.epoch,
        preferred_successors: successors.iter().map(|key| key.id).collect(),
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
pub(crate) fn end_ask(request: &EndQuorumEpochRequest) -> Option<(Leadership, Vec<ReplicaKey>)> {
    let topic = request.topics.first().filter(|topic| topic.topic_name.as_str() == METADATA_TOPIC)?;
    let partition = topic.partitions.first()?;
    let named =
        |info: &end_quorum_epoch::ReplicaInfo| ReplicaKey { id: info.candidate_id.0, directory: info.candidate_directory_id };
    let mut successors: Vec<ReplicaKey> = partition.preferred_candidates.iter().map(named).collect();
    if successors.is_empty() {
        successors = partition.preferred_successors.iter().copied().map(ReplicaKey::without_directory).collect();
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
pub(crate) fn fetch_request(cluster: &str, ask: FetchAsk, committed: Offset, max_bytes: i32) -> FetchRequest {
    let partition = FetchPartition {
        partition: 0,
        current_leader_epoch: ask.epoch,
        fetch_offset: ask.from.offset,
        last_fetched_epoch: ask.from.epoch,
        partition_max_bytes: max_bytes,
        replica_directory_id: ask.replica.directory,
        high_watermark: committed,
        ..Default::default()
    };
    FetchRequest {
        cluster_id: Some(cluster.to_owned()),
        replica_id: BrokerId(ask.replica.id),
        replica_state: ReplicaState { replica_id: BrokerId(ask.replica.id), ..Default::default() },
        max_wait_ms: FETCH_WAIT_MS,
        min_bytes: 0,
        max_bytes,
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

pub(crate) fn snapshot_request(cluster: &str, ask: SnapshotAsk, max_bytes: i32) -> FetchSnapshotRequest {
    let partition = RequestPartitionSnapshot {
        partition: 0,
        current_leader_epoch: ask.epoch,
        snapshot_id: RequestSnapshotId { end_offset: ask.id.offset, epoch: ask.id.epoch },
        position: i64::try_from(ask.position).unwrap_or(i64::MAX),
        replica_directory_id: ask.replica.directory,
    };
    FetchSnapshotRequest {
        cluster_id: Some(cluster.to_owned()),
        replica_id: BrokerId(ask.replica.id),
        max_bytes,
        topics: vec![RequestTopicSnapshot { name: topic(), partitions: vec![partition] }],
    }
}

/// The question in a request; `None` if it is not about the metadata log.
pub(crate) fn snapshot_ask(request: &FetchSnapshotRequest) -> Option<SnapshotAsk> {
    let topic = request.topics.first().filter(|topic| topic.name.as_str() == METADATA_TOPIC)?;
    let partition = topic.partitions.first().filter(|partition| partition.partition == 0)?;
    Some(SnapshotAsk {
        replica: ReplicaKey { id: request.replica_id.0, directory: partition.replica_directory_id },
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

/// Where the leader of an answer listens, if the answer says so.
pub(crate) fn told_leader(response: &Response) -> Option<(i32, String, u16)> {
    let (leader, found) = match response {
        Response::Fetch(response) => {
            let leader = response.responses.first()?.partitions.first()?.current_leader.leader_id;
            let found = response.node_endpoints.iter().find(|end| end.node_id == leader)?;
            (leader, (found.host.clone(), u16::try_from(found.port).ok()?))
        }
        Response::FetchSnapshot(response) => {
            let leader = response.topics.first()?.partitions.first()?.current_leader.leader_id;
            let found = response.node_endpoints.iter().find(|end| end.node_id == leader)?;
            (leader, (found.host.clone(), found.port))
        }
        Response::Vote(response) => {
            let leader = response.topics.first()?.partitions.first()?.leader_id;
            let found = response.node_endpoints.iter().find(|end| end.node_id == leader)?;
            (leader, (found.host.clone(), found.port))
        }
        _ => return None,
    };
    Some((leader.0, found.0, found.1))
}

pub(crate) fn add_voter_request(cluster: &str, voter: &Voter, timeout_ms: u32) -> AddRaftVoterRequest {
    let listener =
        |end: &VoterEndpoint| add_raft_voter::Listener { name: end.listener.clone(), host: end.host.clone(), port: end.port };
    AddRaftVoterRequest {
        cluster_id: Some(cluster.to_owned()),
        timeout_ms: i32::try_from(timeout_ms).unwrap_or(i32::MAX),
        voter_id: BrokerId(voter.key.id),
        voter_directory_id: voter.key.directory,
        listeners: voter.endpoints.iter().map(listener).collect(),
        // The answer must not wait for what this very node has to fetch behind it.
        ack_when_committed: false,
    }
}

pub(crate) fn remove_voter_request(cluster: &str, key: ReplicaKey) -> RemoveRaftVoterRequest {
    RemoveRaftVoterRequest {
        cluster_id: Some(cluster.to_owned()),
        voter_id: BrokerId(key.id),
        voter_directory_id: key.directory,
    }
}

pub(crate) fn update_voter_request(cluster: &str, epoch: LeaderEpoch, voter: &Voter) -> UpdateRaftVoterRequest {
    let listener = |end: &VoterEndpoint| update_raft_voter::Listener {
        name: end.listener.clone(),
        host: end.host.clone(),
        port: end.port,
    };
    UpdateRaftVoterRequest {
        cluster_id: Some(cluster.to_owned()),
        current_leader_epoch: epoch,
        voter_id: BrokerId(voter.key.id),
        voter_directory_id: voter.key.directory,
        listeners: voter.endpoints.iter().map(listener).collect(),
        k_raft_version_feature: update_raft_voter::KRaftVersionFeature {
            min_supported_version: voter.versions.0,
            max_supported_version: voter.versions.1,
        },
    }
}

/// The voter that a request wants to be added; what it works at is not known yet.
pub(crate) fn added_voter(request: &AddRaftVoterRequest) -> Voter {
    let endpoint =
        |end: &add_raft_voter::Listener| VoterEndpoint { listener: end.name.clone(), host: end.host.clone(), port: end.port };
    Voter {
        key: ReplicaKey { id: request.voter_id.0, directory: request.voter_directory_id },
        endpoints: request.listeners.iter().map(endpoint).collect(),
        versions: (0, 0),
    }
}

/// The voter that describes itself.
pub(crate) fn updated_voter(request: &UpdateRaftVoterRequest) -> Voter {
    let endpoint = |end: &update_raft_voter::Listener| VoterEndpoint {
        listener: end.name.clone(),
        host: end.host.clone(),
        port: end.port,
    };
    let versions = &request.k_raft_version_feature;
    Voter {
        key: ReplicaKey { id: request.voter_id.0, directory: request.voter_directory_id },
        endpoints: request.listeners.iter().map(endpoint).collect(),
        versions: (versions.min_supported_version, versions.max_supported_version),
    }
}

/// The levels of `kraft.version` that a node says it works at.
pub(crate) fn versions(response: &ApiVersionsResponse) -> (i16, i16) {
    let named = response.supported_features.iter().find(|feature| feature.name == KRAFT_VERSION_NAME);
    named.map_or((0, 0), |feature| (feature.min_version, feature.max_version))
}

/// Asks for them.
pub(crate) fn versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "strandline".to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
