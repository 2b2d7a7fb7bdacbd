//! AlterReplicaLogDirs (key 34), versions 1 to 2: replicas of this broker move between its log directories (KIP-113).
//!
//! v2 flexible. The answer says that a move has begun; DescribeLogDirs says how far it is. Each partition is told on its own.
//! Source: ReplicaManager.alterReplicaLogDirs.

use std::collections::BTreeMap;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse,
};

use super::Answer;
use crate::broker::Broker;
use crate::io::{Effect, Now};
use crate::replica::moving::alter;

pub(crate) fn alter_replica_log_dirs(
    broker: &mut Broker,
    now: Now,
    request: AlterReplicaLogDirsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut told: BTreeMap<TopicName, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for dir in request.dirs {
        for topic in dir.topics {
            for partition_index in topic.partitions {
                let outcome = alter(broker, now, &dir.path, &topic.name, partition_index, outbox);
                let error_code = outcome.err().unwrap_or(ErrorCode::NONE);
                told.entry(topic.name.clone())
                    .or_default()
                    .push(AlterReplicaLogDirPartitionResult { partition_index, error_code });
            }
        }
    }
    let result = |(topic_name, partitions)| AlterReplicaLogDirTopicResult { topic_name, partitions };
    Answer::now(AlterReplicaLogDirsResponse { results: told.into_iter().map(result).collect(), throttle_time_ms: 0 })
}
