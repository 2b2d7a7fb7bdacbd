//! DescribeQuorum (key 55), versions 0 to 2: the state of the metadata quorum (KIP-595, KIP-836, KIP-853).
//!
//! A quorum of one: this node is the only voter and has always caught up. Source: KafkaRaftClient.handleDescribeQuorumRequest.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::BrokerId;
use strandline_protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, ReplicaState, ResponsePartitionData, ResponseTopicData,
};

use super::Answer;
use crate::broker::Broker;
use crate::image::brokers::Endpoint;
use crate::io::{Now, RequestContext};

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
    let nodes = if context.api_version >= DIRECTORIES_FROM { vec![node(broker)] } else { Vec::new() };
    Answer::now(DescribeQuorumResponse { topics, nodes, error_message: None, ..DescribeQuorumResponse::default() })
}

fn state(broker: &Broker, now: Now, context: &RequestContext) -> ResponsePartitionData {
    let id = BrokerId(broker.identity.node_id);
    let mut voter = ReplicaState {
        replica_id: id,
        log_end_offset: broker.controller.end(),
        last_fetch_timestamp: now.wall_ms,
        last_caught_up_timestamp: now.wall_ms,
        ..ReplicaState::default()
    };
    if context.api_version >= DIRECTORIES_FROM {
        voter.replica_directory_id = broker.identity.directory;
    }
    ResponsePartitionData {
        partition_index: 0,
        error_message: None,
        leader_id: id,
        leader_epoch: broker.controller.epoch(),
        high_watermark: broker.controller.committed(),
        current_voters: vec![voter],
        ..ResponsePartitionData::default()
    }
}

fn unknown(partition_index: i32) -> ResponsePartitionData {
    ResponsePartitionData {
        partition_index,
        error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        error_message: None,
        ..ResponsePartitionData::default()
    }
}

/// A controller without a listener of its own is reached where clients are.
fn node(broker: &Broker) -> Node {
    let topology = &broker.topology;
    let own: Vec<&Endpoint> = topology.controller_endpoints().collect();
    let told = if own.is_empty() { topology.client_endpoints().collect() } else { own };
    let listener = |end: &Endpoint| Listener { name: end.listener.clone(), host: end.host.clone(), port: end.port };
    Node { node_id: BrokerId(broker.identity.node_id), listeners: told.into_iter().map(listener).collect() }
}
