//! DeleteRecords (key 21), versions 0 to 2: move the log start forward.
//!
//! -1 stands for the high watermark. The answer leaves when the new log starts are on disk, so that deleted records do
//! not come back after a crash. Source: ReplicaManager.deleteRecords, semantics of `log-start-offset-checkpoint`.

use std::collections::BTreeSet;

use strandline_log::disk::LogDir;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicName};
use strandline_protocol::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use super::Answer;
use super::metadata::is_internal;
use crate::broker::Broker;
use crate::directory::After;
use crate::io::{Effect, RequestContext};
use crate::parked::{Place, Until};
use crate::upkeep::write_log_starts;

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: Offset = Offset(-1);

pub(crate) fn delete_records(
    broker: &mut Broker,
    context: &RequestContext,
    request: DeleteRecordsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut moved = BTreeSet::new();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let (low_watermark, error_code) = match delete(broker, &topic.name, asked.partition_index, asked.offset) {
                Ok((start, log_dir)) => {
                    moved.insert(log_dir);
                    (start, ErrorCode::NONE)
                }
                Err(code) => (Offset::NONE, code),
            };
            partitions.push(DeleteRecordsPartitionResult { partition_index: asked.partition_index, low_watermark, error_code });
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    let response = DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() };
    if moved.is_empty() {
        return Answer::now(response);
    }
    let place = Place { connection: context.connection, sequence: context.sequence };
    let until = Until::Checkpointed { outstanding: moved.len(), response: Box::new(response.into()) };
    let parked = broker.waiting.park(place, None, until);
    for log_dir in moved {
        write_log_starts(broker, log_dir, After::Reply(parked), outbox);
    }
    Answer::Parked
}

/// The answer if a checkpoint that it waits for could not be written: what was deleted may come back.
pub(crate) fn given_up(response: Response) -> Response {
    let Response::DeleteRecords(mut response) = response else { return response };
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if partition.error_code == ErrorCode::NONE {
            (partition.low_watermark, partition.error_code) = (Offset::NONE, ErrorCode::KAFKA_STORAGE_ERROR);
        }
    }
    response.into()
}

fn delete(broker: &mut Broker, topic: &TopicName, partition: i32, offset: Offset) -> Result<(Offset, LogDir), ErrorCode> {
    if is_internal(topic) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let id = broker.image.topics.id_of(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let slot = broker.slot(id, partition)?;
    let replica = broker.replicas.get_mut(slot).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    replica.leader()?;
    if broker.moves.holds(slot) {
        // Its new directory's checkpoint is being written, or just was: who asks again finds it there.
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    if !replica.config.deletes {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let high_watermark = replica.high_watermark();
    let start = if offset == HIGH_WATERMARK { high_watermark } else { offset };
    if start < Offset::ZERO || start > high_watermark {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let log_dir = replica.log_dir();
    let start = replica.log.delete_records(start, high_watermark).map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
    broker.mark_dirty(slot);
    Ok((start, log_dir))
}
