//! InitProducerId (key 22), versions 0 to 5: an identity for an idempotent producer.
//!
//! Producer ids come from the controller in blocks of 1000, as committed records, so that none is given out twice, not
//! even after a crash. A request with a transactional id is refused: there is no transaction coordinator yet.
//! Source: TransactionCoordinator.handleInitProducerId, RPCProducerIdManager.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{ProducerEpoch, ProducerId};
use strandline_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::Answer;
use crate::broker::{Broker, ProducerIdBlock};
use crate::controller::producer_ids::{BLOCK_IDS, allocate};
use crate::io::{Now, RequestContext};

pub(crate) fn init_producer_id(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: InitProducerIdRequest,
) -> Answer {
    if let Some(id) = &request.transactional_id {
        let code = if id.as_str().is_empty() { ErrorCode::INVALID_REQUEST } else { ErrorCode::COORDINATOR_NOT_AVAILABLE };
        return Answer::now(refused(code));
    }
    if let Some(id) = broker.take_producer_id() {
        // The block's record may still be on its way to the disk: nobody may use an id that could be given out again.
        return broker.reply_when_committed(context, broker.producer_ids_before, given(id).into());
    }
    let (start, record) = allocate(&broker.controller.image, broker.identity.node_id, broker.identity.epoch);
    let before = broker.controller.emit(now, vec![record]);
    broker.producer_ids_before = before;
    broker.producer_ids = ProducerIdBlock { next: start.0 + 1, end: start.0 + i64::from(BLOCK_IDS) };
    broker.reply_when_committed(context, before, given(start).into())
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
