//! The quorum of controllers: who leads the metadata log, and how far the others have come. Source: KIP-595, KIP-836.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicName, Uuid};
use strandline_protocol::messages::add_raft_voter::{AddRaftVoterRequest, Listener};
use strandline_protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, ReplicaState, RequestPartitionData, RequestTopicData,
};
use strandline_protocol::messages::remove_raft_voter::RemoveRaftVoterRequest;
use strandline_protocol::messages::unregister_broker::UnregisterBrokerRequest;

use super::{Admin, AdminError, judged};

const METADATA_TOPIC: &str = "__cluster_metadata";

/// The quorum as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumDescription {
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    /// The metadata log is committed up to here.
    pub high_watermark: Offset,
    /// Those whose votes count, the leader among them.
    pub voters: Vec<QuorumReplica>,
    /// Brokers and others that follow the metadata log.
    pub observers: Vec<QuorumReplica>,
}

/// A follower of the metadata log, or its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumReplica {
    pub id: BrokerId,
    /// Of the directory that holds its metadata log; `None` if it is not told, as of voters that stand in the configuration.
    pub directory: Option<Uuid>,
    pub log_end: Offset,
    /// Milliseconds since the Unix epoch by the leader's clock; `None` if it never fetched, or the server is too old to say.
    pub last_fetch_ms: Option<i64>,
    /// When it last had all there was; as `last_fetch_ms`.
    pub last_caught_up_ms: Option<i64>,
}

impl QuorumReplica {
    fn from_wire(state: &ReplicaState) -> Self {
        let known = |timestamp: i64| Some(timestamp).filter(|timestamp| *timestamp >= 0);
        Self {
            id: state.replica_id,
            directory: Some(state.replica_directory_id).filter(|directory| *directory != Uuid::ZERO),
            log_end: state.log_end_offset,
            last_fetch_ms: known(state.last_fetch_timestamp),
            last_caught_up_ms: known(state.last_caught_up_timestamp),
        }
    }
}

/// A controller that is to vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVoter {
    pub id: BrokerId,
    /// Of the directory that holds its metadata log.
    pub directory: Uuid,
    pub endpoints: Vec<VoterEndpoint>,
}

/// Where a controller is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterEndpoint {
    /// The listener's name.
    pub listener: String,
    pub host: String,
    pub port: u16,
}

impl Admin {
    /// Lets a controller vote that follows the metadata log already. Answered when that is committed.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked, or the leader of the quorum refuses.
    pub async fn add_voter(&self, voter: NewVoter) -> Result<(), AdminError> {
        let listener = |end: VoterEndpoint| Listener { name: end.listener, host: end.host, port: end.port };
        let request = AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: self.timeout_ms(),
            voter_id: voter.id,
            voter_directory_id: voter.directory,
            listeners: voter.endpoints.into_iter().map(listener).collect(),
            ack_when_committed: true,
        };
        let response = self.call_controller(request, |response| is_elsewhere(response.error_code)).await?;
        judged((), response.error_code, response.error_message)
    }

    /// Lets a controller vote no more. Answered when that is committed.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked, or the leader of the quorum refuses.
    pub async fn remove_voter(&self, id: BrokerId, directory: Uuid) -> Result<(), AdminError> {
        let request = RemoveRaftVoterRequest { cluster_id: None, voter_id: id, voter_directory_id: directory };
        let response = self.call_controller(request, |response| is_elsewhere(response.error_code)).await?;
        judged((), response.error_code, response.error_message)
    }

    /// Describes the quorum.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked, or none knows the leader.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, AdminError> {
        let partition = RequestPartitionData { partition_index: 0 };
        let topic = RequestTopicData { topic_name: TopicName::from(METADATA_TOPIC), partitions: vec![partition] };
        let response = self.client.shared.metadata.call_any(DescribeQuorumRequest { topics: vec![topic] }).await?;
        described(response)
    }

    /// Takes a broker out of the cluster for good. It must be stopped first, and have no replicas that are needed.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked, or the controller refuses.
    pub async fn unregister_broker(&self, broker: BrokerId) -> Result<(), AdminError> {
        let request = UnregisterBrokerRequest { broker_id: broker };
        let response = self.call_controller(request, |response| response.error_code == ErrorCode::NOT_CONTROLLER).await?;
        judged((), response.error_code, response.error_message)
    }
}

fn is_elsewhere(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NOT_CONTROLLER | ErrorCode::NOT_LEADER_OR_FOLLOWER)
}

fn described(response: DescribeQuorumResponse) -> Result<QuorumDescription, AdminError> {
    judged((), response.error_code, response.error_message)?;
    let partition = response.topics.into_iter().flat_map(|topic| topic.partitions).next().ok_or(AdminError::Unanswered)?;
    judged((), partition.error_code, partition.error_message)?;
    Ok(QuorumDescription {
        leader: Some(partition.leader_id).filter(|id| *id != BrokerId::NONE),
        leader_epoch: partition.leader_epoch,
        high_watermark: partition.high_watermark,
        voters: partition.current_voters.iter().map(QuorumReplica::from_wire).collect(),
        observers: partition.observers.iter().map(QuorumReplica::from_wire).collect(),
    })
}

#[cfg(test)]
mod tests {
    use strandline_protocol::messages::describe_quorum::{ResponsePartitionData, ResponseTopicData};

    use super::*;

    #[test]
    fn a_quorum_without_a_leader_is_told_apart_from_one_that_refuses() {
        let answered = |error_code| {
            let partition = ResponsePartitionData { error_code, leader_id: BrokerId::NONE, ..ResponsePartitionData::default() };
            let topic = ResponseTopicData { partitions: vec![partition], ..ResponseTopicData::default() };
            DescribeQuorumResponse { topics: vec![topic], ..DescribeQuorumResponse::default() }
        };
        assert_eq!(described(answered(ErrorCode::NONE)).expect("an answer").leader, None);
        let refused = described(answered(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        assert!(matches!(refused, Err(AdminError::Refused { code: ErrorCode::NOT_LEADER_OR_FOLLOWER, .. })));
        let empty = described(DescribeQuorumResponse::default());
        assert!(matches!(empty, Err(AdminError::Unanswered)));
    }
}
