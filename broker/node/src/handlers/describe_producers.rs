//! DescribeProducers (key 61), version 0: which producers the replicas here know, leaders or not, and where their
//! transactions began (KIP-664).

use strandline_log::producers::Producer;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, ProducerId, TopicName};
use strandline_protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use super::Answer;
use crate::broker::Broker;

pub(crate) fn describe_producers(broker: &Broker, request: DescribeProducersRequest) -> Answer {
    let topics = request.topics.into_iter().map(|topic| TopicResponse {
        partitions: topic.partition_indexes.iter().map(|partition| describe(broker, &topic.name, *partition)).collect(),
        name: topic.name,
    });
    Answer::now(DescribeProducersResponse { topics: topics.collect(), ..DescribeProducersResponse::default() })
}

fn describe(broker: &Broker, topic: &TopicName, partition_index: i32) -> PartitionResponse {
    match active(broker, topic, partition_index) {
        Ok(active_producers) => PartitionResponse { partition_index, active_producers, ..PartitionResponse::default() },
        Err(error_code) => {
            let error_message = Some(error_code.meaning().to_owned());
            PartitionResponse { partition_index, error_code, error_message, ..PartitionResponse::default() }
        }
    }
}

fn active(broker: &Broker, topic: &TopicName, partition: i32) -> Result<Vec<ProducerState>, ErrorCode> {
    let replica = broker.replica_by_name(topic, partition)?;
    let known = replica.log.producers().into_iter().flat_map(|producers| producers.iter());
    Ok(known.map(|(id, producer)| state(id, producer)).collect())
}

fn state(producer_id: ProducerId, producer: &Producer) -> ProducerState {
    ProducerState {
        producer_id,
        producer_epoch: i32::from(producer.epoch().0),
        last_sequence: producer.last_sequence(),
        last_timestamp: producer.timestamp_ms(),
        coordinator_epoch: producer.coordinator_epoch(),
        current_txn_start_offset: producer.transaction_first().unwrap_or(Offset::NONE),
    }
}
