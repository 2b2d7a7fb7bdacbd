//! InitProducerId (key 22), versions 0 to 5: an identity for an idempotent producer, or the next epoch of a transactional id.
//!
//! Producer ids come from the controller in blocks of 1000, as committed records, so that none is given out twice, not
//! even after a crash. v3 a producer that recovers says who it believes to be (KIP-360) · v4 PRODUCER_FENCED (KIP-588).
//! Whoever takes an id over waits until the transaction before is complete (`holding.rs`).
//! Two-phase commit (v6, KIP-939) is not served.
//! Source: TransactionCoordinator.handleInitProducerId, RPCProducerIdManager.

use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, ProducerEpoch, ProducerId};
use strandline_protocol::messages::allocate_producer_ids::AllocateProducerIdsRequest;
use strandline_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::Answer;
use crate::broker::{Broker, ProducerIdBlock};
use crate::controller::producer_ids::{BLOCK_IDS, allocate};
use crate::controller_channel;
use crate::coordinator::transaction::entry::Producer;
use crate::coordinator::transaction::{InitRequest, Refusal};
use crate::coordinator::{enter_transactions, reply_when_committed, slot_of_transaction};
use crate::holding;
use crate::io::{Asker, Effect, Now, RequestContext, Tag};

/// From this version on a fenced producer is called so.
const FENCED_FROM: i16 = 4;

pub(crate) fn init_producer_id(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: InitProducerIdRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let expected = Producer { id: request.producer_id, epoch: request.producer_epoch };
    if (expected.id == ProducerId::NONE) != (expected.epoch == ProducerEpoch::NONE) {
        return Answer::now(refused(ErrorCode::INVALID_REQUEST));
    }
    if let Some(id) = request.transactional_id.clone() {
        let expected = (expected.id != ProducerId::NONE).then_some(expected);
        let wanted = InitRequest { id, timeout_ms: request.transaction_timeout_ms, expected };
        return transactional(broker, now, context, &wanted, request, outbox);
    }
    if let Some(id) = broker.take_producer_id() {
        // The block's record may still be on its way to the disk: nobody may use an id that could be given out again.
        return broker.reply_when_committed(context, broker.producer_ids_before, given(id).into());
    }
    next_block(broker, now, outbox);
    match broker.take_producer_id() {
        Some(id) => broker.reply_when_committed(context, broker.producer_ids_before, given(id).into()),
        None => Answer::now(refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)),
    }
}

/// Gets the next block: from this node's own controller at once, though its record is not committed yet, or from another later.
fn next_block(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    if !broker.controller.is_active() {
        return ask_for_block(broker, now, outbox);
    }
    let (start, record) = allocate(&broker.controller.image, broker.identity.node_id, broker.identity.epoch);
    broker.producer_ids_before = broker.controller.emit(now, vec![record]);
    broker.producer_ids = ProducerIdBlock { next: start.0, end: start.0 + i64::from(BLOCK_IDS) };
}

fn transactional(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    wanted: &InitRequest,
    request: InitProducerIdRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let timeouts = 1..=broker.coordinators.settings.transaction_timeout_max_ms;
    let slot = match slot_of_transaction(broker, &wanted.id) {
        _ if wanted.id.as_str().is_empty() => Err(ErrorCode::INVALID_REQUEST),
        _ if !timeouts.contains(&wanted.timeout_ms) => Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT),
        slot => slot,
    };
    let done = slot.and_then(|slot| {
        with_fresh_id(broker, now, outbox, |broker, outbox, fresh| {
            enter_transactions(broker, now, slot, outbox, |transactions, turn| transactions.init(turn, wanted, fresh))
        })
    });
    match (slot, done) {
        (Ok(slot), Ok(Producer { id: producer_id, epoch: producer_epoch })) => {
            let response = InitProducerIdResponse { producer_id, producer_epoch, ..InitProducerIdResponse::default() };
            reply_when_committed(broker, now, context, &[slot], response.into())
        }
        (Ok(slot), Err(code @ ErrorCode::CONCURRENT_TRANSACTIONS)) => {
            holding::hold(broker, now, context, (slot, &wanted.id), request.into(), refused(code).into(), outbox)
        }
        (_, Err(ErrorCode::PRODUCER_FENCED)) if context.api_version < FENCED_FROM => {
            Answer::now(refused(ErrorCode::INVALID_PRODUCER_EPOCH))
        }
        (_, Err(code)) | (Err(code), _) => Answer::now(refused(code)),
    }
}

/// Runs a decision of a coordinator, with a producer id that nobody has if it needs one. While there is none the client is told
/// to come again.
///
/// # Errors
/// Those of the decision, and COORDINATOR_LOAD_IN_PROGRESS.
pub(crate) fn with_fresh_id<T>(
    broker: &mut Broker,
    now: Now,
    outbox: &mut Vec<Effect>,
    decide: impl Fn(&mut Broker, &mut Vec<Effect>, Option<ProducerId>) -> Result<T, Refusal>,
) -> Result<T, ErrorCode> {
    match decide(broker, outbox, None) {
        Ok(done) => return Ok(done),
        Err(Refusal::Code(code)) => return Err(code),
        Err(Refusal::NeedsProducerId) => {}
    }
    if broker.controller.committed() < broker.producer_ids_before && broker.controller.is_active() {
        return Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    }
    let Some(fresh) = broker.take_producer_id() else {
        next_block(broker, now, outbox);
        return Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    };
    match decide(broker, outbox, Some(fresh)) {
        Ok(done) => Ok(done),
        Err(Refusal::Code(code)) => Err(code),
        Err(Refusal::NeedsProducerId) => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
    }
}

/// Asks the controller, which is another node, for the next block; meanwhile clients are told to come again.
fn ask_for_block(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    if broker.producer_ids_asked {
        return;
    }
    let request =
        AllocateProducerIdsRequest { broker_id: BrokerId(broker.identity.node_id), broker_epoch: broker.identity.epoch };
    let tag = Tag { asker: Asker::ProducerIds, number: 0 };
    broker.producer_ids_asked = controller_channel::ask(broker, now, tag, request.into(), outbox).is_ok();
}

/// The controller gave a block, or did not.
pub(crate) fn on_block(broker: &mut Broker, response: Option<Response>) {
    broker.producer_ids_asked = false;
    if let Some(Response::AllocateProducerIds(response)) = response
        && response.error_code == ErrorCode::NONE
    {
        let next = response.producer_id_start.0;
        broker.producer_ids = ProducerIdBlock { next, end: next + i64::from(response.producer_id_len) };
    }
}

fn given(producer_id: ProducerId) -> InitProducerIdResponse {
    InitProducerIdResponse { producer_id, producer_epoch: ProducerEpoch(0), ..InitProducerIdResponse::default() }
}

fn refused(error_code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        ..InitProducerIdResponse::default()
    }
}
