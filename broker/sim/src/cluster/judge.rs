//! Holds the nodes of a cluster against each other, after every step of one of them: who leads, what is committed, who
//! holds it. It sees what no node sees, and remembers what was ever said.
//!
//! Costs what changed: a log that says what it said before is not looked at again.

use std::collections::{BTreeMap, BTreeSet};

use strandline_log::disk::{DiskOp, Durability};
use strandline_node::coordinator::placement::partition_of;
use strandline_node::inspect::{PartitionView, PlacedPartition};
use strandline_node::{METADATA_SLOT, Node};
use strandline_protocol::ids::{Offset, TopicId, Uuid};

use super::committed::{Committed, LogSeen, Wrong};
use super::electorates::{Electorate, Electorates};
use super::ledger::{Ledger, LogKey, Written};
use crate::core::{Core, MachineId};
use crate::history::PartitionKey;
use crate::invariants::Invariant;
use crate::topics::Use;

/// Where groups are kept, and transactions.
const OFFSETS_TOPIC: &str = "__consumer_offsets";
const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// What a replica said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    leads: Option<i32>,
    held: i64,
    committed: i64,
}

/// A partition as the newest committed metadata has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub leader: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub elr: Vec<i32>,
    /// Where the replicas lie, in their order.
    pub directories: Vec<Uuid>,
    pub is_moving: bool,
}

impl Placed {
    fn of(placed: &PlacedPartition<'_>) -> Self {
        Self {
            leader: placed.leader,
            leader_epoch: placed.leader_epoch.0,
            partition_epoch: placed.partition_epoch,
            replicas: placed.replicas.to_vec(),
            isr: placed.isr.to_vec(),
            elr: placed.elr.to_vec(),
            directories: placed.directories.to_vec(),
            is_moving: placed.is_moving,
        }
    }

    /// Whether nobody may lead but who said that the directory of its replica is lost.
    pub(super) fn is_lost(&self) -> bool {
        let lies_in = |id: &i32| self.directories.get(self.replicas.iter().position(|replica| replica == id)?);
        self.isr.iter().chain(&self.elr).all(|id| lies_in(id) == Some(&Uuid::LOST_DIRECTORY))
    }

    fn fits(&self) -> bool {
        let assigned = self.isr.iter().chain(&self.elr).all(|member| self.replicas.contains(member));
        let apart = self.isr.iter().all(|member| !self.elr.contains(member));
        assigned && apart && (self.leader < 0 || self.isr.contains(&self.leader))
    }
}

/// One log of the cluster and its replicas.
#[derive(Clone, Debug, Default)]
struct Track {
    committed: Committed,
    said: BTreeMap<MachineId, Said>,
    placed: Option<Placed>,
    /// Replicas that may have lost what they had not synced, and have not come back into the in-sync set since.
    lossy: BTreeSet<MachineId>,
    /// Replicas whose process ended without closing its logs, and that have not come back into the in-sync set since. What one of
    /// them may have lost the controller cannot know: to its elections all of them are alike.
    unclean: BTreeSet<MachineId>,
    /// More of them than the topic's promise covers: nothing is promised any more.
    void: bool,
}

/// Whether the voters of a run stand in its configuration, or change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voters {
    Fixed,
    Change,
}

#[derive(Debug)]
pub struct Judge {
    /// By machine, the number of its node.
    numbers: Vec<i32>,
    are_voters_fixed: bool,
    lost_directories: BTreeSet<Uuid>,
    change_asked_us: u64,
    metadata: Track,
    electorates: Electorates,
    /// By machine, where its voters stand and how far its log was when that was looked at last.
    voters_seen: BTreeMap<MachineId, (i64, i64, i64, Option<i32>)>,
    partitions: BTreeMap<PartitionKey, Track>,
    /// Topics of coordinators, with the number of their partitions.
    internal: BTreeMap<String, (TopicId, i32)>,
    gone: BTreeSet<TopicId>,
    applied: Offset,
    ledger: Ledger,
    /// Requests that waited for the end of a transaction at a machine's node: carried out, refused.
    held: BTreeMap<MachineId, (u64, u64)>,
}

