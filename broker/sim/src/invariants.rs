//! What holds at every moment, numbered. Looked at from inside the node after every step, and from the promises of its
//! earlier lives at every start. The numbers stay: a row that goes leaves a hole.

use std::collections::{BTreeMap, BTreeSet};

use strandline_log::disk::Durability;
use strandline_log::recover::Shutdown;
use strandline_node::{Cause, Node, OfflinePartition};
use strandline_protocol::ids::{Offset, Uuid};

use crate::core::Core;
use crate::history::PartitionKey;
use crate::start::OpenedPartition;
use crate::topics::{Existence, Promise, Use};

/// A row of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    PositionsInOrder,
    ReadableIsDurable,
    RecoveryPointIsDurable,
    HighWatermarkOnlyRises,
    LogStartOnlyRises,
    CommittedSurvives,
    DurableSurvives,
    MetadataSurvives,
    TopicsSurvive,
    DeletedStaysDeleted,
    LogStartAsPromised,
    HostedIsLed,
    OneReplyARequest,
    ReplyToTheLiving,
    ParkedHasAsker,
    AnsweredInTime,
    FailsForAReason,
    StartsAgain,
    CleanStartCutsNothing,
    StoppedMeansClosed,
    OneOperationAnOwner,
    WakesToDoSomething,
    TailCacheWithinBudget,
    SessionsWithinLimit,
    ReadsBelowHighWatermark,
    ReadsWithoutGap,
    DamageIsNotServed,
    ProducersSurvive,
    ResponseDecodes,
    AnswersAsAsked,
    DrainEnds,
    OneQuorumLeader,
    MetadataLogsMatch,
    QuorumLeaderIsComplete,
    MetadataIsHeldByMajority,
    OneLeader,
    LogsMatch,
    LeaderIsComplete,
    CommittedIsHeld,
    CommittedOnce,
    SetsFit,
    EpochsRise,
    LateLeaderCommitsNothing,
    RecordsStay,
    AnsweredMetadataHolds,
    CommittedOffsetsStay,
    OneOwner,
    SharedOnce,
    GroupsSettle,
    TransactionsWhole,
    AbortedStaysUnseen,
    StableOnlyRises,
    ExactlyOnce,
    VotersAsNamed,
    DirectoryFailsAlone,
    VoteIsKept,
}

