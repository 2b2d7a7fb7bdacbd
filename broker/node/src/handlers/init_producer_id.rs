//! InitProducerId (key 22), versions 0 to 5: an identity for an idempotent producer.
//!
//! Producer ids come from the controller in blocks of 1000, as committed records, so that none is given out twice, not
//! even after a crash. A request with a transactional id is refused: there is no transaction coordinator yet.
//! Source: TransactionCoordinator.handleInitProducerId, RPCProducerIdManager.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, ProducerEpoch, ProducerId};
use strandline_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use strandline_protocol::metadata::producer_ids::ProducerIdsRecord;

use super::Answer;
use crate::broker::{Broker, ProducerIdBlock};
use crate::io::{Now, RequestContext};
use crate::settings::block_end;

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
    let start = broker.controller.image.next_producer_id;
    let end = block_end(start);
    let record = ProducerIdsRecord {
        broker_id: BrokerId(broker.identity.node_id),
        broker_epoch: broker.identity.epoch,
        next_producer_id: end,
    };
    let before = broker.controller.emit(now, vec![record.into()]);
    broker.producer_ids_before = before;
    broker.producer_ids = ProducerIdBlock { next: start.0 + 1, end: end.0 };
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