impl Judge {
    /// `numbers` are those of all nodes, by machine.
    pub fn new(numbers: Vec<i32>, voters: Voters) -> Self {
        Self {
            numbers,
            are_voters_fixed: voters == Voters::Fixed,
            lost_directories: BTreeSet::new(),
            change_asked_us: 0,
            metadata: Track::default(),
            electorates: Electorates::default(),
            voters_seen: BTreeMap::new(),
            partitions: BTreeMap::new(),
            internal: BTreeMap::new(),
            gone: BTreeSet::new(),
            applied: Offset::ZERO,
            ledger: Ledger::default(),
            held: BTreeMap::new(),
        }
    }

    /// The newest committed state of a partition.
    pub fn placed(&self, key: PartitionKey) -> Option<&Placed> {
        self.partitions.get(&key)?.placed.as_ref()
    }

    /// Whether this machine's node leads a partition by the newest committed metadata.
    pub fn leads_now(&self, key: PartitionKey, machine: MachineId) -> bool {
        self.placed(key).is_some_and(|placed| self.machine_of(placed.leader) == Some(machine))
    }

    /// Whether this machine's node coordinates a group by the newest committed metadata.
    pub fn coordinates(&self, group: &str, machine: MachineId) -> bool {
        self.internal.get(OFFSETS_TOPIC).is_some_and(|(topic, partitions)| {
            let partition = partition_of(group, *partitions);
            self.leads_now(PartitionKey { topic: *topic, partition }, machine)
        })
    }

    /// Topics of coordinators, with how many partitions they have.
    pub fn internal(&self) -> impl Iterator<Item = (String, i32)> {
        self.internal.iter().map(|(name, (_, partitions))| (name.clone(), *partitions))
    }

    /// How far a partition is committed.
    pub fn committed_end(&self, key: PartitionKey) -> i64 {
        self.partitions.get(&key).map_or(0, |track| track.committed.end)
    }

    /// Every partition that exists, with its newest committed state.
    pub fn existing(&self) -> impl Iterator<Item = (PartitionKey, &Placed)> {
        self.partitions.iter().filter_map(|(key, track)| Some((*key, track.placed.as_ref()?)))
    }

    /// Whether a machine holds all that is committed of the metadata.
    pub fn has_all_metadata(&self, machine: MachineId) -> bool {
        self.metadata.holds(machine) >= self.metadata.committed.end
    }

    /// A machine has another disk: what it said of the old one is void.
    pub fn disk_replaced(&mut self, machine: MachineId, directory: Uuid) {
        self.metadata.said.remove(&machine);
        self.lost_directories.insert(directory);
    }

    /// Whether this directory lay on a disk that is gone.
    pub fn is_lost(&self, directory: Uuid) -> bool {
        self.lost_directories.contains(&directory)
    }

    /// An operator asks for other voters.
    pub fn change_asked(&mut self, now_us: u64) {
        self.change_asked_us = now_us;
    }

    /// Since when nobody has asked for other voters.
    pub fn unchanged_since_us(&self) -> u64 {
        self.change_asked_us
    }

    /// How far the metadata is committed.
    pub fn metadata_end(&self) -> i64 {
        self.metadata.committed.end
    }

    /// Whether the topic's promise does not cover what happened to its replicas.
    pub fn is_void(&self, key: PartitionKey) -> bool {
        self.partitions.get(&key).is_some_and(|track| track.void)
    }

    /// The machine of a node.
    pub fn machine_of(&self, number: i32) -> Option<MachineId> {
        self.numbers.iter().position(|known| *known == number)
    }

