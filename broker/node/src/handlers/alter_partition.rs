//! AlterPartition (key 56), versions 2 to 3: a leader proposes in-sync sets (KIP-497).
//!
//! v2 topics by id (KIP-841) · v3 members with their broker epochs (KIP-903). Each partition is told on its own; what is
//! told is committed.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::BrokerId;
use strandline_protocol::messages::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, RequestPartitionData, ResponsePartitionData, ResponseTopicData,
};

use super::Answer;
use crate::broker::Broker;
use crate::controller::alter_partition::{Outcome, Proposal, alter};
use crate::controller::fencing::Cluster;
use crate::controller::membership::registered;
use crate::image::topics::Partition;
use crate::io::{Now, RequestContext};

pub(crate) fn alter_partition(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: AlterPartitionRequest,
) -> Answer {
    let leader = request.broker_id.0;
    if let Err(error_code) = registered(broker, leader, request.broker_epoch) {
        return Answer::now(AlterPartitionResponse { error_code, ..Default::default() });
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let image = &broker.controller.image;
            let cluster = Cluster { image, start: &broker.config };
            let index = asked.partition_index;
            let proposal = proposal(leader, asked);
            let outcome = match image.topics.by_id(topic.topic_id) {
                Some(topic) => alter(cluster, topic, index, &proposal),
                None => Err(ErrorCode::UNKNOWN_TOPIC_ID),
            };
            let (record, told) = match outcome {
                Ok(Outcome::Holds { record, partition }) => (record, described(index, &partition)),
                Ok(Outcome::NewLeader { record }) => (Some(record), refused(index, ErrorCode::NEW_LEADER_ELECTED)),
                Err(error_code) => (None, refused(index, error_code)),
            };
            broker.controller.emit(now, record.into_iter().collect());
            partitions.push(told);
        }
        topics.push(ResponseTopicData { topic_id: topic.topic_id, partitions });
    }
    let before = broker.controller.end();
    broker.reply_when_committed(context, before, AlterPartitionResponse { topics, ..Default::default() }.into())
}

fn proposal(leader: i32, asked: RequestPartitionData) -> Proposal {
    // Version 2 names members without epochs.
    let unnamed = asked.new_isr.into_iter().map(|member| (member.0, -1));
    let named: Vec<(i32, i64)> =
        asked.new_isr_with_epochs.into_iter().map(|member| (member.broker_id.0, member.broker_epoch)).collect();
    let isr = if named.is_empty() { unnamed.collect() } else { named };
    Proposal {
        leader,
        leader_epoch: asked.leader_epoch,
        partition_epoch: asked.partition_epoch,
        isr,
        recovery: asked.leader_recovery_state,
    }
}

fn described(partition_index: i32, partition: &Partition) -> ResponsePartitionData {
    ResponsePartitionData {
        partition_index,
        error_code: ErrorCode::NONE,
        leader_id: BrokerId(partition.leader),
        leader_epoch: partition.leader_epoch,
        isr: partition.isr.iter().copied().map(BrokerId).collect(),
        leader_recovery_state: partition.leader_recovery_state,
        partition_epoch: partition.partition_epoch,
    }
}

fn refused(partition_index: i32, error_code: ErrorCode) -> ResponsePartitionData {
    ResponsePartitionData { partition_index, error_code, ..Default::default() }
}
