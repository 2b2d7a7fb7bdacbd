//! The follower's side: asks leaders, takes what they answer, cuts logs back; and asks the controller for changed in-sync sets.
//!
//! [`ask`] sends what may leave when a burst of inputs is over; [`answered`] takes what came back. A cut goes through the
//! steps of `truncation.rs`, driven from here.

use std::sync::Arc;

use strandline_log::disk::DiskError;
use strandline_log::recover::{RecoverError, Recovered};
use strandline_protocol::api::{Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Offset};
use strandline_protocol::messages::alter_partition::{AlterPartitionRequest, AlterPartitionResponse};
use strandline_protocol::messages::fetch::{FetchResponse, PartitionData, ReplicaState};

use crate::broker::{Broker, JobOwner};
use crate::cleaning;
use crate::controller_channel;
use crate::directory::After;
use crate::flaws::{self, Flaw};
use crate::io::{Asker, Effect, Job, Lane, Now, Owner, PeerAddress, PeerLost, Tag};
use crate::parked::ParkedId;
use crate::replica::follower::Step;
use crate::replica::in_sync::{self, Slots, Verdict};
use crate::replica::truncation::{Cut, Step as CutStep, Truncation};
use crate::replica::{Replica, Role, assign, assignments, leading, moving, renewal};
use crate::upkeep;

/// How long the leader may be silent beyond the time that it may wait for news.
const LEADER_PATIENCE_MS: u32 = 10_000;

/// What this node asked for replication, by the number of its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Fetch { leader: i32 },
    AlterPartition,
}

/// Sends what may leave now.
pub(crate) fn ask(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    assignments::ask(broker, now, outbox);
    for slot in broker.fetchers.back(now.monotonic_ms) {
        follow_again(broker, slot);
    }
    for leader in broker.fetchers.take_ready(now.monotonic_ms) {
        ask_leader(broker, now, leader, outbox);
    }
    if broker.in_sync.is_time_to_reconsider(now.monotonic_ms) {
        leading::expand_again(broker, now);
    }
    if let Some(slots) = broker.in_sync.take_pending(now.monotonic_ms) {
        ask_controller(broker, now, slots, outbox);
    }
}

/// When something is to be done by the clock.
pub(crate) fn next_due_ms(broker: &Broker) -> Option<u64> {
    let others = broker.in_sync.next_due_ms().into_iter().chain(broker.assignments.next_due_ms());
    broker.fetchers.next_due_ms().into_iter().chain(others).min()
}

fn follow_again(broker: &mut Broker, slot: u32) {
    let Some(replica) = broker.replicas.get(slot).filter(|replica| !replica.deleted) else { return };
    if let Role::Follower(follower) = &replica.role
        && follower.leader >= 0
        && replica.truncation.is_none()
    {
        broker.fetchers.follow(slot, follower.leader, replica.topic, replica.name.clone(), replica.partition);
    }
}

fn ask_leader(broker: &mut Broker, now: Now, leader: i32, outbox: &mut Vec<Effect>) {
    if let Some(until_ms) = broker.throttles.fetches_rest_ms() {
        leave_throttled(broker, leader, until_ms);
    }
    let Some(slots) = broker.fetchers.to_ask(leader) else { return };
    let mut questions = Vec::with_capacity(slots.len());
    for slot in slots {
        let Some(replica) = broker.replicas.get_mut(slot) else { continue };
        // A log that is busy with what it was before it followed this leader is asked about when that is done.
        if !replica.log_counts() {
            broker.fetchers.writes(slot);
            return;
        }
        if let Role::Follower(follower) = &mut replica.role {
            questions.push((slot, follower.ask(&replica.log)));
        }
    }
    let number = broker.next_tag();
    let me = ReplicaState { replica_id: BrokerId(broker.identity.node_id), replica_epoch: broker.identity.epoch };
    let bounds = broker.settings.replica_fetch;
    let Some(request) = broker.fetchers.ask(leader, number, &questions, bounds, me) else { return };
    let Some(to) = address_of(broker, leader) else {
        // The metadata names it as leader and will name its address again when it registers.
        return broker.fetchers.lost(leader, number, now.monotonic_ms + broker.settings.replica_backoff_ms);
    };
    let timeout_ms = u32::try_from(bounds.wait_ms).unwrap_or(0) + LEADER_PATIENCE_MS;
    broker.asked.insert(number, Asked::Fetch { leader });
    outbox.push(send(to, Lane::Replication, number, request.into(), timeout_ms));
}

