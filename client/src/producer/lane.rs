//! The way to one broker: requests leave in the order in which they were decided, answers are judged as they come.
//!
//! A lane encodes and submits one request after the other on one connection, so the order of batches on the wire is the
//! order of their sequences. Waiting for answers happens beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicId, TopicName, TransactionalId};
use strandline_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use strandline_protocol::records::Scratch;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Shared;
use super::batch::{Batch, Form, Stored};
use super::builder::Acks;
use super::error::ProduceError;
use super::queue::PutBack;
use super::state::{Parcel, Returned};
use super::transaction::Joining;
use super::verdict::{Verdict, judge};
use crate::connection::{CallOptions, Connection, Pending};
use crate::error::{KafkaError, RequestError};
use crate::locked::locked;

/// The batches of one request.
pub(super) type Shipment = Vec<Parcel>;

/// The last version in which topics have names.
const NAMED_VERSION_MAX: i16 = 12;

/// The last version that leaves it to the client to say which partitions take part in a transaction.
const TOLD_VERSION_MAX: i16 = 11;

/// What was submitted, and what to wait for.
enum Submitted {
    Answered(Pending<ProduceRequest>),
    Written(tokio::sync::oneshot::Receiver<()>, Connection),
}

pub(super) async fn run_lane(shared: Arc<Shared>, broker: BrokerId, mut shipments: mpsc::UnboundedReceiver<Shipment>) {
    let mut scratch = Scratch::default();
    while let Some(parcels) = shipments.recv().await {
        let (parcels, request, mut outcomes) = encode_all(&shared, parcels, &mut scratch);
        if parcels.is_empty() {
            conclude(&shared, broker, outcomes);
            continue;
        }
        match submit(&shared, broker, request, &parcels).await {
            Ok(submitted) => drop(tokio::spawn(settle(Arc::clone(&shared), broker, parcels, submitted, outcomes))),
            Err(error) => {
                outcomes.extend(failed_all(parcels, &error));
                conclude(&shared, broker, outcomes);
            }
        }
    }
}

/// What one parcel came to.
enum Outcome {
    Stored(Parcel, Stored),
    Failed(Parcel, ProduceError),
    Back(Parcel, PutBack, Whither),
}

/// Where a batch that comes back goes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whither {
    Same,
    Elsewhere,
    Halved,
}

