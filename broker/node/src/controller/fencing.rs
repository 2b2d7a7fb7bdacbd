//! What becomes of partitions when a broker goes or comes: records that move leaders and shrink in-sync sets, with the record about
//! the broker itself behind them (before them when it comes), so that a fenced broker never leads after any of them.
//!
//! Each of these records is true by itself: they may be emitted in several parts. Source: ReplicationControlManager.handleBroker*.

use strandline_protocol::ids::{BrokerId, TopicId, Uuid};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::metadata::broker::{BrokerRegistrationChangeRecord, UnregisterBrokerRecord};

use super::partition_change::PartitionChange;
use super::terms::{Electorate, Terms};
use crate::config::BrokerConfig;
use crate::flaws::{self, Flaw};
use crate::image::Image;
use crate::image::brokers::Registration;
use crate::image::standing::Place;
use crate::image::topics::Partition;

/// `fenced` of a registration change, and `in_controlled_shutdown`.
const YES: i8 = 1;
const NO: i8 = -1;

/// The cluster that decisions about brokers are made on.
#[derive(Clone, Copy)]
pub(crate) struct Cluster<'a> {
    pub image: &'a Image,
    /// The controller's own keys.
    pub start: &'a BrokerConfig,
}

impl<'a> Cluster<'a> {
    /// The broker is fenced: it leads nothing and is in sync nowhere.
    pub(crate) fn fence(self, known: &Registration) -> Vec<MetadataRecord> {
        let mut records = if flaws::is(Flaw::FencedKeepsItsPlaces) { Vec::new() } else { self.leave(known.id) };
        records.push(change(known, |record| record.fenced = YES));
        records
    }

    /// The broker serves again: it leads what nobody else could.
    pub(crate) fn unfence(self, known: &Registration) -> Vec<MetadataRecord> {
        let comes = |(partition, _): &(&Partition, Terms)| partition.replicas.contains(&known.id);
        let leaderless = self.image.topics.standings.leaderless();
        let mut records = vec![change(known, |record| record.fenced = NO)];
        records.extend(self.changes(leaderless, Electorate::with(self.image, known.id), |found, _| comes(found)));
        records
    }

    /// The broker wants to go: its partitions are given to others first.
    pub(crate) fn shut_down(self, known: &Registration) -> Vec<MetadataRecord> {
        let mut records = vec![change(known, |record| record.in_controlled_shutdown = YES)];
        records.extend(self.leave(known.id));
        records
    }

    /// The broker is taken out of the cluster. What it held stays eligible: should it come back, it may be the only one.
    pub(crate) fn unregister(self, known: &Registration) -> Vec<MetadataRecord> {
        let mut records = self.leave(known.id);
        records.push(UnregisterBrokerRecord { broker_id: BrokerId(known.id), broker_epoch: known.epoch }.into());
        records
    }

