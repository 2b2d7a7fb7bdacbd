//! AllocateProducerIds (key 67), version 0: a block of producer ids for a broker (KIP-730).

use strandline_protocol::messages::allocate_producer_ids::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};

use super::Answer;
use crate::broker::Broker;
use crate::controller::membership::registered;
use crate::controller::producer_ids::{BLOCK_IDS, allocate};
use crate::io::{Now, RequestContext};

pub(crate) fn allocate_producer_ids(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: AllocateProducerIdsRequest,
) -> Answer {
    if let Err(error_code) = registered(broker, request.broker_id.0, request.broker_epoch) {
        return Answer::now(AllocateProducerIdsResponse { error_code, ..Default::default() });
    }
    let (producer_id_start, record) = allocate(&broker.controller.image, request.broker_id.0, request.broker_epoch);
    let response = AllocateProducerIdsResponse { producer_id_start, producer_id_len: BLOCK_IDS, ..Default::default() };
    broker.emit_then(now, context, vec![record], response.into())
}