/// Number and sentence of every row.
#[rustfmt::skip]
pub const INVARIANTS: &[(Invariant, u32, &str)] = &[
    (Invariant::PositionsInOrder, 1, "log_start <= durable_end <= readable_end <= log_end"),
    (Invariant::ReadableIsDurable, 2, "with durability=fsync nothing is readable that is not durable"),
    (Invariant::RecoveryPointIsDurable, 3, "the recovery point does not pass the durable end"),
    (Invariant::HighWatermarkOnlyRises, 4, "the high watermark does not fall while the process lives"),
    (Invariant::LogStartOnlyRises, 5, "the log start does not fall while the process lives"),
    (Invariant::CommittedSurvives, 6, "what was readable is there after the death of the process, and after a power cut with durability=fsync"),
    (Invariant::DurableSurvives, 7, "what was durable is there after a power cut"),
    (Invariant::MetadataSurvives, 8, "committed metadata is there after any crash"),
    (Invariant::TopicsSurvive, 9, "acknowledged topics, partitions and settings are there at every start"),
    (Invariant::DeletedStaysDeleted, 10, "a topic whose deletion was acknowledged does not come back"),
    (Invariant::LogStartAsPromised, 11, "the log start is at least what DeleteRecords was promised, and no more than was asked for"),
    (Invariant::HostedIsLed, 12, "a serving broker hosts exactly the partitions that the metadata says it leads, with their epochs"),
    (Invariant::OneReplyARequest, 13, "every request gets one reply"),
    (Invariant::ReplyToTheLiving, 14, "no reply goes to a connection that the node knows to be gone"),
    (Invariant::ParkedHasAsker, 15, "no more replies are parked than requests are open"),
    (Invariant::AnsweredInTime, 16, "a request is answered while the machine serves"),
    (Invariant::FailsForAReason, 17, "the process ends by itself only after a failed operation or when asked to"),
    (Invariant::StartsAgain, 18, "a start succeeds without the partitions that are damaged below their recovery points, and sets aside no others; only damaged metadata refuses it"),
    (Invariant::CleanStartCutsNothing, 19, "a start after a clean shutdown finds nothing to cut"),
    (Invariant::StoppedMeansClosed, 20, "when the node says stopped, everything is on disk and the mark of a clean shutdown stands"),
    (Invariant::OneOperationAnOwner, 21, "a partition has at most one operation under way"),
    (Invariant::WakesToDoSomething, 22, "the node does not ask to be woken over and over for nothing"),
    (Invariant::TailCacheWithinBudget, 23, "the tail cache keeps to its budget"),
    (Invariant::SessionsWithinLimit, 24, "there are no more fetch sessions than slots"),
    (Invariant::ReadsBelowHighWatermark, 25, "readers get nothing at or above the high watermark of the response"),
    (Invariant::ReadsWithoutGap, 26, "readers get the record that they asked for, and the next ones without a gap"),
    (Invariant::DamageIsNotServed, 27, "a batch whose checksum does not hold was damaged at rest"),
    (Invariant::ProducersSurvive, 28, "a producer with one batch under way is never told that its sequence is wrong"),
    (Invariant::ResponseDecodes, 29, "every response decodes in the version of its request"),
    (Invariant::AnswersAsAsked, 30, "a response names what was asked, and has no error that the situation does not explain"),
    (Invariant::DrainEnds, 31, "when faults are over everything can be read to its end"),
    (Invariant::OneQuorumLeader, 41, "an epoch of the metadata quorum has one leader at most"),
    (Invariant::MetadataLogsMatch, 42, "metadata logs with a record of the same offset and epoch are the same up to there"),
    (Invariant::QuorumLeaderIsComplete, 43, "a leader of the quorum has all metadata that was committed before its epoch"),
    (Invariant::MetadataIsHeldByMajority, 44, "committed metadata is on the devices of a majority of voters"),
    (Invariant::OneLeader, 45, "a leader epoch of a partition has one leader at most"),
    (Invariant::LogsMatch, 46, "replicas with a record of the same offset and epoch are the same up to there"),
    (Invariant::LeaderIsComplete, 47, "a leader has every record that was committed before its epoch"),
    (Invariant::CommittedIsHeld, 48, "every in-sync or eligible replica holds all records below the high watermark, as durably as the topic asks for"),
    (Invariant::CommittedOnce, 49, "replicas agree on what lies below their high watermarks"),
    (Invariant::SetsFit, 50, "in-sync and eligible replicas are assigned ones, no replica is both, in-sync ones are alive, and the leader is in sync"),
    (Invariant::EpochsRise, 51, "committed leader epochs and partition epochs never go back"),
    (Invariant::LateLeaderCommitsNothing, 52, "a leader whose successor began commits nothing that the successor does not have"),
    (Invariant::RecordsStay, 53, "a record that a consumer saw stays where it is"),
    (Invariant::AnsweredMetadataHolds, 54, "what the controller answered is so: topics exist or are gone, settings are as set"),
    (Invariant::CommittedOffsetsStay, 55, "a group reads back at least what it had committed before, and who is fenced commits nothing"),
    (Invariant::OneOwner, 56, "a partition belongs to one member of a generation, and to one member of a consumer group as long as that is in"),
    (Invariant::SharedOnce, 57, "a record of a share group that was acknowledged is given to nobody after"),
    (Invariant::GroupsSettle, 58, "when faults are over every group is stable within the time, its partitions are all owned, and shared records are all done with"),
    (Invariant::TransactionsWhole, 59, "who reads committed records finds a transaction as a whole or not at all, as its producer was told"),
    (Invariant::AbortedStaysUnseen, 60, "what was aborted is not given to who reads committed records"),
    (Invariant::StableOnlyRises, 61, "the last stable offset does not pass the high watermark or fall, and who reads committed records gets nothing behind it"),
    (Invariant::ExactlyOnce, 62, "what a group consumed in transactions stands in its output once, up to its committed offsets and no further"),
    (Invariant::VotersAsNamed, 63, "whoever has a committed record of the voters goes by it or by a later one in its log, and a leader changes them one at a time, when its epoch and the last change are committed"),
    (Invariant::DirectoryFailsAlone, 64, "a log directory that fails takes along the replicas in it and nothing else, and others lead what they led"),
    (Invariant::VoteIsKept, 65, "a voter that answered with its vote knows of it in every later life"),
];

impl Invariant {
    pub fn number(self) -> u32 {
        self.row().1
    }

