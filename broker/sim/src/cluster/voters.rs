//! Voters that stand in the metadata log (KIP-853): which controllers are formatted as such, an operator who adds and removes voters, and
//! disks of controllers that are replaced by empty ones.
//!
//! A disk goes only where what is committed stays: nobody's log has a change of the voters that is not committed, nobody has asked for one
//! lately, no other voter's disk is gone, at least two others are left, and all of those have everything. A voter whose disk is gone is
//! removed before anybody else is. Only controllers that are no brokers lose theirs; what
//! becomes of partitions when a broker's disk is replaced is another question.

use std::collections::BTreeMap;

use strandline_log::disk::{DiskOp, FilePath};
use strandline_node::metadata_log::bootstrap::{FirstVoter, first_snapshot, first_snapshot_file};
use strandline_protocol::api::{ApiKey, Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicName, Uuid};
use strandline_protocol::messages::add_raft_voter::{AddRaftVoterRequest, Listener};
use strandline_protocol::messages::describe_quorum::{
    DescribeQuorumRequest, ReplicaState, RequestPartitionData, RequestTopicData, ResponsePartitionData,
};
use strandline_protocol::messages::remove_raft_voter::RemoveRaftVoterRequest;

use super::plan::{Kind, number};
use super::router::{Heard, Posted, Router};
use crate::core::{ClientEvent, Core, MS, MachineId, SECOND};
use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::invariants::Invariant;
use crate::machine::{CONTROLLER_PORT, Machine};

const LISTENER: &str = "CONTROLLER";
/// Directories are told from version 2 on.
const DIRECTORIES_FROM: i16 = 2;

/// From this version of AddRaftVoter on one need not wait (KIP-1186).
const COMMITTED_FROM: i16 = 1;

/// One turn of the operator in so many begins a rest.
const RESTS_ONE_IN: u64 = 12;

/// What was asked for is done, or refused, within this.
const UNCHANGED_US: u64 = 5 * SECOND;

/// How the voters of a run come about, if they stand in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Electorate {
    controllers: usize,
    /// So many are formatted as voters.
    first: usize,
    /// Controllers ask to vote by themselves.
    joins: bool,
    /// Mean time between two wishes of the operator.
    interval_us: u64,
    /// One fault in so many is a replaced disk.
    replaces_one_in: u64,
    /// How long a leader has somebody wait for a change.
    patience_ms: u64,
    /// The operator has the next wish as soon as it is told of the last one, and does not always wait until a voter is committed.
    hasty: bool,
}

impl Electorate {
    pub(super) fn draw(dice: &mut Dice, nodes: &[Kind]) -> Option<Self> {
        let controllers = nodes.iter().filter(|kind| **kind != Kind::Broker).count();
        let drawn = Self {
            controllers,
            first: if dice.one_in(3) { 1 } else { controllers },
            joins: dice.one_in(3),
            interval_us: dice.spread(300 * MS, 4000 * MS),
            replaces_one_in: dice.between(2, 6),
            patience_ms: [900, 2000][dice.index(2)],
            hasty: dice.one_in(2),
        };
        (controllers >= 3 && dice.one_in(2)).then_some(drawn)
    }