    /// Looks at a node after a step.
    pub fn look(&mut self, core: &mut Core, machine: MachineId, node: &Node) {
        self.look_at_quorum(core, machine, node);
        if node.applied().0 > self.metadata.committed.end {
            let story = format_args!("m{machine} applied to {}, of {}", node.applied(), self.metadata.committed.end);
            core.violate(Invariant::MetadataIsHeldByMajority, story);
        }
        if node.applied() > self.applied {
            self.applied = node.applied();
            self.look_at_metadata(core, node);
        }
        for view in node.partitions().filter(|view| !view.deleted && !view.is_cut) {
            self.look_at_partition(core, machine, &view);
        }
        let held = node.held_requests();
        let (carried_out, refused) = self.held.insert(machine, (held.carried_out, held.refused)).unwrap_or_default();
        if held.carried_out > carried_out {
            core.mark("request waited for the end of a transaction");
        }
        if held.refused > refused {
            core.mark("request waited for the end of a transaction in vain");
        }
    }

    /// A machine lost its power: what its replicas had not synced may be gone.
    pub fn power_cut(&mut self, core: &mut Core, machine: MachineId) {
        for (key, track) in &mut self.partitions {
            let Some(topic) = core.topics.by_id(key.topic) else { continue };
            let Some(overlapping) = topic.losses_covered else { continue };
            track.lossy.insert(machine);
            track.unclean.insert(machine);
            track.excuse(core, *key, overlapping);
        }
    }

    /// A machine's process ended without closing its logs.
    pub fn unclean(&mut self, core: &mut Core, machine: MachineId) {
        for (key, track) in &mut self.partitions {
            let covered = core.topics.by_id(key.topic).and_then(|topic| topic.losses_covered);
            if let Some(overlapping) = covered {
                track.unclean.insert(machine);
                track.excuse(core, *key, overlapping);
            }
        }
    }

    /// A node hands batches to its disk.
    pub fn written(&mut self, core: &mut Core, machine: MachineId, node: &Node, slot: u32, op: &DiskOp) {
        let DiskOp::Append { file, parts, .. } = op else { return };
        if !file.as_str().ends_with(".log") {
            return;
        }
        let (log, epochs, void) = if slot == METADATA_SLOT {
            (LogKey::Metadata, node.quorum().epochs, false)
        } else {
            let Some(view) = node.partitions().find(|view| view.slot == slot) else { return };
            let key = key_of(&view);
            // A replica that was away is sent what compaction left of a batch.
            (LogKey::Partition(key), view.epochs, self.is_void(key) || is_compacted(core, &view))
        };
        for mut batch in parts.iter().filter_map(Written::of).filter(|_| !void) {
            batch.before = epochs.epoch_of(Offset(batch.base - 1)).map(|epoch| epoch.0);
            if let Err(other) = self.ledger.note(log, batch) {
                let invariant = if log == LogKey::Metadata { Invariant::MetadataLogsMatch } else { Invariant::LogsMatch };
                core.violate(invariant, format_args!("m{machine} writes {batch:?} to {log:?}, where {other:?} was written"));
            }
        }
    }

    fn look_at_quorum(&mut self, core: &mut Core, machine: MachineId, node: &Node) {
        let quorum = node.quorum();
        let seen = LogSeen {
            leads: quorum.leads.then_some(quorum.epoch.0),
            led: None,
            knows: -1,
            start: quorum.positions.log_start.0,
            end: quorum.positions.log_end.0,
            held: quorum.positions.durable_end.0,
            committed: quorum.committed.0,
            epochs: quorum.epochs,
        };
        let voters: Vec<(i32, Uuid)> = node.voters().collect();
        let alone = matches!(voters[..], [(id, _)] if self.machine_of(id) == Some(machine));
        let moved = match self.metadata.take(machine, &seen, alone) {
            Ok(moved) => moved,
            Err(wrong) => {
                let invariant = match wrong {
                    Wrong::TwoLeaders { .. } => Invariant::OneQuorumLeader,
                    Wrong::Differs { .. } => Invariant::MetadataLogsMatch,
                    Wrong::Incomplete { .. } | Wrong::Late { .. } => Invariant::QuorumLeaderIsComplete,
                };
                return core.violate(invariant, format_args!("m{machine}: {wrong:?}"));
            }
        };
        let end = self.metadata.committed.end;
        // Where voters come and go, those count that the leader knows; and a voter is no more than its disk.
        let holds = |(id, directory): &(i32, Uuid)| match self.machine_of(*id) {
            Some(machine) if !self.is_lost(*directory) => self.metadata.holds(machine),
            _ => 0,
        };
        let holding = voters.iter().filter(|voter| holds(voter) >= end).count();
        if moved && (self.are_voters_fixed || quorum.leads) && holding <= voters.len() / 2 {
            let held: Vec<(i32, i64)> = voters.iter().map(|voter| (voter.0, holds(voter))).collect();
            core.violate(Invariant::MetadataIsHeldByMajority, format_args!("committed to {end}, held {held:?}"));
        }
        if self.are_voters_fixed {
            return;
        }
        let at = node.voters_at().unwrap_or(Offset::NONE).0;
        let news = (at, seen.end, seen.committed, seen.leads);
        if self.voters_seen.insert(machine, news) != Some(news) {
            let now = Electorate { at, members: voters.into_iter().collect() };
            if let Err(mistaken) = self.electorates.take(&seen, &self.metadata.committed, now) {
                core.violate(Invariant::VotersAsNamed, format_args!("m{machine}: {mistaken:?}"));
            }
        }
    }

