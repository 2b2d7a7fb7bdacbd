//! ListOffsets (key 2), versions 1 to 11: the ends of partitions, and offsets by timestamp.
//!
//! v7 largest timestamp (KIP-734) · v8 local log start · v9 last tiered offset (KIP-1005) · v11 earliest pending upload
//! (KIP-1023). Nothing is tiered here, so the local log start is the log start and nothing is ever tiered or pending.
//! Only the leader answers, and once its high watermark is known to be no lower than earlier leaders told (OFFSET_NOT_AVAILABLE).
//! Lookups by timestamp read segments: a job does it. Source: Partition.fetchOffsetForTimestamp, ReplicaManager.fetchOffset.

use strandline_log::disk::DiskError;
use strandline_log::lookup::{Found, Target};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicName};
use strandline_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use super::Answer;
use crate::broker::{Broker, JobOwner};
use crate::epochs::check_leader_epoch;
use crate::io::{Effect, Job, RequestContext};
use crate::parked::{Place, Until};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const LARGEST_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LAST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
/// What a partition answers that has no such offset.
const NO_TIMESTAMP: i64 = -1;

/// What one partition comes to.
enum Located {
    Known {
        timestamp: i64,
        offset: Offset,
        epoch: LeaderEpoch,
    },
    /// Segments have to be read.
    Lookup(strandline_log::lookup::Lookup),
}

pub(crate) fn list_offsets(
    broker: &mut Broker,
    context: &RequestContext,
    request: ListOffsetsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut jobs = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let twice = topic.partitions.iter().filter(|other| other.partition_index == asked.partition_index).count() > 1;
            let found = if twice {
                Err(ErrorCode::INVALID_REQUEST)
            } else {
                find(broker, context, request.isolation_level, &topic.name, asked)
            };
            if let Ok(Located::Lookup(_)) = &found {
                jobs.push((topics.len(), partitions.len()));
            }
            partitions.push((asked.partition_index, found));
        }
        topics.push((topic.name.clone(), partitions));
    }
    let mut lookups = Vec::new();
    let topics = topics.into_iter().map(|(name, partitions)| ListOffsetsTopicResponse {
        name,
        partitions: partitions.into_iter().map(|(index, found)| answer(index, found, &mut lookups)).collect(),
    });
    let response = ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() };
    if jobs.is_empty() {
        return Answer::now(response);
    }
    let place = Place { connection: context.connection, sequence: context.sequence };
    let parked = broker.waiting.park(place, None, Until::Jobs { outstanding: jobs.len(), response: Box::new(response.into()) });
    for ((topic, partition), lookup) in jobs.into_iter().zip(lookups) {
        broker.start_job(JobOwner::Reply { parked, topic, partition }, Job::FindTimestamp(lookup), outbox);
    }
    Answer::Parked
}

fn find(
    broker: &Broker,
    context: &RequestContext,
    isolation_level: i8,
    topic: &TopicName,
    asked: &ListOffsetsPartition,
) -> Result<Located, ErrorCode> {
    let replica = broker.replica_by_name(topic, asked.partition_index)?;
    let leader_epoch = replica.leader()?.epoch;
    check_leader_epoch(leader_epoch, asked.current_leader_epoch)?;
    if !replica.knows_high_watermark() && !matches!(asked.timestamp, EARLIEST | EARLIEST_LOCAL) {
        return Err(match context.api_version {
            5.. => ErrorCode::OFFSET_NOT_AVAILABLE,
            _ => ErrorCode::LEADER_NOT_AVAILABLE,
        });
    }
    let end = if isolation_level == 1 { replica.last_stable_offset() } else { replica.high_watermark() };
    let known = |offset| {
        let epoch = if offset == end { leader_epoch } else { replica.log.epochs().epoch_of(offset).unwrap_or(leader_epoch) };
        Ok(Located::Known { timestamp: NO_TIMESTAMP, offset, epoch })
    };
    let none = Ok(Located::Known { timestamp: NO_TIMESTAMP, offset: Offset::NONE, epoch: LeaderEpoch::NONE });
    match (asked.timestamp, context.api_version) {
        (LATEST, _) => known(end),
        (EARLIEST, _) | (EARLIEST_LOCAL, 8..) => known(replica.log_start()),
        (LARGEST_TIMESTAMP, 7..) => Ok(Located::Lookup(replica.log.lookup(Target::Maximum, end))),
        (LAST_TIERED, 9..) | (EARLIEST_PENDING_UPLOAD, 11..) => none,
        (timestamp, _) if timestamp >= 0 => Ok(Located::Lookup(replica.log.lookup(Target::AtOrAfter(timestamp), end))),
        _ => Err(ErrorCode::UNSUPPORTED_VERSION),
    }
}

fn answer(
    partition_index: i32,
    found: Result<Located, ErrorCode>,
    lookups: &mut Vec<strandline_log::lookup::Lookup>,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse { partition_index, ..ListOffsetsPartitionResponse::default() };
    match found {
        Ok(Located::Known { timestamp, offset, epoch }) => {
            ListOffsetsPartitionResponse { timestamp, offset, leader_epoch: epoch, ..response }
        }
        Ok(Located::Lookup(lookup)) => {
            lookups.push(lookup);
            response
        }
        Err(error_code) => ListOffsetsPartitionResponse { error_code, ..response },
    }
}

/// Puts the result of a lookup into the parked reply.
pub(crate) fn looked_up(response: &mut Response, topic: usize, partition: usize, result: Result<Option<Found>, DiskError>) {
    let Response::ListOffsets(response) = response else { return };
    let Some(partition) = response.topics.get_mut(topic).and_then(|topic| topic.partitions.get_mut(partition)) else { return };
    match result {
        Ok(Some(found)) => {
            partition.timestamp = found.timestamp_ms;
            partition.offset = found.offset;
            partition.leader_epoch = found.leader_epoch;
        }
        Ok(None) => {}
        Err(_) => partition.error_code = ErrorCode::KAFKA_STORAGE_ERROR,
    }
}
