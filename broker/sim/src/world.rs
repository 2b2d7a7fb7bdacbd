//! Everything together: machines, clients, what does harm, and time. A run has three parts: the work under faults, the
//! settling when faults are over, and the audit, after which the history is judged as a whole.

use crate::client::Client;
use crate::client::auditor::Auditor;
use crate::client::consumer::{Consumer, audit_habit};
use crate::client::link::Link;
use crate::client::operator::Operator;
use crate::client::producer::Producer;
use crate::core::{Core, Event, SECOND, Violation};
use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::flaw::Flaw;
use crate::invariants::{Ending, Invariant};
use crate::machine::{Build, Machine, Phase};
use crate::nemesis::Nemesis;
use crate::plan::Plan;
use crate::trace::{Keep, Trace};

/// Settling and audit each have to end within this.
const PATIENCE_US: u64 = 120 * SECOND;

/// What was read while something was wrong may still be under way for so long.
const ON_ITS_WAY_US: u64 = 10 * SECOND;

/// What kind of world it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    #[default]
    Node,
    Cluster,
}

/// What a run is about.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    pub number: u64,
    pub size: Size,
    pub flaw: Option<Flaw>,
    pub keep: Keep,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    pub violation: Option<Violation>,
    pub trace: Trace,
    pub simulated_us: u64,
    pub acknowledged: usize,
    pub marks: std::collections::BTreeMap<&'static str, u64>,
}

pub struct World {
    core: Core,
    machines: Vec<Machine>,
    clients: Vec<Client>,
    nemesis: Nemesis,
    dice: Dice,
    plan: Plan,
    /// When reads could fail last.
    trouble_us: Option<u64>,
    /// When damage was undone last.
    healed_us: Option<u64>,
}

impl World {
    pub fn new(seed: Seed) -> Self {
        let dice = Dice::new(seed.number);
        let plan = Plan::draw(&mut dice.fork("plan"));
        let mut core = Core::new(dice.fork("core"), Trace::new(seed.keep), seed.flaw);
        core.note(format_args!("seed {}: {plan:?}", seed.number));
        let build = Build {
            config: plan.config(),
            disk: SimDisk::new(plan.access, seed.flaw),
            log_dirs: 1,
            write_us: plan.write_us,
            outage_us: 2 * SECOND,
            dice: dice.fork("machine"),
        };
        let machines = vec![Machine::new(0, build)];
        let nemesis = Nemesis::new(dice.fork("nemesis"), &plan);
        let clients = clients(&dice, &plan);
        Self { core, machines, clients, nemesis, dice, plan, trouble_us: None, healed_us: None }
    }

    /// Runs to the end, or to the first violation.
    pub fn run(&mut self) {
        self.begin();
        self.until(self.plan.run_us, |_| false);
        self.settle();
        self.audit();
    }

