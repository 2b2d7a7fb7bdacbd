//! The share coordinator: what share groups have done with partitions, kept in `__share_group_state` (KIP-932).
//!
//! A state is written whole as a *snapshot*, and between two snapshots as *updates* that say only what changed. An update has
//! the key of the one before it and is lost without it, so the topic is not compacted: what newer snapshots replaced is cut off
//! from the front of the log ([`ShareStates::kept_from`]). Two epochs fence: the *state epoch* rises when the state begins anew, and
//! the leader epoch is that of the partition's leader. Source: ShareCoordinatorShard, PersisterStateBatchCombiner.

mod merge;

use std::collections::BTreeMap;
use std::fmt;

use strandline_protocol::coordinator::ShareGroupStateRecord;
use strandline_protocol::coordinator::share_state::{
    ShareSnapshotKey, ShareSnapshotStateBatch, ShareSnapshotValue, ShareUpdateKey, ShareUpdateStateBatch, ShareUpdateValue,
};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, LeaderEpoch, Offset, TopicId};

use self::merge::{Deliveries, Delivery};
use super::loading::Loaded;
use super::state::StateRecord;
use super::timers::Timer;
use super::turn::Turn;
use crate::flaws::{self, Flaw};

/// A partition as a share group sees it. Its text is the key that finds the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShareKey {
    pub group: GroupId,
    pub topic: TopicId,
    pub partition: i32,
}

impl fmt::Display for ShareKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.group, self.topic, self.partition)
    }
}

/// Neighbours that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub first: Offset,
    pub last: Offset,
    pub state: i8,
    pub deliveries: i16,
}

/// What the leader of a partition wants to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    pub state_epoch: i32,
    pub leader_epoch: LeaderEpoch,
    pub start: Offset,
    pub complete: i32,
    pub batches: Vec<Batch>,
}

/// What is known of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub state_epoch: i32,
    pub leader_epoch: LeaderEpoch,
    pub start: Offset,
    pub complete: i32,
    pub batches: Vec<Batch>,
}

#[derive(Clone, Debug)]
struct ShareState {
    snapshot_epoch: i32,
    state_epoch: i32,
    leader_epoch: LeaderEpoch,
    start: Offset,
    complete: i32,
    deliveries: Deliveries,
    created_ms: i64,
    /// Updates since the last snapshot.
    updates: i64,
    /// No record before this one of the log is needed for it.
    kept_from: Offset,
    /// Where a newer snapshot of it was written, and where what was written with it ends: it counts once that is committed. A leader
    /// that does not come so far would leave nobody the older one.
    written: Option<(Offset, Offset)>,
}

/// The states of one shard.
#[derive(Debug, Default)]
pub(crate) struct ShareStates {
    states: BTreeMap<ShareKey, ShareState>,
    /// Of these a snapshot was emitted in this burst: where it lies is known when it is written.
    fresh: Vec<ShareKey>,
    /// Where the log ended when it was last looked at for pruning.
    pruned_at: Offset,
}

impl ShareStates {
    /// A state begins, or begins anew, at `start`; -1 if that is for the group's configuration to say.
    ///
    /// # Errors
    /// FENCED_STATE_EPOCH, INVALID_REQUEST, UNKNOWN_TOPIC_OR_PARTITION.
    pub(crate) fn initialize(
        &mut self,
        turn: &mut Turn<'_>,
        key: &ShareKey,
        state_epoch: i32,
        start: Offset,
    ) -> Result<(), ErrorCode> {
        check_exists(turn, key)?;
        let before = self.states.get(key);
        if before.is_some_and(|before| before.state_epoch > state_epoch) {
            return Err(ErrorCode::FENCED_STATE_EPOCH);
        }
        let state = ShareState {
            snapshot_epoch: before.map_or(-1, |before| before.snapshot_epoch),
            state_epoch,
            leader_epoch: before.map_or(LeaderEpoch(0), |before| before.leader_epoch),
            start,
            complete: if start < Offset::ZERO { -1 } else { 0 },
            deliveries: Deliveries::default(),
            created_ms: turn.now.wall_ms,
            updates: 0,
            kept_from: before.map_or(Offset::MAX, |before| before.kept_from),
            written: before.and_then(|before| before.written),
        };
        self.states.insert(key.clone(), state);
        self.snapshot(turn, key);
        Ok(())
    }

