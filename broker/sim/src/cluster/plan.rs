//! What a seed stands for in a cluster: how many nodes in which roles, the topics, the clients, and which faults happen how
//! often. Everything is drawn here once.

use strandline_node::config::BrokerConfig;

use super::consumer::{Habit, habit};
use super::nemesis::FAULTS;
use super::producer::{Manner, manner};
use super::voters::Electorate;
use super::work::Work;
use crate::core::{MS, MachineId, SECOND};
use crate::dice::Dice;
use crate::disk::Access;
use crate::machine::CONTROLLER_PORT;
use crate::plan::{Fault, compaction};
use crate::topics::{Planned, Promise, Use};

/// A topic to be made.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) topic: Planned,
    pub(super) replicas: i16,
    /// How many of them may lose what they had not synced at a time.
    pub(super) losses_covered: Option<usize>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Combined,
    Controller,
    Broker,
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Controllers first.
    pub(super) nodes: Vec<Kind>,
    /// The voters stand in the metadata log, not in the configuration.
    pub(super) electorate: Option<Electorate>,
    pub(super) run_us: u64,
    pub(super) rows: Vec<Row>,
    pub(super) keys: Vec<(&'static str, String)>,
    pub(super) access: Access,
    /// Of every node.
    pub(super) log_dirs: u16,
    pub(super) write_us: u64,
    pub(super) outage_us: u64,
    pub(super) producers: Vec<Manner>,
    pub(super) consumers: Vec<Habit>,
    pub(super) work: Work,
    /// Added to the delay of the network at most.
    pub(super) network_us: u64,
    pub(super) faults: Vec<Fault>,
    /// Mean time between two faults.
    pub(super) fault_interval_us: u64,
}

impl Plan {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let mut own = dice.fork("work");
        let (log_dirs, breaks) = log_dirs(&mut dice.fork("log directories"));
        let nodes = nodes(dice);
        let brokers = nodes.iter().filter(|kind| **kind != Kind::Controller).count();
        let mut rows: Vec<Row> = (0..dice.between(1, 3)).map(|number| row(dice, number, brokers)).collect();
        let producers = (0..dice.between(1, 4)).map(|_| {
            let row = dice.index(rows.len());
            manner(dice, row)
        });
        let mut producers: Vec<Manner> = producers.collect();
        let consumers = (0..dice.between(1, 2)).map(|_| habit(dice)).collect();
        let work = Work::draw(&mut own, rows.len());
        rows.extend(work.rows(&mut own, brokers));
        producers.extend(work.producer(&mut own));
        let mut keys = keys(dice);
        keys.extend(work.keys(&mut own));
        Self {
            run_us: dice.between(15, 60) * SECOND,
            keys,
            access: if dice.one_in(2) { Access::Buffered } else { Access::Direct { allocation_bytes: 4096 } },
            write_us: dice.spread(60, 8 * MS),
            outage_us: [2 * SECOND, 6 * SECOND, 15 * SECOND][dice.index(3)],
            network_us: [0, 0, 2 * MS, 20 * MS][dice.index(4)],
            // Whoever reads shared records, or what coordinators wrote, compares no checksums here.
            faults: faults(dice).into_iter().filter(|fault| *fault != Fault::BitFlip || !work.is_any()).chain(breaks).collect(),
            log_dirs,
            fault_interval_us: dice.spread(700 * MS, 12 * SECOND),
            electorate: Electorate::draw(dice, &nodes),
            nodes,
            rows,
            producers,
            consumers,
            work,
        }
    }

    pub(super) fn voters(&self) -> usize {
        self.nodes.iter().filter(|kind| **kind != Kind::Broker).count()
    }

    pub(super) fn brokers(&self) -> Vec<MachineId> {
        (0..self.nodes.len()).filter(|machine| self.nodes[*machine] != Kind::Controller).collect()
    }

    /// The configuration of a node.
    ///
    /// # Panics
    /// If the plan is not legal: a mistake in this file.
    pub(super) fn config(&self, machine: MachineId) -> BrokerConfig {
        let voters: Vec<String> =
            (0..self.voters()).map(|voter| format!("{}@machine-{voter}:{CONTROLLER_PORT}", number(voter))).collect();
        let (roles, listeners) = match self.nodes[machine] {
            Kind::Combined => (
                "broker,controller",
                format!("PLAINTEXT://machine-{machine}:9092,CONTROLLER://machine-{machine}:{CONTROLLER_PORT}"),
            ),
            Kind::Controller => ("controller", format!("CONTROLLER://machine-{machine}:{CONTROLLER_PORT}")),
            Kind::Broker => ("broker", format!("PLAINTEXT://machine-{machine}:9092")),
        };
        let mut pairs = self.keys.clone();
        pairs.push(("node.id", number(machine).to_string()));
        pairs.push(("process.roles", roles.to_owned()));
        pairs.push(("listeners", listeners));
        match &self.electorate {
            Some(electorate) => pairs.extend(electorate.keys()),
            None => pairs.push(("controller.quorum.voters", voters.join(","))),
        }
        BrokerConfig::from_pairs(pairs).expect("the plan is legal")
    }
}

