//! A share partition at the leader of its partition: read from the share coordinator, given out, written back.
//!
//! *Reading* (the coordinator is asked), *starting* (it does not know yet where the group begins, and the log is looked through),
//! *active*. It ends with the leadership, when somebody else has it, and when the group has no session here any more: operators
//! may then set it anew. Source: SharePartition.maybeInitialize, SharePartitionManager.

use std::collections::BTreeSet;

use strandline_log::disk::DiskError;
use strandline_log::lookup::{Found, Target};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset};

use super::ask_wire::UNKNOWN_START;
use super::partition::{Bounds, SharePartition};
use super::states::{Question, Then, Told};
use super::waiting;
use super::write::{Saved, StateBatch, Write};
use crate::broker::{Broker, JobOwner};
use crate::config::share::{OffsetReset, ShareConfig};
use crate::coordinator::share::{Batch, Known, ShareKey, Update};
use crate::flaws::{self, Flaw};
use crate::io::{Effect, Job, Now};
use crate::parked::ParkedId;

#[derive(Debug)]
pub(super) enum Phase {
    Reading,
    Starting,
    Active(SharePartition),
}

/// A reply that waits for a write.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    write: u64,
    parked: ParkedId,
}

#[derive(Debug)]
pub(crate) struct Hosted {
    pub slot: u32,
    pub leader_epoch: LeaderEpoch,
    state_epoch: i32,
    pub(super) phase: Phase,
    waiters: Vec<Waiter>,
    /// Fetches that look again when records come back.
    pub(super) fetches: BTreeSet<ParkedId>,
    /// Somebody reads for it; others wait for what that comes to.
    pub(super) is_read: bool,
    /// When its next lock runs out, as the list of all of them has it.
    due_ms: Option<u64>,
}

impl Hosted {
    /// Records that members have.
    pub(super) fn in_flight(&self) -> u64 {
        match &self.phase {
            Phase::Active(partition) => partition.in_flight(),
            Phase::Reading | Phase::Starting => 0,
        }
    }

    pub(super) fn active(&mut self) -> Option<&mut SharePartition> {
        match &mut self.phase {
            Phase::Active(partition) => Some(partition),
            Phase::Reading | Phase::Starting => None,
        }
    }
}

pub(super) fn config_of(broker: &Broker, key: &ShareKey) -> ShareConfig {
    ShareConfig::read(&broker.config, broker.image.group_overrides(key.group.as_str()))
}

pub(super) fn bounds_of(config: &ShareConfig) -> Bounds {
    Bounds { locks_max: config.locks_max, deliveries_max: config.deliveries_max }
}

/// The slot of the partition, led here; its share partition is hosted from now on.
///
/// # Errors
/// UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
pub(super) fn host(broker: &mut Broker, now: Now, key: &ShareKey) -> Result<u32, ErrorCode> {
    if broker.image.topics.by_id(key.topic).is_none() {
        return Err(ErrorCode::UNKNOWN_TOPIC_ID);
    }
    let slot = broker.slot(key.topic, key.partition)?;
    let replica = broker.replicas.get(slot).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    let leader_epoch = replica.leader()?.epoch;
    let known = broker.shares.hosted.get(key);
    if known.is_some_and(|known| known.slot == slot && known.leader_epoch == leader_epoch) {
        return Ok(slot);
    }
    let hosted = Hosted {
        slot,
        leader_epoch,
        state_epoch: 0,
        phase: Phase::Reading,
        waiters: Vec::new(),
        fetches: BTreeSet::new(),
        is_read: false,
        due_ms: None,
    };
    broker.shares.hosted.insert(key.clone(), hosted);
    broker.shares.states.ask(now, key.clone(), Question::Read { leader_epoch }, Then::Hosted);
    Ok(slot)
}

/// A member comes: what nobody uses is read again, for an operator may have set the group anew while it had no members.
pub(crate) fn refresh(broker: &mut Broker, key: &ShareKey) {
    let Some(hosted) = broker.shares.hosted.get_mut(key).filter(|hosted| !hosted.is_read && hosted.waiters.is_empty()) else {
        return;
    };
    if hosted.active().is_some_and(|partition| partition.is_idle()) {
        broker.shares.wake(key);
        forget(broker, key);
    }
}