    /// What is known, for a leader that begins; earlier leaders are fenced from then on.
    ///
    /// # Errors
    /// FENCED_LEADER_EPOCH, INVALID_REQUEST if there is no state.
    pub(crate) fn read(&mut self, turn: &mut Turn<'_>, key: &ShareKey, epoch: LeaderEpoch) -> Result<Known, ErrorCode> {
        check_exists(turn, key)?;
        let state = self.states.get_mut(key).ok_or(ErrorCode::INVALID_REQUEST)?;
        state.check_leader(epoch)?;
        if epoch > state.leader_epoch {
            state.leader_epoch = epoch;
            self.snapshot(turn, key);
        }
        self.states.get(key).map(ShareState::known).ok_or(ErrorCode::INVALID_REQUEST)
    }

    /// As [`Self::read`], for those who only want to know where it begins.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION.
    pub(crate) fn summary(&self, turn: &Turn<'_>, key: &ShareKey) -> Result<Option<Known>, ErrorCode> {
        check_exists(turn, key)?;
        Ok(self.states.get(key).map(|state| Known { batches: Vec::new(), ..state.known() }))
    }

    /// Writes what a leader did.
    ///
    /// # Errors
    /// FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH, INVALID_REQUEST if there is no state, UNKNOWN_TOPIC_OR_PARTITION.
    pub(crate) fn write(&mut self, turn: &mut Turn<'_>, key: &ShareKey, update: Update) -> Result<(), ErrorCode> {
        check_exists(turn, key)?;
        let updates_max = turn.settings.share_updates_per_snapshot;
        let state = self.states.get_mut(key).ok_or(ErrorCode::INVALID_REQUEST)?;
        state.check_leader(update.leader_epoch)?;
        if update.state_epoch >= 0 && update.state_epoch < state.state_epoch {
            return Err(ErrorCode::FENCED_STATE_EPOCH);
        }
        if update.leader_epoch > state.leader_epoch {
            state.leader_epoch = update.leader_epoch;
        }
        state.take(update.start, update.complete, &update.batches);
        if state.updates >= updates_max {
            self.snapshot(turn, key);
        } else {
            state.updates += 1;
            let value = state.update_value(&update);
            turn.emit(ShareGroupStateRecord::ShareUpdate(update_key(key), Some(value)));
        }
        Ok(())
    }

    /// Forgets a state; one that is not there is as good.
    pub(crate) fn delete(&mut self, turn: &mut Turn<'_>, key: &ShareKey) {
        if self.states.remove(key).is_some() {
            turn.emit(ShareGroupStateRecord::ShareSnapshot(snapshot_key(key), None));
        }
    }

    /// States of topics that are gone are of no use.
    pub(crate) fn on_topic_removed(&mut self, turn: &mut Turn<'_>, topic: TopicId) {
        let gone: Vec<ShareKey> = self.states.keys().filter(|key| key.topic == topic).cloned().collect();
        for key in gone {
            self.delete(turn, &key);
        }
    }

    fn snapshot(&mut self, turn: &mut Turn<'_>, key: &ShareKey) {
        let Some(state) = self.states.get_mut(key) else { return };
        state.updates = 0;
        state.snapshot_epoch += 1;
        let value = state.snapshot_value(turn.now.wall_ms);
        turn.emit(ShareGroupStateRecord::ShareSnapshot(snapshot_key(key), Some(value)));
        self.fresh.push(key.clone());
    }

    /// What was emitted is written from `from` up to `end`.
    pub(crate) fn on_written(&mut self, from: Offset, end: Offset) {
        for key in std::mem::take(&mut self.fresh) {
            if let Some(state) = self.states.get_mut(&key) {
                state.written = Some((from, end));
            }
        }
    }

