//! DescribeLogDirs (key 35), versions 1 to 5: what lies in the log directory.
//!
//! v3 top-level error · v4 size of the volume (KIP-827) · v5 cordoned directories. The size of the volume is measured by
//! a job. Source: ReplicaManager.describeLogDirs.

use std::collections::BTreeMap;

use strandline_protocol::api::Response;
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

use super::Answer;
use crate::broker::{Broker, JobOwner};
use crate::io::{Effect, Job, RequestContext};
use crate::parked::{Place, Until};

pub(crate) fn describe_log_dirs(
    broker: &mut Broker,
    context: &RequestContext,
    request: DescribeLogDirsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let asked = request
        .topics
        .map(|topics| topics.into_iter().map(|topic| (topic.topic, topic.partitions)).collect::<BTreeMap<_, _>>());
    let mut topics: BTreeMap<TopicName, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for (_, replica) in broker.replicas.iter().filter(|(_, replica)| !replica.deleted) {
        let wanted = asked
            .as_ref()
            .is_none_or(|asked| asked.get(&replica.name).is_some_and(|partitions| partitions.contains(&replica.partition)));
        if wanted {
            let partition_size = i64::try_from(replica.log.bytes()).unwrap_or(i64::MAX);
            let described = DescribeLogDirsPartition {
                partition_index: replica.partition,
                partition_size,
                offset_lag: 0,
                is_future_key: false,
            };
            topics.entry(replica.name.clone()).or_default().push(described);
        }
    }
    let topics = topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name, partitions }).collect();
    let result = DescribeLogDirsResult { log_dir: broker.settings.data.clone(), topics, ..DescribeLogDirsResult::default() };
    let response = DescribeLogDirsResponse { results: vec![result], ..DescribeLogDirsResponse::default() };
    let place = Place { connection: context.connection, sequence: context.sequence };
    let parked = broker.waiting.park(place, None, Until::Jobs { outstanding: 1, response: Box::new(response.into()) });
    broker.start_job(JobOwner::Reply { parked, topic: 0, partition: 0 }, Job::MeasureDirectory, outbox);
    Answer::Parked
}

/// Puts the measured sizes into the parked reply.
pub(crate) fn measured(response: &mut Response, total_bytes: i64, usable_bytes: i64) {
    if let Response::DescribeLogDirs(response) = response {
        for result in &mut response.results {
            result.total_bytes = total_bytes;
            result.usable_bytes = usable_bytes;
        }
    }
}
