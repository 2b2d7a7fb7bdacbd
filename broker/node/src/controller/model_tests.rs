//! Random histories of a small cluster against numbered invariants, looked at after every single record.
//!
//! 1. A leader is in sync, or there is none.
//! 2. In-sync and eligible replicas are replicas, each of them once, and no replica is both.
//! 3. Every record of a partition raises its partition epoch by one; a new leader, and a replica that leaves, raise the leader epoch.
//! 4. No fenced broker leads or is in sync.
//! 5. With the minimum in sync nobody is eligible besides.
//! 6. Between two decisions a partition without a leader has nobody alive who may lead it.
//! 7. Who leads without recovering holds every acknowledged record. Records are acknowledged while the minimum is in sync, by those
//!    that are; a crash costs a broker what it holds where the topic says so, and a lost disk everywhere.
//! 8. A decision that is repeated changes nothing: what a broker leaves twice it left once.

use std::collections::BTreeSet;

use strandline_protocol::ids::{BrokerId, LeaderEpoch, TopicName, Uuid};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::metadata::broker::RegisterBrokerRecord;

use super::alter_partition::{Outcome, Proposal, alter};
use super::elections::{Wanted, elect};
use super::fencing::Cluster;
use super::reassignments::{Factor, reassign};
use super::terms::{Electorate, Terms};
use super::worlds::{World, directory, incarnation};
use crate::dice::Dice;
use crate::image::brokers::Registration;
use crate::image::topics::{NO_LEADER, Partition, RECOVERED};

const BROKERS: i32 = 5;

