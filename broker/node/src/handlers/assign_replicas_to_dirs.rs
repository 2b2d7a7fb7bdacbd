//! AssignReplicasToDirs (key 73), version 0: a broker tells in which log directories its replicas lie (KIP-858).

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::assign_replicas_to_dirs::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, ResponseDirectoryData, ResponsePartitionData, ResponseTopicData,
};

use super::Answer;
use crate::broker::Broker;
use crate::controller::directories::assign;
use crate::controller::fencing::Cluster;
use crate::controller::membership::registered;
use crate::io::{Now, RequestContext};

pub(crate) fn assign_replicas_to_dirs(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: AssignReplicasToDirsRequest,
) -> Answer {
    let known = match registered(broker, request.broker_id.0, request.broker_epoch) {
        Ok(known) => known,
        Err(error_code) => return Answer::now(AssignReplicasToDirsResponse { error_code, ..Default::default() }),
    };
    let mut directories = Vec::with_capacity(request.directories.len());
    for directory in request.directories {
        let mut topics = Vec::with_capacity(directory.topics.len());
        for topic in directory.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let cluster = Cluster { image: &broker.controller.image, start: &broker.config };
                let index = partition.partition_index;
                let outcome = assign(cluster, &known, directory.id, topic.topic_id, index);
                let error_code = outcome.as_ref().err().copied().unwrap_or(ErrorCode::NONE);
                broker.controller.emit(now, outcome.ok().flatten().into_iter().collect());
                partitions.push(ResponsePartitionData { partition_index: index, error_code });
            }
            topics.push(ResponseTopicData { topic_id: topic.topic_id, partitions });
        }
        directories.push(ResponseDirectoryData { id: directory.id, topics });
    }
    let before = broker.controller.end();
    broker.reply_when_committed(context, before, AssignReplicasToDirsResponse { directories, ..Default::default() }.into())
}
