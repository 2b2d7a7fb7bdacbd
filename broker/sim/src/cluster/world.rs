//! A cluster in time.

use std::collections::{BTreeMap, BTreeSet};

use strandline_node::{Node, OfflinePartition};

use super::consumer::{Consumer, Habit};
use super::judge::{Judge, Voters};
use super::members::Membership;
use super::members::classic::Classic;
use super::members::modern::Modern;
use super::members::scribe::Scribe;
use super::members::sharer::Sharer;
use super::members::worker::Worker;
use super::nemesis::Nemesis;
use super::operator::Operator;
use super::plan::{Kind, Plan, number};
use super::producer::Producer;
use super::reading::Isolation;
use super::router::Router;
use super::voters::VotersOperator;
use super::work::Protocol;
use crate::core::{ClientEvent, Core, Event, MS, SECOND};
use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::history::{PartitionKey, Reach, Value};
use crate::invariants::Invariant;
use crate::machine::{Build, Machine, Phase};
use crate::network::Network;
use crate::topics::Existence;
use crate::trace::Trace;
use crate::world::{Outcome, Seed};

/// When faults are over, everything is available within this.
pub(crate) const AVAILABLE_WITHIN_US: u64 = 60 * SECOND;

/// A run has no more events than this: whoever is busy for nothing does not settle.
const EVENTS_MAX: u64 = 3_000_000;

/// The audit ends within this.
const AUDIT_US: u64 = 60 * SECOND;

enum Client {
    Operator(Box<Operator>),
    Voters(Box<VotersOperator>),
    Producer(Box<Producer>),
    Consumer(Box<Consumer>),
    Worker(Box<Worker>),
    Sharer(Box<Sharer>),
}

impl Client {
    fn start(&mut self, core: &mut Core) {
        match self {
            Self::Operator(operator) => operator.start(core),
            Self::Voters(operator) => operator.start(core),
            Self::Producer(producer) => producer.start(core),
            Self::Consumer(consumer) => consumer.start(core),
            Self::Worker(worker) => worker.start(core),
            Self::Sharer(sharer) => sharer.start(core),
        }
    }

    fn on_event(&mut self, core: &mut Core, event: ClientEvent) {
        match self {
            Self::Operator(operator) => operator.on_event(core, event),
            Self::Voters(operator) => operator.on_event(core, event),
            Self::Producer(producer) => producer.on_event(core, event),
            Self::Consumer(consumer) => consumer.on_event(core, event),
            Self::Worker(worker) => worker.on_event(core, event),
            Self::Sharer(sharer) => sharer.on_event(core, event),
        }
    }

    fn is_settled(&self, core: &Core) -> bool {
        match self {
            Self::Operator(operator) => operator.is_settled(core),
            Self::Voters(operator) => operator.is_settled(),
            Self::Producer(producer) => producer.is_idle(),
            Self::Worker(worker) => worker.is_settled(core),
            Self::Sharer(sharer) => sharer.is_settled(core),
            Self::Consumer(_) => true,
        }
    }
}

pub(crate) struct ClusterWorld {
    core: Core,
    machines: Vec<Machine>,
    clients: Vec<Client>,
    nemesis: Nemesis,
    dice: Dice,
    plan: Plan,
    events: u64,
}

impl ClusterWorld {
    pub(crate) fn new(seed: Seed) -> Self {
        let dice = Dice::new(seed.number).fork("cluster");
        let plan = Plan::draw(&mut dice.fork("plan"));
        let mut core = Core::new(dice.fork("core"), Trace::new(seed.keep), seed.flaw);
        core.note(format_args!("seed {}: {plan:?}", seed.number));
        let numbers: Vec<i32> = (0..plan.nodes.len()).map(number).collect();
        let voters = if plan.electorate.is_some() { Voters::Change } else { Voters::Fixed };
        core.judge_of_cluster = Some(Box::new(Judge::new(numbers.clone(), voters)));
        core.network = Network::with_delay(plan.network_us);
        let machine = |id: usize| {
            let mut disk = SimDisk::new(plan.access, seed.flaw);
            if let Some(electorate) = &plan.electorate {
                electorate.format(id, &mut disk);
            }
            let build = Build {
                config: plan.config(id),
                disk,
                log_dirs: plan.log_dirs,
                write_us: plan.write_us,
                outage_us: plan.outage_us,
                dice: dice.fork(&format!("machine {id}")),
            };
            Machine::new(id, build)
        };
        let machines = (0..plan.nodes.len()).map(machine).collect();
        let clients = clients(&dice, &plan, &numbers);
        let nemesis = Nemesis::new(dice.fork("nemesis"), plan.faults.clone(), plan.fault_interval_us, plan.nodes.len());
        Self { core, machines, clients, nemesis, dice, plan, events: 0 }
    }