/// Partitions that are behind are not fetched before, if they are throttled.
fn leave_throttled(broker: &mut Broker, leader: i32, until_ms: u64) {
    let here = broker.identity.node_id;
    for slot in broker.fetchers.followed_from(leader) {
        let Some(replica) = broker.replicas.get(slot) else { continue };
        let is_behind = matches!(&replica.role, Role::Follower(follower) if !follower.is_level(&replica.log));
        if is_behind && replica.config.follower_throttled.has(replica.partition, here) {
            broker.fetchers.leave_until(slot, until_ms);
        }
    }
}

fn send(to: PeerAddress, lane: Lane, number: u64, request: Request, timeout_ms: u32) -> Effect {
    Effect::Send { to, lane, tag: Tag { asker: Asker::Replication, number }, request: Box::new(request), timeout_ms }
}

/// Where brokers reach a broker; `None` while it is not known.
pub(crate) fn address_of(broker: &Broker, id: i32) -> Option<PeerAddress> {
    let known = broker.image.brokers.get(id)?;
    let endpoint = known.endpoints.iter().find(|endpoint| endpoint.listener == broker.topology.inter_broker)?;
    Some(PeerAddress { node: id, host: Arc::from(endpoint.host.as_str()), port: endpoint.port })
}

fn ask_controller(broker: &mut Broker, now: Now, slots: std::collections::BTreeSet<u32>, outbox: &mut Vec<Effect>) {
    let mut request = AlterPartitionRequest {
        broker_id: BrokerId(broker.identity.node_id),
        broker_epoch: broker.identity.epoch,
        topics: Vec::new(),
    };
    let mut asked = Slots::new();
    for slot in slots {
        let Some(replica) = broker.replicas.get(slot) else { continue };
        let Role::Leader(leader) = &replica.role else { continue };
        if let Some(proposal) = leader.proposal() {
            in_sync::add(&mut request, replica.topic, replica.partition, leader, proposal);
            asked.insert((replica.topic, replica.partition), slot);
        }
    }
    if asked.is_empty() {
        return;
    }
    let number = broker.next_tag();
    broker.in_sync.asked(number, asked);
    broker.asked.insert(number, Asked::AlterPartition);
    let tag = Tag { asker: Asker::Replication, number };
    if controller_channel::ask(broker, now, tag, request.into(), outbox).is_err() {
        answered(broker, now, number, Err(PeerLost::Refused));
    }
}

/// An answer, or none, to something that was asked here.
pub(crate) fn answered(broker: &mut Broker, now: Now, number: u64, result: Result<Box<Response>, PeerLost>) {
    match (broker.asked.remove(&number), result.map(|response| *response)) {
        (Some(Asked::Fetch { leader }), Ok(Response::Fetch(response))) => fetched(broker, now, leader, number, response),
        (Some(Asked::Fetch { leader }), _) => {
            broker.fetchers.lost(leader, number, now.monotonic_ms + broker.settings.replica_backoff_ms);
        }
        (Some(Asked::AlterPartition), Ok(Response::AlterPartition(response))) => altered(broker, now, number, response),
        (Some(Asked::AlterPartition), _) => {
            if let Some(slots) = broker.in_sync.ended(number) {
                broker.in_sync.again(slots.into_values(), now.monotonic_ms + broker.settings.replica_backoff_ms);
            }
        }
        (None, _) => {}
    }
}

fn fetched(broker: &mut Broker, now: Now, leader: i32, number: u64, response: FetchResponse) {
    if response.error_code != ErrorCode::NONE {
        // The session is opened anew; at once if it is only that which was wrong.
        let session = matches!(
            response.error_code,
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND
                | ErrorCode::INVALID_FETCH_SESSION_EPOCH
                | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
        );
        let pause_ms = if session { 1 } else { broker.settings.replica_backoff_ms };
        return broker.fetchers.lost(leader, number, now.monotonic_ms + pause_ms);
    }
    if !broker.fetchers.answered(leader, number, response.session_id) {
        return;
    }
    for topic in response.responses {
        let id = match topic.topic_id.is_zero() {
            true => broker.image.topics.id_of(&topic.topic),
            false => Some(topic.topic_id),
        };
        for data in topic.partitions {
            let slot = id.and_then(|id| broker.replicas.slot(id, data.partition_index));
            if let Some(slot) = slot.filter(|slot| broker.fetchers.follows(leader, *slot)) {
                take(broker, now, slot, data);
            }
        }
    }
}