    /// The first record that is still needed; `committed`, where the log is committed to, if none is.
    pub(crate) fn kept_from(&mut self, committed: Offset) -> Offset {
        for state in self.states.values_mut() {
            if let Some((from, _)) = state.written.take_if(|(_, end)| *end <= committed) {
                state.kept_from = from;
            }
        }
        self.states.values().map(|state| state.kept_from).min().unwrap_or(committed).min(committed)
    }

    /// Writes snapshots of states that hold the log's front back and were not touched since the last round.
    pub(crate) fn lift(&mut self, turn: &mut Turn<'_>, end: Offset) {
        turn.set_timer(Timer::PruneShareStates, turn.settings.share_prune_interval_ms);
        let before = std::mem::replace(&mut self.pruned_at, end);
        if end.0.saturating_sub(before.0) <= i64::try_from(self.states.len()).unwrap_or(i64::MAX) {
            // Less was written than snapshots of all would be: that would never end.
            return;
        }
        let cold = self.states.iter().filter(|(_, state)| state.kept_from < before && state.written.is_none());
        let cold: Vec<ShareKey> = cold.map(|(key, _)| key.clone()).collect();
        cold.iter().for_each(|key| self.snapshot(turn, key));
    }

    /// Takes one thing that the log says. Nothing here is of a transaction.
    pub(crate) fn replay(&mut self, loaded: Loaded) {
        if let Loaded::Record { record, .. } = loaded
            && let StateRecord::Share(record) = *record
        {
            self.replay_record(record);
        }
    }

    fn replay_record(&mut self, record: ShareGroupStateRecord) {
        match record {
            ShareGroupStateRecord::ShareSnapshot(key, Some(value)) => {
                let key = ShareKey { group: key.group_id, topic: key.topic_id, partition: key.partition };
                self.states.insert(key, ShareState::of_snapshot(value));
            }
            ShareGroupStateRecord::ShareSnapshot(key, None) => {
                self.states.remove(&ShareKey { group: key.group_id, topic: key.topic_id, partition: key.partition });
            }
            ShareGroupStateRecord::ShareUpdate(key, Some(value)) => {
                let key = ShareKey { group: key.group_id, topic: key.topic_id, partition: key.partition };
                if let Some(state) = self.states.get_mut(&key) {
                    state.replay_update(value);
                }
            }
            ShareGroupStateRecord::ShareUpdate(_, None) => {}
        }
    }

    /// Everything is read: what is not written again stays where it is.
    pub(crate) fn on_loaded(&mut self, turn: &mut Turn<'_>) {
        turn.set_timer(Timer::PruneShareStates, turn.settings.share_prune_interval_ms);
    }
}

fn check_exists(turn: &Turn<'_>, key: &ShareKey) -> Result<(), ErrorCode> {
    let topic = turn.image.topics.by_id(key.topic);
    let exists = topic.is_some_and(|topic| topic.partitions.contains_key(&key.partition));
    if exists { Ok(()) } else { Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) }
}

impl ShareState {
    fn check_leader(&self, epoch: LeaderEpoch) -> Result<(), ErrorCode> {
        let is_old = epoch >= LeaderEpoch(0) && epoch < self.leader_epoch;
        if is_old && !flaws::is(Flaw::ShareStateUnfenced) { Err(ErrorCode::FENCED_LEADER_EPOCH) } else { Ok(()) }
    }

    fn take(&mut self, start: Offset, complete: i32, batches: &[Batch]) {
        for batch in batches {
            self.deliveries.put(batch.first, batch.last, Delivery { state: batch.state, count: batch.deliveries });
        }
        // -1 leaves the start where it is.
        if start >= Offset::ZERO {
            self.start = start;
        }
        self.complete = complete;
        self.deliveries.forget_before(self.start);
    }

