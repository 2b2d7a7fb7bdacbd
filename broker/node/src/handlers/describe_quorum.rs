//! DescribeQuorum (key 55), versions 0 to 2: the state of the metadata quorum (KIP-595, KIP-836, KIP-853).
//!
//! Only the leader knows how far the others are; another node answers NOT_LEADER_OR_FOLLOWER and names it. Source: KafkaRaftClient.handleDescribeQuorumRequest.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Offset, Uuid};
use strandline_protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, ReplicaState, ResponsePartitionData, ResponseTopicData,
};

use super::Answer;
use crate::broker::Broker;
use crate::image::brokers::Endpoint;
use crate::io::{Now, RequestContext};
use crate::quorum::leader::Progress;
use crate::quorum::voters::{ReplicaKey, Voter, VoterEndpoint};

const METADATA_TOPIC: &str = "__cluster_metadata";
/// From this version on directories and nodes are told.
const DIRECTORIES_FROM: i16 = 2;

pub(crate) fn describe_quorum(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: DescribeQuorumRequest,
) -> Answer {
    let topics = request.topics.into_iter().map(|topic| {
        let is_metadata = topic.topic_name.as_str() == METADATA_TOPIC;
        let partitions = topic.partitions.iter().map(|partition| {
            let known = is_metadata && partition.partition_index == 0;
            if known { state(broker, now, context) } else { unknown(partition.partition_index) }
        });
        ResponseTopicData { topic_name: topic.topic_name.clone(), partitions: partitions.collect() }
    });
    let topics = topics.collect();
    let nodes = if context.api_version >= DIRECTORIES_FROM { nodes(broker) } else { Vec::new() };
    Answer::now(DescribeQuorumResponse { topics, nodes, error_message: None, ..DescribeQuorumResponse::default() })
}

fn state(broker: &Broker, now: Now, context: &RequestContext) -> ResponsePartitionData {
    let controller = &broker.controller;
    let Some(leader) = controller.quorum.leading() else {
        let leadership = controller.quorum.leadership();
        return ResponsePartitionData {
            partition_index: 0,
            error_code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
            error_message: None,
            leader_id: leadership.leader.unwrap_or(-1).into(),
            leader_epoch: leadership.epoch,
            ..ResponsePartitionData::default()
        };
    };
    let me = controller.quorum.me();
    let replica = |(key, progress): (ReplicaKey, &Progress)| {
        // The leader itself has always caught up.
        let is_me = key.names(me);
        let at = |ms: Option<u64>| if is_me { now.wall_ms } else { ms.map_or(-1, |ms| wall_ms(now, ms)) };
        let directory = if is_me { me.directory } else { key.directory };
        ReplicaState {
            replica_id: BrokerId(key.id),
            replica_directory_id: if context.api_version >= DIRECTORIES_FROM { directory } else { Uuid::ZERO },
            log_end_offset: if is_me { controller.end() } else { progress.end.unwrap_or(Offset::NONE) },
            last_fetch_timestamp: at(progress.fetched_ms),
            last_caught_up_timestamp: at(progress.caught_up_ms),
        }
    };
    ResponsePartitionData {
        partition_index: 0,
        error_message: None,
        leader_id: BrokerId(me.id),
        leader_epoch: controller.epoch(),
        high_watermark: controller.committed(),
        current_voters: leader.voters().map(replica).collect(),
        observers: leader.observers(now.monotonic_ms).map(replica).collect(),
        ..ResponsePartitionData::default()
    }
}

/// A point of the monotonic clock as users read it.
fn wall_ms(now: Now, monotonic_ms: u64) -> i64 {
    now.wall_ms - i64::try_from(now.monotonic_ms.saturating_sub(monotonic_ms)).unwrap_or(0)
}

fn unknown(partition_index: i32) -> ResponsePartitionData {
    ResponsePartitionData {
        partition_index,
        error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        error_message: None,
        ..ResponsePartitionData::default()
    }
}

/// Where the voters are. A controller without a listener of its own is reached where clients are.
fn nodes(broker: &Broker) -> Vec<Node> {
    let topology = &broker.topology;
    let node = |voter: &Voter| {
        let listener = |end: &VoterEndpoint| Listener { name: end.listener.clone(), host: end.host.clone(), port: end.port };
        Node { node_id: BrokerId(voter.key.id), listeners: voter.endpoints.iter().map(listener).collect() }
    };
    let voters: Vec<Node> = broker.controller.quorum.voters().iter().map(node).collect();
    if voters.iter().any(|voter| !voter.listeners.is_empty()) {
        return voters;
    }
    let listener = |end: &Endpoint| Listener { name: end.listener.clone(), host: end.host.clone(), port: end.port };
    let listeners = topology.client_endpoints().map(listener).collect();
    vec![Node { node_id: BrokerId(broker.identity.node_id), listeners }]
}
