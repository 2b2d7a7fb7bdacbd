//! OffsetForLeaderEpoch (key 23), versions 2 to 4: where an epoch ended, for truncation detection (KIP-320).
//!
//! librdkafka speaks exactly version 2. Source: KafkaApis.handleOffsetForLeaderEpochRequest.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicName};
use strandline_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};

use super::Answer;
use crate::broker::Broker;
use crate::epochs::{check_leader_epoch, end_offset_for};

pub(crate) fn offset_for_leader_epoch(broker: &mut Broker, request: OffsetForLeaderEpochRequest) -> Answer {
    let topics = request.topics.into_iter().map(|topic| OffsetForLeaderTopicResult {
        partitions: topic.partitions.iter().map(|asked| end_of(broker, &topic.topic, asked)).collect(),
        topic: topic.topic,
    });
    Answer::now(OffsetForLeaderEpochResponse { topics: topics.collect(), ..OffsetForLeaderEpochResponse::default() })
}

fn end_of(broker: &Broker, topic: &TopicName, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let (error_code, (leader_epoch, end_offset)) = match looked_up(broker, topic, asked) {
        Ok(end) => (ErrorCode::NONE, end),
        Err(code) => (code, (LeaderEpoch::NONE, Offset::NONE)),
    };
    EpochEndOffset { error_code, partition: asked.partition, leader_epoch, end_offset }
}

fn looked_up(broker: &Broker, topic: &TopicName, asked: &OffsetForLeaderPartition) -> Result<(LeaderEpoch, Offset), ErrorCode> {
    let replica = broker.replica_by_name(topic, asked.partition)?;
    check_leader_epoch(replica.leader()?.epoch, asked.current_leader_epoch)?;
    Ok(end_offset_for(replica, asked.leader_epoch))
}
