//! Produce (key 0), versions 3 to 13: append record batches to partitions.
//!
//! Order of checks for each partition as Kafka's (KafkaApis.handleProduceRequest, ReplicaManager, UnifiedLog): known
//! topic, internal topic, records' own rules (judged by the rim), in-sync replicas, the producer's sequence.
//! acks=0 is never answered: if anything fails the connection is closed. acks=1 is answered once the leader has the records
//! (durably, where the topic asks for that), acks=-1 once they are below the high watermark. With fewer in-sync replicas
//! than the topic's minimum acks=-1 is refused, or if that comes later answered with NOT_ENOUGH_REPLICAS_AFTER_APPEND.
//! v10 whoever is not at the leader is told who leads (KIP-951).
//! Versions 0 to 2 are advertised because old librdkafka switches features off otherwise (KAFKA-18659); the rim closes
//! on them, as Kafka does. Topics are never created here.

use std::collections::BTreeSet;

use bytes::Bytes;
use strandline_log::producers::{Origin, ProducerRefusal, ProducerVerdict};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicId};
use strandline_protocol::messages::fetch;
use strandline_protocol::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse, TopicProduceData,
    TopicProduceResponse,
};
use strandline_protocol::records::{BatchHeader, Offender, Refusal};

use super::Answer;
use crate::broker::Broker;
use crate::fetching;
use crate::flaws::{self, Flaw};
use crate::image::Image;
use crate::io::{BatchOutcome, CheckedProduce, Now, RequestContext};
use crate::parked::{PendingAppend, Place, ProduceWait, Until};
use crate::replica::{Acknowledged, ProduceWaiter, Replica};

/// `acks` of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Acks {
    None,
    Leader,
    All,
}

/// What became of one partition.
enum Outcome {
    /// Acknowledged when the high watermark is at `end`.
    Waiting {
        slot: u32,
        end: Offset,
        base: Offset,
        append_time_ms: i64,
        log_start: Offset,
    },
    Refused {
        code: ErrorCode,
        message: Option<String>,
        record_errors: Vec<BatchIndexAndErrorMessage>,
        log_start: Offset,
    },
}

pub(crate) fn produce(broker: &mut Broker, now: Now, context: &RequestContext, checked: CheckedProduce) -> Answer {
    let acks = match checked.request.acks {
        0 => Acks::None,
        1 => Acks::Leader,
        -1 => Acks::All,
        _ => return refuse_all(&checked, ErrorCode::INVALID_REQUIRED_ACKS),
    };
    if checked.request.transactional_id.is_some() {
        return refuse_all(&checked, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    }
    let timeout_ms = u64::try_from(checked.request.timeout_ms).unwrap_or(0);
    let CheckedProduce { request, batches } = checked;
    let mut batches = batches.into_iter();
    let mut appends = Vec::new();
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let at = responses.len();
        let response = append_topic(broker, now, context, acks, topic, &mut batches, |partition, slot, end| {
            appends.push((at, partition, slot, end))
        });
        responses.push(response);
    }
    let mut response = ProduceResponse { responses, ..ProduceResponse::default() };
    name_leaders(broker, context, &mut response);
    match acks {
        Acks::None if has_errors(&response) => Answer::Close,
        Acks::None => Answer::Silence,
        _ if appends.is_empty() => Answer::now(response),
        Acks::Leader => park(broker, now, context, Acknowledged::ByLeader, timeout_ms, response, &appends),
        Acks::All => park(broker, now, context, Acknowledged::ByAll, timeout_ms, response, &appends),
    }
}

#[allow(clippy::too_many_arguments)] // Called once; a struct would only rename what is named here.
fn append_topic(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    acks: Acks,
    topic: TopicProduceData,
    batches: &mut impl Iterator<Item = BatchOutcome>,
    mut appended: impl FnMut(usize, u32, Offset),
) -> TopicProduceResponse {
    let by_id = context.api_version >= 13;
    let id = if by_id { Some(topic.topic_id) } else { broker.image.topics.id_of(&topic.name) };
    let unknown = if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
    let mut partition_responses = Vec::with_capacity(topic.partition_data.len());
    for data in topic.partition_data {
        let outcome = match batches.next() {
            Some(batch) => append_partition(broker, now, context, acks, id, unknown, data.index, batch),
            None => refused(ErrorCode::UNKNOWN_SERVER_ERROR),
        };
        if let Outcome::Waiting { slot, end, .. } = outcome {
            broker.mark_dirty(slot);
            appended(partition_responses.len(), slot, end);
        }
        partition_responses.push(partition_response(data.index, outcome));
    }
    TopicProduceResponse { name: topic.name, topic_id: topic.topic_id, partition_responses }
}

