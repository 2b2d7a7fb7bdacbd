//! Share groups at the leaders of their partitions: what was given to whom, and what came of it (KIP-932).
//!
//! `partition` is the state machine of one share partition, `hosted` its life at this leader, `sessions` who reads here, `waiting`
//! the replies that wait, `states` the way to share coordinators, and `flows` what takes several of its answers. Members and their
//! assignments are the group coordinator's (`coordinator::group::share`), the states are kept by `coordinator::share`.

pub(crate) mod acknowledging;
mod answering;
mod ask_wire;
pub(crate) mod flows;
mod hosted;
pub(crate) mod partition;
pub(crate) mod sessions;
pub mod spans;
pub(crate) mod states;
pub(crate) mod waiting;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use strandline_log::disk::DiskError;
use strandline_log::lookup::Found;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, TopicId};

use self::flows::Flows;
use self::hosted::{Hosted, bounds_of, config_of};
use self::sessions::{Owner, Place, ShareSessions};
use self::states::States;
use self::waiting::ShareWait;
use crate::broker::Broker;
use crate::coordinator::share::ShareKey;
use crate::coordinator::turn::Want;
use crate::io::{ConnectionId, Effect, Now};
use crate::parked::{ParkedId, Until};

/// Records that members have said something of, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcknowledgementTotals {
    pub accepted: u64,
    pub released: u64,
    pub rejected: u64,
    pub renewed: u64,
}

/// Everything that this broker knows of share groups as a leader of partitions.
#[derive(Debug)]
pub(crate) struct Shares {
    pub sessions: ShareSessions,
    pub acknowledgements: AcknowledgementTotals,
    hosted: BTreeMap<ShareKey, Hosted>,
    states: States,
    flows: Flows,
    /// When locks run out.
    locks: BTreeSet<(u64, ShareKey)>,
    /// Share partitions that something was done to.
    changed: BTreeSet<ShareKey>,
    /// Replies to look at.
    woken: BTreeSet<ParkedId>,
    /// Fetches that look again when more of a partition can be read, by its slot.
    data_waiters: BTreeMap<u32, BTreeSet<ParkedId>>,
    /// What shards of groups want.
    wants: Vec<Want>,
    /// Slots whose role changed.
    roles: Vec<u32>,
}

impl Shares {
    pub(crate) fn new(sessions_max: usize) -> Self {
        Self {
            sessions: ShareSessions::new(sessions_max),
            acknowledgements: AcknowledgementTotals::default(),
            hosted: BTreeMap::new(),
            states: States::default(),
            flows: Flows::default(),
            locks: BTreeSet::new(),
            changed: BTreeSet::new(),
            woken: BTreeSet::new(),
            data_waiters: BTreeMap::new(),
            wants: Vec::new(),
            roles: Vec::new(),
        }
    }

    /// Records that members of a group have of a partition of a topic.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = (&GroupId, TopicId, u64)> {
        self.hosted.iter().map(|(key, hosted)| (&key.group, key.topic, hosted.in_flight()))
    }

    /// When something is to be done by the clock.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let lock = self.locks.first().map(|(due_ms, _)| *due_ms);
        lock.into_iter().chain(self.states.next_due_ms()).min()
    }

    /// Whether something is to be done before the burst is over.
    pub(crate) fn is_unsettled(&self, now: Now) -> bool {
        let is_waiting = self.wants.is_empty() && self.roles.is_empty() && self.changed.is_empty() && self.woken.is_empty();
        !is_waiting || self.states.is_due(now)
    }

    pub(crate) fn wanted(&mut self, wants: Vec<Want>) {
        self.wants.extend(wants);
    }

    pub(crate) fn role_changed(&mut self, slot: u32) {
        self.roles.push(slot);
    }

    /// Fetches that wait for records of a share partition look again.
    fn wake(&mut self, key: &ShareKey) {
        if let Some(hosted) = self.hosted.get_mut(key) {
            self.woken.append(&mut hosted.fetches);
        }
    }

    /// A reply has left: nobody looks for it any more.
    fn forget_waiter(&mut self, id: ParkedId, wait: &ShareWait) {
        for key in wait.keys() {
            let Some(hosted) = self.hosted.get_mut(&key) else { continue };
            hosted.fetches.remove(&id);
            if let Some(waiters) = self.data_waiters.get_mut(&hosted.slot) {
                waiters.remove(&id);
            }
        }
    }
}

