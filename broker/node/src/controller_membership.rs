//! This controller as a member of the cluster: it registers with the active one, which may be itself, so that the metadata says where
//! it listens and at which levels it works (KIP-919). Once for every process, and again if another registration takes its place.
//! Source: ControllerRegistrationManager.

use strandline_protocol::api::Request;
use strandline_protocol::ids::BrokerId;
use strandline_protocol::messages::controller_registration::{ControllerRegistrationRequest, Feature, Listener};

use crate::broker::Broker;
use crate::controller_channel;
use crate::features::{CONTROLLERS_REGISTER_FROM, FEATURES, METADATA_VERSION_NAME};
use crate::image::Image;
use crate::io::{Asker, Effect, Now, Tag};

/// How long a refused or lost request waits before it is sent again, and an accepted one until the metadata says so.
const RETRY_MS: u64 = 500;

#[derive(Debug, Default)]
pub(crate) struct ControllerMembership {
    is_asking: bool,
    due_ms: u64,
}

/// When something is to be done next.
pub(crate) fn next_due_ms(broker: &Broker) -> u64 {
    let state = &broker.controller_membership;
    if state.is_asking || !is_to_register(broker) { u64::MAX } else { state.due_ms }
}

/// Whether the committed metadata knows nothing of this process. One that is alone registers as it starts (`registration.rs`).
fn is_to_register(broker: &Broker) -> bool {
    let known = broker.image.kept.controllers.get(&broker.identity.node_id);
    !broker.is_alone
        && broker.topology.roles.controller
        && is_known_at(&broker.image)
        && known.is_none_or(|known| known.incarnation_id != broker.identity.incarnation)
}

/// Whether the metadata is at a level at which controllers register.
pub(crate) fn is_known_at(image: &Image) -> bool {
    image.features.get(METADATA_VERSION_NAME).is_some_and(|level| *level >= CONTROLLERS_REGISTER_FROM)
}

/// Looks at the clock and at the committed metadata, and registers if that is due.
pub(crate) fn follow_up(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    if next_due_ms(broker) > now.monotonic_ms {
        return;
    }
    let request: Request = registration(broker).into();
    let tag = Tag { asker: Asker::ControllerMembership, number: 0 };
    broker.controller_membership.due_ms = now.monotonic_ms + RETRY_MS;
    broker.controller_membership.is_asking = controller_channel::ask(broker, now, tag, request, outbox).is_ok();
}

/// The controller answered, or did not: what came of it the metadata says.
pub(crate) fn on_response(broker: &mut Broker, now: Now) {
    broker.controller_membership = ControllerMembership { is_asking: false, due_ms: now.monotonic_ms + RETRY_MS };
}

pub(crate) fn registration(broker: &Broker) -> ControllerRegistrationRequest {
    let listeners = broker.topology.controller_endpoints().map(|end| Listener {
        name: end.listener.clone(),
        host: end.host.clone(),
        port: end.port,
        security_protocol: 0,
    });
    let features = FEATURES.iter().map(|feature| Feature {
        name: feature.name.to_owned(),
        min_supported_version: feature.least,
        max_supported_version: feature.most,
    });
    ControllerRegistrationRequest {
        controller_id: BrokerId(broker.identity.node_id),
        incarnation_id: broker.identity.incarnation,
        zk_migration_ready: false,
        listeners: listeners.collect(),
        features: features.collect(),
    }
}