struct Model {
    world: World,
    dice: Dice,
    seed: u64,
    /// Brokers with every acknowledged record.
    holders: BTreeSet<i32>,
    /// The disk that a broker has now.
    disks: Vec<i32>,
    before: Partition,
    trace: Vec<String>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut world = World::new(&[1, 2, 3, 4, 5]);
        if dice.below(4) == 0 {
            world.image.features.clear();
        }
        let min = ["1", "2", "3"][dice.below(3)];
        let durability = ["fsync", "replicated"][dice.below(2)];
        world.topic(&[1, 2, 3], &[1, 2, 3], &[("min.insync.replicas", min), ("durability", durability)]);
        let before = world.partition().clone();
        let disks = (0..=BROKERS).collect();
        Self { world, dice, seed, holders: BTreeSet::from([1, 2, 3]), disks, before, trace: Vec::new() }
    }

    fn cluster(&self) -> Cluster<'_> {
        Cluster { image: &self.world.image, start: &self.world.start }
    }

    fn any_broker(&mut self) -> Registration {
        let id = 1 + i32::try_from(self.dice.below(BROKERS as usize)).expect("small");
        self.world.image.brokers.get(id).expect("all five stay registered").clone()
    }

    fn step(&mut self) {
        match self.dice.below(9) {
            0 | 1 => self.fence(),
            2..=4 => self.unfence(),
            5 => self.shut_down(),
            6 => self.restart(),
            7 => self.reassign(),
            _ => self.elect(),
        }
        self.propose();
        self.propose();
        self.check_rest();
    }

    fn fence(&mut self) {
        let known = self.any_broker();
        if !known.fenced {
            let records = self.cluster().fence(&known);
            self.apply(format!("fence {}", known.id), records);
            self.check_repeated(known.id);
        }
    }

    fn unfence(&mut self) {
        let known = self.any_broker();
        if known.fenced {
            let records = self.cluster().unfence(&known);
            self.apply(format!("unfence {}", known.id), records);
        }
    }

    fn shut_down(&mut self) {
        let known = self.any_broker();
        if known.is_active() {
            let records = self.cluster().shut_down(&known);
            self.apply(format!("shut down {}", known.id), records);
        }
    }

    /// A process ends, badly or well, and comes back, perhaps with an empty disk.
    fn restart(&mut self) {
        let known = self.any_broker();
        if !known.fenced {
            let records = self.cluster().fence(&known);
            self.apply(format!("end {}", known.id), records);
        }
        let (badly, emptied) = (self.dice.below(2) == 0, self.dice.below(6) == 0);
        if emptied {
            self.disks[known.id as usize] += 50;
        }
        let terms = self.terms();
        if emptied || (badly && terms.forgets_in_crash) {
            self.holders.remove(&known.id);
        }
        let disk = self.disk(known.id);
        if badly || emptied {
            let records = self.cluster().crash(known.id, &[disk]);
            self.apply(format!("crash {} emptied: {emptied}", known.id), records);
        }
        let record = RegisterBrokerRecord {
            broker_id: BrokerId(known.id),
            incarnation_id: incarnation(known.id),
            broker_epoch: self.world.image.end.0,
            fenced: true,
            log_dirs: vec![disk],
            ..Default::default()
        };
        self.apply(format!("register {}", known.id), vec![record.into()]);
        // The broker tells where its replica lies now.
        if self.world.partition().replicas.contains(&known.id) {
            let records = self.placed(known.id, disk);
            self.apply(format!("place {}", known.id), records);
        }
    }

    fn placed(&self, broker: i32, disk: Uuid) -> Vec<MetadataRecord> {
        let topic = self.world.topic_of();
        let mut change = super::partition_change::PartitionChange::of(topic.id, 0, self.world.partition());
        change.directories.insert(broker, disk);
        change.record(Electorate::of(&self.world.image), self.terms()).map(Into::into).into_iter().collect()
    }

    fn disk(&self, broker: i32) -> Uuid {
        directory(self.disks[broker as usize])
    }

    fn reassign(&mut self) {
        let mut target: Vec<i32> = (1..=BROKERS).collect();
        for last in (1..target.len()).rev() {
            target.swap(last, self.dice.below(last + 1));
        }
        target.truncate(1 + self.dice.below(4));
        let target = if self.dice.below(4) == 0 { None } else { Some(target) };
        let name = TopicName::from("orders");
        let image = &self.world.image;
        if let Ok(record) = reassign(image, &self.world.start, &name, 0, target.as_deref(), Factor::Free) {
            self.apply(format!("reassign {target:?}"), record.into_iter().collect());
        }
    }

    fn elect(&mut self) {
        let wanted = if self.dice.below(4) == 0 { Wanted::Unclean } else { Wanted::Preferred };
        let name = TopicName::from("orders");
        if let Ok(record) = elect(&self.world.image, &self.world.start, &name, 0, wanted) {
            self.apply(format!("elect {wanted:?}"), vec![record]);
        }
    }

    /// The leader lets live replicas join, or drops one; now and then what it knows is old.
    fn propose(&mut self) {
        let partition = self.world.partition().clone();
        if partition.leader == NO_LEADER {
            return;
        }
        let mut isr = partition.isr.clone();
        if self.dice.below(3) == 0 {
            isr.retain(|member| *member == partition.leader || self.dice.below(2) == 0);
        } else {
            let joins = partition.replicas.iter().filter(|replica| !partition.isr.contains(replica));
            isr.extend(joins.copied().filter(|_| self.dice.below(2) == 0));
        }
        let epoch = |broker: &i32| self.world.image.brokers.get(*broker).map_or(-1, |known| known.epoch);
        let proposal = Proposal {
            leader: partition.leader,
            leader_epoch: LeaderEpoch(partition.leader_epoch.0 - i32::from(self.dice.below(8) == 0)),
            partition_epoch: partition.partition_epoch,
            isr: isr.iter().map(|member| (*member, epoch(member))).collect(),
            recovery: RECOVERED,
        };
        let outcome = alter(self.cluster(), self.world.topic_of(), 0, &proposal);
        if let Ok(Outcome::Holds { record: Some(record), .. } | Outcome::NewLeader { record }) = outcome {
            // Whoever joins has fetched everything.
            self.holders.extend(isr.iter().copied());
            self.apply(format!("isr {isr:?}"), vec![record]);
        }
    }

    fn terms(&self) -> Terms {
        self.world.terms()
    }

    fn apply(&mut self, why: String, records: Vec<MetadataRecord>) {
        self.trace.push(why);
        for record in records {
            let of_partition = matches!(record, MetadataRecord::PartitionChangeRecord(_));
            self.world.apply(record);
            self.check(of_partition);
            self.before = self.world.partition().clone();
        }
    }

    fn check(&mut self, of_partition: bool) {
        let (now, before) = (self.world.partition().clone(), self.before.clone());
        self.require(1, now.leader == NO_LEADER || now.isr.contains(&now.leader));
        let both: Vec<i32> = now.isr.iter().chain(&now.elr).copied().collect();
        let once: BTreeSet<i32> = both.iter().copied().collect();
        self.require(2, once.len() == both.len() && both.iter().all(|member| now.replicas.contains(member)));
        self.require(3, now.partition_epoch == before.partition_epoch + i32::from(of_partition));
        let left = before.replicas.iter().any(|replica| !now.replicas.contains(replica));
        let must_rise = now.leader != before.leader || left;
        let rises = now.leader_epoch > before.leader_epoch;
        self.require(3, now.leader_epoch >= before.leader_epoch && (!must_rise || rises));
        let terms = self.terms();
        let fenced = |broker: i32| self.world.image.brokers.get(broker).is_none_or(|known| known.fenced);
        self.require(4, now.leader == NO_LEADER || !fenced(now.leader));
        self.require(4, !terms.eligible_replicas || !now.isr.iter().any(|member| fenced(*member)));
        let enough = now.isr.len() >= terms.min_isr.min(now.replicas.len());
        self.require(5, !enough || now.elr.is_empty());
        self.check_holders(&now, &before, terms, enough);
    }

    fn check_holders(&mut self, now: &Partition, before: &Partition, terms: Terms, enough: bool) {
        if !terms.eligible_replicas {
            return;
        }
        let unclean = now.leader != before.leader && now.leader != NO_LEADER && now.leader_recovery_state != RECOVERED;
        if unclean {
            self.holders = BTreeSet::from([now.leader]);
        }
        self.require(7, now.leader == NO_LEADER || self.holders.contains(&now.leader));
        if now.leader != NO_LEADER && enough {
            self.holders = now.isr.iter().copied().collect();
        }
    }

    fn check_rest(&mut self) {
        let now = self.world.partition().clone();
        let electorate = Electorate::of(&self.world.image);
        let candidates = if now.isr.is_empty() { &now.elr } else { &now.isr };
        let stuck =
            now.leader == NO_LEADER && candidates.iter().any(|member| electorate.may_lead(*member, now.directory_of(*member)));
        self.require(6, !stuck);
    }

    fn check_repeated(&mut self, broker: i32) {
        let known = self.world.image.brokers.get(broker).expect("registered").clone();
        let again = self.cluster().fence(&known);
        self.require(8, again.len() == 1);
    }

    fn require(&self, invariant: u8, holds: bool) {
        assert!(
            holds,
            "invariant {invariant}, seed {}: {:?}\nholders {:?}\n{}",
            self.seed,
            self.world.partition(),
            self.holders,
            self.trace.join("\n")
        );
    }
}

#[test]
fn random_histories_keep_every_invariant() {
    for seed in 0..400 {
        let mut model = Model::new(seed);
        for _ in 0..120 {
            model.step();
        }
    }
}
