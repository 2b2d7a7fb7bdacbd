//! What a seed stands for: the topics, the machine, the clients, and which kinds of faults happen how often. Everything is
//! drawn here once; nothing is tuned by hand for one seed.

use strandline_node::config::BrokerConfig;

use crate::client::consumer::{Habit, habit};
use crate::client::producer::{Manner, manner};
use crate::core::{MS, SECOND};
use crate::dice::Dice;
use crate::disk::Access;
use crate::topics::{Planned, Promise, Use};

/// A kind of fault that the nemesis may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Kill,
    PowerCut,
    /// SIGTERM; now and then the process dies on the way.
    Shutdown,
    NoSpace,
    BrokenDevice,
    SlowDisk,
    BitFlip,
    ReadErrors,
    ClockJump,
    HangUps,
    /// Every machine at once.
    PowerCutOfAll,
    /// SIGSTOP, for a while.
    Pause,
    /// Nothing gets to a machine, nor away from it.
    Isolation,
    /// In one direction only.
    OneWayCut,
    /// Two groups that do not reach each other.
    Split,
    /// Whoever connects is told that nobody is there.
    Refusals,
    /// The device of a log directory that is not the first.
    DirectoryFails,
    /// Whatever is sent takes up to seconds, and is overtaken by what is sent over other connections.
    SlowNetwork,
    /// A process dies, and somebody who watches it starts it again at once.
    QuickRestart,
    /// Somebody is waited for, and struck where it hurts most.
    Ambush,
}

/// Every kind that happens to a single node.
pub const FAULTS: &[Fault] = &[
    Fault::Kill,
    Fault::PowerCut,
    Fault::Shutdown,
    Fault::NoSpace,
    Fault::BrokenDevice,
    Fault::SlowDisk,
    Fault::BitFlip,
    Fault::ReadErrors,
    Fault::ClockJump,
    Fault::HangUps,
];

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "process killed",
            Self::PowerCut => "power cut",
            Self::Shutdown => "shutdown",
            Self::NoSpace => "no space left",
            Self::BrokenDevice => "device error",
            Self::SlowDisk => "slow disk",
            Self::BitFlip => "bit flip at rest",
            Self::ReadErrors => "read errors",
            Self::ClockJump => "wall clock jump",
            Self::HangUps => "connections broken",
            Self::PowerCutOfAll => "power cut of all",
            Self::Pause => "process stopped for a while",
            Self::Isolation => "machine isolated",
            Self::OneWayCut => "network cut in one direction",
            Self::Split => "network split",
            Self::Refusals => "connections refused",
            Self::DirectoryFails => "directory failed",
            Self::SlowNetwork => "slow network",
            Self::QuickRestart => "process killed and started at once",
            Self::Ambush => "ambush",
        }
    }
}

/// Kinds that happen to clusters only.
pub const FAULTS_OF_CLUSTERS: &[Fault] = &[
    Fault::PowerCutOfAll,
    Fault::Pause,
    Fault::Isolation,
    Fault::OneWayCut,
    Fault::Split,
    Fault::Refusals,
    Fault::DirectoryFails,
    Fault::SlowNetwork,
    Fault::QuickRestart,
    Fault::Ambush,
];

#[derive(Clone, Debug)]
pub struct Plan {
    pub run_us: u64,
    pub topics: Vec<Planned>,
    pub broker: Vec<(&'static str, String)>,
    pub access: Access,
    pub write_us: u64,
    pub producers: Vec<Manner>,
    pub consumers: Vec<Habit>,
    pub faults: Vec<Fault>,
    /// Mean time between two faults.
    pub fault_interval_us: u64,
}

impl Plan {
    pub fn draw(dice: &mut Dice) -> Self {
        let topics = topics(dice);
        let producers = (0..dice.between(2, 6)).map(|id| {
            let row = dice.index(topics.len());
            manner(dice, usize::try_from(id).unwrap_or(0), row)
        });
        let producers = producers.collect();
        let consumers = (0..dice.between(1, 4)).map(|_| habit(dice)).collect();
        Self {
            run_us: dice.between(10, 60) * SECOND,
            broker: broker(dice),
            access: access(dice),
            write_us: dice.spread(60, 8 * MS),
            producers,
            consumers,
            faults: faults(dice),
            fault_interval_us: dice.spread(500 * MS, 12 * SECOND),
            topics,
        }
    }

