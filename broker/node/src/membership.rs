//! This broker as a member of the cluster: it registers with the active controller, beats so that it is known to live, is let
//! in once it knows what the controller knew when it registered, and leaves in order.
//!
//! Stages: *registering* -> *fenced* (registered; its metadata catches up, then it asks to be let in) -> *serving* -> *leaving*
//! (its partitions go to others) -> *left*. A controller that does not know the registration any more makes it register anew.
//! The controller may be this very node: then requests and answers take no socket, and else nothing differs.
//!
//! A heartbeat that got no answer is sent again soon, to whoever leads by then. Source: BrokerLifecycleManager.

use std::fmt;

use strandline_log::disk::{DiskError, FilePath};
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
use crate::flaws::{self, Flaw};
use crate::io::{Asker, Effect, Now, Tag};
use crate::quorum::message::Leadership;

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
    /// Until when the controller must have heard that a log directory failed; which request told it.
    untold: Option<Untold>,
}

/// A failed log directory of which the controller has not heard yet.
#[derive(Clone, Copy, Debug)]
struct Untold {
    until_ms: u64,
    told_by: Option<u64>,
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
            untold: None,
        }
    }

    /// When something is to be done next.
    pub fn next_due_ms(&self) -> u64 {
        let until_ms = self.untold.map_or(u64::MAX, |untold| untold.until_ms);
        if self.under_way.is_some() || self.stage == Stage::Left { until_ms } else { self.due_ms.min(until_ms) }
    }

    /// A log directory failed, and the controller must hear of it by then.
    pub(crate) fn log_dir_failed(&mut self, until_ms: u64) {
        self.untold = Some(Untold { until_ms, told_by: None });
        self.due_ms = 0;
    }

    /// The controller knows what this request told.
    fn heard(&mut self, number: u64) {
        self.untold = self.untold.filter(|untold| untold.told_by.is_none_or(|told_by| told_by > number));
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

/// What a broker that does not serve yet waits for, for people who wonder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    stage: Stage,
    is_alone: bool,
    leadership: Leadership,
    /// How far the metadata is known, and how far this node's metadata log goes.
    known: Offset,
    log_end: Offset,
    /// Whether a request to the controller is under way.
    is_asking: bool,
}

impl Awaited {
    pub(crate) fn by(broker: &Broker) -> Self {
        Self {
            stage: broker.membership.stage,
            is_alone: broker.is_alone,
            leadership: broker.controller.quorum.leadership(),
            known: Offset(broker.image.end.0),
            log_end: broker.controller.end(),
            is_asking: broker.membership.under_way.is_some(),
        }
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = self.leadership.epoch;
        match (self.leadership.leader, self.stage) {
            _ if self.is_alone => write!(f, "its first records of the metadata log to be written")?,
            (None, _) => write!(
                f,
                "a leader of the controllers' quorum, epoch {epoch}: are most of the controllers up and within reach?"
            )?,
            (Some(leader), Stage::Registering) => write!(f, "controller {leader} to take its registration")?,
            (Some(leader), _) => write!(f, "controller {leader} to let it in, registered")?,
        }
        let asking = if self.is_asking { ", asked" } else { "" };
        write!(f, "; metadata known to {}, log to {}{asking}", self.known, self.log_end)
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
    if let Some(untold) = broker.membership.untold.filter(|untold| untold.until_ms <= now.monotonic_ms) {
        return unheard(broker, untold, outbox);
    }
    if broker.membership.under_way.is_some() || broker.membership.next_due_ms() > now.monotonic_ms {
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
    if let Some(untold) = &mut broker.membership.untold {
        untold.told_by.get_or_insert(number);
    }
    let tag = Tag { asker: Asker::Membership, number };
    match controller_channel::ask(broker, now, tag, request, outbox) {
        Ok(()) => broker.membership.leaderless_since_ms = None,
        Err(_) => broker.membership.nobody_leads(now.monotonic_ms),
    }
}

/// Nobody takes the lead away from partitions that this broker cannot serve: it goes as a whole, and its session ends.
/// Source: BrokerLifecycleManager.OfflineDirBrokerFailureEvent.
fn unheard(broker: &mut Broker, untold: Untold, outbox: &mut Vec<Effect>) {
    broker.membership.untold = Some(Untold { until_ms: u64::MAX, ..untold });
    let failed = broker.log_dirs.iter().find_map(|(place, directory)| Some((place, directory.failed.clone()?)));
    if let Some((place, reason)) = failed {
        let file = FilePath::of(place, "");
        let reason = format!("{reason}; the controller could not be told in time");
        outbox.push(Effect::Fail { file: file.clone(), reason: DiskError::Failed { file, reason } });
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
        Some(Response::BrokerHeartbeat(response)) if response.error_code == ErrorCode::NONE => {
            broker.membership.heard(tag.number);
            on_heartbeat(broker, now, &response);
        }
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
        offline_log_dirs: if flaws::is(Flaw::DirectoryLossUntold) { Vec::new() } else { broker.log_dirs.failed_ids() },
        cordoned_log_dirs: None,
    }
}
