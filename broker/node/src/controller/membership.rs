//! The brokers of the cluster under the active controller: they register, send heartbeats, are fenced when they fall
//! silent, shut down in good order, and are taken out.
//!
//! ```text
//! registered, fenced -> unfenced      its heartbeat shows that it has applied its own registration
//! unfenced -> fenced                  its session ended, its port refuses, or it asks for it
//! unfenced -> leaving                 it wants to shut down: its partitions go to others
//! leaving -> fenced, may end          it leads nothing, and every live broker has applied that
//! ```
//! A fenced broker that wants to shut down may end at once. Source: BrokerHeartbeatManager.calculateNextBrokerState.

use strandline_protocol::api::{Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::Offset;
use strandline_protocol::messages::api_versions::ApiVersionsRequest;
use strandline_protocol::messages::broker_heartbeat::BrokerHeartbeatRequest;
use strandline_protocol::messages::broker_registration::BrokerRegistrationRequest;
use strandline_protocol::metadata::MetadataRecord;

use super::fencing::Cluster;
use super::liveness::{Liveness, Sign};
use super::registrations;
use super::topics::Refused;
use crate::broker::Broker;
use crate::image::brokers::Registration;
use crate::io::{Asker, ConnectionId, Effect, Lane, Now, PeerAddress, PeerLost, Tag};

/// How long a broker whose connection broke may take to answer a connection attempt: it is refused or accepted at once, or the
/// session's end decides.
const PROBE_MS: u32 = 1000;

/// What a heartbeat is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    pub is_caught_up: bool,
    pub is_fenced: bool,
    pub should_shut_down: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Fenced,
    Unfenced,
    /// In controlled shutdown.
    Leaving,
    /// Fenced, and may end.
    Gone,
}

/// A newly active controller: whoever is registered has a whole session from now on. Whoever was the active controller before
/// may have died with its broker, and its connections broke before anybody looked: so every port is asked once.
pub(crate) fn take_over(broker: &mut Broker, now: Now) {
    let own = broker.topology.roles.broker.then_some(broker.identity.node_id);
    let mut liveness = Liveness::new(broker.settings.broker_session_timeout_ms, own);
    // The registration of this node's last process holds nobody up: this one takes its place.
    let past = |known: &Registration| own == Some(known.id) && known.incarnation != broker.identity.incarnation;
    for known in broker.controller.image.brokers.iter().filter(|known| !past(known)) {
        let sign = Sign { broker: known.id, epoch: known.epoch, applied: Offset(-1), connection: None };
        liveness.renew(now.monotonic_ms, sign);
        if own != Some(known.id) {
            liveness.ask(now.monotonic_ms, known.id);
        }
    }
    broker.controller.liveness = liveness;
}

/// Registers a broker, or amends its registration. Answers with its epoch.
///
/// # Errors
/// DUPLICATE_BROKER_REGISTRATION while another incarnation is alive, and what [`registrations::check`] refuses.
pub(crate) fn register(
    broker: &mut Broker,
    now: Now,
    connection: Option<ConnectionId>,
    request: &BrokerRegistrationRequest,
) -> Result<i64, Refused> {
    let id = request.broker_id.0;
    registrations::check(&broker.controller.image, &broker.identity.cluster_id, request)?;
    let before = broker.controller.image.brokers.get(id).cloned();
    let another = before.as_ref().is_none_or(|known| known.incarnation != request.incarnation_id);
    if let Some(known) = before.as_ref().filter(|_| another) {
        let is_own = id == broker.identity.node_id && request.incarnation_id == broker.identity.incarnation;
        let liveness = &broker.controller.liveness;
        let is_live = liveness.is_live(now.monotonic_ms, id);
        let is_successor = has_disks_of(known, request) && !liveness.is_connected(id);
        if is_live && !is_own && !is_successor && !known.in_controlled_shutdown {
            let message = format!("another process is registered as broker {id}, and alive");
            return Err(Refused::new(ErrorCode::DUPLICATE_BROKER_REGISTRATION, message));
        }
        if !known.fenced {
            let records = cluster(broker).fence(known);
            broker.controller.emit_all(now, records);
        }
    }
    if another && !ended_well(before.as_ref(), request) {
        let records = cluster(broker).crash(id, &request.log_dirs);
        broker.controller.emit_all(now, records);
    }
    let record = registrations::record(request, before.as_ref(), broker.controller.end().0);
    let epoch = record.broker_epoch;
    broker.controller.emit(now, vec![record.into()]);
    let sign = Sign { broker: id, epoch, applied: Offset(-1), connection };
    broker.controller.liveness.renew(now.monotonic_ms, sign);
    Ok(epoch)
}