    /// Runs to the end, or to the first violation.
    pub(crate) fn run(&mut self) {
        self.begin();
        self.until(self.plan.run_us, |_| false);
        self.settle();
        self.audit();
    }

    /// What the run came to; also for one that panicked on its way.
    pub(crate) fn outcome(mut self) -> Outcome {
        let (acknowledged, _) = self.core.history.counts();
        Outcome {
            violation: self.core.violation.take(),
            simulated_us: self.core.now_us,
            acknowledged,
            marks: self.core.marks().clone(),
            trace: self.core.trace,
        }
    }

    fn begin(&mut self) {
        for machine in &mut self.machines {
            let delay_us = self.dice.below(300 * MS);
            machine.start_after(&mut self.core, delay_us);
        }
        for client in &mut self.clients {
            client.start(&mut self.core);
        }
        self.nemesis.plan(&mut self.core);
    }

    /// Faults are over: whatever was begun is brought to its end, and everything becomes available.
    fn settle(&mut self) {
        if self.core.violation.is_some() {
            return;
        }
        self.core.note(format_args!("settling"));
        self.core.draining = true;
        self.nemesis.retire(&mut self.core, &mut self.machines);
        self.settle_without_directories();
        let begun_us = self.core.now_us;
        if !self.until(begun_us + AVAILABLE_WITHIN_US, |world| world.is_available()) {
            let story = self.unavailable();
            let others = self.missing().is_none() && self.unstable().is_some();
            let invariant = if others { Invariant::GroupsSettle } else { Invariant::DrainEnds };
            self.core.violate(invariant, format_args!("{story}"));
        }
        let took_us = self.core.now_us - begun_us;
        self.core.mark(match took_us / SECOND {
            0..5 => "available within 5 s",
            5..15 => "available within 15 s",
            _ => "available later than 15 s",
        });
    }

    /// Directories that do not work take nothing along but what lies in them; then they work again.
    fn settle_without_directories(&mut self) {
        if !self.machines.iter().any(Machine::has_failed_directories) {
            return;
        }
        if !self.until(self.core.now_us + AVAILABLE_WITHIN_US, |world| world.left_behind().is_none()) {
            let story = self.left_behind().unwrap_or_default();
            self.core.violate(Invariant::DirectoryFailsAlone, format_args!("{story}"));
        }
        Nemesis::mend(&mut self.core, &mut self.machines);
    }

    /// What is not available although some replica that may lead works.
    fn left_behind(&self) -> Option<String> {
        let judge = self.core.judge_of_cluster.as_ref()?;
        if let Some(down) = self.machines.iter().position(|machine| machine.phase() != Some(Phase::Serving)) {
            return Some(format!("machine {down} does not serve"));
        }
        let works = |number: i32, key: PartitionKey| {
            let node = judge.machine_of(number).and_then(|machine| self.machines[machine].node());
            let is_it = |offline: &OfflinePartition| offline.topic == key.topic && offline.partition == key.partition;
            node.is_some_and(|node| !node.offline().any(is_it))
        };
        let mut existing = judge.existing();
        let stuck = existing.find(|(key, placed)| {
            let mut candidates = placed.isr.iter().chain(&placed.elr);
            candidates.any(|member| works(*member, *key)) && (placed.leader < 0 || !works(placed.leader, *key))
        });
        stuck.map(|(key, placed)| format!("{key} is {placed:?}"))
    }

    fn is_available(&self) -> bool {
        let settled = self.clients.iter().all(|client| client.is_settled(&self.core));
        settled && self.missing().is_none() && self.unstable().is_none()
    }