/// The number of the node of a machine.
pub(super) fn number(machine: MachineId) -> i32 {
    i32::try_from(machine).unwrap_or(i32::MAX - 1) + 1
}

fn nodes(dice: &mut Dice) -> Vec<Kind> {
    let of = |controllers: usize, brokers: usize| {
        let mut nodes = vec![Kind::Controller; controllers];
        nodes.extend(vec![Kind::Broker; brokers]);
        nodes
    };
    match dice.below(20) {
        0 => vec![Kind::Combined],
        1..=10 => vec![Kind::Combined; 3],
        11..=13 => vec![Kind::Combined; 5],
        14..=16 => of(3, 3),
        17 => of(1, 3),
        _ => of(3, 5),
    }
}

/// How many log directories nodes have, and whether some fail.
fn log_dirs(dice: &mut Dice) -> (u16, Option<Fault>) {
    let count = if dice.one_in(3) { [2, 3][dice.index(2)] } else { 1 };
    (count, (count > 1 && dice.percent(70)).then_some(Fault::DirectoryFails))
}

/// Some kinds of faults in most runs, none in a few.
fn faults(dice: &mut Dice) -> Vec<Fault> {
    if dice.one_in(20) {
        return Vec::new();
    }
    let mut chosen: Vec<Fault> = FAULTS.iter().copied().filter(|_| dice.one_in(3)).collect();
    if chosen.is_empty() || dice.percent(60) {
        chosen.push([Fault::Kill, Fault::PowerCut, Fault::Isolation][dice.index(3)]);
    }
    chosen
}

fn keys(dice: &mut Dice) -> Vec<(&'static str, String)> {
    let mut pick = |key: &'static str, values: &[u64]| (key, values[dice.index(values.len())].to_string());
    vec![
        pick("log.flush.offset.checkpoint.interval.ms", &[200, 1000, 5000, 60_000]),
        pick("log.flush.offset.checkpoint.min.bytes", &[0, 0, 1000, 64 << 10]),
        pick("replica.high.watermark.checkpoint.interval.ms", &[100, 1000, 5000]),
        pick("tail.cache.bytes", &[0, 2000, 64 << 10, 128 << 20]),
        pick("replica.lag.time.max.ms", &[1000, 3000, 30_000]),
        pick("replica.fetch.wait.max.ms", &[100, 500]),
        pick("replica.fetch.max.bytes", &[500, 5000, 1 << 20]),
        pick("broker.session.timeout.ms", &[1500, 3000]),
        pick("leader.imbalance.check.interval.seconds", &[2, 10, 300]),
        pick("log.cleaner.backoff.ms", &[500, 15_000]),
        // Most runs make snapshots of the metadata often, and keep little behind them.
        pick("metadata.log.max.record.bytes.between.snapshots", &[500, 5000, 20 << 20]),
        pick("metadata.log.max.snapshot.interval.ms", &[0, 700, 3_600_000]),
        pick("metadata.max.retention.bytes", &[1, 3000, 100 << 20]),
        pick("controller.quorum.fetch.max.bytes", &[1, 1, 300, 1 << 20]),
        pick("controller.quorum.fetch.snapshot.max.bytes", &[300, 1 << 20]),
        ("auto.create.topics.enable", "false".to_owned()),
    ]
}

fn row(dice: &mut Dice, number: u64, brokers: usize) -> Row {
    let replicas = if dice.percent(80) { brokers.min(3) } else { dice.index(brokers) + 1 };
    let min_isr = dice.index(replicas.min(2)) + 1;
    let used_for = match dice.below(8) {
        0 | 1 if number > 0 => Use::Churning,
        2 if number > 0 => Use::Compacting,
        _ => Use::Keeping,
    };
    let promise = if used_for != Use::Compacting && dice.one_in(4) { Promise::Replicated } else { Promise::Fsync };
    // Without a second one in sync a topic like that promises nothing for a loss of power.
    let min_isr = if promise == Promise::Replicated && dice.percent(60) { replicas.min(2) } else { min_isr };
    let mut configs = vec![("retention.ms".to_owned(), "-1".to_owned())];
    configs.push(("min.insync.replicas".to_owned(), min_isr.to_string()));
    if promise == Promise::Replicated {
        configs.push(("durability".to_owned(), "replicated".to_owned()));
    }
    if used_for == Use::Compacting {
        configs.extend(compaction(dice));
    } else if dice.percent(40) {
        configs.push(("segment.ms".to_owned(), dice.spread(500, 20_000).to_string()));
    }
    let partitions = i32::try_from(dice.between(1, 3)).unwrap_or(1);
    Row {
        topic: Planned { name: format!("topic-{number}"), partitions, used_for, promise, configs },
        replicas: i16::try_from(replicas).unwrap_or(1),
        losses_covered: (promise == Promise::Replicated).then(|| min_isr - 1),
    }
}
