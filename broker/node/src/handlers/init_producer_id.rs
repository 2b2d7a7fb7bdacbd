//! InitProducerId (key 22), versions 0 to 5: an identity for an idempotent producer.
//!
//! Producer ids come from the controller in blocks of 1000, as committed records, so that none is given out twice, not
//! even after a crash. A request with a transactional id is refused: there is no transaction coordinator yet.
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
use crate::io::{Asker, Effect, Now, RequestContext, Tag};

pub(crate) fn init_producer_id(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: InitProducerIdRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    if let Some(id) = &request.transactional_id {
        let code = if id.as_str().is_empty() { ErrorCode::INVALID_REQUEST } else { ErrorCode::COORDINATOR_NOT_AVAILABLE };
        return Answer::now(refused(code));
    }
    if let Some(id) = broker.take_producer_id() {
        // The block's record may still be on its way to the disk: nobody may use an id that could be given out again.
        return broker.reply_when_committed(context, broker.producer_ids_before, given(id).into());
    }
    if !broker.controller.is_active() {
        ask_for_block(broker, now, outbox);
        return Answer::now(refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    }
    let (start, record) = allocate(&broker.controller.image, broker.identity.node_id, broker.identity.epoch);
    let before = broker.controller.emit(now, vec![record]);
    broker.producer_ids_before = before;
    broker.producer_ids = ProducerIdBlock { next: start.0 + 1, end: start.0 + i64::from(BLOCK_IDS) };
    broker.reply_when_committed(context, before, given(start).into())
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