    /// What is not as it is to be when faults are over.
    fn missing(&self) -> Option<String> {
        let judge = self.core.judge_of_cluster.as_ref()?;
        if let Some(down) = self.machines.iter().position(|machine| machine.phase() != Some(Phase::Serving)) {
            return Some(format!("machine {down} does not serve"));
        }
        for (key, placed) in judge.existing() {
            if placed.leader < 0 && placed.is_lost() && judge.committed_end(key) == 0 {
                // Nobody knows that it never had a record: a human elects.
                continue;
            }
            let whole = placed.leader >= 0 && placed.isr.len() == placed.replicas.len() && !placed.is_moving;
            if !whole {
                return Some(format!("{key} is {placed:?}"));
            }
            let ends: Vec<Option<(i64, i64)>> = placed.replicas.iter().map(|replica| self.end_of(*replica, key)).collect();
            let level = ends.iter().all(|end| *end == ends[0]) && ends[0].is_some_and(|(committed, end)| committed == end);
            if !level {
                return Some(format!("{key} is {placed:?} and stands at {ends:?}"));
            }
        }
        let led = self.machines.iter().filter_map(Machine::node).find(|node| node.quorum().leads);
        if led.is_some_and(|node| node.voters().all(|(id, _)| id != node.number())) {
            return Some(format!("who leads the quorum votes no more: {:?}", led.map(Node::number)));
        }
        let known: Vec<(i64, i64)> =
            self.machines.iter().filter_map(Machine::node).map(|node| (node.quorum().committed.0, node.applied().0)).collect();
        // What stands behind the last applied record is control records.
        let level = known.iter().all(|(committed, applied)| *committed == judge.metadata_end() && *applied == known[0].1);
        (!level).then(|| format!("metadata is committed to {}, known and applied to {known:?}", judge.metadata_end()))
    }

    /// High watermark and end of a replica.
    fn end_of(&self, number: i32, key: PartitionKey) -> Option<(i64, i64)> {
        let machine = self.core.judge_of_cluster.as_ref()?.machine_of(number)?;
        let mut views = self.machines[machine].node()?.partitions();
        let view = views.find(|view| !view.deleted && view.topic == key.topic && view.partition == key.partition)?;
        Some((view.high_watermark.0, view.positions.log_end.0))
    }

    fn unavailable(&self) -> String {
        let clients: Vec<usize> =
            (0..self.clients.len()).filter(|place| !self.clients[*place].is_settled(&self.core)).collect();
        format!("clients {clients:?} do not settle; {:?}; {:?}", self.missing(), self.unstable())
    }

    fn audit(&mut self) {
        if self.core.violation.is_some() {
            return;
        }
        self.core.note(format_args!("audit"));
        self.hold_answers_against_metadata();
        let reach = self.reach();
        self.core.history.begin_audit();
        self.read_all(&reach, Isolation::Uncommitted);
        // A request that stayed on its way for long may have been carried out meanwhile.
        let now = self.reach();
        let judgement = self.core.history.finish(&reach).and_then(|()| self.core.history.nothing_vanished(&now));
        self.core.judge(judgement);
        self.core.note(format_args!("judged {} partitions", reach.len()));
        if self.plan.work.is_any() && self.core.violation.is_none() {
            let found = self.read_all(&reach, Isolation::Committed);
            self.judge_transactions(&found);
        }
    }

    /// Reads everything to its end; answers with what was found, of committed records.
    fn read_all(&mut self, reach: &BTreeMap<PartitionKey, Reach>, isolation: Isolation) -> BTreeSet<Value> {
        let id = self.clients.len();
        let numbers: Vec<i32> = (0..self.plan.nodes.len()).map(number).collect();
        let router = Router::new(id, &self.plan.brokers(), &numbers, self.dice.fork("auditor's router"));
        let habit = Habit { wait_ms: 0, partition_bytes_max: 1 << 20, pause_us: MS, seek_one_in: 0, isolation };
        let mut auditor = Consumer::new(router, self.dice.fork("auditor"), habit);
        auditor.audit(&mut self.core, reach);
        self.clients.push(Client::Consumer(Box::new(auditor)));
        let through = |world: &Self| match world.clients.last() {
            Some(Client::Consumer(auditor)) => auditor.is_through(),
            _ => false,
        };
        if !self.until(self.core.now_us + AUDIT_US, through) {
            self.core.violate(Invariant::DrainEnds, format_args!("the audit of {isolation:?} records does not end"));
        }
        match self.clients.last() {
            Some(Client::Consumer(auditor)) => auditor.found().clone(),
            _ => BTreeSet::new(),
        }
    }

