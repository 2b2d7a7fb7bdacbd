//! Coordinators: each kind keeps its state in an internal topic, each key on the broker that leads the key's partition.
//!
//! Replicas whose role changed stand in `Broker::roles_changed`: from that shards begin ([`on_leader`]) and end
//! ([`on_resigned`]); and whoever moves a high watermark says so ([`on_high_watermark`]). Slots of other topics are ignored. Handlers
//! come in by [`enter`], and wait with [`reply_when_committed`]. The rule of every shard: *emit = apply + write*.

mod answers;
pub(crate) mod directory;
pub(crate) mod distant;
mod failed;
pub(crate) mod group;
pub(crate) mod kind;
pub mod loading;
pub mod placement;
pub(crate) mod settings;
mod shard;
pub(crate) mod share;
pub mod standing;
pub(crate) mod state;
mod timers;
pub(crate) mod transaction;
pub(crate) mod turn;

use std::collections::{BTreeMap, BTreeSet};

use strandline_log::disk::DiskError;
use strandline_log::slice::FirstBatch;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicId, TopicName, TransactionalId};

use self::answers::{complete, refuse_all, say};
use self::distant::Distant;
use self::group::Groups;
use self::kind::Kind;
use self::loading::{LoadPiece, LoadedPiece, PIECE_BYTES};
use self::settings::CoordinatorSettings;
use self::shard::{Phase, Shard, Waiter};
use self::share::ShareStates;
use self::state::State;
use self::timers::{Timer, Timers};
use self::transaction::{TransactionTotals, Transactions};
use self::turn::{Task, Turn};
use crate::broker::{Broker, JobOwner};
use crate::flaws::{self, Flaw};
use crate::io::{Effect, Job, Now};
use crate::replica::table::Replicas;

pub(crate) use self::answers::{ask, failed_by_time, reply_when_committed};

/// The shards of this broker.
pub(crate) struct Coordinators {
    pub settings: CoordinatorSettings,
    pub transaction_totals: TransactionTotals,
    pub distant: Distant,
    /// By the slot of their replica.
    shards: BTreeMap<u32, Shard>,
    by_partition: BTreeMap<(Kind, i32), u32>,
    timers: Timers,
    /// Shards of which a job reads.
    loading: BTreeSet<u32>,
    /// Shards that emitted something in this burst, or may go on reading.
    unsettled: BTreeSet<u32>,
}

impl Coordinators {
    pub(crate) fn new(settings: CoordinatorSettings) -> Self {
        Self {
            settings,
            transaction_totals: TransactionTotals::default(),
            distant: Distant::default(),
            shards: BTreeMap::new(),
            by_partition: BTreeMap::new(),
            timers: Timers::default(),
            loading: BTreeSet::new(),
            unsettled: BTreeSet::new(),
        }
    }

    /// When something is to be done by the clock.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.timers.next()
    }

    /// Whether a shard has something to write or to read before the burst is over.
    pub(crate) fn is_unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// How many transactional ids stand where.
    pub(crate) fn transactional_ids(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = transaction::status::none_of_each();
        for shard in self.shards.values() {
            if let State::Transactions(transactions) = &shard.state {
                transactions.count_into(&mut counts);
            }
        }
        counts
    }

    /// Slots of all shards of a kind, if they may be asked.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS if one of them is still being read.
    pub(crate) fn active(&self, kind: Kind) -> Result<Vec<u32>, ErrorCode> {
        let shards = || self.shards.iter().filter(|(_, shard)| shard.kind == kind);
        if shards().any(|(_, shard)| shard.phase != Phase::Active) {
            return Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
        }
        Ok(shards().map(|(slot, _)| *slot).collect())
    }
}

/// The slot of the shard that coordinates a group here.
///
/// # Errors
/// INVALID_GROUP_ID, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS.
pub(crate) fn slot_of(broker: &Broker, group: &GroupId) -> Result<u32, ErrorCode> {
    slot_of_key(broker, Kind::Groups, group.as_str())
}

/// The slot of the shard that coordinates a transactional id here.
///
/// # Errors
/// NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS.
pub(crate) fn slot_of_transaction(broker: &Broker, id: &TransactionalId) -> Result<u32, ErrorCode> {
    slot_of_key(broker, Kind::Transactions, id.as_str())
}

/// The slot of the shard that coordinates a key here.
///
/// # Errors
/// NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS.
pub(crate) fn slot_of_key(broker: &Broker, kind: Kind, key: &str) -> Result<u32, ErrorCode> {
    let partition = directory::partition_of(broker, kind, key).ok_or(ErrorCode::NOT_COORDINATOR)?;
    let coordinators = &broker.coordinators;
    let slot = *coordinators.by_partition.get(&(kind, partition)).ok_or(ErrorCode::NOT_COORDINATOR)?;
    check_active(broker, slot).map(|()| slot)
}