    /// The keys that all nodes have besides their own.
    pub(super) fn keys(&self) -> [(&'static str, String); 3] {
        let servers: Vec<String> =
            (0..self.controllers).map(|machine| format!("machine-{machine}:{CONTROLLER_PORT}")).collect();
        [
            ("controller.quorum.bootstrap.servers", servers.join(",")),
            ("controller.quorum.auto.join.enable", self.joins.to_string()),
            ("controller.quorum.request.timeout.ms", self.patience_ms.to_string()),
        ]
    }

    /// What `format` does to the disk of a machine.
    ///
    /// # Panics
    /// If an empty disk does not take a file.
    pub(super) fn format(&self, machine: MachineId, disk: &mut SimDisk) {
        if machine >= self.first {
            return;
        }
        let voter = |machine: MachineId| FirstVoter {
            id: number(machine),
            directory: directory(machine, 0),
            host: format!("machine-{machine}"),
            port: CONTROLLER_PORT,
        };
        let voters: Vec<FirstVoter> = (0..self.first).map(voter).collect();
        let (directory, name) = first_snapshot_file();
        let file = FilePath::inside(directory, &name);
        let op = DiskOp::Write { file, contents: first_snapshot(&voters, LISTENER, 0) };
        disk.perform(&op).expect("an empty disk takes a file");
    }

    /// Replaces a disk, if this is the moment for it and somebody's may go. Says whose did.
    pub(super) fn replace(
        &self,
        core: &mut Core,
        machines: &mut [Machine],
        kinds: &[Kind],
        dice: &mut Dice,
    ) -> Option<MachineId> {
        if !dice.one_in(self.replaces_one_in) {
            return None;
        }
        let victim = dice.index(self.controllers);
        if kinds[victim] != Kind::Controller || !self.may_go(core, machines, victim) {
            return None;
        }
        let lost = machines[victim].directory();
        machines[victim].replace_disk(core);
        core.judged(|judge, _| judge.disk_replaced(victim, lost));
        core.votes.forget(victim);
        core.mark("disk of a controller replaced");
        Some(victim)
    }

    fn may_go(&self, core: &Core, machines: &[Machine], victim: MachineId) -> bool {
        let Some(judge) = &core.judge_of_cluster else { return false };
        if core.now_us < judge.unchanged_since_us() + UNCHANGED_US {
            return false;
        }
        let mut known: Option<BTreeMap<i32, Uuid>> = None;
        for machine in machines {
            let Some(node) = machine.node() else { return false };
            let voters: BTreeMap<i32, Uuid> = node.voters().collect();
            if !node.has_settled_voters() || known.is_some_and(|known| known != voters) {
                return false;
            }
            known = Some(voters);
        }
        let voters = known.unwrap_or_default();
        if !voters.contains_key(&number(victim)) {
            // It may be about to join.
            return !self.joins;
        }
        let is_whole = |(id, directory): (&i32, &Uuid)| {
            judge
                .machine_of(*id)
                .is_some_and(|machine| judge.has_all_metadata(machine) && machines[machine].directory() == *directory)
        };
        voters.len() >= 3 && voters.iter().all(is_whole)
    }
}

/// The directory of a machine's disk.
pub(crate) fn directory(machine: MachineId, replaced: u8) -> Uuid {
    let mut id = [u8::try_from(machine + 9).unwrap_or(u8::MAX); 16];
    id[15] = id[15].wrapping_add(replaced);
    Uuid(id)
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Describe,
    Change,
}

/// Adds and removes voters, one wish at a time, through any broker; whatever is refused is asked for again another time.
pub(super) struct VotersOperator {
    router: Router,
    dice: Dice,
    electorate: Electorate,
    under_way: Option<(Posted, Asked)>,
    /// Until then it wants nothing: disks are replaced where voters do not change.
    rests_until_us: u64,
}

impl VotersOperator {
    pub(super) fn new(router: Router, dice: Dice, electorate: Electorate) -> Self {
        Self { router, dice, electorate, under_way: None, rests_until_us: 0 }
    }

    pub(super) fn start(&mut self, core: &mut Core) {
        self.router.turn_after(core, self.electorate.interval_us);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.under_way.is_none()
    }

    pub(super) fn on_event(&mut self, core: &mut Core, event: ClientEvent) {
        match self.router.hear(core, event) {
            Heard::Turn => {
                let pause_us = self.dice.spread(self.electorate.interval_us / 4, self.electorate.interval_us * 2);
                self.router.turn_after(core, pause_us);
                if self.dice.one_in(RESTS_ONE_IN) {
                    self.rests_until_us = core.now_us + self.dice.between(UNCHANGED_US, 2 * UNCHANGED_US);
                }
                if self.under_way.is_none() && !core.draining && core.now_us >= self.rests_until_us {
                    self.ask(core, ApiKey::DescribeQuorum, DIRECTORIES_FROM, describe(), Asked::Describe);
                }
            }
            Heard::Lost(machine) => {
                self.under_way.take_if(|(posted, _)| posted.to == machine);
            }
            Heard::Reply(posted, response) => {
                if let Some((_, asked)) = self.under_way.take_if(|(waiting, _)| *waiting == posted) {
                    self.answered(core, asked, *response);
                    if self.under_way.is_none() && self.electorate.hasty && self.dice.one_in(2) {
                        let pause_us = self.dice.spread(MS, 100 * MS);
                        self.router.turn_after(core, pause_us);
                    }
                }
            }
            Heard::Metadata | Heard::Nothing => {}
        }
    }

    fn ask(&mut self, core: &mut Core, key: ApiKey, least: i16, request: impl Into<Request>, asked: Asked) {
        let version = self.router.version(core, key, least);
        let to = self.router.anybody();
        let posted = self.router.post(core, to, version, &request.into());
        self.under_way = Some((posted, asked));
    }

