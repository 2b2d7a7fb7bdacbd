//! AddPartitionsToTxn (key 24), versions 0 to 5: partitions join a transaction.
//!
//! v0 to v3 from clients, all partitions or none · v2 PRODUCER_FENCED (KIP-588) · v4 and v5 from other brokers, several transactions,
//! or only a look whether they have joined (KIP-890). Answers wait until the coordinator's records are committed, and a request that
//! begins a transaction waits for the end of the one before (`holding.rs`).
//! Source: KafkaApis.handleAddPartitionsToTxnRequest.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TransactionalId;
use strandline_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::transaction::RAISING_VERSION;
use crate::coordinator::transaction::entry::{Place, Producer};
use crate::coordinator::{enter_transactions, reply_when_committed, slot_of_transaction};
use crate::holding;
use crate::io::{Effect, ListenerKind, Now, RequestContext};

/// From this version on brokers speak it.
pub(crate) const BROKERS_FROM: i16 = 4;
/// From this version on a fenced producer is called so.
pub(crate) const FENCED_FROM: i16 = 2;

pub(crate) fn add_partitions_to_txn(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: AddPartitionsToTxnRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    if context.api_version >= BROKERS_FROM {
        return of_brokers(broker, now, context, request, outbox);
    }
    let producer = Producer { id: request.v3_and_below_producer_id, epoch: request.v3_and_below_producer_epoch };
    let (id, topics) = (request.v3_and_below_transactional_id.clone(), &request.v3_and_below_topics);
    let slot = slot_of_transaction(broker, &id);
    let done = known(broker, topics).map(|places| {
        let code = add(broker, now, slot, &id, producer, &places, 0, outbox).err().unwrap_or(ErrorCode::NONE);
        places.iter().map(|_| code).collect()
    });
    let codes: Vec<ErrorCode> = done.unwrap_or_else(|codes| codes);
    let is_early = codes.contains(&ErrorCode::CONCURRENT_TRANSACTIONS);
    let codes = codes.into_iter().map(|code| fenced_as(code, context.api_version));
    let response = AddPartitionsToTxnResponse { results_by_topic_v3_and_below: results(topics, codes), ..Default::default() };
    match slot {
        Ok(slot) if is_early => holding::hold(broker, now, context, (slot, &id), request.into(), response.into(), outbox),
        slot => reply_when_committed(broker, now, context, slot.ok().as_slice(), response.into()),
    }
}

/// How a fenced producer is told in versions before it could be told apart.
pub(crate) fn fenced_as(code: ErrorCode, version: i16) -> ErrorCode {
    if code == ErrorCode::PRODUCER_FENCED && version < FENCED_FROM { ErrorCode::INVALID_PRODUCER_EPOCH } else { code }
}

fn of_brokers(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: AddPartitionsToTxnRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    if context.listener != ListenerKind::Broker {
        let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
        return Answer::now(AddPartitionsToTxnResponse { error_code, ..Default::default() });
    }
    let (mut slots, mut answers) = (Vec::new(), Vec::with_capacity(request.transactions.len()));
    let mut is_early = false;
    for asked in &request.transactions {
        let slot = slot_of_transaction(broker, &asked.transactional_id);
        slots.extend(slot);
        let codes = decide(broker, now, slot, asked, outbox);
        is_early |= !asked.verify_only && codes.contains(&ErrorCode::CONCURRENT_TRANSACTIONS);
        let topic_results = results(&asked.topics, codes.into_iter());
        answers.push(AddPartitionsToTxnResult { transactional_id: asked.transactional_id.clone(), topic_results });
    }
    slots.sort_unstable();
    slots.dedup();
    let response = AddPartitionsToTxnResponse { results_by_transaction: answers, ..Default::default() };
    match (&request.transactions[..], &slots[..]) {
        // Where others stand beside it in the request it is not waited for.
        ([only], [slot]) if is_early => {
            let (slot, id) = (*slot, only.transactional_id.clone());
            holding::hold(broker, now, context, (slot, &id), request.into(), response.into(), outbox)
        }
        _ => reply_when_committed(broker, now, context, &slots, response.into()),
    }
}

fn decide(
    broker: &mut Broker,
    now: Now,
    slot: Result<u32, ErrorCode>,
    asked: &AddPartitionsToTxnTransaction,
    outbox: &mut Vec<Effect>,
) -> Vec<ErrorCode> {
    let (id, producer) = (&asked.transactional_id, Producer { id: asked.producer_id, epoch: asked.producer_epoch });
    let places = match known(broker, &asked.topics) {
        Ok(places) => places,
        Err(codes) => return codes,
    };
    let same = |code: ErrorCode| places.iter().map(|_| code).collect();
    if !asked.verify_only {
        let done = add(broker, now, slot, id, producer, &places, RAISING_VERSION, outbox);
        return same(done.err().unwrap_or(ErrorCode::NONE));
    }
    let found = slot.and_then(|slot| {
        enter_transactions(broker, now, slot, outbox, |transactions, _| transactions.verify(id, producer, &places))
    });
    found.unwrap_or_else(same)
}

#[allow(clippy::too_many_arguments)] // Two callers; a struct would only rename what is named here.
fn add(
    broker: &mut Broker,
    now: Now,
    slot: Result<u32, ErrorCode>,
    id: &TransactionalId,
    producer: Producer,
    places: &[Place],
    client_version: i16,
    outbox: &mut Vec<Effect>,
) -> Result<(), ErrorCode> {
    if id.as_str().is_empty() {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    enter_transactions(broker, now, slot?, outbox, |transactions, turn| {
        transactions.add(turn, id, producer, places, client_version)
    })
}

/// The partitions in the order of the request, if all of them exist.
///
/// # Errors
/// A code for each: those that do not exist, and those that are not attempted because of them.
fn known(broker: &Broker, topics: &[AddPartitionsToTxnTopic]) -> Result<Vec<Place>, Vec<ErrorCode>> {
    let exists =
        |place: &Place| broker.image.topics.by_name(&place.0).is_some_and(|topic| topic.partitions.contains_key(&place.1));
    let places = topics.iter().flat_map(|topic| topic.partitions.iter().map(|partition| (topic.name.clone(), *partition)));
    let places: Vec<Place> = places.collect();
    if places.iter().all(exists) {
        return Ok(places);
    }
    let code = |place| if exists(place) { ErrorCode::OPERATION_NOT_ATTEMPTED } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
    Err(places.iter().map(code).collect())
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    mut codes: impl Iterator<Item = ErrorCode>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut result = |partition_index: i32| AddPartitionsToTxnPartitionResult {
        partition_index,
        partition_error_code: codes.next().unwrap_or(ErrorCode::UNKNOWN_SERVER_ERROR),
    };
    let mut topic_results = Vec::with_capacity(topics.len());
    for topic in topics {
        let results_by_partition = topic.partitions.iter().map(|partition| result(*partition)).collect();
        topic_results.push(AddPartitionsToTxnTopicResult { name: topic.name.clone(), results_by_partition });
    }
    topic_results
}
