//! Produce (key 0), versions 3 to 13: append record batches to partitions.
//!
//! Order of checks for each partition as Kafka's (KafkaApis.handleProduceRequest, ReplicaManager, UnifiedLog): known
//! topic, internal topic, records' own rules (judged by the rim), in-sync replicas, the producer's sequence.
//! acks=0 is never answered: if anything fails the connection is closed. acks=1 is answered once the leader has the records
//! (durably, where the topic asks for that), acks=-1 once they are below the high watermark. With fewer in-sync replicas
//! than the topic's minimum acks=-1 is refused, or if that comes later answered with NOT_ENOUGH_REPLICAS_AFTER_APPEND.
//! v10 whoever is not at the leader is told who leads (KIP-951).
//! What a producer sent behind a batch that was refused for a reason that passes is refused too until that one comes again (`replica::refused`).
//! A transaction's first records in a partition wait until its coordinator was asked (`verification`): up to v11 the client has
//! added the partition, from v12 on the question adds it (KIP-890).
//! Versions 0 to 2 are advertised because old librdkafka switches features off otherwise (KAFKA-18659); the rim closes
//! on them, as Kafka does. Topics are never created here.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use strandline_log::producers::{Origin, ProducerRefusal, ProducerVerdict};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicId, TopicName};
use strandline_protocol::messages::fetch;
use strandline_protocol::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse, TopicProduceData,
    TopicProduceResponse,
};
use strandline_protocol::records::{BatchHeader, Offender, Refusal};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::transaction::entry::Producer;
use crate::fetching;
use crate::flaws::{self, Flaw};
use crate::image::Image;
use crate::io::{BatchOutcome, CheckedProduce, Effect, Now, RequestContext};
use crate::parked::{AppendResponse, AppendWait, PendingAppend, Place, Until};
use crate::replica::verifying::Guard;
use crate::replica::{Acknowledged, ProduceWaiter, Replica};
use crate::verification::{self, Ability, Claim, Unverified, Verdicts, Work};

/// From this version on clients know TRANSACTION_ABORTABLE.
const ABORTABLE_FROM: i16 = 11;
/// From this version on clients leave it to us to add partitions to their transactions.
const ADDS_FROM: i16 = 12;

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