    fn answered(&mut self, core: &mut Core, asked: Asked, response: Response) {
        match (asked, response) {
            (Asked::Describe, Response::DescribeQuorum(response)) => {
                let known = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
                if let Some(quorum) = known.filter(|quorum| quorum.error_code == ErrorCode::NONE && !core.draining) {
                    self.change(core, &quorum);
                }
            }
            (Asked::Change, Response::AddRaftVoter(response)) => note(core, "voter added", response.error_code),
            (Asked::Change, Response::RemoveRaftVoter(response)) => note(core, "voter removed", response.error_code),
            (asked, response) => {
                core.violate(Invariant::AnswersAsAsked, format_args!("{asked:?} was answered with {}", response.key()));
            }
        }
    }

    /// Wants a voter whose disk is gone to go, or somebody at random to come or go.
    fn change(&mut self, core: &mut Core, quorum: &ResponsePartitionData) {
        let is_controller = |replica: &ReplicaState| (1..=self.electorate.controllers).contains(&place(replica));
        let judge = core.judge_of_cluster.as_ref();
        let is_lost = |replica: &ReplicaState| judge.is_some_and(|judge| judge.is_lost(replica.replica_directory_id));
        // The leader remembers for a while whoever fetched; an operator knows which disk he threw away.
        let others: Vec<&ReplicaState> =
            quorum.observers.iter().filter(|replica| is_controller(replica) && !is_lost(replica)).collect();
        let voters = &quorum.current_voters;
        let lost = voters.iter().find(|voter| is_lost(voter));
        let newcomers: Vec<&ReplicaState> =
            others.iter().copied().filter(|other| voters.iter().all(|voter| voter.replica_id != other.replica_id)).collect();
        let leaver = self.dice.pick(voters).filter(|_| voters.len() > 1).map(key);
        let newcomer = self.dice.pick(&newcomers).map(|replica| key(replica));
        let removes = newcomer.is_none() || self.dice.one_in(3);
        match (lost.map(key), newcomer) {
            (Some(lost), _) => self.remove(core, lost),
            (None, Some(newcomer)) if !removes => self.add(core, newcomer),
            _ => {
                if let Some(leaver) = leaver {
                    self.remove(core, leaver);
                }
            }
        }
    }

    fn add(&mut self, core: &mut Core, (id, directory): (BrokerId, Uuid)) {
        core.note(format_args!("operator wants {id} to vote, with {directory}"));
        let host = format!("machine-{}", i32::from(id) - 1);
        let now_us = core.now_us;
        core.judged(|judge, _| judge.change_asked(now_us));
        let request = AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: 3000,
            voter_id: id,
            voter_directory_id: directory,
            listeners: vec![Listener { name: LISTENER.to_owned(), host, port: CONTROLLER_PORT }],
            ack_when_committed: !self.electorate.hasty || self.dice.one_in(2),
        };
        let least = if request.ack_when_committed { 0 } else { COMMITTED_FROM };
        self.ask(core, ApiKey::AddRaftVoter, least, request, Asked::Change);
    }

    fn remove(&mut self, core: &mut Core, (id, directory): (BrokerId, Uuid)) {
        core.note(format_args!("operator wants {id} to vote no more, with {directory}"));
        let now_us = core.now_us;
        core.judged(|judge, _| judge.change_asked(now_us));
        let request = RemoveRaftVoterRequest { cluster_id: None, voter_id: id, voter_directory_id: directory };
        self.ask(core, ApiKey::RemoveRaftVoter, 0, request, Asked::Change);
    }
}

fn key(replica: &ReplicaState) -> (BrokerId, Uuid) {
    (replica.replica_id, replica.replica_directory_id)
}

fn place(replica: &ReplicaState) -> usize {
    usize::try_from(i32::from(replica.replica_id)).unwrap_or(0)
}

fn note(core: &mut Core, what: &'static str, code: ErrorCode) {
    core.note(format_args!("{what}: {code:?}"));
    if code == ErrorCode::NONE {
        core.mark(what);
    }
}

fn describe() -> DescribeQuorumRequest {
    let partition = RequestPartitionData { partition_index: 0 };
    let topic = RequestTopicData { topic_name: TopicName::from("__cluster_metadata"), partitions: vec![partition] };
    DescribeQuorumRequest { topics: vec![topic] }
}