    /// The broker starts again without having ended well: where a crash may cost records it is neither in sync nor eligible any more
    /// (KIP-966). Where its directory is not among `directories` it is out of sync; and if a new one has come, which is then in its
    /// place, everything it held is gone, whatever the topic promises. Otherwise the directory may come back with it. One that replicas
    /// are said to lie in is not new: it comes back. A replica of which nobody said yet where it lies was in one of those before.
    pub(crate) fn crash(self, broker: i32, directories: &[Uuid]) -> Vec<MetadataRecord> {
        let before = self.image.brokers.get(broker).map_or(&[][..], |known| known.log_dirs.as_slice());
        let topics = &self.image.topics;
        let lies_in = |(id, index): Place| topics.by_id(id)?.partitions.get(&index)?.directory_of(broker);
        let holds = |directory: &Uuid| topics.standings.hosted_by(broker).any(|place| lies_in(place) == Some(*directory));
        let has_new = directories.iter().any(|directory| !before.contains(directory) && !holds(directory));
        let lacks_one = before.iter().any(|directory| !directories.contains(directory));
        let is_known = |directory: Uuid| !matches!(directory, Uuid::UNASSIGNED_DIRECTORY | Uuid::MIGRATING_DIRECTORY);
        let held = self.image.topics.standings.hosted_by(broker);
        let crashed = |(partition, terms): &(&Partition, Terms), change: &mut PartitionChange<'_>| {
            let held = partition.directory_of(broker).filter(|held| is_known(*held));
            let is_away = held.is_some_and(|held| !directories.contains(&held));
            // What a replica is worth whose directory was told to be lost was decided then.
            let is_gone = has_new && (is_away || held.is_none() && lacks_one) && held != Some(Uuid::LOST_DIRECTORY);
            let has_lost = terms.forgets_in_crash || is_gone;
            change.isr.retain(|member| *member != broker);
            change.unclean = has_lost.then_some(broker);
            let counts = partition.isr.contains(&broker) || partition.elr.contains(&broker);
            counts && (has_lost || is_away)
        };
        self.changes(held, Electorate::without(self.image, broker), crashed)
    }

    /// Directories of a broker failed: their replicas are out of sync, the others stay. Nothing if that is known already.
    pub(crate) fn lose_directories(self, known: &Registration, offline: &[Uuid]) -> Vec<MetadataRecord> {
        let (lost, kept): (Vec<Uuid>, Vec<Uuid>) = known.log_dirs.iter().partition(|directory| offline.contains(directory));
        if lost.is_empty() || kept.is_empty() {
            return Vec::new();
        }
        let held = self.image.topics.standings.hosted_by(known.id);
        let mut records = self.changes(held, Electorate::without(self.image, known.id), |(partition, _), change| {
            change.isr.retain(|member| *member != known.id);
            partition.directory_of(known.id).is_some_and(|directory| lost.contains(&directory))
        });
        records.push(change(known, |record| record.log_dirs.clone_from(&kept)));
        records
    }

    fn leave(self, broker: i32) -> Vec<MetadataRecord> {
        let held = self.image.topics.standings.hosted_by(broker);
        self.changes(held, Electorate::without(self.image, broker), |(partition, _), change| {
            change.isr.retain(|member| *member != broker);
            partition.isr.contains(&broker) || partition.leader == broker
        })
    }

    /// The records of those partitions that `alter` says are concerned.
    fn changes(
        self,
        places: impl Iterator<Item = Place>,
        electorate: Electorate<'_>,
        alter: impl Fn(&(&'a Partition, Terms), &mut PartitionChange<'_>) -> bool,
    ) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        let mut of_topic: Option<(TopicId, Terms)> = None;
        for (id, index) in places {
            let Some(topic) = self.image.topics.by_id(id) else { continue };
            let Some(partition) = topic.partitions.get(&index) else { continue };
            let terms = match of_topic {
                Some((same, terms)) if same == id => terms,
                _ => Terms::of(self.image, self.start, topic),
            };
            of_topic = Some((id, terms));
            let mut change = PartitionChange::of(id, index, partition);
            if alter(&(partition.as_ref(), terms), &mut change) {
                records.extend(change.record(electorate, terms).map(MetadataRecord::from));
            }
        }
        records
    }
}

