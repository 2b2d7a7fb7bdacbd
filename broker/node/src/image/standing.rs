//! Where each broker stands: the partitions that it has to do with, kept as records are applied, so that fencing a
//! broker costs its own partitions and an idle cluster costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::ids::TopicId;

use super::topics::Partition;

/// A partition's key.
pub(crate) type Place = (TopicId, i32);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standings {
    /// Partitions of which the broker is a replica.
    hosted: BTreeMap<i32, BTreeSet<Place>>,
    /// How many partitions the broker leads.
    led: BTreeMap<i32, usize>,
    leaderless: BTreeSet<Place>,
    /// Led by another than the preferred replica.
    unpreferred: BTreeSet<Place>,
    moving: BTreeSet<Place>,
}

impl Standings {
    /// Partitions of which the broker is a replica, in order.
    pub(crate) fn hosted_by(&self, broker: i32) -> impl Iterator<Item = Place> {
        self.hosted.get(&broker).into_iter().flatten().copied()
    }

    /// How many partitions the broker leads.
    pub(crate) fn led_by(&self, broker: i32) -> usize {
        self.led.get(&broker).copied().unwrap_or(0)
    }

    pub(crate) fn leaderless(&self) -> impl Iterator<Item = Place> {
        self.leaderless.iter().copied()
    }

    /// Partitions with a leader that is not the preferred one.
    pub(crate) fn unpreferred(&self) -> impl Iterator<Item = Place> {
        self.unpreferred.iter().copied()
    }

    /// Partitions whose replicas are being moved.
    pub(crate) fn moving(&self) -> impl Iterator<Item = Place> {
        self.moving.iter().copied()
    }

    pub(super) fn note(&mut self, place: Place, partition: &Partition) {
        for replica in &partition.replicas {
            self.hosted.entry(*replica).or_default().insert(place);
        }
        if partition.leader < 0 {
            self.leaderless.insert(place);
        } else {
            *self.led.entry(partition.leader).or_default() += 1;
            if partition.preferred() != Some(partition.leader) {
                self.unpreferred.insert(place);
            }
        }
        if partition.is_moving() {
            self.moving.insert(place);
        }
    }

    pub(super) fn forget(&mut self, place: Place, partition: &Partition) {
        for replica in &partition.replicas {
            if let Some(hosted) = self.hosted.get_mut(replica) {
                hosted.remove(&place);
                if hosted.is_empty() {
                    self.hosted.remove(replica);
                }
            }
        }
        if let Some(count) = self.led.get_mut(&partition.leader) {
            *count -= 1;
            if *count == 0 {
                self.led.remove(&partition.leader);
            }
        }
        self.leaderless.remove(&place);
        self.unpreferred.remove(&place);
        self.moving.remove(&place);
    }
}
