//! DescribeLogDirs (key 35), versions 1 to 5: what lies in which log directory.
//!
//! v3 top-level error · v4 size of the volume (KIP-827) · v5 cordoned directories. The size of the volumes is measured by
//! jobs. A replica that moves is told twice, in the directory that it moves to with `is_future_key`. A directory that is offline is told with KAFKA_STORAGE_ERROR, and nothing of what lies in it. Source:
//! ReplicaManager.describeLogDirs.

use std::collections::BTreeMap;

use strandline_log::disk::LogDir;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

use super::Answer;
use crate::broker::{Broker, JobOwner};
use crate::io::{Effect, Job, RequestContext};
use crate::parked::{Place, Until};
use crate::replica::Replica;

/// Partitions that were asked for; all of them without.
type Asked = Option<BTreeMap<TopicName, Vec<i32>>>;

pub(crate) fn describe_log_dirs(
    broker: &mut Broker,
    context: &RequestContext,
    request: DescribeLogDirsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let asked: Asked = request.topics.map(|topics| topics.into_iter().map(|topic| (topic.topic, topic.partitions)).collect());
    let mut results = Vec::new();
    let mut measured = Vec::new();
    for (log_dir, directory) in broker.log_dirs.iter().filter(|(_, directory)| directory.takes_partitions) {
        let mut result = DescribeLogDirsResult { log_dir: directory.path.clone(), ..DescribeLogDirsResult::default() };
        if directory.is_online() {
            result.topics = topics(broker, log_dir, &asked);
            measured.push((results.len(), log_dir));
        } else {
            result.error_code = ErrorCode::KAFKA_STORAGE_ERROR;
        }
        results.push(result);
    }
    let response = DescribeLogDirsResponse { results, ..DescribeLogDirsResponse::default() };
    if measured.is_empty() {
        return Answer::now(response);
    }
    let place = Place { connection: context.connection, sequence: context.sequence };
    let until = Until::Jobs { outstanding: measured.len(), response: Box::new(response.into()) };
    let parked = broker.waiting.park(place, None, until);
    for (result, log_dir) in measured {
        let owner = JobOwner::Reply { parked, topic: result, partition: 0 };
        broker.start_job(owner, Job::MeasureDirectory { log_dir }, outbox);
    }
    Answer::Parked
}

fn topics(broker: &Broker, log_dir: LogDir, asked: &Asked) -> Vec<DescribeLogDirsTopic> {
    let mut topics: BTreeMap<TopicName, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for (slot, replica) in broker.replicas.iter().filter(|(_, replica)| !replica.deleted && replica.log_dir() == log_dir) {
        let wanted = asked
            .as_ref()
            .is_none_or(|asked| asked.get(&replica.name).is_some_and(|partitions| partitions.contains(&replica.partition)));
        if wanted {
            let described = DescribeLogDirsPartition {
                partition_index: replica.partition,
                partition_size: i64::try_from(replica.log.bytes()).unwrap_or(i64::MAX),
                offset_lag: lag(broker, slot, replica),
                is_future_key: replica.is_copy,
            };
            topics.entry(replica.name.clone()).or_default().push(described);
        }
    }
    topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name, partitions }).collect()
}

/// How many records a replica lacks of what it should have; of a copy those that the replica has which it is made from, -1 if that is
/// not served.
fn lag(broker: &Broker, slot: u32, replica: &Replica) -> i64 {
    let end = replica.log.positions().log_end;
    if !replica.is_copy {
        return (replica.high_watermark().0 - end.0).max(0);
    }
    let original = broker.moves.original_of(slot).and_then(|original| broker.replicas.get(original));
    original.map_or(-1, |original| original.log.positions().log_end.0 - end.0)
}

/// Puts the measured size of one directory into the parked reply.
pub(crate) fn measured(response: &mut Response, result: usize, total_bytes: i64, usable_bytes: i64) {
    if let Response::DescribeLogDirs(response) = response
        && let Some(result) = response.results.get_mut(result)
    {
        result.total_bytes = total_bytes;
        result.usable_bytes = usable_bytes;
    }
}