    /// The configuration of the broker.
    ///
    /// # Panics
    /// If a pair of the plan is not legal: a mistake in this file.
    pub fn config(&self) -> BrokerConfig {
        BrokerConfig::from_pairs(self.broker.iter().map(|(key, value)| (*key, value.clone()))).expect("the plan is legal")
    }
}

fn access(dice: &mut Dice) -> Access {
    match dice.below(4) {
        0 => Access::Buffered,
        1 => Access::Direct { allocation_bytes: 0 },
        2 => Access::Direct { allocation_bytes: 4096 },
        _ => Access::Direct { allocation_bytes: 16 << 10 },
    }
}

fn faults(dice: &mut Dice) -> Vec<Fault> {
    let mut chosen: Vec<Fault> = FAULTS.iter().copied().filter(|_| dice.one_in(3)).collect();
    // Most runs crash: that is what they are for.
    if chosen.is_empty() || dice.percent(70) {
        chosen.push(if dice.one_in(3) { Fault::Kill } else { Fault::PowerCut });
    }
    chosen
}

fn broker(dice: &mut Dice) -> Vec<(&'static str, String)> {
    let mut pick = |key: &'static str, values: &[u64]| (key, values[dice.index(values.len())].to_string());
    vec![
        pick("log.flush.offset.checkpoint.interval.ms", &[200, 1000, 5000, 60_000]),
        pick("log.flush.offset.checkpoint.min.bytes", &[0, 0, 1000, 64 << 10]),
        pick("replica.high.watermark.checkpoint.interval.ms", &[100, 1000, 5000]),
        pick("log.retention.check.interval.ms", &[300, 2000, 20_000]),
        pick("tail.cache.bytes", &[0, 2000, 64 << 10, 128 << 20]),
        pick("log.cleaner.backoff.ms", &[100, 1000, 15_000]),
        pick("max.incremental.fetch.session.cache.slots", &[0, 1, 1000]),
        // Most runs make snapshots often, and keep little behind them.
        pick("metadata.log.max.record.bytes.between.snapshots", &[1, 500, 5000, 20 << 20]),
        pick("metadata.log.max.snapshot.interval.ms", &[0, 700, 3_600_000]),
        pick("metadata.max.retention.bytes", &[1, 3000, 100 << 20]),
        ("auto.create.topics.enable", "false".to_owned()),
        ("node.id", "1".to_owned()),
    ]
}

fn topics(dice: &mut Dice) -> Vec<Planned> {
    let uses = [Use::Keeping, Use::DeletingRecords, Use::Expiring, Use::Churning, Use::Compacting, Use::Compacting];
    let count = dice.between(1, 4);
    let mut topics: Vec<Planned> = Vec::new();
    for number in 0..count {
        let used_for = if number == 0 { Use::Keeping } else { uses[dice.index(uses.len())] };
        topics.push(planned(dice, number, used_for));
    }
    topics
}

fn planned(dice: &mut Dice, number: u64, used_for: Use) -> Planned {
    let promise = if used_for != Use::Compacting && dice.one_in(5) { Promise::Replicated } else { Promise::Fsync };
    let mut configs = if used_for == Use::Compacting { compaction(dice) } else { segments(dice) };
    if promise == Promise::Replicated {
        configs.push(("durability".to_owned(), "replicated".to_owned()));
    }
    if used_for == Use::Expiring {
        configs.push(("retention.ms".to_owned(), dice.spread(500, 60_000).to_string()));
        configs.push((
            "retention.bytes".to_owned(),
            if dice.one_in(2) { "-1".to_owned() } else { dice.spread(500, 50_000).to_string() },
        ));
    } else {
        configs.push(("retention.ms".to_owned(), "-1".to_owned()));
    }
    configs.push(("file.delete.delay.ms".to_owned(), [0, 100, 5000][dice.index(3)].to_string()));
    if dice.one_in(5) {
        configs.push(("message.timestamp.type".to_owned(), "LogAppendTime".to_owned()));
    }
    if dice.one_in(6) {
        configs.push(("compression.type".to_owned(), ["lz4", "snappy", "uncompressed"][dice.index(3)].to_owned()));
    }
    let partitions = i32::try_from(dice.between(1, 3)).unwrap_or(1);
    Planned { name: format!("topic-{number}"), partitions, used_for, promise, configs }
}

/// Settings by which logs are compacted soon, and deletions kept for more or less long.
pub(crate) fn compaction(dice: &mut Dice) -> Vec<(String, String)> {
    let mut pick = |key: &str, values: &[&str]| (key.to_owned(), values[dice.index(values.len())].to_owned());
    vec![
        ("cleanup.policy".to_owned(), "compact".to_owned()),
        pick("segment.ms", &["100", "1000", "5000"]),
        pick("min.cleanable.dirty.ratio", &["0.0", "0.1", "0.5"]),
        pick("delete.retention.ms", &["0", "500", "86400000"]),
        pick("min.compaction.lag.ms", &["0", "0", "2000"]),
    ]
}

/// Settings that make segments end early: by time, or by the size of their indexes.
fn segments(dice: &mut Dice) -> Vec<(String, String)> {
    let mut configs = Vec::new();
    if dice.percent(60) {
        configs.push(("segment.ms".to_owned(), dice.spread(20, 20_000).to_string()));
    }
    if dice.percent(50) {
        configs.push(("index.interval.bytes".to_owned(), [0, 100, 4096][dice.index(3)].to_string()));
        configs.push(("segment.index.bytes".to_owned(), [8, 40, 400, 10 << 20][dice.index(4)].to_string()));
    }
    if dice.one_in(8) {
        configs.push(("segment.jitter.ms".to_owned(), "1000".to_owned()));
    }
    configs
}

/// A change of a topic's settings that may come at any time.
pub fn change(dice: &mut Dice, used_for: Use, promise: Promise) -> Option<(&'static str, String)> {
    match dice.below(6) {
        0 => Some(("segment.ms", dice.spread(20, 50_000).to_string())),
        1 => Some(("index.interval.bytes", [0, 500, 4096][dice.index(3)].to_string())),
        2 => Some(("compression.type", ["producer", "lz4", "gzip"][dice.index(3)].to_owned())),
        3 if promise == Promise::Replicated => Some(("durability", ["fsync", "replicated"][dice.index(2)].to_owned())),
        4 if used_for == Use::Expiring => Some(("retention.ms", dice.spread(500, 60_000).to_string())),
        5 => Some(("file.delete.delay.ms", [0, 1000][dice.index(2)].to_string())),
        _ => None,
    }
}
