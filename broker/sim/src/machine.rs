//! One machine: a disk, and a process on it that lives, dies and starts again. The second shell around the node: it feeds
//! inputs, carries out effects in their order, and checks the invariants after every step.
//!
//! States, in this order: *off*, *starting* (the directory is surveyed and repaired), *running* (the node lives), and off again
//! by a crash, a power cut, a failure or a shutdown. Every end begins a new life; what was under way in the old one is void.

mod directories;
mod operations;
mod peers;
mod requests;

use std::collections::BTreeMap;
use std::sync::Arc;

use strandline_log::disk::{DiskError, FilePath, LogDir};
use strandline_log::names::CLEAN_SHUTDOWN;
use strandline_node::boot::Boot;
use strandline_node::config::BrokerConfig;
use strandline_node::io::{ConnectionId, Effect, Input, Job, JobId, ListenerKind, Now, Owner, PeerLost, RulesTable};
use strandline_node::topology::Topology;
use strandline_node::{Node, OfflinePartition, RecoveredPartition};
use strandline_protocol::ids::{Offset, Uuid};
use strandline_protocol::records::Scratch;

pub(crate) use self::directories::log_dir_path;
use crate::cluster::voters;
use crate::core::{Caller, Core, Event, MS, MachineEvent, MachineId, NetworkEvent, SECOND};
use crate::desk::{Answer, Desk};
use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::faults::Faults;
use crate::invariants::{Ending, Invariant, Watch};
use crate::lanes::{Lane, Lanes, Teller};
pub(crate) use crate::machine::peers::CONTROLLER_PORT;
use crate::machine::peers::{Peers, Wire};
use crate::start::{self, Refused, SetAside, Start};

/// More wake-ups than this at one moment are for nothing.
const WAKES_MAX: u32 = 50;

/// What a request may take beyond what its client allows the broker to wait, on a disk that is not slow.
const ANSWER_US: u64 = 10 * SECOND;

/// How far a process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The node's epoch and registration are not committed yet.
    Booting,
    Serving,
    Stopping,
}

enum State {
    Off,
    Starting { start: Box<Start>, recovered: Vec<RecoveredPartition>, offline: Vec<OfflinePartition> },
    Running { node: Box<Node>, phase: Phase },
}

/// What a machine is made of.
pub struct Build {
    pub config: BrokerConfig,
    pub disk: SimDisk,
    /// How many log directories there are.
    pub log_dirs: u16,
    /// How long the device takes for a small durable write.
    pub write_us: u64,
    /// How long a process that ended stays away at most.
    pub outage_us: u64,
    pub dice: Dice,
}

pub struct Machine {
    id: MachineId,
    pub disk: SimDisk,
    pub faults: Faults,
    config: BrokerConfig,
    dice: Dice,
    log_dirs: u16,
    write_us: u64,
    outage_us: u64,
    life: u32,
    /// How many disks were replaced before this one.
    replaced: u8,
    state: State,
    /// Without power: nothing there answers, not even to refuse.
    dark: bool,
    watch: Watch,
    rules: Arc<RulesTable>,
    lanes: Lanes,
    desk: Desk,
    jobs: BTreeMap<JobId, Job>,
    peers: Peers,
    /// Where the monotonic clock of this life began, and when.
    clock_base: (u64, u64),
    wake_order: u64,
    /// The moment of the last wake-up and how many there were at it.
    wakes: (u64, u32),
    settling: bool,
    /// Since when the process serves without a fault that slows it.
    healthy_since_us: u64,
    metadata_checked: i64,
    outbox: Vec<Effect>,
    scratch: Scratch,
}