    fn look_at_metadata(&mut self, core: &mut Core, node: &Node) {
        let mut existing = BTreeSet::new();
        let live: Vec<i32> = node.live_brokers().collect();
        for placed in node.placed() {
            let key = PartitionKey { topic: placed.topic, partition: placed.partition };
            existing.insert(placed.topic);
            if placed.name.as_str().starts_with("__") {
                let (_, partitions) = self.internal.entry(placed.name.to_string()).or_insert((placed.topic, 0));
                *partitions = (*partitions).max(placed.partition + 1);
            }
            let track = self.partitions.entry(key).or_default();
            let now = Placed::of(&placed);
            if track.placed.as_ref() == Some(&now) {
                continue;
            }
            if !now.fits() || now.isr.iter().any(|member| !live.contains(member)) {
                core.violate(Invariant::SetsFit, format_args!("{} {key}: {now:?}", placed.name));
            }
            let before = track.placed.replace(now.clone());
            core.note(format_args!(
                "{}-{} led by {} in {}, in sync {:?}, eligible {:?} of {:?}",
                placed.name, key.partition, now.leader, now.leader_epoch, now.isr, now.elr, now.replicas
            ));
            if let Some(before) = before {
                marks(core, &before, &now);
                if now.leader_epoch < before.leader_epoch || now.partition_epoch <= before.partition_epoch {
                    core.violate(Invariant::EpochsRise, format_args!("{} {key}: {now:?} after {before:?}", placed.name));
                }
                let returned = |machine: &MachineId| {
                    let number = self.numbers[*machine];
                    now.isr.contains(&number) && !before.isr.contains(&number) && now.isr.len() > 1
                };
                track.lossy.retain(|machine| !returned(machine));
                track.unclean.retain(|machine| !returned(machine));
            }
            self.held(core, key);
        }
        let gone: Vec<PartitionKey> = self.partitions.keys().copied().filter(|key| !existing.contains(&key.topic)).collect();
        for key in gone {
            self.partitions.remove(&key);
            self.gone.insert(key.topic);
        }
    }

    fn look_at_partition(&mut self, core: &mut Core, machine: MachineId, view: &PartitionView<'_>) {
        let key = key_of(view);
        if self.gone.contains(&key.topic) {
            return;
        }
        let positions = view.positions;
        let seen = LogSeen {
            leads: view.leads.then_some(view.leader_epoch.0),
            led: None,
            knows: view.leader_epoch.0,
            start: positions.log_start.0,
            end: positions.log_end.0,
            held: match view.durability {
                Durability::Durable => positions.durable_end.0,
                Durability::Written => positions.readable_end.0,
            },
            committed: view.high_watermark.0,
            epochs: view.epochs,
        };
        let track = self.partitions.entry(key).or_default();
        match track.take(machine, &seen, false) {
            Ok(false) => {}
            Ok(true) => self.held(core, key),
            Err(_) if track.void => {}
            Err(wrong) => {
                let invariant = match wrong {
                    Wrong::TwoLeaders { .. } => Invariant::OneLeader,
                    Wrong::Incomplete { .. } => Invariant::LeaderIsComplete,
                    Wrong::Differs { .. } => Invariant::CommittedOnce,
                    Wrong::Late { .. } => Invariant::LateLeaderCommitsNothing,
                };
                core.violate(invariant, format_args!("m{machine} {} {key}: {wrong:?}", view.name));
            }
        }
    }