    fn known(&self) -> Known {
        let batch = |(first, last, delivery): (Offset, Offset, Delivery)| Batch {
            first,
            last,
            state: delivery.state,
            deliveries: delivery.count,
        };
        Known {
            state_epoch: self.state_epoch,
            leader_epoch: self.leader_epoch,
            start: self.start,
            complete: self.complete,
            batches: self.deliveries.iter().map(batch).collect(),
        }
    }

    fn snapshot_value(&self, now_ms: i64) -> ShareSnapshotValue {
        let batch = |(first_offset, last_offset, delivery): (Offset, Offset, Delivery)| ShareSnapshotStateBatch {
            first_offset,
            last_offset,
            delivery_state: delivery.state,
            delivery_count: delivery.count,
        };
        ShareSnapshotValue {
            snapshot_epoch: self.snapshot_epoch,
            state_epoch: self.state_epoch,
            leader_epoch: self.leader_epoch,
            start_offset: self.start,
            delivery_complete_count: self.complete,
            create_timestamp: self.created_ms,
            write_timestamp: now_ms,
            state_batches: self.deliveries.iter().map(batch).collect(),
        }
    }

    fn update_value(&self, update: &Update) -> ShareUpdateValue {
        let batch = |batch: &Batch| ShareUpdateStateBatch {
            first_offset: batch.first,
            last_offset: batch.last,
            delivery_state: batch.state,
            delivery_count: batch.deliveries,
        };
        ShareUpdateValue {
            snapshot_epoch: self.snapshot_epoch,
            leader_epoch: self.leader_epoch,
            start_offset: self.start,
            delivery_complete_count: self.complete,
            state_batches: update.batches.iter().map(batch).collect(),
        }
    }

    fn of_snapshot(value: ShareSnapshotValue) -> Self {
        let mut deliveries = Deliveries::default();
        for batch in &value.state_batches {
            let delivery = Delivery { state: batch.delivery_state, count: batch.delivery_count };
            deliveries.put(batch.first_offset, batch.last_offset, delivery);
        }
        Self {
            snapshot_epoch: value.snapshot_epoch,
            state_epoch: value.state_epoch,
            leader_epoch: value.leader_epoch,
            start: value.start_offset,
            complete: value.delivery_complete_count,
            deliveries,
            created_ms: value.create_timestamp,
            updates: 0,
            // Where it was read is not told; no later than this reading began.
            kept_from: Offset::ZERO,
            written: None,
        }
    }

    fn replay_update(&mut self, value: ShareUpdateValue) {
        // Of an earlier snapshot: what it says is in the later one.
        if value.snapshot_epoch < self.snapshot_epoch {
            return;
        }
        self.updates += 1;
        self.leader_epoch = self.leader_epoch.max(value.leader_epoch);
        let batch = |batch: &ShareUpdateStateBatch| Batch {
            first: batch.first_offset,
            last: batch.last_offset,
            state: batch.delivery_state,
            deliveries: batch.delivery_count,
        };
        let batches: Vec<Batch> = value.state_batches.iter().map(batch).collect();
        self.take(value.start_offset, value.delivery_complete_count, &batches);
    }
}

fn snapshot_key(key: &ShareKey) -> ShareSnapshotKey {
    ShareSnapshotKey { group_id: key.group.clone(), topic_id: key.topic, partition: key.partition }
}

fn update_key(key: &ShareKey) -> ShareUpdateKey {
    ShareUpdateKey { group_id: key.group.clone(), topic_id: key.topic, partition: key.partition }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_snapshot_is_needed_until_the_newer_one_is_committed() {
        let key = ShareKey { group: GroupId::from("g"), topic: TopicId([1; 16]), partition: 0 };
        let mut states = ShareStates::default();
        states.replay_record(ShareGroupStateRecord::ShareSnapshot(snapshot_key(&key), Some(ShareSnapshotValue::default())));
        states.fresh.push(key);
        states.on_written(Offset(10), Offset(12));
        assert_eq!(states.kept_from(Offset(11)), Offset::ZERO);
        assert_eq!(states.kept_from(Offset(12)), Offset(10));
    }
}