/// What a leader answered for one partition.
fn take(broker: &mut Broker, now: Now, slot: u32, data: PartitionData) {
    let later_ms = now.monotonic_ms + broker.settings.replica_backoff_ms;
    let Some(replica) = broker.replicas.get_mut(slot) else { return };
    let Role::Follower(follower) = &mut replica.role else { return };
    match follower.answered(&replica.log, data) {
        Step::Stale => {}
        Step::Later(_) => broker.fetchers.leave_until(slot, later_ms),
        Step::Truncate { .. } if flaws::is(Flaw::CutsToHw) => {
            let end = replica.high_watermark();
            cut(broker, slot, Cut::At(end));
        }
        Step::Truncate { end } if flaws::is(Flaw::CutsTooLittle) => cut(broker, slot, Cut::At(Offset(end.0 + 1))),
        Step::Truncate { end } => cut(broker, slot, Cut::At(end)),
        Step::Restart { at } => cut(broker, slot, Cut::Restart(at)),
        Step::Append { records, log_start } => {
            // First of all: what the leader has deleted is committed nowhere, and here it may be something else than it was there.
            if log_start > replica.log_start() && log_start <= replica.log.positions().readable_end {
                // Only a failed log refuses.
                let _ = replica.log.delete_records(log_start, log_start);
                replica.advance(now.monotonic_ms);
            }
            let has_records = !records.is_empty();
            if has_records {
                let size = records.len() as u64;
                if replica.config.follower_throttled.has(replica.partition, broker.identity.node_id) {
                    broker.throttles.got(records.len());
                }
                if replica.log.append_as_is(now.wall_ms, records).is_err() {
                    // Not the leader's log as it should be: nothing of it was taken.
                    return broker.fetchers.leave_until(slot, later_ms);
                }
                replica.traffic.bytes_in += size;
                broker.fetchers.writes(slot);
            }
            replica.advance(now.monotonic_ms);
            broker.mark_dirty(slot);
        }
    }
}

/// Begins to cut a log back.
fn cut(broker: &mut Broker, slot: u32, cut: Cut) {
    broker.fetchers.leave(slot);
    cleaning::give_up(broker, slot);
    if let Some(replica) = broker.replicas.get_mut(slot) {
        replica.truncation = Some(Truncation::new(cut));
        broker.mark_dirty(slot);
    }
}

fn altered(broker: &mut Broker, now: Now, number: u64, response: AlterPartitionResponse) {
    let Some(mut slots) = broker.in_sync.ended(number) else { return };
    let again_ms = now.monotonic_ms + broker.settings.replica_backoff_ms;
    if response.error_code != ErrorCode::NONE {
        return broker.in_sync.again(slots.into_values(), again_ms);
    }
    for topic in response.topics {
        for data in topic.partitions {
            let Some(slot) = slots.remove(&(topic.topic_id, data.partition_index)) else { continue };
            let Some(replica) = broker.replicas.get_mut(slot) else { continue };
            let Some(leader) = replica.leader_mut() else { continue };
            match in_sync::verdict(data.error_code) {
                Verdict::Committed if leader.epoch == data.leader_epoch => {
                    let isr: Vec<i32> = data.isr.iter().map(|id| id.0).collect();
                    leader.settled(&isr, data.partition_epoch);
                    broker.in_sync.reconsider(slot);
                }
                Verdict::Committed | Verdict::Wait => {}
                Verdict::Withdraw => {
                    leader.withdraw();
                    broker.in_sync.withdrew(slot, again_ms);
                }
                Verdict::Again => broker.in_sync.again([slot], again_ms),
            }
            if let Some(replica) = broker.replicas.get_mut(slot) {
                replica.advance(now.monotonic_ms);
            }
            broker.mark_dirty(slot);
        }
    }
    broker.in_sync.again(slots.into_values(), again_ms);
}

/// Goes on with a cut when nothing of the log is under way. Answers with replies that wait in vain.
pub(crate) fn continue_cut(broker: &mut Broker, now: Now, slot: u32, outbox: &mut Vec<Effect>) -> Vec<ParkedId> {
    let Some(replica) = broker.replicas.get_mut(slot) else { return Vec::new() };
    let Some(truncation) = &mut replica.truncation else { return Vec::new() };
    if matches!(truncation.step, CutStep::Beginning) && replica.log.is_idle() {
        return finish(broker, now, slot, outbox);
    }
    if !matches!(truncation.step, CutStep::Quiet) || !replica.log.is_idle() || broker.moves.holds(slot) {
        return Vec::new();
    }
    match truncation.cut {
        Cut::At(end) => {
            truncation.step = CutStep::Scanning;
            let log = Box::new(replica.log.clone());
            broker.start_job(JobOwner::Cut { slot }, Job::Truncate { log, end, now_ms: now.wall_ms }, outbox);
        }
        Cut::Restart(at) => {
            let mut log = replica.log.clone();
            log.restart_at(now.wall_ms, at);
            truncation.step = CutStep::Noting { cut: Box::new(log), repairs: Default::default() };
            note_cut(broker, slot, outbox);
        }
    }
    Vec::new()
}

