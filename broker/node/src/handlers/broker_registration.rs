//! BrokerRegistration (key 62), versions 0 to 4: a broker joins the cluster (KIP-631). Served to brokers, at the
//! controllers' listener.
//!
//! v2 log directories (KIP-858) · v3 previous broker epoch (KIP-966) · v4 features from level 0.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::broker_registration::{BrokerRegistrationRequest, BrokerRegistrationResponse};

use super::Answer;
use crate::broker::Broker;
use crate::controller::membership;
use crate::io::{Now, RequestContext};

pub(crate) fn broker_registration(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: BrokerRegistrationRequest,
) -> Answer {
    let response = match membership::register(broker, now, Some(context.connection), &request) {
        Ok(broker_epoch) => BrokerRegistrationResponse { broker_epoch, ..Default::default() },
        Err(refused) => BrokerRegistrationResponse { error_code: refused.code, broker_epoch: -1, ..Default::default() },
    };
    let before = if response.error_code == ErrorCode::NONE { broker.controller.end() } else { broker.controller.committed() };
    broker.reply_when_committed(context, before, response.into())
}