    pub fn sentence(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (Self, u32, &'static str) {
        INVARIANTS.iter().find(|row| row.0 == self).expect("every invariant has a row")
    }
}

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The process died; the operating system lives.
    Killed,
    PowerCut,
}

/// What one partition promised.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    /// There after the death of a process.
    readable: Offset,
    /// There after a power cut.
    durable: Offset,
    /// A power cut took what was readable and not durable: it may be found shorter once.
    loosened: bool,
}

/// What was seen of a hosted partition at the last step.
#[derive(Clone, Copy, Debug)]
struct Watched {
    key: PartitionKey,
    high_watermark: Offset,
    log_start: Offset,
    promised: Promised,
}

/// Watches one machine over all its lives.
#[derive(Debug, Default)]
pub struct Watch {
    promised: BTreeMap<PartitionKey, Promised>,
    metadata_committed: Offset,
    /// By slot, of this life.
    slots: Vec<Option<Watched>>,
    /// Partitions opened by the start under way.
    opened: Vec<PartitionKey>,
    /// Damaged ones that it set aside: what was promised of them is still to be found.
    aside: Vec<PartitionKey>,
}

impl Watch {
    /// Looks at the node after a step.
    pub fn step(&mut self, core: &mut Core, node: &Node) {
        let mut cached_bytes = 0;
        for view in node.partitions() {
            cached_bytes += view.cached_bytes;
            let place = view.slot as usize;
            if self.slots.len() <= place {
                self.slots.resize(place + 1, None);
            }
            if view.deleted {
                self.slots[place] = None;
                continue;
            }
            let positions = view.positions;
            let in_order = positions.log_start <= positions.durable_end
                && positions.durable_end <= positions.readable_end
                && positions.readable_end <= positions.log_end;
            let key = PartitionKey { topic: view.topic, partition: view.partition };
            if !in_order {
                core.violate(Invariant::PositionsInOrder, format_args!("{} {key}: {positions:?}", view.name));
            }
            if view.recovery_point > positions.durable_end {
                core.violate(
                    Invariant::RecoveryPointIsDurable,
                    format_args!("{} {key}: {} {positions:?}", view.name, view.recovery_point),
                );
            }
            let slot = &mut self.slots[place];
            let before = slot.filter(|known| known.key == key);
            if before.is_none_or(|known| known.promised.readable != positions.readable_end) {
                check_durable(core, key, view.durability, positions.durable_end, positions.readable_end);
            }
            if let Some(before) = before {
                // A cluster's topic that is not synced may lose what its replicas lost.
                let may_fall = core.judge_of_cluster.is_some() && view.durability == Durability::Written;
                if view.high_watermark < before.high_watermark && !may_fall {
                    core.violate(
                        Invariant::HighWatermarkOnlyRises,
                        format_args!("{} {key}: {} after {}", view.name, view.high_watermark, before.high_watermark),
                    );
                }
                if positions.log_start < before.log_start {
                    core.violate(
                        Invariant::LogStartOnlyRises,
                        format_args!("{} {key}: {} after {}", view.name, positions.log_start, before.log_start),
                    );
                }
            }
            // Where everything written was deleted, the durable end is the log start and says nothing about records.
            let all_deleted = view.durability == Durability::Written && positions.durable_end <= positions.log_start;
            let durable = if all_deleted { Offset::ZERO } else { positions.durable_end };
            let promised = match view.is_cut {
                // How far the cut has come on disk the log does not say.
                true => Promised::default(),
                false => Promised { readable: positions.readable_end, durable, loosened: false },
            };
            *slot = Some(Watched { key, high_watermark: view.high_watermark, log_start: positions.log_start, promised });
        }
        if cached_bytes > node.tail_cache_bytes_max() {
            core.violate(Invariant::TailCacheWithinBudget, format_args!("{cached_bytes} of {}", node.tail_cache_bytes_max()));
        }
        let (sessions, sessions_max) = node.fetch_sessions();
        if sessions > sessions_max {
            core.violate(Invariant::SessionsWithinLimit, format_args!("{sessions} of {sessions_max}"));
        }
        if core.judge_of_cluster.is_none() {
            self.metadata_committed = self.metadata_committed.max(node.metadata_positions().readable_end);
        }
    }

    /// The process ended: what it promised has to be found.
    pub fn end(&mut self, ending: Ending) {
        for watched in std::mem::take(&mut self.slots).into_iter().flatten() {
            self.promised.insert(watched.key, watched.promised);
        }
        if ending == Ending::PowerCut {
            for promised in self.promised.values_mut().filter(|promised| promised.durable < promised.readable) {
                (promised.readable, promised.loosened) = (promised.durable, true);
            }
        }
        self.opened.clear();
        self.aside.clear();
    }