    /// Everybody who may lead without a loss holds what is committed.
    fn held(&self, core: &mut Core, key: PartitionKey) {
        let Some(track) = self.partitions.get(&key).filter(|track| !track.void) else { return };
        let Some(placed) = &track.placed else { return };
        let end = track.committed.end;
        for member in placed.isr.iter().chain(&placed.elr) {
            let Some(machine) = self.machine_of(*member) else { continue };
            // What it held besides when the power went is decided when it starts.
            if track.lossy.contains(&machine) {
                continue;
            }
            let held = track.holds(machine);
            if held < end {
                let story = format_args!("{key}: committed to {end}, broker {member} holds {held}; {placed:?}");
                core.violate(Invariant::CommittedIsHeld, story);
            }
        }
    }
}

impl Track {
    /// Nothing is promised any more once more replicas may have lost something than the topic covers, and one of them did.
    fn excuse(&mut self, core: &mut Core, key: PartitionKey, overlapping: usize) {
        if self.unclean.len() > overlapping && !self.lossy.is_empty() && !self.void {
            self.void = true;
            core.history.excuse(key);
            core.mark("more power cuts than a replicated topic covers");
        }
    }

    fn holds(&self, machine: MachineId) -> i64 {
        self.said.get(&machine).map_or(0, |said| said.held)
    }

    /// Takes what a replica says. Answers whether more is committed, or less is held.
    fn take(&mut self, machine: MachineId, seen: &LogSeen<'_>, alone: bool) -> Result<bool, Wrong> {
        let said = Said { leads: seen.leads, held: seen.held, committed: seen.committed };
        let before = self.said.insert(machine, said);
        if before == Some(said) {
            return Ok(false);
        }
        self.committed.led(machine, seen)?;
        let led = before.and_then(|before| before.leads);
        let rose = self.committed.claimed(&LogSeen { led, ..*seen }, alone)?;
        Ok(rose || before.is_some_and(|before| said.held < before.held))
    }
}

/// Whether records may be missing in the middle of a log.
fn is_compacted(core: &Core, view: &PartitionView<'_>) -> bool {
    let known = core.topics.by_id(view.topic);
    view.name.as_str() == OFFSETS_TOPIC
        || view.name.as_str() == TRANSACTIONS_TOPIC
        || known.is_some_and(|topic| topic.used_for == Use::Compacting)
}

fn key_of(view: &PartitionView<'_>) -> PartitionKey {
    PartitionKey { topic: view.topic, partition: view.partition }
}

/// Which branches of the protocol the change took.
fn marks(core: &mut Core, before: &Placed, now: &Placed) {
    if now.leader != before.leader {
        core.mark(match (before.leader, now.leader) {
            (_, ..0) => "partition without a leader",
            (..0, _) => "leader after none",
            (_, leader) if before.isr.contains(&leader) => "leader elected from the in-sync set",
            (_, leader) if before.elr.contains(&leader) => "leader elected from the eligible replicas",
            _ => "leader elected from elsewhere",
        });
    }
    let joined = now.isr.iter().any(|member| !before.isr.contains(member));
    let left = before.isr.iter().any(|member| !now.isr.contains(member));
    if joined {
        core.mark("in-sync set grew");
    }
    if left {
        core.mark("in-sync set shrank");
    }
    if now.elr.iter().any(|member| !before.elr.contains(member)) {
        core.mark("replica became eligible");
    }
    if before.is_moving && !now.is_moving {
        core.mark("reassignment ended");
    }
}