/// Encodes the batches; one that cannot be encoded fails alone, and the others travel without it.
fn encode_all(shared: &Shared, parcels: Shipment, scratch: &mut Scratch) -> (Shipment, ProduceRequest, Vec<Outcome>) {
    let settings = &shared.settings;
    let form = Form { compression: settings.compression, transactional: shared.coordination.is_some() };
    let mut topics: BTreeMap<Arc<str>, TopicProduceData> = BTreeMap::new();
    let (mut encoded, mut failed) = (Vec::with_capacity(parcels.len()), Vec::new());
    for parcel in parcels {
        match parcel.batch.encode(form, scratch) {
            Ok(records) => {
                let topic = topics.entry(Arc::clone(&parcel.topic)).or_insert_with(|| TopicProduceData {
                    name: TopicName::from(&*parcel.topic),
                    topic_id: parcel.topic_id,
                    partition_data: Vec::new(),
                });
                topic.partition_data.push(PartitionProduceData { index: parcel.partition, records: Some(records.into()) });
                encoded.push(parcel);
            }
            Err(error) => failed.push(Outcome::Failed(parcel, error.into())),
        }
    }
    let request = ProduceRequest {
        transactional_id: shared.coordination.as_ref().map(|coordination| TransactionalId::from(&*coordination.id)),
        acks: settings.acks.on_the_wire(),
        timeout_ms: i32::try_from(shared.client.shared.settings.request_timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: topics.into_values().collect(),
    };
    (encoded, request, failed)
}

async fn submit(
    shared: &Shared,
    broker: BrokerId,
    request: ProduceRequest,
    parcels: &[Parcel],
) -> Result<Submitted, RequestError> {
    let address = shared.client.cluster().address(broker)?.clone();
    let connection = shared.connections.get(&address).await?;
    let all_have_ids = parcels.iter().all(|parcel| !parcel.topic_id.is_zero());
    let version_max = match locked(&shared.state).joining() {
        Some(Joining::Told) => Some(TOLD_VERSION_MAX),
        Some(Joining::Implied) | None => (!all_have_ids).then_some(NAMED_VERSION_MAX),
    };
    let options = CallOptions { version_max, ..Default::default() };
    match shared.settings.acks {
        Acks::None => Ok(Submitted::Written(connection.post(request, options)?, connection)),
        Acks::Leader | Acks::All => Ok(Submitted::Answered(connection.submit_with(request, options)?)),
    }
}

/// Waits for the answer and carries it to the queues.
async fn settle(shared: Arc<Shared>, broker: BrokerId, parcels: Shipment, submitted: Submitted, mut outcomes: Vec<Outcome>) {
    outcomes.extend(match submitted {
        Submitted::Answered(pending) => match pending.answer().await {
            Ok(response) => judge_all(&shared, parcels, response),
            Err(error) => failed_all(parcels, &error),
        },
        Submitted::Written(written, connection) => match written.await {
            Ok(()) => parcels.into_iter().map(|parcel| Outcome::Stored(parcel, Stored::UNKNOWN)).collect(),
            Err(_) => failed_all(parcels, &connection.ended()),
        },
    });
    conclude(&shared, broker, outcomes);
}

/// The whole request has failed: try again, if that may help.
fn failed_all(parcels: Shipment, error: &RequestError) -> Vec<Outcome> {
    let one = |parcel: Parcel| {
        let failure = ProduceError::from(error.clone());
        if error.is_retriable() {
            Outcome::Back(parcel, PutBack { missing_before: false, failure: Some(failure) }, Whither::Elsewhere)
        } else {
            Outcome::Failed(parcel, failure)
        }
    };
    parcels.into_iter().map(one).collect()
}

fn judge_all(shared: &Shared, parcels: Shipment, response: ProduceResponse) -> Vec<Outcome> {
    let mut answers: BTreeMap<(TopicId, String, i32), PartitionProduceResponse> = BTreeMap::new();
    for topic in response.responses {
        for partition in topic.partition_responses {
            answers.insert((topic.topic_id, topic.name.0.clone(), partition.index), partition);
        }
    }
    let one = |parcel: Parcel| {
        let by_id = (parcel.topic_id, String::new(), parcel.partition);
        let by_name = (TopicId::ZERO, parcel.topic.to_string(), parcel.partition);
        let answer = answers.remove(&by_id).or_else(|| answers.remove(&by_name));
        judge_one(shared, parcel, answer)
    };
    parcels.into_iter().map(one).collect()
}

fn judge_one(shared: &Shared, parcel: Parcel, answer: Option<PartitionProduceResponse>) -> Outcome {
    // A partition that the broker passes over may or may not have been stored.
    let answer = answer
        .unwrap_or_else(|| PartitionProduceResponse { error_code: ErrorCode::UNKNOWN_SERVER_ERROR, ..Default::default() });
    let code = answer.error_code;
    let refused = |parcel: &Parcel| ProduceError::Refused {
        topic: Arc::clone(&parcel.topic),
        partition: parcel.partition,
        code,
        message: message(&answer),
    };
    let back = |parcel: Parcel, missing_before, whither| {
        let failure = Some(refused(&parcel));
        Outcome::Back(parcel, PutBack { missing_before, failure }, whither)
    };
    match judge(code, parcel.batch.records.len(), shared.settings.rules.idempotent) {
        Verdict::Stored => {
            let (base_offset, log_append_time_ms) = (answer.base_offset.0, answer.log_append_time_ms);
            Outcome::Stored(parcel, Stored { base_offset, log_append_time_ms })
        }
        Verdict::StoredBefore => Outcome::Stored(parcel, Stored::UNKNOWN),
        Verdict::Again => back(parcel, false, Whither::Same),
        Verdict::AgainElsewhere => back(parcel, false, Whither::Elsewhere),
        Verdict::OutOfOrder => back(parcel, true, Whither::Same),
        Verdict::Halve => Outcome::Back(parcel, PutBack::default(), Whither::Halved),
        Verdict::Failed => {
            let error = refused(&parcel);
            Outcome::Failed(parcel, error)
        }
    }
}

/// What the broker says in words: of the batch, or of its first bad record.
fn message(answer: &PartitionProduceResponse) -> Option<String> {
    let of_record = answer.record_errors.iter().find_map(|error| {
        let text = error.batch_index_error_message.as_deref()?;
        Some(format!("record {}: {text}", error.batch_index))
    });
    of_record.or_else(|| answer.error_message.clone())
}

/// Carries what a request came to into the state, and then to those who wait.
fn conclude(shared: &Shared, broker: BrokerId, outcomes: Vec<Outcome>) {
    let now = Instant::now();
    let (mut returned, mut stored, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Stored(parcel, where_to) => {
                returned.push(done(&parcel));
                stored.push((parcel, where_to));
            }
            Outcome::Failed(parcel, error) => {
                returned.push(done(&parcel));
                failed.push((parcel.batch, error));
            }
            Outcome::Back(parcel, why, whither) => {
                let elsewhere = whither == Whither::Elsewhere;
                let batches = pieces(parcel.batch, whither);
                returned.push(Returned::Back { line: parcel.line, batches, why, elsewhere });
            }
        }
    }
    {
        let mut state = locked(&shared.state);
        state.returned(broker, returned, now);
        stored.iter().for_each(|(parcel, _)| state.settle(&parcel.batch));
        failed = failed.into_iter().map(|(batch, error)| state.fail(batch, error)).collect();
    }
    stored.into_iter().for_each(|(parcel, stored)| parcel.batch.stored(&parcel.topic, parcel.partition, stored));
    shared.deliver_failures(failed);
    shared.call.notify_one();
    shared.settled.notify_waiters();
}

fn done(parcel: &Parcel) -> Returned {
    let number = parcel.batch.number.expect("a batch that was taken has a number");
    Returned::Done { line: parcel.line, number }
}

fn pieces(batch: Batch, whither: Whither) -> Vec<Batch> {
    if whither == Whither::Halved {
        let (first, second) = batch.halves();
        vec![first, second]
    } else {
        vec![batch]
    }
}
