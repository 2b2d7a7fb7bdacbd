//! ControllerRegistration (key 70), version 0: a controller tells the active one where it listens and what it can (KIP-919).

use strandline_protocol::messages::controller_registration::{
    ControllerRegistrationRequest, ControllerRegistrationResponse, Feature, Listener,
};
use strandline_protocol::metadata::controller::{ControllerEndpoint, ControllerFeature, RegisterControllerRecord};

use super::Answer;
use crate::broker::Broker;
use crate::io::{Now, RequestContext};

pub(crate) fn controller_registration(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: ControllerRegistrationRequest,
) -> Answer {
    broker.emit_then(now, context, vec![record(request).into()], ControllerRegistrationResponse::default().into())
}

/// What the metadata keeps of a registration.
pub(crate) fn record(request: ControllerRegistrationRequest) -> RegisterControllerRecord {
    let endpoint = |listener: Listener| ControllerEndpoint {
        name: listener.name,
        host: listener.host,
        port: listener.port,
        security_protocol: listener.security_protocol,
    };
    let feature = |feature: Feature| ControllerFeature {
        name: feature.name,
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
    };
    RegisterControllerRecord {
        controller_id: request.controller_id,
        incarnation_id: request.incarnation_id,
        zk_migration_ready: false,
        end_points: request.listeners.into_iter().map(endpoint).collect(),
        features: request.features.into_iter().map(feature).collect(),
    }
}