/// The process before wrote all it had and said so last, and its disks are the same.
fn ended_well(before: Option<&Registration>, request: &BrokerRegistrationRequest) -> bool {
    before.is_some_and(|known| known.epoch == request.previous_broker_epoch && has_disks_of(known, request))
}

/// All log directories that work were those of the process before.
fn has_disks_of(known: &Registration, request: &BrokerRegistrationRequest) -> bool {
    !request.log_dirs.is_empty() && request.log_dirs.iter().all(|directory| known.log_dirs.contains(directory))
}

/// Takes a heartbeat.
///
/// # Errors
/// STALE_BROKER_EPOCH if it is not from the registration in force.
pub(crate) fn heartbeat(
    broker: &mut Broker,
    now: Now,
    connection: Option<ConnectionId>,
    request: &BrokerHeartbeatRequest,
) -> Result<Beat, ErrorCode> {
    let known = registered(broker, request.broker_id.0, request.broker_epoch)?;
    let is_caught_up = request.current_metadata_offset.0 >= known.epoch;
    let standing = standing(&known);
    let next = next(broker, &known, request, is_caught_up);
    if next != standing {
        let cluster = cluster(broker);
        let records = match next {
            Standing::Unfenced => cluster.unfence(&known),
            Standing::Leaving => cluster.shut_down(&known),
            Standing::Fenced | Standing::Gone if known.fenced => Vec::new(),
            Standing::Fenced | Standing::Gone => cluster.fence(&known),
        };
        let end = broker.controller.emit_all(now, records);
        if next == Standing::Leaving {
            broker.controller.liveness.leaves_at(known.id, end);
        }
    }
    if next == Standing::Gone {
        broker.controller.liveness.end(known.id);
    } else {
        let applied = request.current_metadata_offset;
        let sign = Sign { broker: known.id, epoch: known.epoch, applied, connection };
        broker.controller.liveness.renew(now.monotonic_ms, sign);
    }
    if !request.offline_log_dirs.is_empty() {
        let records = cluster(broker).lose_directories(&known, &request.offline_log_dirs);
        broker.controller.emit_all(now, records);
    }
    let is_fenced = matches!(next, Standing::Fenced | Standing::Gone);
    Ok(Beat { is_caught_up, is_fenced, should_shut_down: next == Standing::Gone })
}

fn standing(known: &Registration) -> Standing {
    match (known.fenced, known.in_controlled_shutdown) {
        (true, _) => Standing::Fenced,
        (false, true) => Standing::Leaving,
        (false, false) => Standing::Unfenced,
    }
}

fn next(broker: &mut Broker, known: &Registration, request: &BrokerHeartbeatRequest, is_caught_up: bool) -> Standing {
    let leads = broker.controller.image.topics.standings.led_by(known.id) > 0;
    match standing(known) {
        Standing::Fenced if request.want_shut_down => Standing::Gone,
        Standing::Fenced if !request.want_fence && is_caught_up => Standing::Unfenced,
        Standing::Unfenced if request.want_shut_down && (request.want_fence || !leads) => Standing::Gone,
        Standing::Unfenced if request.want_fence => Standing::Fenced,
        Standing::Unfenced if request.want_shut_down => Standing::Leaving,
        Standing::Leaving if !leads && others_know(broker, known.id) => Standing::Gone,
        unchanged => unchanged,
    }
}