    /// A damaged partition was set aside at start.
    pub fn set_aside(&mut self, partition: &OfflinePartition) {
        self.aside.push(PartitionKey { topic: partition.topic, partition: partition.partition });
    }

    /// A partition was opened at start.
    pub fn opened(&mut self, core: &mut Core, opened: &OpenedPartition) {
        let log = &opened.recovered.log;
        let key = PartitionKey { topic: opened.recovered.topic, partition: opened.recovered.partition };
        let positions = log.positions();
        let promised = self.promised.get(&key).copied().unwrap_or_default();
        if positions.log_end < promised.readable {
            let invariant = if promised.loosened { Invariant::DurableSurvives } else { Invariant::CommittedSurvives };
            core.violate(
                invariant,
                format_args!("{key} ends at {}, promised {promised:?}; {:?}", positions.log_end, opened.report),
            );
        }
        if opened.shutdown == Shutdown::Clean && opened.report.bytes_cut > 0 {
            core.violate(Invariant::CleanStartCutsNothing, format_args!("{key}: {:?}", opened.report));
        }
        if core.judge_of_cluster.is_some() {
            // What a replica lost others may have.
            return self.opened.push(key);
        }
        if promised.loosened {
            core.history.forgive_from(key, positions.log_end.0);
            core.mark("records taken by a power cut from a replicated topic");
        }
        if promised.loosened {
            deletion_may_be_undone(core, key, positions.log_end.0);
        }
        log_start_as_promised(core, key, positions.log_start.0);
        self.opened.push(key);
    }

    /// The node serves: what was committed is there, and what it hosts is what it leads.
    pub fn serving(&mut self, core: &mut Core, node: &Node) {
        for (key, promised) in &self.promised {
            // Replicas of a cluster come and go: what has to be there the judge knows.
            let exists = core.judge_of_cluster.is_none()
                && core.topics.by_id(key.topic).is_some_and(|topic| topic.existence == Existence::Exists);
            let found = self.opened.contains(key) || self.aside.contains(key);
            if exists && promised.readable > Offset::ZERO && !found {
                core.violate(Invariant::CommittedSurvives, format_args!("{key} has no directory, promised {promised:?}"));
            }
        }
        self.promised.retain(|key, _| self.aside.contains(key));
        if core.judge_of_cluster.is_some() {
            return self.hosted(core, node);
        }
        let committed = node.metadata_positions().readable_end;
        if committed < self.metadata_committed {
            core.violate(
                Invariant::MetadataSurvives,
                format_args!("committed to {committed}, before to {}", self.metadata_committed),
            );
        }
        check_topics(core, node);
        self.hosted(core, node);
    }

    /// What is hosted is what is led.
    pub fn hosted(&self, core: &mut Core, node: &Node) {
        if core.judge_of_cluster.is_some() {
            return assigned(core, node);
        }
        let mut hosted: Vec<_> = node
            .partitions()
            .filter(|view| !view.deleted)
            .map(|view| (view.topic, view.partition, view.leader_epoch))
            .collect();
        let mut led: Vec<_> = node.led().map(|led| (led.topic, led.partition, led.leader_epoch)).collect();
        hosted.sort_unstable();
        led.sort_unstable();
        if hosted != led {
            core.violate(Invariant::HostedIsLed, format_args!("hosted {hosted:?}, led {led:?}"));
        }
    }
}