fn change(known: &Registration, set: impl FnOnce(&mut BrokerRegistrationChangeRecord)) -> MetadataRecord {
    let mut record = BrokerRegistrationChangeRecord {
        broker_id: BrokerId(known.id),
        broker_epoch: known.epoch,
        ..BrokerRegistrationChangeRecord::default()
    };
    set(&mut record);
    record.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::worlds::{TOPIC, World, directory};
    use strandline_protocol::metadata::partition::{PartitionChangeRecord, PartitionRecord};

    fn three(configs: &[(&str, &str)]) -> World {
        let mut world = World::new(&[1, 2, 3]);
        world.topic(&[1, 2, 3], &[1, 2, 3], configs);
        world
    }

    fn does(world: &mut World, records: impl Fn(Cluster<'_>, &Registration) -> Vec<MetadataRecord>, broker: i32) -> usize {
        let known = world.image.brokers.get(broker).expect("registered").clone();
        let records = records(Cluster { image: &world.image, start: &world.start }, &known);
        let count = records.len();
        records.into_iter().for_each(|record| world.apply(record));
        count
    }

    fn sets(world: &World) -> (i32, Vec<i32>, Vec<i32>) {
        let partition = world.partition();
        (partition.leader, partition.isr.clone(), partition.elr.clone())
    }

    #[test]
    fn a_fenced_broker_leads_nothing_and_leads_again_what_nobody_else_could() {
        let mut world = three(&[("min.insync.replicas", "1")]);
        for broker in [1, 2, 3] {
            does(&mut world, |cluster, known| cluster.fence(known), broker);
        }
        assert_eq!(sets(&world), (-1, vec![], vec![3]));
        does(&mut world, |cluster, known| cluster.unfence(known), 1);
        assert_eq!(sets(&world).0, -1);
        does(&mut world, |cluster, known| cluster.unfence(known), 3);
        assert_eq!(sets(&world), (3, vec![3], vec![]));
    }

    #[test]
    fn a_broker_that_shuts_down_is_in_sync_nowhere_but_not_fenced_yet() {
        let mut world = three(&[]);
        does(&mut world, |cluster, known| cluster.shut_down(known), 1);
        assert_eq!(sets(&world), (2, vec![2, 3], vec![]));
        let known = world.image.brokers.get(1).expect("registered");
        assert_eq!((known.fenced, known.in_controlled_shutdown), (false, true));
    }

    #[test]
    fn a_crash_costs_eligibility_only_where_it_may_cost_records() {
        for (durability, eligible) in [("fsync", vec![3]), ("replicated", vec![])] {
            let mut world = three(&[("durability", durability), ("min.insync.replicas", "3")]);
            does(&mut world, |cluster, known| cluster.fence(known), 3);
            assert_eq!(sets(&world), (1, vec![1, 2], vec![3]));
            does(&mut world, |cluster, known| cluster.crash(known.id, &[directory(3)]), 3);
            assert_eq!(sets(&world), (1, vec![1, 2], eligible));
        }
    }

    #[test]
    fn a_broker_that_comes_back_with_another_disk_is_eligible_nowhere() {
        let mut world = three(&[("durability", "fsync"), ("min.insync.replicas", "3")]);
        does(&mut world, |cluster, known| cluster.fence(known), 3);
        does(&mut world, |cluster, known| cluster.crash(known.id, &[directory(9)]), 3);
        assert_eq!(sets(&world), (1, vec![1, 2], vec![]));
    }

    #[test]
    fn what_lies_in_a_directory_that_is_away_is_out_of_sync_and_eligible_when_it_comes_back() {
        let mut world = three(&[("durability", "fsync"), ("min.insync.replicas", "3")]);
        does(&mut world, |cluster, known| cluster.crash(known.id, &[]), 3);
        assert_eq!(sets(&world), (1, vec![1, 2], vec![3]));
    }

    #[test]
    fn a_directory_that_comes_back_is_no_new_one_to_what_lies_in_another() {
        let mut world = three(&[("durability", "fsync"), ("min.insync.replicas", "3")]);
        does(&mut world, |cluster, known| cluster.fence(known), 3);
        let known = world.image.brokers.get(3).expect("registered").clone();
        world.apply(change(&known, |record| record.log_dirs = vec![directory(9)]));
        world.apply(PartitionRecord {
            partition_id: 1,
            topic_id: TOPIC,
            replicas: vec![BrokerId(3)],
            directories: vec![directory(77)],
            ..Default::default()
        });
        does(&mut world, |cluster, known| cluster.crash(known.id, &[directory(9), directory(77)]), 3);
        assert_eq!(sets(&world), (1, vec![1, 2], vec![3]));
        does(&mut world, |cluster, known| cluster.crash(known.id, &[directory(9), directory(78)]), 3);
        assert_eq!(sets(&world), (1, vec![1, 2], vec![]));
    }

    #[test]
    fn a_replica_of_which_nobody_said_where_it_lies_is_gone_only_with_a_directory() {
        let mut world = three(&[("durability", "fsync"), ("min.insync.replicas", "3")]);
        let directories = Some(vec![directory(1), directory(2), Uuid::UNASSIGNED_DIRECTORY]);
        world.apply(PartitionChangeRecord { partition_id: 0, topic_id: TOPIC, directories, ..Default::default() });
        does(&mut world, |cluster, known| cluster.fence(known), 3);
        let before = world.image.brokers.get(3).expect("registered").log_dirs.clone();
        let more = [&before[..], &[directory(78)]].concat();
        does(&mut world, |cluster, known| cluster.crash(known.id, &more), 3);
        assert_eq!(sets(&world), (1, vec![1, 2], vec![3]));
        does(&mut world, |cluster, known| cluster.crash(known.id, &[directory(78)]), 3);
        assert_eq!(sets(&world), (1, vec![1, 2], vec![]));
    }

    #[test]
    fn a_failed_directory_takes_its_replicas_and_nothing_else() {
        let mut world = three(&[]);
        let known = world.image.brokers.get(1).expect("registered").clone();
        let mut two = known.clone();
        two.log_dirs.push(directory(9));
        let lose = |world: &World, offline: i32| {
            let cluster = Cluster { image: &world.image, start: &world.start };
            cluster.lose_directories(&two, &[directory(offline)])
        };
        assert_eq!(lose(&world, 9).len(), 1, "nothing lies there");
        assert_eq!(lose(&world, 77).len(), 0);
        lose(&world, 1).into_iter().for_each(|record| world.apply(record));
        assert_eq!(sets(&world).0, 2);
    }

    #[test]
    fn an_unregistered_broker_is_gone_and_what_it_held_moves() {
        let mut world = three(&[]);
        assert_eq!(does(&mut world, |cluster, known| cluster.unregister(known), 1), 2);
        assert_eq!(sets(&world).0, 2);
        assert!(world.image.brokers.get(1).is_none());
    }
}