/// The share coordinator answered.
pub(super) fn told(
    broker: &mut Broker,
    now: Now,
    key: &ShareKey,
    question: &Question,
    answer: Result<Told, ErrorCode>,
    outbox: &mut Vec<Effect>,
) {
    let Some(hosted) = broker.shares.hosted.get_mut(key) else { return };
    match (question, answer) {
        // Asked by an earlier life of it.
        (Question::Read { .. }, _) if !matches!(hosted.phase, Phase::Reading) => {}
        (Question::Read { leader_epoch }, _) if *leader_epoch != hosted.leader_epoch => {}
        (Question::Write(update), _) if update.leader_epoch != hosted.leader_epoch => {}
        (Question::Read { .. }, Ok(Told::State(known))) => begin(broker, now, key, known, outbox),
        (Question::Write(_), Ok(_)) => wrote(broker, key, ErrorCode::NONE),
        // Nobody coordinates for now: members keep what they have, and it is tried again.
        (Question::Write(_), Err(code @ ErrorCode::COORDINATOR_NOT_AVAILABLE)) => wrote(broker, key, code),
        (_, Ok(_)) => {}
        (_, Err(code)) => give_up(broker, key, told_as(code)),
    }
}

/// What clients are told if the share coordinator refuses.
fn told_as(code: ErrorCode) -> ErrorCode {
    match code {
        // Somebody else leads, or the state began anew: it is read again.
        ErrorCode::FENCED_LEADER_EPOCH | ErrorCode::FENCED_STATE_EPOCH => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        // The group has no state of this partition, or none yet.
        ErrorCode::INVALID_REQUEST => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        other => other,
    }
}

fn begin(broker: &mut Broker, now: Now, key: &ShareKey, known: Known, outbox: &mut Vec<Effect>) {
    let Some(hosted) = broker.shares.hosted.get_mut(key) else { return };
    hosted.state_epoch = known.state_epoch;
    if known.start > UNKNOWN_START {
        let batch = |batch: &Batch| StateBatch {
            first: batch.first,
            last: batch.last,
            state: Saved::from_number(batch.state),
            deliveries: u16::try_from(batch.deliveries).unwrap_or(0),
        };
        let half = if flaws::is(Flaw::ShareStateHalfLoaded) { known.batches.len() / 2 } else { known.batches.len() };
        let batches: Vec<StateBatch> = known.batches.iter().take(half).map(batch).collect();
        return activate(broker, key, SharePartition::load(known.start, &batches));
    }
    let (slot, config) = (hosted.slot, config_of(broker, key));
    let Some(replica) = broker.replicas.get(slot) else { return };
    let (log_start, high_watermark) = (replica.log_start(), replica.high_watermark());
    match config.offset_reset {
        OffsetReset::Earliest => start(broker, key, log_start),
        OffsetReset::Latest => start(broker, key, high_watermark),
        OffsetReset::Ago(ago_ms) => {
            let at_ms = now.wall_ms.saturating_sub(ago_ms).max(0);
            let lookup = replica.log.lookup(Target::AtOrAfter(at_ms), high_watermark);
            if let Some(hosted) = broker.shares.hosted.get_mut(key) {
                hosted.phase = Phase::Starting;
            }
            broker.start_job(JobOwner::ShareStart { key: key.clone() }, Job::FindTimestamp(lookup), outbox);
        }
    }
}

/// The log was looked through for where the group begins.
pub(super) fn found(broker: &mut Broker, key: &ShareKey, found: Result<Option<Found>, DiskError>) {
    let Some(hosted) = broker.shares.hosted.get(key).filter(|hosted| matches!(hosted.phase, Phase::Starting)) else { return };
    let high_watermark = broker.replicas.get(hosted.slot).map(|replica| replica.high_watermark());
    match (found, high_watermark) {
        (Ok(found), Some(high_watermark)) => start(broker, key, found.map_or(high_watermark, |found| found.offset)),
        _ => give_up(broker, key, ErrorCode::KAFKA_STORAGE_ERROR),
    }
}