    /// Holds what readers of committed records find against what producers and groups were told.
    fn judge_transactions(&mut self, found: &BTreeSet<Value>) {
        if let Err(story) = self.core.books.transactions.whole(found) {
            self.core.violate(Invariant::TransactionsWhole, format_args!("{story}"));
        }
        let groups: BTreeSet<&str> = self
            .clients
            .iter()
            .filter_map(|client| match client {
                Client::Worker(worker) if worker.is_transactional() => Some(worker.group()),
                _ => None,
            })
            .collect();
        for group in groups {
            let stood: BTreeMap<PartitionKey, i64> = self.core.books.offsets.of_group(group);
            let stood = stood.into_iter().map(|(key, offset)| (key, offset.max(0))).collect();
            if let Err(story) = self.core.books.transactions.exactly_once(group, &stood, found) {
                self.core.violate(Invariant::ExactlyOnce, format_args!("{group}: {story}"));
            }
        }
    }

    /// What a group lacks when faults are over.
    fn unstable(&self) -> Option<String> {
        let work = &self.plan.work;
        let topic =
            self.core.topics.current(work.row).and_then(|topic| self.core.topics.get(topic)).filter(|_| work.is_any())?;
        for team in &work.teams {
            let (mut owned, mut epochs) = (BTreeSet::new(), BTreeSet::new());
            let members = self.clients.iter().filter_map(|client| match client {
                Client::Worker(worker) if worker.group() == team.group => Some(worker),
                _ => None,
            });
            for member in members {
                let (epoch, _) = (member.membership.epoch(), epochs.insert(member.membership.epoch()));
                if let Some(twice) = member.membership.owned().iter().find(|key| !owned.insert(**key)) {
                    return Some(format!("{}: {twice} is owned twice in {epoch}", team.group));
                }
            }
            if epochs.len() > 1 || i32::try_from(owned.len()) != Ok(topic.partitions) {
                return Some(format!("{} is in {epochs:?} and has {owned:?} of {}", team.group, topic.partitions));
            }
        }
        let pool = work.pool.as_ref()?;
        let judge = self.core.judge_of_cluster.as_ref()?;
        (0..topic.partitions).map(|partition| topic.key(partition)).find_map(|key| {
            let end = judge.committed_end(key);
            let left = self.core.books.shared.left(&pool.group, key, end, work.deliveries_max)?;
            Some(format!("{} of {key} to {end} is still to be shared", left))
        })
    }

    /// From where to where every partition that still means something can be read.
    fn reach(&self) -> BTreeMap<PartitionKey, Reach> {
        let Some(judge) = &self.core.judge_of_cluster else { return BTreeMap::new() };
        let counts = |key: &PartitionKey| {
            let exists = self.core.topics.by_id(key.topic).is_some_and(|topic| topic.existence == Existence::Exists);
            exists && !judge.is_void(*key)
        };
        let reach = |(key, _)| (key, Reach { log_start: 0, high_watermark: judge.committed_end(key) });
        judge.existing().filter(|(key, _)| counts(key)).map(reach).collect()
    }

    /// What operators were told is so.
    fn hold_answers_against_metadata(&mut self) {
        let Some(node) = self.machines.iter().find_map(Machine::node) else { return };
        let mut wrong = None;
        for topic in self.core.topics.iter() {
            let partitions = node.placed().filter(|placed| placed.topic == topic.id).count();
            let is_so = match topic.existence {
                Existence::Exists => i32::try_from(partitions) == Ok(topic.partitions),
                Existence::Gone => partitions == 0,
                Existence::InDoubt => true,
            };
            if !is_so {
                wrong = Some(format!("{} {} is {:?} and has {partitions} partitions", topic.name, topic.id, topic.existence));
            }
            let overrides = node.topic_overrides(&topic.name);
            for (key, value) in topic.configs.iter().filter(|(key, _)| !topic.configs_in_doubt.contains(*key)) {
                let found = overrides.and_then(|overrides| overrides.get(key));
                if topic.existence == Existence::Exists && found != Some(value) {
                    wrong = Some(format!("{} has {key} = {found:?}, set to {value}", topic.name));
                }
            }
        }
        if let Some(story) = wrong {
            self.core.violate(Invariant::AnsweredMetadataHolds, format_args!("{story}"));
        }
    }

    /// Lets things happen until a point in time, a violation, or the goal; says whether the goal was reached.
    fn until(&mut self, until_us: u64, goal: impl Fn(&Self) -> bool) -> bool {
        let mut looked_us = 0;
        while self.core.violation.is_none() {
            // The goal is looked at now and then: that costs more than a step.
            if self.core.now_us >= looked_us {
                looked_us = self.core.now_us + 50 * MS;
                if goal(self) {
                    return true;
                }
            }
            let Some(event) = self.core.next(until_us) else { return goal(self) };
            self.happen(event);
            self.events += 1;
            if self.events > EVENTS_MAX {
                let due: Vec<String> = self.machines.iter().filter_map(|machine| machine.overdue(&self.core)).collect();
                self.core.violate(Invariant::DrainEnds, format_args!("more than {EVENTS_MAX} events; overdue: {due:?}"));
            }
        }
        true
    }

