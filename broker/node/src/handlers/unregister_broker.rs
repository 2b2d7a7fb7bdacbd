//! UnregisterBroker (key 64), version 0: a broker is taken out of the cluster (KIP-631). A live one registers again only when
//! it is started again.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::Answer;
use crate::broker::Broker;
use crate::controller::membership;
use crate::io::{Now, RequestContext};

pub(crate) fn unregister_broker(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: UnregisterBrokerRequest,
) -> Answer {
    let (error_code, error_message) = match membership::unregister(broker, now, request.broker_id.0) {
        Ok(()) => (ErrorCode::NONE, None),
        Err(refused) => (refused.code, Some(refused.message)),
    };
    let before = broker.controller.end();
    let response = UnregisterBrokerResponse { error_code, error_message, ..Default::default() };
    broker.reply_when_committed(context, before, response.into())
}