#[allow(clippy::too_many_arguments)] // Called once; a struct would only rename what is named here.
fn append_partition(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    acks: Acks,
    topic: Option<TopicId>,
    unknown: ErrorCode,
    partition: i32,
    batch: BatchOutcome,
) -> Outcome {
    let known = |id: &TopicId| broker.image.topics.by_id(*id).is_some_and(|topic| topic.partitions.contains_key(&partition));
    let Some(topic) = topic.filter(known) else { return refused(unknown) };
    let slot = match broker.slot(topic, partition) {
        Ok(slot) => slot,
        Err(code) => return refused(code),
    };
    let Some(replica) = broker.replicas.get_mut(slot) else { return refused(ErrorCode::NOT_LEADER_OR_FOLLOWER) };
    if is_internal(replica.name.as_str()) && &*context.client_id != "__admin_client" {
        return refused(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let leader = match replica.leader() {
        Ok(leader) => leader,
        Err(code) => return refused(code),
    };
    let epoch = leader.epoch;
    if acks == Acks::All && !leader.has_min_isr(replica.config.min_insync_replicas) {
        return refused(ErrorCode::NOT_ENOUGH_REPLICAS);
    }
    let log_start = replica.log_start();
    match batch {
        BatchOutcome::Checked { bytes, header, log_append_time_ms } => {
            append_batch(replica, now, slot, epoch, bytes, &header, log_append_time_ms)
        }
        BatchOutcome::Refused { refusal, offenders } => refused_batch(&refusal, offenders, log_start),
    }
}

fn append_batch(
    replica: &mut Replica,
    now: Now,
    slot: u32,
    epoch: LeaderEpoch,
    bytes: Bytes,
    header: &BatchHeader,
    log_append_time_ms: i64,
) -> Outcome {
    let log_start = replica.log_start();
    let refuse =
        |code, message: String| Outcome::Refused { code, message: Some(message), record_errors: Vec::new(), log_start };
    match replica.log.check_producer(header, Origin::Client) {
        ProducerVerdict::New => {}
        ProducerVerdict::Duplicate { base_offset, last_offset, timestamp_ms } => {
            let append_time_ms = if log_append_time_ms >= 0 { timestamp_ms } else { -1 };
            return Outcome::Waiting { slot, end: last_offset.next(), base: base_offset, append_time_ms, log_start };
        }
        ProducerVerdict::Refused(refusal) => return refuse(producer_code(&refusal), refusal.to_string()),
    }
    let (size, count) = (bytes.len() as u64, header.record_count);
    match replica.log.append(now.wall_ms, bytes, epoch) {
        Ok(appended) => {
            replica.traffic.bytes_in += size;
            replica.traffic.records_in += u64::try_from(count).unwrap_or(0);
            Outcome::Waiting {
                slot,
                end: appended.last_offset.next(),
                base: appended.base_offset,
                append_time_ms: log_append_time_ms,
                log_start,
            }
        }
        Err(error) => refuse(ErrorCode::KAFKA_STORAGE_ERROR, error.to_string()),
    }
}

fn producer_code(refusal: &ProducerRefusal) -> ErrorCode {
    match refusal {
        ProducerRefusal::OutOfOrder { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ProducerRefusal::InvalidEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
        ProducerRefusal::TransactionOpen { .. } => ErrorCode::INVALID_TXN_STATE,
        ProducerRefusal::CoordinatorFenced { .. } => ErrorCode::TRANSACTION_COORDINATOR_FENCED,
    }
}

fn park(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    acknowledged: Acknowledged,
    timeout_ms: u64,
    response: ProduceResponse,
    appends: &[(usize, usize, u32, Offset)],
) -> Answer {
    let index = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let pending: Vec<PendingAppend> = appends
        .iter()
        .map(|(topic, partition, slot, _)| PendingAppend {
            slot: *slot,
            acknowledged,
            topic: index(*topic),
            partition: index(*partition),
        })
        .collect();
    let place = Place { connection: context.connection, sequence: context.sequence };
    let parked = broker.waiting.park(
        place,
        Some(now.monotonic_ms + timeout_ms),
        Until::HighWatermark(ProduceWait { response, pending }),
    );
    for (_, _, slot, end) in appends {
        if let Some(replica) = broker.replicas.get_mut(*slot) {
            replica.wait(acknowledged, ProduceWaiter { end: *end, parked });
        }
    }
    Answer::Parked
}

/// The wait is over without an acknowledgement, because of its time or because this broker leads no more: whoever still
/// waits gets the error; what was appended stays.
pub(crate) fn given_up(broker: &Broker, mut wait: ProduceWait) -> ProduceResponse {
    let pending = std::mem::take(&mut wait.pending);
    for pending in pending {
        let code = why_given_up(broker, pending.slot);
        if code == ErrorCode::NOT_LEADER_OR_FOLLOWER && flaws::is(Flaw::AcknowledgesWhenDeposed) {
            continue;
        }
        fail(&mut wait, pending, code);
    }
    wait.response
}

fn why_given_up(broker: &Broker, slot: u32) -> ErrorCode {
    let Some(replica) = broker.replicas.get(slot) else { return ErrorCode::NOT_LEADER_OR_FOLLOWER };
    let exists =
        broker.image.topics.by_id(replica.topic).is_some_and(|topic| topic.partitions.contains_key(&replica.partition));
    match replica.leader() {
        _ if !exists => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        Ok(_) if !replica.deleted => ErrorCode::REQUEST_TIMED_OUT,
        _ => ErrorCode::NOT_LEADER_OR_FOLLOWER,
    }
}

/// The batch is not acknowledged after all.
pub(crate) fn fail(wait: &mut ProduceWait, pending: PendingAppend, code: ErrorCode) {
    let topic = wait.response.responses.get_mut(pending.topic as usize);
    if let Some(partition) = topic.and_then(|topic| topic.partition_responses.get_mut(pending.partition as usize)) {
        partition.error_code = code;
        partition.base_offset = Offset::NONE;
    }
}

/// What an acknowledged batch is answered with: the set in sync may have become too small after it was appended.
pub(crate) fn acknowledged_as(replica: &Replica, acknowledged: Acknowledged) -> ErrorCode {
    let Ok(leader) = replica.leader() else { return ErrorCode::NONE };
    match acknowledged {
        Acknowledged::ByAll if !leader.has_min_isr(replica.config.min_insync_replicas) => {
            ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
        }
        Acknowledged::ByAll | Acknowledged::ByLeader => ErrorCode::NONE,
    }
}

/// From this version on an answer says where the leader is.
const LEADER_FROM: i16 = 10;

/// Tells whoever is not at the leader who leads.
fn name_leaders(broker: &Broker, context: &RequestContext, response: &mut ProduceResponse) {
    if context.api_version < LEADER_FROM {
        return;
    }
    let mut leaders = BTreeSet::new();
    for topic in &mut response.responses {
        let id = if topic.topic_id.is_zero() { broker.image.topics.id_of(&topic.name) } else { Some(topic.topic_id) };
        let Some(id) = id else { continue };
        let moved = |partition: &&mut PartitionProduceResponse| partition.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER;
        for partition in topic.partition_responses.iter_mut().filter(moved) {
            if let Some(leader) = leader(&broker.image, id, partition.index) {
                leaders.insert(leader.leader_id.0);
                partition.current_leader = leader;
            }
        }
    }
    let endpoints = fetching::endpoints(&broker.image, &broker.topology.inter_broker, leaders);
    let endpoint =
        |end: fetch::NodeEndpoint| NodeEndpoint { node_id: end.node_id, host: end.host, port: end.port, rack: end.rack };
    response.node_endpoints = endpoints.into_iter().map(endpoint).collect();
}

fn leader(image: &Image, topic: TopicId, partition: i32) -> Option<LeaderIdAndEpoch> {
    let state = image.topics.by_id(topic)?.partitions.get(&partition)?;
    Some(LeaderIdAndEpoch { leader_id: BrokerId(state.leader), leader_epoch: state.leader_epoch })
}

fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state" | "__cluster_metadata")
}

fn refused(code: ErrorCode) -> Outcome {
    Outcome::Refused { code, message: None, record_errors: Vec::new(), log_start: Offset::NONE }
}

fn refused_batch(refusal: &Refusal, offenders: Vec<Offender>, log_start: Offset) -> Outcome {
    let record_errors = offenders.into_iter().map(|offender| BatchIndexAndErrorMessage {
        batch_index: i32::try_from(offender.index).unwrap_or(i32::MAX),
        batch_index_error_message: Some(offender.refusal.to_string()),
    });
    Outcome::Refused {
        code: ErrorCode(refusal.error_code()),
        message: Some(refusal.to_string()),
        record_errors: record_errors.collect(),
        log_start,
    }
}

fn partition_response(index: i32, outcome: Outcome) -> PartitionProduceResponse {
    match outcome {
        Outcome::Waiting { base, append_time_ms, log_start, .. } => PartitionProduceResponse {
            index,
            base_offset: base,
            log_append_time_ms: append_time_ms,
            log_start_offset: log_start,
            ..PartitionProduceResponse::default()
        },
        Outcome::Refused { code, message, record_errors, log_start } => PartitionProduceResponse {
            index,
            error_code: code,
            base_offset: Offset::NONE,
            log_start_offset: log_start,
            record_errors,
            error_message: message,
            ..PartitionProduceResponse::default()
        },
    }
}

fn refuse_all(checked: &CheckedProduce, code: ErrorCode) -> Answer {
    let topic_response = |topic: &TopicProduceData| TopicProduceResponse {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partition_responses: topic.partition_data.iter().map(|data| partition_response(data.index, refused(code))).collect(),
    };
    if checked.request.acks == 0 {
        return Answer::Close;
    }
    let responses = checked.request.topic_data.iter().map(topic_response).collect();
    Answer::now(ProduceResponse { responses, ..ProduceResponse::default() })
}

fn has_errors(response: &ProduceResponse) -> bool {
    response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .any(|partition| partition.error_code != ErrorCode::NONE)
}