/// The scan is done. A log that is damaged below its recovery point is not cut but made anew. Answers with replies that wait in vain.
///
/// # Errors
/// The log cannot be cut: the disk fails, or a checkpoint file is damaged.
pub(crate) fn scanned(
    broker: &mut Broker,
    now: Now,
    slot: u32,
    result: Result<Box<Recovered>, RecoverError>,
    outbox: &mut Vec<Effect>,
) -> Result<Vec<ParkedId>, DiskError> {
    let Some(replica) = broker.replicas.get_mut(slot) else { return Ok(Vec::new()) };
    let Some(truncation) = &mut replica.truncation else { return Ok(Vec::new()) };
    match result {
        Ok(recovered) => {
            truncation.scanned(*recovered);
            note_cut(broker, slot, outbox);
            Ok(Vec::new())
        }
        Err(RecoverError::Damaged { .. }) => {
            replica.truncation = None;
            let (topic, partition, is_deleted) = (replica.topic, replica.partition, replica.deleted);
            if is_deleted {
                assign::delete_files(broker, slot, outbox);
                return Ok(Vec::new());
            }
            broker.mark_dirty(slot);
            Ok(renewal::damaged(broker, now, (topic, partition), outbox))
        }
        Err(RecoverError::Disk(reason)) => Err(reason),
        Err(reason) => Err(DiskError::Failed { file: replica.log.directory().clone(), reason: reason.to_string() }),
    }
}

fn note_cut(broker: &mut Broker, slot: u32, outbox: &mut Vec<Effect>) {
    let Some(log_dir) = broker.replicas.get(slot).map(Replica::log_dir) else { return };
    upkeep::write_recovery_points(broker, log_dir, outbox);
    upkeep::write_log_starts(broker, log_dir, After::Cut { slot }, outbox);
}

/// The checkpoints are on disk, or a repair is: the next repair, or the end. Answers with replies that wait in vain.
pub(crate) fn repair(broker: &mut Broker, now: Now, slot: u32, outbox: &mut Vec<Effect>) -> Vec<ParkedId> {
    let Some(replica) = broker.replicas.get_mut(slot) else { return Vec::new() };
    let Some(mut truncation) = replica.truncation.take() else { return Vec::new() };
    truncation.begin_cutting();
    let place = truncation.cut;
    match truncation.next_repair() {
        Ok((op, truncation)) => {
            replica.truncation = Some(truncation);
            outbox.push(Effect::Disk { owner: Owner::Partition(slot), op });
            Vec::new()
        }
        Err(log) => {
            replica.log = *log;
            replica.log.set_config(replica.config.log.clone());
            replica.cut();
            replica.truncation = Some(Truncation { cut: place, step: CutStep::Beginning });
            broker.mark_dirty(slot);
            continue_cut(broker, now, slot, outbox)
        }
    }
}

fn finish(broker: &mut Broker, now: Now, slot: u32, outbox: &mut Vec<Effect>) -> Vec<ParkedId> {
    let Some(replica) = broker.replicas.get_mut(slot) else { return Vec::new() };
    replica.truncation = None;
    let (topic, partition) = (replica.topic, replica.partition);
    if replica.log.cleaned_below().is_some() {
        let log_dir = replica.log_dir();
        cleaning::write_checkpoint(broker, log_dir, outbox);
    }
    let Some(replica) = broker.replicas.get_mut(slot) else { return Vec::new() };
    if replica.deleted {
        assign::delete_files(broker, slot, outbox);
        return Vec::new();
    }
    broker.mark_dirty(slot);
    follow_again(broker, slot);
    moving::on_cut(broker, now, slot, outbox);
    // The metadata may have moved on meanwhile.
    let state = broker.image.topics.by_id(topic).and_then(|topic| topic.partitions.get(&partition)).cloned();
    let mut parked = state.map_or_else(Vec::new, |state| assign::assume(broker, now, slot, &state));
    parked.append(&mut renewal::look(broker, now, topic, partition, outbox));
    parked
}

/// Everything that the partition was given may count now: then its leader is asked on.
pub(crate) fn wrote(broker: &mut Broker, slot: u32) {
    if broker.fetchers.is_writing(slot)
        && let Some(replica) = broker.replicas.get(slot)
        && replica.log_counts()
    {
        broker.fetchers.wrote(slot);
    }
}