    /// What the run came to; also for one that panicked on its way.
    pub fn outcome(mut self) -> Outcome {
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
            machine.start_after(&mut self.core, 0);
        }
        for client in &mut self.clients {
            client.start(&mut self.core);
        }
        self.nemesis.plan(&mut self.core);
    }

    /// Faults are over; one last crash, and then whatever was begun is brought to its end.
    fn settle(&mut self) {
        if self.core.violation.is_some() {
            return;
        }
        self.core.note(format_args!("settling"));
        self.core.draining = true;
        let last = self.dice.below(4);
        for machine in &mut self.machines {
            self.nemesis.retire(&mut self.core, machine);
            match last {
                0 => machine.crash_unless_off(&mut self.core, Ending::Killed),
                1 | 2 => machine.crash_unless_off(&mut self.core, Ending::PowerCut),
                _ => {}
            }
        }
        let settled = |world: &Self| {
            world.machines.iter().all(|machine| machine.phase() == Some(Phase::Serving))
                && world.clients.iter().all(|client| client.is_settled(&world.core))
        };
        if !self.until(self.core.now_us + PATIENCE_US, settled) {
            let unsettled: Vec<usize> =
                (0..self.clients.len()).filter(|place| !self.clients[*place].is_settled(&self.core)).collect();
            self.core.violate(Invariant::DrainEnds, format_args!("clients {unsettled:?} do not settle"));
        }
    }

    fn audit(&mut self) {
        if self.core.violation.is_some() {
            return;
        }
        self.core.note(format_args!("audit"));
        let mut dice = self.dice.fork("auditor");
        let id = self.clients.len();
        let reader = Consumer::new(Link::new(id, 0, &mut dice), dice.fork("reader"), audit_habit(&mut dice));
        let mut auditor = Client::Auditor(Box::new(Auditor::new(Link::new(id, 0, &mut dice), reader)));
        auditor.start(&mut self.core);
        self.clients.push(auditor);
        let finding = |world: &Self| match world.clients.last() {
            Some(Client::Auditor(auditor)) => auditor.finding(&world.core),
            _ => None,
        };
        if !self.until(self.core.now_us + PATIENCE_US, |world| finding(world).is_some()) {
            return self.core.violate(Invariant::DrainEnds, format_args!("the audit does not end"));
        }
        if let Some(reach) = finding(self) {
            let judgement = self.core.history.finish(&reach);
            self.core.judge(judgement);
            self.core.note(format_args!("judged {} partitions", reach.len()));
        }
    }

    /// Lets things happen until a point in time, a violation, or the goal; says whether the goal was reached.
    fn until(&mut self, until_us: u64, goal: impl Fn(&Self) -> bool) -> bool {
        while self.core.violation.is_none() {
            if goal(self) {
                return true;
            }
            let Some(event) = self.core.next(until_us) else { return false };
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        let core = &mut self.core;
        match event {
            Event::Machine { machine, life, what } => self.machines[machine].on_event(core, life, what),
            Event::Network { machine, what } => self.machines[machine].on_network(core, what),
            Event::Client { client, what } => self.clients[client].on_event(core, what),
            // Nobody lies in wait for a single node.
            Event::Blow(_) => {}
            Event::Relief(number) => self.nemesis.relieve(core, &mut self.machines[0], number),
            Event::Nemesis => {
                if !core.draining {
                    self.nemesis.strike(core, &mut self.machines[0]);
                    self.nemesis.plan(core);
                }
            }
        }
        let trouble = |machine: &Machine| {
            machine.faults.read_errors_one_in > 0 || machine.disk.is_damaged() || machine.has_offline_partitions()
        };
        if self.machines.iter().any(trouble) {
            self.trouble_us = Some(core.now_us);
        }
        core.reads_may_fail = self.trouble_us.is_some_and(|seen| core.now_us < seen + ON_ITS_WAY_US);
        if std::mem::take(&mut core.damage_read) {
            self.damage_was_read();
        }
    }

    /// A client met a bad checksum: right if something was damaged, which is then brought back from elsewhere.
    fn damage_was_read(&mut self) {
        let damaged = self.machines.iter().any(|machine| machine.disk.is_damaged());
        let on_its_way = self.healed_us.is_some_and(|healed| self.core.now_us < healed + ON_ITS_WAY_US);
        if !damaged && !on_its_way {
            self.core.violate(Invariant::DamageIsNotServed, format_args!("a checksum does not hold and nothing was damaged"));
        }
        self.core.mark("damage found by a reader");
        self.machines.iter_mut().for_each(|machine| machine.disk.heal());
        self.healed_us = Some(self.core.now_us);
    }
}

fn clients(dice: &Dice, plan: &Plan) -> Vec<Client> {
    let mut clients = Vec::new();
    let link = |label: &str, number: usize| {
        let mut own = dice.fork(&format!("{label} {number}"));
        (Link::new(number, 0, &mut own), own)
    };
    let (operator, own) = link("operator", 0);
    clients.push(Client::Operator(Box::new(Operator::new(operator, own, plan.topics.clone()))));
    for manner in &plan.producers {
        let (producer, own) = link("producer", clients.len());
        clients.push(Client::Producer(Box::new(Producer::new(producer, own, *manner))));
    }
    for habit in &plan.consumers {
        let (consumer, own) = link("consumer", clients.len());
        clients.push(Client::Consumer(Box::new(Consumer::new(consumer, own, *habit))));
    }
    clients
}