impl Machine {
    /// A machine that is off.
    pub fn new(id: MachineId, build: Build) -> Self {
        Self {
            id,
            disk: build.disk,
            faults: Faults::default(),
            config: build.config,
            dice: build.dice,
            log_dirs: build.log_dirs,
            write_us: build.write_us,
            outage_us: build.outage_us,
            life: 0,
            replaced: 0,
            state: State::Off,
            dark: false,
            watch: Watch::default(),
            rules: Arc::default(),
            lanes: Lanes::default(),
            desk: Desk::default(),
            jobs: BTreeMap::new(),
            peers: Peers::default(),
            clock_base: (0, 0),
            wake_order: 0,
            wakes: (0, 0),
            settling: false,
            healthy_since_us: 0,
            metadata_checked: -1,
            outbox: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    pub fn phase(&self) -> Option<Phase> {
        match &self.state {
            State::Running { phase, .. } => Some(*phase),
            State::Off | State::Starting { .. } => None,
        }
    }

    /// The broker's number in the cluster.
    pub fn number(&self) -> i32 {
        i32::try_from(self.config.number("node.id")).unwrap_or(i32::MAX)
    }

    pub fn is_off(&self) -> bool {
        matches!(self.state, State::Off)
    }

    /// What the node should have done before now, by the names of its parts.
    pub fn overdue(&self, core: &Core) -> Option<String> {
        let (node, now) = (self.node()?, self.now(core));
        let late = node.due().into_iter().filter(|(_, due_ms)| *due_ms <= now.monotonic_ms);
        Some(format!("m{} {:?}: {:?}", self.id, self.phase(), late.collect::<Vec<_>>()))
    }

    pub fn node(&self) -> Option<&Node> {
        match &self.state {
            State::Running { node, .. } => Some(node),
            State::Off | State::Starting { .. } => None,
        }
    }

    /// The directory of its disk.
    pub fn directory(&self) -> Uuid {
        voters::directory(self.id, self.replaced)
    }

    /// The machine gets an empty disk, while nobody looks.
    pub fn replace_disk(&mut self, core: &mut Core) {
        core.note(format_args!("m{} gets an empty disk", self.id));
        self.crash_unless_off(core, Ending::Killed);
        self.disk = self.disk.another();
        self.replaced = self.replaced.wrapping_add(1);
        self.watch = Watch::default();
    }

    pub fn connections(&self) -> Vec<ConnectionId> {
        self.desk.ids().collect()
    }

    /// The process is to be started after a while.
    pub fn start_after(&mut self, core: &mut Core, delay_us: u64) {
        self.post(core, delay_us, MachineEvent::Start);
    }

    /// Time is not what it was: a request may take longer from now on.
    pub fn disturbed(&mut self, core: &Core) {
        self.healthy_since_us = core.now_us;
    }

    pub fn on_event(&mut self, core: &mut Core, life: u32, event: MachineEvent) {
        if life != self.life {
            return;
        }
        match event {
            MachineEvent::Start => self.start(core),
            MachineEvent::DiskDone { lane } => self.disk_done(core, lane),
            MachineEvent::JobDone { job } => self.job_done(core, job),
            MachineEvent::Wake { order } if order == self.wake_order => self.wake(core),
            MachineEvent::Wake { .. } => {}
            MachineEvent::Tick => self.tick(core),
            MachineEvent::Mend => self.mend(core),
            MachineEvent::Settle => self.settle(core),
            MachineEvent::PeerLost { tag, reason } => self.step(core, Input::Response { tag, result: Err(reason) }),
            MachineEvent::PeerReply { connection, correlation, response } => {
                self.peer_replied(core, connection, correlation, response)
            }
            MachineEvent::PeerGone { connection, reason } => self.peer_gone(core, connection, reason),
            MachineEvent::PeerOverdue { connection, correlation } => self.peer_overdue(core, connection, correlation),
            MachineEvent::FetchRead { connection, sequence } => self.fetch_read(core, connection, sequence),
        }
    }

    pub fn on_network(&mut self, core: &mut Core, event: NetworkEvent) {
        match event {
            NetworkEvent::Connect { connection, caller, listener } => self.connected(core, connection, caller, listener),
            NetworkEvent::Arrive { connection, caller, frame } => self.arrive(core, connection, caller, frame),
            NetworkEvent::Disconnect { connection } => self.hang_up(core, connection),
        }
    }

    /// Controllers reach each other as soon as the process runs, everybody else when it serves.
    fn connected(&mut self, core: &mut Core, connection: ConnectionId, caller: Caller, listener: ListenerKind) {
        if self.dark {
            return;
        }
        let leaves = core.judge_of_cluster.is_some() && self.phase() == Some(Phase::Stopping);
        let open = match listener {
            ListenerKind::Controller => self.phase().is_some(),
            ListenerKind::Broker | ListenerKind::Client => self.phase() == Some(Phase::Serving) || leaves,
        };
        let turned_away = matches!(caller, Caller::Peer { machine, .. } if core.network.refuses(machine, self.id));
        if open && !turned_away {
            return self.desk.accept(connection, caller, listener);
        }
        // Only a process that is not there refuses, or somebody on the way.
        let reason = if self.phase().is_some() && !turned_away { PeerLost::Broken } else { PeerLost::Refused };
        self.tell_gone(core, caller, connection, reason);
    }

    /// Whoever holds the other end hears that the connection is gone, if anything reaches him.
    fn tell_gone(&self, core: &mut Core, caller: Caller, connection: ConnectionId, reason: PeerLost) {
        let reached = match caller {
            Caller::Client(_) => true,
            Caller::Peer { machine, .. } => core.network.reaches(self.id, machine),
        };
        if reached {
            core.hung_up(caller, connection, reason);
        }
    }

    /// The connection breaks, for both sides.
    pub fn hang_up(&mut self, core: &mut Core, connection: ConnectionId) {
        let Some(caller) = self.desk.close(connection) else { return };
        core.note(format_args!("m{} c{} hangs up", self.id, connection.0));
        self.tell_gone(core, caller, connection, PeerLost::Broken);
        self.step(core, Input::Disconnected { connection });
    }

    /// SIGTERM.
    pub fn shut_down(&mut self, core: &mut Core) {
        if let State::Running { phase, .. } = &mut self.state {
            *phase = Phase::Stopping;
            core.note(format_args!("m{} asked to stop", self.id));
            self.step(core, Input::Shutdown);
        }
    }

    /// The process dies, with or without the power.
    pub fn crash(&mut self, core: &mut Core, ending: Ending) {
        let outage_us = self.outage(core);
        self.crash_for(core, ending, outage_us);
    }

    /// As `crash`, and it starts again after so long.
    pub fn crash_for(&mut self, core: &mut Core, ending: Ending, outage_us: u64) {
        core.note(format_args!("m{} {ending:?}", self.id));
        for op in self.lanes.abandon() {
            self.disk.interrupt(&op, &mut self.dice);
        }
        core.judged(|judge, core| judge.unclean(core, self.id));
        self.end_for(core, ending, outage_us);
    }

    fn outage(&self, core: &mut Core) -> u64 {
        core.dice.spread(200 * MS, self.outage_us)
    }

    /// As `crash`, but a machine that is off stays as it is.
    pub fn crash_unless_off(&mut self, core: &mut Core, ending: Ending) {
        if !self.is_off() {
            self.crash(core, ending);
        }
    }

    /// The power goes while no process runs: what a dead one left in doubt is decided.
    pub fn cut_power_while_off(&mut self, core: &mut Core) {
        core.note(format_args!("m{} loses its power while off", self.id));
        self.disk.cut_power(&mut self.dice);
        core.judged(|judge, core| judge.power_cut(core, self.id));
        self.watch.end(Ending::PowerCut);
    }

    fn end(&mut self, core: &mut Core, ending: Ending) {
        let outage_us = self.outage(core);
        self.end_for(core, ending, outage_us);
    }

    fn end_for(&mut self, core: &mut Core, ending: Ending, outage_us: u64) {
        if ending == Ending::PowerCut {
            self.disk.cut_power(&mut self.dice);
            core.judged(|judge, core| judge.power_cut(core, self.id));
        } else {
            self.disk.kill();
        }
        self.watch.end(ending);
        self.state = State::Off;
        self.life += 1;
        self.lanes = Lanes::default();
        self.jobs.clear();
        self.rules = Arc::default();
        self.settling = false;
        self.faults.failed.clear();
        self.dark = ending == Ending::PowerCut && core.judge_of_cluster.is_some();
        self.let_go_of_peers(core);
        for (connection, caller) in self.desk.close_all() {
            // Now and then nobody tells the client: it finds out by waiting.
            if !self.dark && !core.dice.one_in(8) {
                self.tell_gone(core, caller, connection, PeerLost::Broken);
            }
        }
        self.start_after(core, outage_us);
    }

    fn start(&mut self, core: &mut Core) {
        if !matches!(self.state, State::Off) {
            return;
        }
        self.dark = false;
        self.desk.flaw = core.flaw;
        self.clock_base = (self.dice.spread(1, 1 << 40), core.now_us);
        core.note(format_args!("m{} starts, life {}", self.id, self.life));
        self.note_broken_directories(core);
        let working: Vec<LogDir> = self.working_directories().collect();
        let log_dirs = self.log_dirs_at_start();
        match Start::begin(&self.disk, log_dirs, &working, core.flaw) {
            Ok(start) => {
                self.state = State::Starting { start: Box::new(start), recovered: Vec::new(), offline: Vec::new() };
                self.advance(core);
            }
            Err(refused) => self.refused(core, &refused),
        }
    }

    /// Goes on with the start.
    fn advance(&mut self, core: &mut Core) {
        let now = self.now(core);
        loop {
            let State::Starting { start, recovered, offline } = &mut self.state else { return };
            match start.advance(&self.disk, &self.config, now) {
                Ok(start::Next::Perform(op)) => return self.begin(core, Teller::Start, op),
                Ok(start::Next::Opened(opened)) => {
                    core.note(format_args!(
                        "m{} opened {} to {}: {:?}",
                        self.id,
                        opened.recovered.log.directory(),
                        opened.recovered.log.positions().log_end,
                        opened.report
                    ));
                    if !opened.is_copy {
                        self.watch.opened(core, &opened);
                    }
                    recovered.push(opened.recovered);
                }
                Ok(start::Next::SetAside(aside)) => {
                    if let Some(partition) = &aside.offline {
                        self.watch.set_aside(partition);
                        offline.push(partition.clone());
                    }
                    self.set_aside(core, &aside);
                }
                Ok(start::Next::Ready(metadata)) => {
                    if metadata.log.positions().log_start > Offset::ZERO {
                        core.mark("started from a snapshot whose log is gone");
                    } else if metadata.snapshots.newest_end() > Offset::ZERO {
                        core.mark("started from a metadata snapshot");
                    }
                    let (recovered, offline) = (std::mem::take(recovered), std::mem::take(offline));
                    let boot = Boot {
                        config: self.config.clone(),
                        topology: Topology::read(&self.config).expect("the plan's keys fit together"),
                        cluster_id: "strandline-sim".to_owned(),
                        log_dirs: start.log_dirs(),
                        seed: self.dice.roll(),
                        metadata: *metadata,
                        recovered,
                        previous_broker_epoch: start.previous_broker_epoch(),
                        offline,
                    };
                    return self.run(core, boot);
                }
                Err(refused) => return self.refused(core, &refused),
            }
        }
    }

    fn run(&mut self, core: &mut Core, boot: Boot) {
        let now = self.now(core);
        let mut node = Box::new(boot.node());
        node.start(now, &mut self.outbox);
        self.state = State::Running { node, phase: Phase::Booting };
        self.metadata_checked = -1;
        self.post(core, SECOND, MachineEvent::Tick);
        self.stepped(core);
    }

    /// A partition may be set aside only where something durable was damaged. Somebody brings its files back some time later, with
    /// the broker stopped.
    fn set_aside(&self, core: &mut Core, aside: &SetAside) {
        core.note(format_args!("m{} sets {:?} aside: {}", self.id, aside.offline, aside.reason));
        if !self.disk.is_damaged() {
            core.violate(Invariant::StartsAgain, format_args!("{:?} set aside: {}", aside.offline, aside.reason));
        }
        core.mark("damaged partition set aside");
        if core.judge_of_cluster.is_some() {
            // It is made anew from its leader, or waits for the end of the run.
            return;
        }
        let delay_us = core.dice.spread(200 * MS, 8 * SECOND);
        self.post(core, delay_us, MachineEvent::Mend);
    }

    fn mend(&mut self, core: &mut Core) {
        self.disk.heal();
        self.end(core, Ending::Killed);
    }

    /// Whether partitions wait for somebody to bring their files back.
    pub fn has_offline_partitions(&self) -> bool {
        self.node().is_some_and(|node| node.offline().next().is_some())
    }

    /// A start that cannot go on is right only where something durable was damaged; then it is repaired from elsewhere.
    fn refused(&mut self, core: &mut Core, refused: &Refused) {
        core.note(format_args!("m{} refuses to start: {refused:?}", self.id));
        if self.has_failed_directories() {
            // One of them failed while it was looked through.
            core.mark("start ended by a failed operation");
            return self.end(core, Ending::Killed);
        }
        let damaged = matches!(refused, Refused::Partition { .. } | Refused::Metadata(_));
        if !damaged || !self.disk.is_damaged() {
            core.violate(Invariant::StartsAgain, format_args!("{refused:?}"));
        }
        core.mark("damage refused at start");
        self.disk.heal();
        self.end(core, Ending::Killed);
    }

    fn step(&mut self, core: &mut Core, input: Input) {
        let now = self.now(core);
        let State::Running { node, .. } = &mut self.state else { return };
        node.step(now, input, &mut self.outbox);
        self.stepped(core);
        if !self.settling && self.node().is_some() {
            if self.dice.one_in(3) {
                self.settling = true;
                let delay_us = self.dice.between(0, 60);
                self.post(core, delay_us, MachineEvent::Settle);
            } else {
                self.settle(core);
            }
        }
    }

    fn settle(&mut self, core: &mut Core) {
        self.settling = false;
        let now = self.now(core);
        let State::Running { node, .. } = &mut self.state else { return };
        node.settle(now, &mut self.outbox);
        self.stepped(core);
    }

    /// Carries out what the node wants, and looks at it.
    fn stepped(&mut self, core: &mut Core) {
        let mut outbox = std::mem::take(&mut self.outbox);
        // Before anything leaves: what the node says from here on may be acted on although it dies meanwhile.
        if let State::Running { node, .. } = &self.state {
            core.judged(|judge, core| judge.look(core, self.id, node));
        }
        for effect in outbox.drain(..) {
            self.carry_out(core, effect);
            if self.is_off() {
                break;
            }
        }
        outbox.clear();
        self.outbox = outbox;
        let State::Running { node, phase } = &self.state else { return };
        self.watch.step(core, node);
        if let Some(story) = core.votes.missing(self.id, node) {
            core.violate(Invariant::VoteIsKept, format_args!("{story}"));
        }
        // In a cluster a node also asks itself, over no connection.
        if core.judge_of_cluster.is_none() && node.parked_replies() > self.desk.open() {
            let story = format_args!("{} parked, {} open", node.parked_replies(), self.desk.open());
            core.violate(Invariant::ParkedHasAsker, story);
        }
        let metadata = node.metadata_positions().readable_end.0;
        if *phase == Phase::Serving && metadata != self.metadata_checked {
            self.metadata_checked = metadata;
            self.watch.hosted(core, node);
        }
    }

    fn carry_out(&mut self, core: &mut Core, effect: Effect) {
        match effect {
            Effect::Reply { connection, sequence, reply } => self.reply(core, connection, sequence, reply),
            Effect::Disk { owner, op } => {
                if let Owner::Partition(slot) = owner
                    && self.lanes.depth(Lane::Partition(slot)) > 0
                {
                    core.violate(Invariant::OneOperationAnOwner, format_args!("slot {slot}: {op:?}"));
                }
                if let Owner::Partition(slot) = owner
                    && let State::Running { node, .. } = &self.state
                {
                    core.judged(|judge, core| judge.written(core, self.id, node, slot, &op));
                }
                self.begin(core, Teller::Node(owner), op);
            }
            Effect::Send { to, lane, tag, request, timeout_ms } => {
                self.send_to_peer(core, &Wire { to, lane }, tag, &request, timeout_ms)
            }
            Effect::Start { job, what } => {
                self.jobs.insert(job, what);
                let delay_us = self.dice.between(100, 4 * self.write_us);
                self.post(core, delay_us, MachineEvent::JobDone { job });
            }
            Effect::WakeAt { monotonic_ms } => self.wake_at(core, monotonic_ms),
            Effect::Close { connection, sequence, reason } => {
                self.answer(core, connection, sequence, Answer::Close(reason));
            }
            Effect::Serving => self.serving(core),
            // Connections break when the node has stopped, a moment later.
            Effect::Unlisten { .. } => {}
            Effect::Publish(rules) => self.rules = rules,
            Effect::Fail { file, reason } => self.failed(core, &file, &reason),
            Effect::Offline { file, reason } => self.directory_given_up(core, &file, &reason),
            Effect::Stopped => self.stopped(core),
        }
    }

    fn serving(&mut self, core: &mut Core) {
        core.note(format_args!("m{} serves", self.id));
        self.healthy_since_us = core.now_us;
        if let State::Running { node, phase } = &mut self.state {
            if *phase == Phase::Booting {
                *phase = Phase::Serving;
            }
            self.watch.serving(core, node);
        }
    }

    fn failed(&mut self, core: &mut Core, file: &FilePath, reason: &DiskError) {
        core.note(format_args!("m{} fails: {file}: {reason}", self.id));
        if !self.may_end_without(core, file.log_dir()) {
            core.violate(Invariant::FailsForAReason, format_args!("{reason}"));
        }
        core.mark("process ended by a failed operation");
        self.crash(core, Ending::Killed);
    }

    fn stopped(&mut self, core: &mut Core) {
        core.note(format_args!("m{} stopped", self.id));
        core.mark("process ended cleanly");
        let mut under_way = self.lanes.abandon();
        under_way.retain(|op| !self.faults.failed.contains_key(&op.file().log_dir()));
        let asked = self.phase() == Some(Phase::Stopping);
        let mut working = self.directories().filter(|log_dir| !self.faults.failed.contains_key(log_dir));
        let has_mark = working.all(|log_dir| self.disk.contents(&FilePath::of(log_dir, CLEAN_SHUTDOWN)).is_some());
        if !under_way.is_empty() || !has_mark || !asked {
            let story = format_args!("asked {asked}, mark {has_mark}, under way {under_way:?}");
            core.violate(Invariant::StoppedMeansClosed, story);
        }
        if let State::Running { node, .. } = &self.state {
            self.watch.step(core, node);
        }
        self.end(core, Ending::Killed);
    }

    fn wake_at(&mut self, core: &mut Core, monotonic_ms: u64) {
        self.wake_order += 1;
        if monotonic_ms == u64::MAX {
            return;
        }
        let (base_ms, began_us) = self.clock_base;
        let at_us = began_us.saturating_add(monotonic_ms.saturating_sub(base_ms).saturating_mul(MS));
        let order = self.wake_order;
        self.post(core, at_us.saturating_sub(core.now_us), MachineEvent::Wake { order });
    }

    fn wake(&mut self, core: &mut Core) {
        let moment = core.now_us;
        self.wakes = if self.wakes.0 == moment { (moment, self.wakes.1 + 1) } else { (moment, 1) };
        if self.wakes.1 > WAKES_MAX {
            core.violate(Invariant::WakesToDoSomething, format_args!("{} times at {moment} us", self.wakes.1));
        }
        self.step(core, Input::Tick);
    }

    fn tick(&mut self, core: &mut Core) {
        self.post(core, SECOND, MachineEvent::Tick);
        self.step(core, Input::Tick);
        // In a cluster an answer may have to wait for others: there the end of the run tells whether all came.
        if core.judge_of_cluster.is_some() || self.phase() != Some(Phase::Serving) || self.faults.slowness > 1 {
            return;
        }
        let late = self.desk.questions().find(|(_, question)| {
            let since = question.asked_us.max(self.healthy_since_us);
            core.now_us > since + question.wait_us + ANSWER_US
        });
        if let Some((connection, question)) = late {
            core.violate(Invariant::AnsweredInTime, format_args!("connection {} {question:?}", connection.0));
        }
    }

    fn now(&self, core: &Core) -> Now {
        let (base_ms, began_us) = self.clock_base;
        let wall_ms = core.wall_base_ms + i64::try_from(core.now_us / MS).unwrap_or(i64::MAX) + self.faults.wall_offset_ms;
        Now { wall_ms, monotonic_ms: base_ms + (core.now_us - began_us) / MS }
    }

    fn post(&self, core: &mut Core, delay_us: u64, what: MachineEvent) {
        core.after(delay_us, Event::Machine { machine: self.id, life: self.life, what });
    }
}