/// Whether the shard in this slot may be asked.
///
/// # Errors
/// NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS.
pub(crate) fn check_active(broker: &Broker, slot: u32) -> Result<(), ErrorCode> {
    match broker.coordinators.shards.get(&slot).map(|shard| shard.phase) {
        Some(Phase::Active) => Ok(()),
        Some(Phase::Loading { .. }) => Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
        None => Err(ErrorCode::NOT_COORDINATOR),
    }
}

/// One step of the groups in this slot.
///
/// # Panics
/// If there is no such shard: the slot comes from [`slot_of`], or from [`Coordinators::active`] for this kind.
pub(crate) fn enter<T>(
    broker: &mut Broker,
    now: Now,
    slot: u32,
    outbox: &mut Vec<Effect>,
    act: impl FnOnce(&mut Groups, &mut Turn<'_>) -> T,
) -> T {
    step(broker, now, slot, outbox, |state, turn| match state {
        State::Groups(groups) => act(groups, turn),
        _ => unreachable!("the slot is of a shard of groups"),
    })
}

/// One step of the share states in this slot.
///
/// # Panics
/// If there is no such shard: the slot comes from [`slot_of_key`] for this kind.
pub(crate) fn enter_shares<T>(
    broker: &mut Broker,
    now: Now,
    slot: u32,
    outbox: &mut Vec<Effect>,
    act: impl FnOnce(&mut ShareStates, &mut Turn<'_>) -> T,
) -> T {
    step(broker, now, slot, outbox, |state, turn| match state {
        State::Shares(states) => act(states, turn),
        _ => unreachable!("the slot is of a shard of share states"),
    })
}

/// One step of the transactional ids in this slot.
///
/// # Panics
/// If there is no such shard: the slot comes from [`slot_of_transaction`], or from [`Coordinators::active`] for this kind.
pub(crate) fn enter_transactions<T>(
    broker: &mut Broker,
    now: Now,
    slot: u32,
    outbox: &mut Vec<Effect>,
    act: impl FnOnce(&mut Transactions, &mut Turn<'_>) -> T,
) -> T {
    step(broker, now, slot, outbox, |state, turn| match state {
        State::Transactions(transactions) => act(transactions, turn),
        _ => unreachable!("the slot is of a shard of transactional ids"),
    })
}

/// The epoch in which the shard in this slot leads, if there is one.
pub(crate) fn epoch_of(broker: &Broker, slot: u32) -> Option<LeaderEpoch> {
    broker.coordinators.shards.get(&slot).map(|shard| shard.epoch)
}

/// One step of the shard in this slot: what it emits is gathered, what it says is sent when it may be.
fn step<T>(
    broker: &mut Broker,
    now: Now,
    slot: u32,
    outbox: &mut Vec<Effect>,
    act: impl FnOnce(&mut State, &mut Turn<'_>) -> T,
) -> T {
    let coordinators = &mut broker.coordinators;
    let shard = coordinators.shards.get_mut(&slot).expect("a slot with a shard");
    let mut turn = Turn {
        now,
        slot,
        settings: &coordinators.settings,
        transaction_totals: &mut coordinators.transaction_totals,
        config: &broker.config,
        image: &broker.image,
        timers: &mut coordinators.timers,
        dice: &mut broker.dice,
        emitted: Vec::new(),
        said: Vec::new(),
        wants: Vec::new(),
        tasks: Vec::new(),
    };
    let result = act(&mut shard.state, &mut turn);
    let (said, wants, tasks) = (turn.said, turn.wants, turn.tasks);
    broker.shares.wanted(wants);
    shard.gather(turn.emitted);
    if shard.has_unwritten() {
        coordinators.unsettled.insert(slot);
    }
    for said in said {
        say(broker, now, slot, said, outbox);
    }
    for task in tasks {
        later(broker, slot, task);
    }
    result
}

/// A task waits until everything that its shard has emitted so far is committed.
fn later(broker: &mut Broker, slot: u32, task: Task) {
    let Some(high_watermark) = broker.replicas.get(slot).map(|replica| replica.high_watermark()) else { return };
    let Some(shard) = broker.coordinators.shards.get_mut(&slot) else { return };
    if flaws::is(Flaw::MarkersBeforeDecision) {
        return go_on(broker, slot, task);
    }
    if let Some(Waiter::Task(task)) = shard.wait(high_watermark, Waiter::Task(task)) {
        go_on(broker, slot, task);
    }
}

fn go_on(broker: &mut Broker, slot: u32, task: Task) {
    match task {
        Task::SendMarkers { id, producer } => broker.markers.decide(slot, id, producer),
    }
}

/// This broker leads the partition in this slot in this epoch: its state is read. Other topics are ignored.
pub(crate) fn on_leader(broker: &mut Broker, slot: u32, epoch: LeaderEpoch, outbox: &mut Vec<Effect>) {
    let Some(replica) = broker.replicas.get(slot) else { return };
    let Some(kind) = Kind::of_topic(replica.name.as_str()) else { return };
    let (partition, positions, high_watermark) = (replica.partition, replica.log.positions(), replica.high_watermark());
    if broker.coordinators.shards.get(&slot).is_some_and(|shard| shard.epoch >= epoch) {
        return;
    }
    on_resigned(broker, slot, outbox);
    let mut shard = Shard::new(kind, partition, epoch, positions.log_start, positions.log_end);
    if flaws::is(Flaw::LoadsToHw) {
        shard.phase = Phase::Loading { next: positions.log_start, below: high_watermark };
    }
    broker.coordinators.shards.insert(slot, shard);
    broker.coordinators.by_partition.insert((kind, partition), slot);
    broker.coordinators.unsettled.insert(slot);
}

/// This broker does not lead the partition in this slot any more: whoever waits is sent away.
pub(crate) fn on_resigned(broker: &mut Broker, slot: u32, outbox: &mut Vec<Effect>) {
    let Some(mut shard) = broker.coordinators.shards.remove(&slot) else { return };
    broker.coordinators.by_partition.remove(&(shard.kind, shard.partition));
    broker.coordinators.timers.clear(slot);
    broker.coordinators.unsettled.remove(&slot);
    broker.coordinators.loading.remove(&slot);
    refuse_all(broker, slot, shard.give_up(), ErrorCode::NOT_COORDINATOR, outbox);
}

/// The high watermark of the partition in this slot moved.
pub(crate) fn on_high_watermark(broker: &mut Broker, slot: u32, high_watermark: Offset, outbox: &mut Vec<Effect>) {
    let Some(shard) = broker.coordinators.shards.get_mut(&slot) else { return };
    if shard.phase != Phase::Active {
        // What it has to read may be readable now.
        broker.coordinators.unsettled.insert(slot);
    }
    for waiter in shard.committed(high_watermark) {
        match waiter {
            Waiter::Reply(parked) => complete(broker, parked, outbox),
            Waiter::Task(task) => go_on(broker, slot, task),
        }
    }
}

/// A topic is gone.
pub(crate) fn on_topic_removed(broker: &mut Broker, now: Now, id: TopicId, topic: &TopicName, outbox: &mut Vec<Effect>) {
    let shards = &broker.coordinators.shards;
    let active: Vec<u32> = shards.iter().filter(|(_, shard)| shard.phase == Phase::Active).map(|(slot, _)| *slot).collect();
    for slot in active {
        step(broker, now, slot, outbox, |state, turn| match state {
            State::Groups(groups) => groups.on_topic_removed(turn, topic),
            State::Shares(states) => states.on_topic_removed(turn, id),
            // A topic that is gone needs no marker: `markers.rs` finds out.
            State::Transactions(_) => {}
        });
    }
}

/// Does what is due by the clock.
pub(crate) fn on_tick(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    while let Some((slot, timer)) = broker.coordinators.timers.pop(now.monotonic_ms) {
        if timer == Timer::PruneShareStates {
            prune(broker, now, slot, outbox);
            continue;
        }
        step(broker, now, slot, outbox, |state, turn| state.on_timer(turn, timer));
    }
}

/// Cuts off from the front of a log of share states what newer records replaced.
fn prune(broker: &mut Broker, now: Now, slot: u32, outbox: &mut Vec<Effect>) {
    let Some(high_watermark) = broker.replicas.get(slot).map(|replica| replica.high_watermark()) else { return };
    let kept = enter_shares(broker, now, slot, outbox, |states, turn| {
        states.lift(turn, high_watermark);
        states.kept_from(high_watermark)
    });
    if let Some(replica) = broker.replicas.get_mut(slot)
        && kept > replica.log_start()
        && replica.log.delete_records(kept, high_watermark).is_ok()
    {
        broker.mark_dirty(slot);
    }
}

/// Ends a burst: what shards emitted is written, and those that are to read their log go on reading.
pub(crate) fn settle(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    for slot in std::mem::take(&mut broker.roles_changed) {
        broker.shares.role_changed(slot);
        let replica = broker.replicas.get(slot).filter(|replica| !replica.deleted);
        match replica.and_then(|replica| replica.leader().ok()).map(|leader| leader.epoch) {
            Some(epoch) => on_leader(broker, slot, epoch, outbox),
            None => on_resigned(broker, slot, outbox),
        }
    }
    while let Some(slot) = broker.coordinators.unsettled.pop_first() {
        let Some(shard) = broker.coordinators.shards.get(&slot) else { continue };
        match shard.phase {
            Phase::Loading { next, below } => go_on_loading(broker, now, slot, next, below, outbox),
            Phase::Active => write(broker, now, slot, outbox),
        }
    }
}

fn go_on_loading(broker: &mut Broker, now: Now, slot: u32, next: Offset, below: Offset, outbox: &mut Vec<Effect>) {
    let Some(shard) = broker.coordinators.shards.get_mut(&slot) else { return };
    let (kind, epoch) = (shard.kind, shard.epoch);
    if next >= below || flaws::is(Flaw::ServesBeforeLoaded) {
        shard.phase = Phase::Active;
        return step(broker, now, slot, outbox, |state, turn| state.on_loaded(turn));
    }
    let Some(replica) = broker.replicas.get(slot) else { return };
    let below = below.min(replica.log.positions().readable_end);
    if next >= below || broker.coordinators.loading.contains(&slot) {
        // The rest is on its way to the disk, or a job reads already.
        return;
    }
    let Ok(read) = replica.log.read(next, below, PIECE_BYTES, FirstBatch::Whole) else {
        // The log start moved past what is to be read: it goes on from there.
        let start = replica.log_start().max(next);
        return go_on_loading(broker, now, slot, start.max(next.next()), below, outbox);
    };
    let piece = LoadPiece { kind, slices: read.slices, from: next, below, directory: replica.log.directory().clone() };
    broker.coordinators.loading.insert(slot);
    broker.start_job(JobOwner::Coordinator { slot, epoch }, Job::LoadCoordinator(piece), outbox);
}

/// A piece of a log was read.
///
/// # Errors
/// [`DiskError`] if it could not be: the log directory has failed.
pub(crate) fn on_loaded(
    broker: &mut Broker,
    slot: u32,
    epoch: LeaderEpoch,
    result: Result<LoadedPiece, DiskError>,
) -> Result<(), DiskError> {
    let Some(shard) = broker.coordinators.shards.get_mut(&slot).filter(|shard| shard.epoch == epoch) else { return Ok(()) };
    broker.coordinators.loading.remove(&slot);
    let Phase::Loading { next, .. } = &mut shard.phase else { return Ok(()) };
    broker.coordinators.unsettled.insert(slot);
    let piece = match result {
        // The replica lies in another log directory by now: it is read there.
        Err(reason) if has_moved(&broker.replicas, slot, &reason) => return Ok(()),
        result => result?,
    };
    *next = piece.next;
    piece.entries.into_iter().for_each(|entry| shard.state.replay(entry));
    Ok(())
}

fn has_moved(replicas: &Replicas, slot: u32, reason: &DiskError) -> bool {
    replicas.get(slot).is_some_and(|replica| *replica.log.directory() != reason.file().directory())
}

/// Writes what a shard emitted so far.
pub(crate) fn write(broker: &mut Broker, now: Now, slot: u32, outbox: &mut Vec<Effect>) {
    let Some(shard) = broker.coordinators.shards.get_mut(&slot) else { return };
    let Some(replica) = broker.replicas.get_mut(slot) else { return };
    if !shard.has_unwritten() {
        return;
    }
    let leads = replica.leader().is_ok_and(|leader| leader.epoch == shard.epoch);
    let (from, mut end) = (replica.log.positions().log_end, None);
    let batches = shard.take_batches(now.wall_ms);
    let written = batches.is_ok_and(|batches| {
        leads
            && batches.into_iter().all(|batch| {
                replica.traffic.bytes_in += batch.len() as u64;
                let appended = replica.log.append(now.wall_ms, batch, shard.epoch);
                end = appended.as_ref().ok().map(|appended| appended.last_offset.next());
                appended.is_ok()
            })
    });
    match end.filter(|_| written) {
        Some(end) => {
            shard.state.on_written(from, end);
            shard.on_written(end);
        }
        None => reload(broker, slot, outbox),
    }
    broker.mark_dirty(slot);
}

/// The log did not take what was applied: back to what it says.
fn reload(broker: &mut Broker, slot: u32, outbox: &mut Vec<Effect>) {
    let Some(mut shard) = broker.coordinators.shards.remove(&slot) else { return };
    broker.coordinators.timers.clear(slot);
    refuse_all(broker, slot, shard.give_up(), ErrorCode::COORDINATOR_NOT_AVAILABLE, outbox);
    let Some(replica) = broker.replicas.get(slot) else { return };
    let positions = replica.log.positions();
    let fresh = Shard::new(shard.kind, shard.partition, shard.epoch, positions.log_start, positions.log_end);
    broker.coordinators.shards.insert(slot, fresh);
    broker.coordinators.unsettled.insert(slot);
}