pub(crate) fn produce(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    checked: CheckedProduce,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let transactional =
        |batch: &BatchOutcome| matches!(batch, BatchOutcome::Checked { header, .. } if header.is_transactional());
    if let Some(of_transaction) = checked.batches.iter().find(|batch| transactional(batch)) {
        let Some(id) = checked.request.transactional_id.clone() else {
            return refuse_all(&checked, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
        };
        let BatchOutcome::Checked { header, .. } = of_transaction else { return Answer::Close };
        let producer = producer(header);
        let claim = Claim { id, producer, ability: ability(context), places: unverified(broker, context, &checked, producer) };
        if !claim.places.is_empty() || broker.verifying.is_waited(producer.id) {
            let work = Work::Produce(Box::new(checked));
            return verification::ask(broker, now, Unverified { context: context.clone(), claim, work }, outbox);
        }
    }
    append(broker, now, context, checked, &Verdicts::new())
}

fn producer(header: &BatchHeader) -> Producer {
    Producer { id: ProducerId(header.producer_id), epoch: ProducerEpoch(header.producer_epoch) }
}

fn ability(context: &RequestContext) -> Ability {
    match context.api_version {
        ADDS_FROM.. => Ability::Added,
        ABORTABLE_FROM.. => Ability::Abortable,
        _ => Ability::Verified,
    }
}

/// Whether partitions take records of a transaction that they know nothing of only once its coordinator was asked.
fn is_verified(broker: &Broker, context: &RequestContext) -> bool {
    let verifies = broker.coordinators.settings.verifies_partitions && !flaws::is(Flaw::RecordsUnverified);
    verifies || ability(context) == Ability::Added
}

/// Partitions led here in which the producer's transaction has no records yet, with guards.
fn unverified(
    broker: &mut Broker,
    context: &RequestContext,
    checked: &CheckedProduce,
    of: Producer,
) -> BTreeMap<(TopicName, i32), (u32, Guard)> {
    let mut places = BTreeMap::new();
    if !is_verified(broker, context) {
        return places;
    }
    let mut batches = checked.batches.iter();
    for topic in &checked.request.topic_data {
        let by_name = topic.topic_id.is_zero();
        let id = if by_name { broker.image.topics.id_of(&topic.name) } else { Some(topic.topic_id) };
        for data in &topic.partition_data {
            let Some(BatchOutcome::Checked { header, .. }) = batches.next() else { continue };
            if !header.is_transactional() || producer(header) != of {
                continue;
            }
            let Some(slot) = id.and_then(|id| broker.slot(id, data.index).ok()) else { continue };
            let Some(replica) = broker.replicas.get_mut(slot).filter(|replica| !is_open(replica, of)) else { continue };
            let Ok(epoch) = replica.leader().map(|leader| leader.epoch) else { continue };
            let guard = replica.verifying.begin(epoch, of.id, of.epoch, header.base_sequence);
            places.insert((replica.name.clone(), data.index), (slot, guard));
        }
    }
    places
}

/// Whether the producer has a transaction open in a partition.
pub(crate) fn is_open(replica: &Replica, producer: Producer) -> bool {
    let known = replica.log.producer(producer.id).filter(|known| known.epoch() == producer.epoch);
    known.is_some_and(|known| known.transaction_first().is_some())
}

/// Appends what may be appended.
pub(crate) fn append(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    checked: CheckedProduce,
    verdicts: &Verdicts,
) -> Answer {
    let acks = match checked.request.acks {
        0 => Acks::None,
        1 => Acks::Leader,
        -1 => Acks::All,
        _ => return refuse_all(&checked, ErrorCode::INVALID_REQUIRED_ACKS),
    };
    let timeout_ms = u64::try_from(checked.request.timeout_ms).unwrap_or(0);
    let CheckedProduce { request, batches } = checked;
    let mut batches = batches.into_iter();
    let mut appends = Vec::new();
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let at = responses.len();
        let response = append_topic(broker, now, context, acks, topic, &mut batches, verdicts, |partition, slot, end| {
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
    verdicts: &Verdicts,
    mut appended: impl FnMut(usize, u32, Offset),
) -> TopicProduceResponse {
    let by_id = context.api_version >= 13;
    let id = if by_id { Some(topic.topic_id) } else { broker.image.topics.id_of(&topic.name) };
    let unknown = if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
    let mut partition_responses = Vec::with_capacity(topic.partition_data.len());
    for data in topic.partition_data {
        let outcome = match batches.next() {
            Some(batch) => append_partition(broker, now, context, acks, id, unknown, data.index, batch, verdicts),
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
    verdicts: &Verdicts,
) -> Outcome {
    let known = |id: &TopicId| broker.image.topics.by_id(*id).is_some_and(|topic| topic.partitions.contains_key(&partition));
    let Some(topic) = topic.filter(known) else { return refused(unknown) };
    let slot = match broker.slot(topic, partition) {
        Ok(slot) => slot,
        Err(code) => return refused(code),
    };
    let is_verified = is_verified(broker, context);
    let Some(replica) = broker.replicas.get_mut(slot) else { return refused(ErrorCode::NOT_LEADER_OR_FOLLOWER) };
    if is_internal(replica.name.as_str()) && &*context.client_id != "__admin_client" {
        return refused(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let epoch = match takes_records(replica, acks) {
        Ok(epoch) => epoch,
        Err(code) => {
            if let BatchOutcome::Checked { header, .. } = &batch {
                replica.refused.note(now, header);
            }
            return refused(code);
        }
    };
    let log_start = replica.log_start();
    match batch {
        BatchOutcome::Checked { bytes, header, log_append_time_ms } => {
            let verdict = verdicts.get(&slot).copied();
            if let Err((code, message)) = admit(replica, epoch, &header, verdict, is_verified) {
                let message = Some(message.to_owned());
                return Outcome::Refused { code, message, record_errors: Vec::new(), log_start };
            }
            append_batch(replica, now, slot, epoch, bytes, &header, log_append_time_ms)
        }
        BatchOutcome::Refused { refusal, offenders } => refused_batch(&refusal, offenders, log_start),
    }
}

/// The epoch in which the replica leads, if it takes records now. What it is refused for otherwise passes.
fn takes_records(replica: &Replica, acks: Acks) -> Result<LeaderEpoch, ErrorCode> {
    let leader = replica.leader()?;
    if !replica.log.is_open() {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    if acks == Acks::All && !leader.has_min_isr(replica.config.min_insync_replicas) {
        return Err(ErrorCode::NOT_ENOUGH_REPLICAS);
    }
    Ok(leader.epoch)
}

/// Whether records of a transaction may begin it here.
fn admit(
    replica: &Replica,
    epoch: LeaderEpoch,
    header: &BatchHeader,
    verdict: Option<Result<Guard, ErrorCode>>,
    is_verified: bool,
) -> Result<(), (ErrorCode, &'static str)> {
    let of = producer(header);
    if !is_verified || !header.is_transactional() || is_open(replica, of) {
        return Ok(());
    }
    if matches!(replica.log.check_producer(header, Origin::Client), ProducerVerdict::Duplicate { .. }) {
        return Ok(());
    }
    let guard = match verdict {
        Some(Ok(guard)) => guard,
        Some(Err(code)) => return Err((code, "the coordinator does not count the partition to the transaction")),
        None => return Err((ErrorCode::INVALID_TXN_STATE, "the record is of no transaction that is open")),
    };
    if !replica.verifying.holds(of.id, guard, epoch) {
        return Err((ErrorCode::INVALID_TXN_STATE, "the transaction has ended meanwhile"));
    }
    let is_first = replica.verifying.lowest_sequence(of.id).is_none_or(|lowest| lowest >= header.base_sequence);
    if replica.log.producer(of.id).is_none() && !is_first {
        return Err((ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, "records before these are still to come"));
    }
    Ok(())
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
        ProducerVerdict::New | ProducerVerdict::Refused(ProducerRefusal::OutOfOrder { .. })
            if replica.refused.is_awaited_before(now, header) =>
        {
            return refuse(
                ErrorCode::NOT_ENOUGH_REPLICAS,
                "records before these were refused and are still to come".to_owned(),
            );
        }
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
            if header.is_transactional() {
                let of = producer(header);
                replica.verifying.settle(of.id, |epoch| epoch <= of.epoch);
            }
            replica.refused.settle(header);
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

pub(crate) fn producer_code(refusal: &ProducerRefusal) -> ErrorCode {
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
        Until::HighWatermark(AppendWait { response: AppendResponse::Produce(response), pending }),
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
pub(crate) fn given_up(broker: &Broker, mut wait: AppendWait) -> Response {
    for pending in wait.pending {
        let code = why_given_up(broker, pending.slot);
        if code == ErrorCode::NOT_LEADER_OR_FOLLOWER && flaws::is(Flaw::AcknowledgesWhenDeposed) {
            continue;
        }
        wait.response.fail(pending, code);
    }
    wait.response.into()
}

fn why_given_up(broker: &Broker, slot: u32) -> ErrorCode {
    if broker.replicas.is_abandoned(slot) {
        return ErrorCode::KAFKA_STORAGE_ERROR;
    }
    let Some(replica) = broker.replicas.get(slot) else { return ErrorCode::NOT_LEADER_OR_FOLLOWER };
    let exists =
        broker.image.topics.by_id(replica.topic).is_some_and(|topic| topic.partitions.contains_key(&replica.partition));
    match replica.leader() {
        _ if !exists => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        Ok(_) if !replica.deleted => ErrorCode::REQUEST_TIMED_OUT,
        _ => ErrorCode::NOT_LEADER_OR_FOLLOWER,
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
    let endpoints = fetching::endpoints(&broker.image, &context.listener_name, leaders);
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