/// A broker of a cluster hosts what the metadata assigns to it, save what it set aside.
fn assigned(core: &mut Core, node: &Node) {
    let here = node.number();
    let hosted = node.partitions().filter(|view| !view.deleted).map(|view| (view.topic, view.partition));
    let online = node.online_directories();
    let away: BTreeSet<_> =
        node.offline().filter(|offline| offline.cause == Cause::Away).map(|away| (away.topic, away.partition)).collect();
    let aside = node.offline().map(|offline| (offline.topic, offline.partition));
    let held: BTreeSet<_> = hosted.chain(aside).collect();
    let placed = node.placed().filter(|placed| placed.replicas.contains(&here));
    let assigned: BTreeSet<_> = placed.map(|placed| (placed.topic, placed.partition)).collect();
    if held != assigned {
        core.violate(Invariant::HostedIsLed, format_args!("broker {here} holds {held:?}, assigned {assigned:?}"));
    }
    for placed in node.placed().filter(|placed| away.contains(&(placed.topic, placed.partition))) {
        let of = |replicas: &[i32], directories: &[Uuid]| {
            replicas.iter().position(|replica| *replica == here).and_then(|place| directories.get(place)).copied()
        };
        let directory = of(placed.replicas, placed.directories);
        // Who was moving there when its directory failed takes back what it told; the answer may come before the record.
        let key = PartitionKey { topic: placed.topic, partition: placed.partition };
        let newest = core.judge_of_cluster.as_ref().and_then(|judge| judge.placed(key));
        let is_taken_back = newest.is_some_and(|newest| of(&newest.replicas, &newest.directories) != directory);
        let is_telling = node.is_telling_directory(placed.topic, placed.partition);
        if directory.is_some_and(|directory| online.contains(&directory)) && !is_telling && !is_taken_back {
            let story = format_args!("broker {here} is without {}-{}, in {directory:?}", placed.name, placed.partition);
            core.violate(Invariant::DirectoryFailsAlone, story);
        }
    }
}

/// Topics whose durability is changed while they live are judged by what the log says is durable.
fn check_durable(core: &mut Core, key: PartitionKey, durability: Durability, durable_end: Offset, readable_end: Offset) {
    let always_fsync = core.topics.by_id(key.topic).is_some_and(|topic| topic.promise == Promise::Fsync);
    if always_fsync && durability == Durability::Durable && readable_end > durable_end {
        core.violate(Invariant::ReadableIsDurable, format_args!("{key}: readable to {readable_end}, durable to {durable_end}"));
    }
}

/// A log that lost records with the power may end below its log start; it then begins where it finds records.
fn deletion_may_be_undone(core: &mut Core, key: PartitionKey, log_end: i64) {
    let place = core.topics.iter().position(|topic| topic.id == key.topic);
    if let Some(least) = place.and_then(|place| core.topics.get_mut(place)?.log_starts.get_mut(&key.partition))
        && *least > log_end
    {
        *least = 0;
        core.mark("deletion of records undone by a power cut");
    }
}

fn log_start_as_promised(core: &mut Core, key: PartitionKey, found: i64) {
    let Some(topic) = core.topics.by_id(key.topic) else { return };
    let least = topic.log_starts.get(&key.partition).copied().unwrap_or(0);
    let most = match topic.used_for {
        Use::Expiring => i64::MAX,
        _ => topic.log_starts_asked.get(&key.partition).copied().unwrap_or(0),
    };
    if found < least || found > most {
        core.violate(Invariant::LogStartAsPromised, format_args!("{key} begins at {found}, not between {least} and {most}"));
    }
}

fn check_topics(core: &mut Core, node: &Node) {
    let mut wrong = Vec::new();
    let mut present: BTreeMap<_, i32> = BTreeMap::new();
    for topic in node.led().map(|led| led.topic).chain(node.offline().map(|offline| offline.topic)) {
        *present.entry(topic).or_default() += 1;
    }
    for topic in core.topics.iter() {
        let partitions = present.get(&topic.id).copied();
        match topic.existence {
            Existence::Exists if partitions.is_none_or(|count| count < topic.partitions) => {
                let story = format!("{} {} has {partitions:?} of {} partitions", topic.name, topic.id, topic.partitions);
                wrong.push((Invariant::TopicsSurvive, story));
            }
            Existence::Gone if partitions.is_some() => {
                wrong.push((Invariant::DeletedStaysDeleted, format!("{} {} is there", topic.name, topic.id)));
            }
            Existence::Exists => {
                let overrides = node.topic_overrides(&topic.name);
                for (key, value) in topic.configs.iter().filter(|(key, _)| !topic.configs_in_doubt.contains(*key)) {
                    let found = overrides.and_then(|overrides| overrides.get(key));
                    if found != Some(value) {
                        let story = format!("{} has {key} = {found:?}, set to {value}", topic.name);
                        wrong.push((Invariant::TopicsSurvive, story));
                    }
                }
            }
            Existence::InDoubt | Existence::Gone => {}
        }
    }
    for (invariant, story) in wrong {
        core.violate(invariant, format_args!("{story}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_once_and_in_order() {
        assert!(INVARIANTS.is_sorted_by(|left, right| left.1 < right.1));
        for (invariant, number, _) in INVARIANTS {
            assert_eq!(invariant.number(), *number);
        }
    }
}
