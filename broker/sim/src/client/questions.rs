//! Questions that change nothing: asked so that every handler and every version is met between faults. Their answers are
//! only decoded, and checked to be of their kind.

use strandline_protocol::api::Request;
use strandline_protocol::ids::LeaderEpoch;
use strandline_protocol::messages::api_versions::ApiVersionsRequest;
use strandline_protocol::messages::describe_cluster::DescribeClusterRequest;
use strandline_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use strandline_protocol::messages::describe_log_dirs::DescribeLogDirsRequest;
use strandline_protocol::messages::describe_quorum::{DescribeQuorumRequest, RequestPartitionData, RequestTopicData};
use strandline_protocol::messages::describe_topic_partitions::{DescribeTopicPartitionsRequest, TopicRequest};
use strandline_protocol::messages::find_coordinator::FindCoordinatorRequest;
use strandline_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use strandline_protocol::messages::metadata::MetadataRequest;
use strandline_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use crate::dice::Dice;
use crate::topics::Topic;

/// Timestamps that stand for something else, from the latest offset to the earliest that is not uploaded.
const SPECIAL_TIMESTAMPS: u64 = 6;

/// One question about a topic or about the broker.
pub(super) fn any(dice: &mut Dice, topic: &Topic) -> Request {
    match dice.below(10) {
        0 => ApiVersionsRequest { client_software_name: "sim".to_owned(), client_software_version: "1".to_owned() }.into(),
        1 => DescribeClusterRequest { endpoint_type: 1, ..DescribeClusterRequest::default() }.into(),
        2 => configs(topic).into(),
        3 => DescribeLogDirsRequest { topics: None }.into(),
        4 => quorum().into(),
        5 => {
            let topics = vec![TopicRequest { name: topic.name.clone() }];
            DescribeTopicPartitionsRequest { topics, response_partition_limit: 100, cursor: None }.into()
        }
        6 => FindCoordinatorRequest { key: "g".to_owned(), ..FindCoordinatorRequest::default() }.into(),
        7 => epoch(dice, topic).into(),
        8 => offsets(dice, topic).into(),
        _ => MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() }.into(),
    }
}

/// The first version in which the question can be asked as it is.
pub(super) fn least_version(request: &Request) -> i16 {
    match request {
        // Version 0 has no way to ask for all topics but an empty list.
        Request::Metadata(_) => 4,
        _ => 0,
    }
}

fn configs(topic: &Topic) -> DescribeConfigsRequest {
    let resource =
        DescribeConfigsResource { resource_type: 2, resource_name: topic.name.to_string(), configuration_keys: None };
    DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, include_documentation: false }
}

fn quorum() -> DescribeQuorumRequest {
    let partitions = vec![RequestPartitionData { partition_index: 0 }];
    DescribeQuorumRequest { topics: vec![RequestTopicData { topic_name: "__cluster_metadata".into(), partitions }] }
}

fn epoch(dice: &mut Dice, topic: &Topic) -> OffsetForLeaderEpochRequest {
    let leader_epoch = LeaderEpoch(i32::try_from(dice.below(6)).unwrap_or(0));
    let partition = OffsetForLeaderPartition { partition: 0, current_leader_epoch: LeaderEpoch::NONE, leader_epoch };
    let topics = vec![OffsetForLeaderTopic { topic: topic.name.clone(), partitions: vec![partition] }];
    OffsetForLeaderEpochRequest { replica_id: (-1).into(), topics }
}

fn offsets(dice: &mut Dice, topic: &Topic) -> ListOffsetsRequest {
    let special = |dice: &mut Dice| -1 - i64::try_from(dice.below(SPECIAL_TIMESTAMPS)).unwrap_or(0);
    let partitions = (0..topic.partitions).map(|partition_index| ListOffsetsPartition {
        partition_index,
        timestamp: special(dice),
        ..ListOffsetsPartition::default()
    });
    let topics = vec![ListOffsetsTopic { name: topic.name.clone(), partitions: partitions.collect() }];
    ListOffsetsRequest { replica_id: (-1).into(), topics, ..ListOffsetsRequest::default() }
}
