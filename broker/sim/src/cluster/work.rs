//! What groups and transactions a seed has: which kinds, how many members, by which protocols, and how the brokers are set for
//! them. Drawn from a stream of its own.

use super::members::Timing;
use super::members::scribe::Script;
use super::members::worker::Diligence;
use super::plan::Row;
use super::producer::{Manner, Style};
use crate::core::{MS, SECOND};
use crate::dice::Dice;
use crate::topics::{Planned, Promise, Use};

/// The topic that groups read.
const SOURCE: &str = "source";
/// The topic that transactions write to.
const SINK: &str = "sink";

/// How the members of a group come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Classic,
    Modern,
}

/// A group and its members.
#[derive(Clone, Debug)]
pub(super) struct Team {
    pub(super) group: String,
    pub(super) protocol: Protocol,
    pub(super) timing: Timing,
    /// One each.
    pub(super) members: Vec<(Diligence, Option<Script>)>,
}

/// A share group and its members.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) group: String,
    pub(super) beat_us: u64,
    pub(super) members: Vec<Diligence>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    /// Which row of the plan groups read; the one after it is written to in transactions.
    pub(super) row: usize,
    pub(super) teams: Vec<Team>,
    pub(super) pool: Option<Pool>,
    /// So often a record of a share group is given out at most.
    pub(super) deliveries_max: i16,
}

impl Work {
    /// Draws it; `row` is the first that is free. Half of all seeds have none.
    pub(super) fn draw(dice: &mut Dice, row: usize) -> Self {
        if dice.one_in(2) {
            return Self::default();
        }
        let mut teams = Vec::new();
        let protocol = |dice: &mut Dice| if dice.one_in(2) { Protocol::Classic } else { Protocol::Modern };
        if dice.percent(60) {
            let protocol = protocol(dice);
            teams.push(team(dice, "readers", protocol, |_| None));
        }
        if dice.percent(60) {
            let protocol = protocol(dice);
            let version = if dice.percent(70) { 2 } else { 1 };
            let timeout_ms = i32::try_from(dice.spread(2000, 15_000)).unwrap_or(5000);
            teams.push(team(dice, "scribes", protocol, |dice| {
                Some(Script { version, row: row + 1, timeout_ms, aborts_one_in: dice.spread(3, 20) })
            }));
        }
        let pool = (teams.is_empty() || dice.one_in(3)).then(|| Pool {
            group: "sharers".to_owned(),
            beat_us: dice.spread(100 * MS, 800 * MS),
            members: (0..dice.between(1, 3)).map(|_| diligence(dice)).collect(),
        });
        Self { row, teams, pool, deliveries_max: [2, 5, 10][dice.index(3)] }
    }

    pub(super) fn is_any(&self) -> bool {
        !self.teams.is_empty() || self.pool.is_some()
    }

    /// The topics that it needs.
    pub(super) fn rows(&self, dice: &mut Dice, brokers: usize) -> Vec<Row> {
        if !self.is_any() {
            return Vec::new();
        }
        let mut row = |name: &str| {
            let replicas = brokers.min(3);
            let min_isr = dice.index(replicas.min(2)) + 1;
            let mut configs = vec![("retention.ms".to_owned(), "-1".to_owned())];
            configs.push(("min.insync.replicas".to_owned(), min_isr.to_string()));
            let partitions = i32::try_from(dice.between(1, 4)).unwrap_or(1);
            let (used_for, promise) = (Use::Keeping, Promise::Fsync);
            let topic = Planned { name: name.to_owned(), partitions, used_for, promise, configs };
            Row { topic, replicas: i16::try_from(replicas).unwrap_or(1), losses_covered: None }
        };
        vec![row(SOURCE), row(SINK)]
    }

    /// Who writes what groups read.
    pub(super) fn producer(&self, dice: &mut Dice) -> Option<Manner> {
        let interval_us = dice.spread(60 * MS, SECOND);
        self.is_any().then_some(Manner { row: self.row, style: Style::Idempotent, interval_us, in_flight_max: 2 })
    }

    /// How brokers are set.
    pub(super) fn keys(&self, dice: &mut Dice) -> Vec<(&'static str, String)> {
        if !self.is_any() {
            return Vec::new();
        }
        let mut pick = |key: &'static str, values: &[u64]| (key, values[dice.index(values.len())].to_string());
        vec![
            pick("offsets.topic.num.partitions", &[1, 3]),
            pick("transaction.state.log.num.partitions", &[1, 3]),
            pick("share.coordinator.state.topic.num.partitions", &[1, 3]),
            pick("group.min.session.timeout.ms", &[1000]),
            pick("group.initial.rebalance.delay.ms", &[0, 300, 1000]),
            pick("group.consumer.min.session.timeout.ms", &[1000]),
            pick("group.consumer.session.timeout.ms", &[2000, 5000]),
            pick("group.consumer.min.heartbeat.interval.ms", &[100]),
            pick("group.consumer.heartbeat.interval.ms", &[300, 1000]),
            pick("group.share.min.session.timeout.ms", &[1000]),
            pick("group.share.session.timeout.ms", &[2000, 5000]),
            pick("group.share.min.heartbeat.interval.ms", &[100]),
            pick("group.share.heartbeat.interval.ms", &[300, 1000]),
            pick("group.share.min.record.lock.duration.ms", &[1000]),
            pick("group.share.record.lock.duration.ms", &[1000, 3000]),
            pick("group.share.min.delivery.count.limit", &[2]),
            ("group.share.delivery.count.limit", self.deliveries_max.to_string()),
            pick("share.coordinator.snapshot.update.records.per.snapshot", &[0, 5, 500]),
            pick("share.coordinator.state.topic.prune.interval.ms", &[1000, 300_000]),
            pick("transaction.abort.timed.out.transaction.cleanup.interval.ms", &[500, 2000]),
            pick("log.roll.ms", &[2000, 604_800_000]),
            ("log.cleaner.min.cleanable.ratio", ["0.01", "0.5"][dice.index(2)].to_owned()),
        ]
    }
}

fn team(dice: &mut Dice, group: &str, protocol: Protocol, mut script: impl FnMut(&mut Dice) -> Option<Script>) -> Team {
    let beat_us = dice.spread(100 * MS, 700 * MS);
    let timing = Timing { session_ms: [2000, 4000][dice.index(2)], rebalance_ms: [1000, 3000][dice.index(2)], beat_us };
    let members = (0..dice.between(1, 4)).map(|_| (diligence(dice), script(dice))).collect();
    Team { group: group.to_owned(), protocol, timing, members }
}

fn diligence(dice: &mut Dice) -> Diligence {
    Diligence {
        pause_us: dice.spread(10 * MS, 100 * MS),
        commit_us: dice.spread(20 * MS, 3 * SECOND),
        leaves_one_in: [0, 400, 2000][dice.index(3)],
        dies_one_in: [0, 300, 1000][dice.index(3)],
    }
}
