//! ElectLeaders (key 43), versions 0 to 2: preferred leaders take over (KIP-183), or any live replica where no other is left
//! (KIP-460, the only way to an unclean election here).
//!
//! Null for the partitions is all of them; those that need no election are not told then.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult, TopicPartitions,
};

use super::Answer;
use crate::broker::Broker;
use crate::controller::elections::{Wanted, elect};
use crate::io::{Now, RequestContext};

pub(crate) fn elect_leaders(broker: &mut Broker, now: Now, context: &RequestContext, request: ElectLeadersRequest) -> Answer {
    let wanted = match request.election_type {
        0 => Wanted::Preferred,
        1 => Wanted::Unclean,
        _ => return Answer::now(ElectLeadersResponse { error_code: ErrorCode::INVALID_REQUEST, ..Default::default() }),
    };
    let everything = request.topic_partitions.is_none();
    let asked = request.topic_partitions.unwrap_or_else(|| all(broker));
    let mut records = Vec::new();
    let mut replica_election_results = Vec::with_capacity(asked.len());
    for topic in asked {
        let mut partition_result = Vec::with_capacity(topic.partitions.len());
        for partition_id in topic.partitions {
            let outcome = elect(&broker.controller.image, &broker.config, &topic.topic, partition_id, wanted);
            let (error_code, error_message) = match outcome {
                Ok(record) => {
                    records.push(record);
                    (ErrorCode::NONE, None)
                }
                Err(refused) if everything && refused.code == ErrorCode::ELECTION_NOT_NEEDED => continue,
                Err(refused) => (refused.code, Some(refused.message)),
            };
            partition_result.push(PartitionResult { partition_id, error_code, error_message });
        }
        if !everything || !partition_result.is_empty() {
            replica_election_results.push(ReplicaElectionResult { topic: topic.topic, partition_result });
        }
    }
    let before = broker.controller.emit_all(now, records);
    broker.reply_when_committed(context, before, ElectLeadersResponse { replica_election_results, ..Default::default() }.into())
}

fn all(broker: &Broker) -> Vec<TopicPartitions> {
    let topics = broker.controller.image.topics.iter();
    topics
        .map(|topic| TopicPartitions { topic: topic.name.clone(), partitions: topic.partitions.keys().copied().collect() })
        .collect()
}