/// Whether all live brokers have applied that this one leads nothing any more: their clients find the new leaders.
fn others_know(broker: &mut Broker, id: i32) -> bool {
    let end = broker.controller.end();
    let before = broker.controller.liveness.leaves_at(id, end);
    let own = broker.identity.node_id;
    let others = broker.controller.image.brokers.iter().filter(|known| known.is_active() && known.id != own);
    let applied = broker.controller.liveness.applied_by_all(others.map(|known| known.id));
    // An offset that a broker tells is the last one that it applied; what stands before an end is applied.
    applied >= Offset(before.0 - 1) && broker.image.end >= before
}

/// Takes a broker out of the cluster.
///
/// # Errors
/// BROKER_ID_NOT_REGISTERED.
pub(crate) fn unregister(broker: &mut Broker, now: Now, id: i32) -> Result<(), Refused> {
    let Some(known) = broker.controller.image.brokers.get(id).cloned() else {
        return Err(Refused::new(ErrorCode::BROKER_ID_NOT_REGISTERED, format!("broker {id} is not registered")));
    };
    let records = cluster(broker).unregister(&known);
    broker.controller.emit_all(now, records);
    broker.controller.liveness.end(id);
    Ok(())
}

/// Fences those whose session is over, and asks for those who are to be asked for.
pub(crate) fn expire(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    if !broker.controller.is_active() {
        return;
    }
    for id in broker.controller.liveness.take_asked() {
        ask(broker, id, outbox);
    }
    while let Some(id) = broker.controller.liveness.expired(now.monotonic_ms) {
        fence(broker, now, id);
    }
}

/// A connection is gone. If it carried a broker's heartbeats, its port is asked whether anybody is there.
pub(crate) fn on_disconnected(broker: &mut Broker, connection: ConnectionId, outbox: &mut Vec<Effect>) {
    if let Some(id) = broker.controller.liveness.disconnected(connection) {
        ask(broker, id, outbox);
    }
}

fn ask(broker: &Broker, id: i32, outbox: &mut Vec<Effect>) {
    let Some(known) = broker.controller.image.brokers.get(id).filter(|known| !known.fenced) else { return };
    let between_brokers = known.endpoints.iter().find(|endpoint| endpoint.listener == broker.topology.inter_broker);
    let Some(endpoint) = between_brokers.or(known.endpoints.first()) else { return };
    outbox.push(Effect::Send {
        to: PeerAddress { node: id, host: endpoint.host.as_str().into(), port: endpoint.port },
        lane: Lane::Control,
        tag: Tag { asker: Asker::Liveness, number: known.epoch.cast_unsigned() },
        request: Box::new(Request::ApiVersions(ApiVersionsRequest {
            client_software_name: "strandline".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        })),
        timeout_ms: PROBE_MS,
    });
}

/// What became of the question; only a refusal says that the process is gone.
pub(crate) fn on_probed(broker: &mut Broker, now: Now, tag: Tag, result: Result<Box<Response>, PeerLost>) {
    if !matches!(result, Err(PeerLost::Refused)) {
        return;
    }
    let epoch = tag.number.cast_signed();
    let probed = broker.controller.image.brokers.iter().find(|known| known.epoch == epoch).map(|known| known.id);
    if let Some(id) = probed {
        fence_now(broker, now, id);
    }
}

/// Fences a broker whose process is known to be gone, without waiting for its session to end.
fn fence_now(broker: &mut Broker, now: Now, id: i32) {
    broker.controller.liveness.end(id);
    fence(broker, now, id);
}

fn fence(broker: &mut Broker, now: Now, id: i32) {
    if !broker.controller.is_active() {
        return;
    }
    let known = broker.controller.image.brokers.get(id).filter(|known| !known.fenced).cloned();
    if let Some(known) = known {
        let records: Vec<MetadataRecord> = cluster(broker).fence(&known);
        broker.controller.emit_all(now, records);
    }
}

/// The registration in force.
///
/// # Errors
/// STALE_BROKER_EPOCH if it is another one, or none.
pub(crate) fn registered(broker: &Broker, id: i32, epoch: i64) -> Result<Registration, ErrorCode> {
    let known = broker.controller.image.brokers.get(id).filter(|known| known.epoch == epoch);
    known.cloned().ok_or(ErrorCode::STALE_BROKER_EPOCH)
}

fn cluster(broker: &Broker) -> Cluster<'_> {
    Cluster { image: &broker.controller.image, start: &broker.config }
}
