//! This broker as a member of the cluster: it registers with the active controller, beats so that it is known to live, is let
//! in once it knows what the controller knew when it registered, and leaves in order.
//!
//! Stages: *registering* -> *fenced* (registered; its metadata catches up, then it asks to be let in) -> *serving* -> *leaving*
//! (its partitions go to others) -> *left*. A controller that does not know the registration any more makes it register anew.
//! The controller may be this very node: then requests and answers take no socket, and else nothing differs.
//!
//! A heartbeat that got no answer is sent again soon, to whoever leads by then. Source: BrokerLifecycleManager.

use strandline_protocol::api::{Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Offset};
use strandline_protocol::messages::broker_heartbeat::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};
use strandline_protocol::messages::broker_registration::{
    BrokerRegistrationRequest, BrokerRegistrationResponse, Feature, Listener,
};

use crate::broker::Broker;
use crate::controller_channel;
use crate::features::FEATURES;
use crate::io::{Asker, Effect, Now, Tag};

/// How long a refused or lost request waits before it is sent again.
const RETRY_MS: u64 = 50;
/// How long a registration waits when the session of this broker's last process may still be alive.
const DUPLICATE_RETRY_MS: u64 = 250;
/// A broker that leaves waits so long for somebody to lead the quorum: longer than an election. The last ones of a cluster that
/// stops as a whole wait for nobody.
const LEADERLESS_MAX_MS: u64 = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Registering,
    Fenced,
    Serving,
    Leaving,
    Left,
}

#[derive(Debug)]
pub struct Membership {
    pub stage: Stage,
    /// From the mark of a clean shutdown; -1 without one.
    previous_epoch: i64,
    interval_ms: u64,
    /// The request under way.
    under_way: Option<u64>,
    next_number: u64,
    due_ms: u64,
    /// Since when a broker that leaves finds nobody to ask.
    leaderless_since_ms: Option<u64>,
}

impl Membership {
    pub fn new(previous_epoch: i64, interval_ms: u64) -> Self {
        Self {
            stage: Stage::Registering,
            previous_epoch,
            interval_ms,
            under_way: None,
            next_number: 0,
            due_ms: 0,
            leaderless_since_ms: None,
        }
    }

    /// When something is to be done next.
    pub fn next_due_ms(&self) -> u64 {
        if self.under_way.is_some() || self.stage == Stage::Left { u64::MAX } else { self.due_ms }
    }

    /// The broker was asked to stop.
    pub fn leave(&mut self) {
        self.stage = if self.stage >= Stage::Fenced { Stage::Leaving } else { Stage::Left };
        self.due_ms = 0;
        self.leaderless_since_ms = None;
    }

    fn nobody_leads(&mut self, now_ms: u64) {
        self.under_way = None;
        self.due_ms = now_ms + RETRY_MS;
        let since_ms = *self.leaderless_since_ms.get_or_insert(now_ms);
        if self.stage == Stage::Leaving && now_ms >= since_ms + LEADERLESS_MAX_MS {
            self.stage = Stage::Left;
        }
    }
}

/// Looks at the clock and at the committed metadata, and asks the controller what is to be asked.
pub(crate) fn follow_up(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    if !broker.topology.roles.broker {
        return;
    }
    let is_caught_up = broker.image.end.0 > broker.identity.epoch;
    let own = broker.image.brokers.get(broker.identity.node_id).filter(|own| own.epoch == broker.identity.epoch);
    let is_let_in = own.is_some_and(|own| !own.fenced);
    if broker.membership.stage == Stage::Fenced && is_let_in {
        broker.membership.stage = Stage::Serving;
    }
    if broker.membership.next_due_ms() > now.monotonic_ms {
        return;
    }
    let request: Request = match broker.membership.stage {
        Stage::Registering => registration(broker).into(),
        // Until the own registration is known there is nothing to ask for.
        Stage::Fenced if !is_caught_up => {
            broker.membership.due_ms = now.monotonic_ms + RETRY_MS;
            return;
        }
        Stage::Fenced | Stage::Serving | Stage::Leaving => heartbeat(broker).into(),
        Stage::Left => return,
    };
    broker.membership.next_number += 1;
    let number = broker.membership.next_number;
    broker.membership.under_way = Some(number);
    let tag = Tag { asker: Asker::Membership, number };
    match controller_channel::ask(broker, now, tag, request, outbox) {
        Ok(()) => broker.membership.leaderless_since_ms = None,
        Err(_) => broker.membership.nobody_leads(now.monotonic_ms),
    }
}