/// Does what share groups have to do before a burst is over.
pub(crate) fn settle(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    for slot in std::mem::take(&mut broker.shares.roles) {
        on_role_changed(broker, slot);
    }
    for want in std::mem::take(&mut broker.shares.wants) {
        flows::want(broker, now, want, outbox);
    }
    for id in std::mem::take(&mut broker.shares.woken) {
        waiting::look(broker, now, id, outbox);
    }
    for key in std::mem::take(&mut broker.shares.changed) {
        hosted::follow_up(broker, now, &key);
    }
    states::send(broker, now, outbox);
}

/// Does what is due by the clock.
pub(crate) fn on_tick(broker: &mut Broker, now: Now) {
    while let Some((_, key)) = broker.shares.locks.first().filter(|(due_ms, _)| *due_ms <= now.monotonic_ms).cloned() {
        let bounds = bounds_of(&config_of(broker, &key));
        if let Some(partition) = broker.shares.hosted.get_mut(&key).and_then(Hosted::active) {
            partition.expire(now.monotonic_ms, bounds);
        }
        hosted::follow_up(broker, now, &key);
        broker.shares.wake(&key);
    }
}

/// More of the partition in this slot can be read.
pub(crate) fn on_high_watermark(broker: &mut Broker, slot: u32) {
    if let Some(waiters) = broker.shares.data_waiters.remove(&slot) {
        broker.shares.woken.extend(waiters);
    }
}

/// A connection is gone, and its sessions with it: what they have goes to others.
pub(crate) fn on_disconnected(broker: &mut Broker, connection: ConnectionId) {
    for owner in broker.shares.sessions.disconnected(connection) {
        release(broker, &owner);
    }
}

/// Gives back what a member has at this broker.
pub(crate) fn release(broker: &mut Broker, owner: &Owner) {
    let of_group = |key: &&ShareKey| key.group == owner.0;
    let keys: Vec<ShareKey> = broker.shares.hosted.keys().filter(of_group).cloned().collect();
    for key in keys {
        let bounds = bounds_of(&config_of(broker, &key));
        if let Some(partition) = broker.shares.hosted.get_mut(&key).and_then(Hosted::active) {
            partition.release(&owner.1, bounds);
        }
        broker.shares.changed.insert(key.clone());
        broker.shares.wake(&key);
    }
}

/// A member begins to read these partitions.
pub(crate) fn on_opened(broker: &mut Broker, owner: &Owner, places: &[Place]) {
    for (topic, partition) in places.iter().copied() {
        hosted::refresh(broker, &ShareKey { group: owner.0.clone(), topic, partition });
    }
}

/// The time of a reply is over; `false` if it is not one of these.
pub(crate) fn overdue(broker: &mut Broker, now: Now, id: ParkedId, outbox: &mut Vec<Effect>) -> bool {
    let is_ours = matches!(broker.waiting.get(id).map(|parked| &parked.until), Some(Until::Share(_)));
    if is_ours {
        waiting::overdue(broker, now, id, outbox);
    }
    is_ours
}

/// A log was looked through for where a group begins.
pub(crate) fn on_found(broker: &mut Broker, key: &ShareKey, found: Result<Option<Found>, DiskError>) {
    hosted::found(broker, key, found);
}

fn on_role_changed(broker: &mut Broker, slot: u32) {
    let leads = broker.replicas.get(slot).filter(|replica| !replica.deleted);
    let epoch = leads.and_then(|replica| replica.leader().ok()).map(|leader| leader.epoch);
    let of_slot = |hosted: &Hosted| hosted.slot == slot && Some(hosted.leader_epoch) != epoch;
    let gone = broker.shares.hosted.iter().filter(|(_, hosted)| of_slot(hosted));
    let gone: Vec<ShareKey> = gone.map(|(key, _)| key.clone()).collect();
    for key in gone {
        hosted::give_up(broker, &key, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
}