/// The group begins here. That is written at once: it must not begin elsewhere after a restart.
fn start(broker: &mut Broker, key: &ShareKey, offset: Offset) {
    let mut partition = SharePartition::load(offset, &[]);
    partition.save_start();
    activate(broker, key, partition);
}

fn activate(broker: &mut Broker, key: &ShareKey, partition: SharePartition) {
    if let Some(hosted) = broker.shares.hosted.get_mut(key) {
        hosted.phase = Phase::Active(partition);
        broker.shares.changed.insert(key.clone());
        broker.shares.wake(key);
    }
}

/// A reply waits for what was decided just now.
pub(super) fn wait(broker: &mut Broker, key: &ShareKey, parked: ParkedId, write: u64) {
    if let Some(hosted) = broker.shares.hosted.get_mut(key) {
        hosted.waiters.push(Waiter { write, parked });
    }
}

/// Follows what was done to a share partition: writes it, notes its locks, ends it if nobody needs it.
pub(super) fn follow_up(broker: &mut Broker, now: Now, key: &ShareKey) {
    let is_used = broker.shares.sessions.has_group(&key.group);
    let Some(hosted) = broker.shares.hosted.get_mut(key) else { return };
    let Phase::Active(partition) = &mut hosted.phase else { return };
    let write = partition.take_write();
    let is_done = write.is_none() && !partition.is_writing() && hosted.waiters.is_empty() && !hosted.is_read;
    let due_ms = partition.next_due_ms();
    if due_ms != hosted.due_ms {
        if let Some(before) = std::mem::replace(&mut hosted.due_ms, due_ms) {
            broker.shares.locks.remove(&(before, key.clone()));
        }
        broker.shares.locks.extend(due_ms.map(|due_ms| (due_ms, key.clone())));
    }
    if let Some(write) = write {
        let update = update_of(hosted.state_epoch, hosted.leader_epoch, write);
        broker.shares.states.ask(now, key.clone(), Question::Write(update), Then::Hosted);
    } else if is_done && !is_used {
        forget(broker, key);
    }
}

fn update_of(state_epoch: i32, leader_epoch: LeaderEpoch, write: Write) -> Update {
    let batch = |batch: StateBatch| Batch {
        first: batch.first,
        last: batch.last,
        state: batch.state as i8,
        deliveries: i16::try_from(batch.deliveries).unwrap_or(i16::MAX),
    };
    Update {
        state_epoch,
        leader_epoch,
        start: write.start,
        complete: i32::try_from(write.complete).unwrap_or(i32::MAX),
        batches: write.batches.into_iter().map(batch).collect(),
    }
}

fn wrote(broker: &mut Broker, key: &ShareKey, code: ErrorCode) {
    let Some(hosted) = broker.shares.hosted.get_mut(key) else { return };
    let Some(partition) = hosted.active() else { return };
    let number = partition.wrote(code.is_none());
    let (done, later): (Vec<Waiter>, Vec<Waiter>) =
        std::mem::take(&mut hosted.waiters).into_iter().partition(|waiter| waiter.write <= number);
    hosted.waiters = later;
    broker.shares.changed.insert(key.clone());
    broker.shares.wake(key);
    for waiter in done {
        waiting::decided(broker, waiter.parked, key, code);
    }
}

/// The share partition is not ours any more, or cannot be used: who waits for it is told, or looks again.
pub(super) fn give_up(broker: &mut Broker, key: &ShareKey, code: ErrorCode) {
    let Some(hosted) = forget(broker, key) else { return };
    for waiter in hosted.waiters {
        waiting::decided(broker, waiter.parked, key, code);
    }
    for fetch in hosted.fetches {
        waiting::failed(broker, fetch, key, code);
    }
}

fn forget(broker: &mut Broker, key: &ShareKey) -> Option<Hosted> {
    let hosted = broker.shares.hosted.remove(key)?;
    if let Some(due_ms) = hosted.due_ms {
        broker.shares.locks.remove(&(due_ms, key.clone()));
    }
    broker.shares.changed.remove(key);
    Some(hosted)
}