/// The metadata moved: a broker that waits for it need not wait longer.
pub(crate) fn on_metadata(broker: &mut Broker) {
    if broker.membership.stage == Stage::Fenced && broker.image.end.0 > broker.identity.epoch {
        broker.membership.due_ms = 0;
    }
}

/// The controller answered, or did not.
pub(crate) fn on_response(broker: &mut Broker, now: Now, tag: Tag, response: Option<Response>) {
    if broker.membership.under_way != Some(tag.number) {
        return;
    }
    broker.membership.under_way = None;
    broker.membership.due_ms = now.monotonic_ms + RETRY_MS;
    match response {
        Some(Response::BrokerRegistration(response)) => on_registered(broker, now, &response),
        Some(Response::BrokerHeartbeat(response)) => on_heartbeat(broker, now, &response),
        _ => {}
    }
}

fn on_registered(broker: &mut Broker, now: Now, response: &BrokerRegistrationResponse) {
    if response.error_code == ErrorCode::NONE {
        broker.identity.epoch = response.broker_epoch;
        if broker.membership.stage == Stage::Registering {
            broker.membership.stage = Stage::Fenced;
        }
        broker.membership.due_ms = now.monotonic_ms;
    } else if response.error_code == ErrorCode::DUPLICATE_BROKER_REGISTRATION {
        broker.membership.due_ms = now.monotonic_ms + DUPLICATE_RETRY_MS;
    }
}

fn on_heartbeat(broker: &mut Broker, now: Now, response: &BrokerHeartbeatResponse) {
    let membership = &mut broker.membership;
    match response.error_code {
        ErrorCode::NONE => {
            if response.should_shut_down && membership.stage == Stage::Leaving {
                membership.stage = Stage::Left;
            }
            let wait_ms = if membership.stage == Stage::Leaving { RETRY_MS } else { membership.interval_ms };
            membership.due_ms = now.monotonic_ms + wait_ms;
        }
        ErrorCode::STALE_BROKER_EPOCH | ErrorCode::BROKER_ID_NOT_REGISTERED if membership.stage == Stage::Leaving => {
            membership.stage = Stage::Left;
        }
        ErrorCode::STALE_BROKER_EPOCH | ErrorCode::BROKER_ID_NOT_REGISTERED if membership.stage == Stage::Fenced => {
            membership.stage = Stage::Registering;
        }
        _ => {}
    }
}

fn registration(broker: &Broker) -> BrokerRegistrationRequest {
    let listeners = broker.topology.client_endpoints().map(|end| Listener {
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
    BrokerRegistrationRequest {
        broker_id: BrokerId(broker.identity.node_id),
        cluster_id: broker.identity.cluster_id.clone(),
        incarnation_id: broker.identity.incarnation,
        listeners: listeners.collect(),
        features: features.collect(),
        rack: broker.settings.rack.clone(),
        is_migrating_zk_broker: false,
        log_dirs: broker.log_dirs.online_ids(),
        previous_broker_epoch: broker.membership.previous_epoch,
    }
}

fn heartbeat(broker: &Broker) -> BrokerHeartbeatRequest {
    BrokerHeartbeatRequest {
        broker_id: BrokerId(broker.identity.node_id),
        broker_epoch: broker.identity.epoch,
        current_metadata_offset: Offset(broker.image.end.0 - 1),
        want_fence: false,
        want_shut_down: broker.membership.stage == Stage::Leaving,
        offline_log_dirs: Vec::new(),
        cordoned_log_dirs: None,
    }
}