    fn happen(&mut self, event: Event) {
        let core = &mut self.core;
        if let Event::Machine { machine, .. } | Event::Network { machine, .. } = event
            && let Some(until_us) = self.nemesis.paused_until(core.now_us, machine)
        {
            // Whatever reaches a stopped process waits there, in order.
            return core.after(until_us - core.now_us, event);
        }
        match event {
            Event::Machine { machine, life, what } => self.machines[machine].on_event(core, life, what),
            Event::Network { machine, what } => self.machines[machine].on_network(core, what),
            Event::Client { client, what } => self.clients[client].on_event(core, what),
            Event::Relief(number) => self.nemesis.relieve(core, &mut self.machines, number),
            Event::Blow(blow) if !core.draining => self.nemesis.deal(core, &mut self.machines, blow),
            Event::Blow(_) => {}
            Event::Nemesis => {
                if !core.draining {
                    let kinds = &self.plan.nodes;
                    let electorate = self.plan.electorate.as_ref();
                    let replaced =
                        electorate.and_then(|voters| voters.replace(core, &mut self.machines, kinds, &mut self.dice));
                    if replaced.is_none() {
                        self.nemesis.strike(core, &mut self.machines);
                    }
                    self.nemesis.plan(core);
                }
            }
        }
    }
}

fn clients(dice: &Dice, plan: &Plan, numbers: &[i32]) -> Vec<Client> {
    let brokers = plan.brokers();
    let mut clients: Vec<Client> = Vec::new();
    let router = |id: usize, own: &Dice| Router::new(id, &brokers, numbers, own.fork("router"));
    let own = dice.fork("operator");
    let named: Vec<i32> = brokers.iter().map(|machine| numbers[*machine]).collect();
    clients.push(Client::Operator(Box::new(Operator::new(router(0, &own), own, plan, named))));
    for manner in &plan.producers {
        let (id, own) = (clients.len(), dice.fork(&format!("producer {}", clients.len())));
        clients.push(Client::Producer(Box::new(Producer::new(router(id, &own), own, *manner))));
    }
    if let Some(electorate) = plan.electorate {
        let (id, own) = (clients.len(), dice.fork("operator of voters"));
        clients.push(Client::Voters(Box::new(VotersOperator::new(router(id, &own), own, electorate))));
    }
    for habit in &plan.consumers {
        let (id, own) = (clients.len(), dice.fork(&format!("consumer {}", clients.len())));
        clients.push(Client::Consumer(Box::new(Consumer::new(router(id, &own), own, *habit))));
    }
    for team in &plan.work.teams {
        for (place, (diligence, script)) in team.members.iter().enumerate() {
            let (id, mut own) = (clients.len(), dice.fork(&format!("{} {place}", team.group)));
            let mut router = router(id, &own);
            let membership = match team.protocol {
                Protocol::Classic => Membership::Classic(Classic::new(&team.group, plan.work.row, team.timing)),
                Protocol::Modern => Membership::Modern(Modern::new(&team.group, plan.work.row, team.timing, &mut own)),
            };
            if script.is_some_and(|script| script.version >= 2) {
                router.dawdle(40);
            }
            let scribe = script.map(|script| Scribe::new(&format!("scribe-{place}"), &team.group, script));
            let worker = Worker::new(router, own, (&team.group, plan.work.row), membership, *diligence, scribe);
            clients.push(Client::Worker(Box::new(worker)));
        }
    }
    for (pool, place) in plan.work.pool.iter().flat_map(|pool| (0..pool.members.len()).map(move |place| (pool, place))) {
        let (id, own) = (clients.len(), dice.fork(&format!("{} {place}", pool.group)));
        let diligence = pool.members[place];
        let sharer = Sharer::new(router(id, &own), own, &pool.group, plan.work.row, diligence, pool.beat_us);
        clients.push(Client::Sharer(Box::new(sharer)));
    }
    debug_assert!(plan.nodes.contains(&Kind::Combined) || plan.nodes.contains(&Kind::Broker));
    clients
}
