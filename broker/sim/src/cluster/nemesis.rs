//! What does harm to a cluster: processes that die, machines that lose power, alone or all of them, that stop for a while, or
//! whose disks fail; networks that cut, in one direction or both, that refuse; operators who shut down in good order.
//! Its victims are often those that matter: the active controller, and leaders.

use std::collections::BTreeMap;

use super::ambush::{self, Blow, Harm};
use crate::core::{Core, Event, MS, MachineId, SECOND};
use crate::dice::Dice;
use crate::faults::Failure;
use crate::flips::Flip;
use crate::invariants::Ending;
use crate::machine::{Machine, Phase};
use crate::plan::Fault;

/// The wall clock is never off by more than this: producers would be forgotten that were idle for a day.
const WALL_OFFSET_MS_MAX: i64 = 6 * 60 * 60 * 1000;

/// The kinds that happen to clusters.
pub(super) const FAULTS: &[Fault] = &[
    Fault::Kill,
    Fault::PowerCut,
    Fault::PowerCutOfAll,
    Fault::Shutdown,
    Fault::NoSpace,
    Fault::BrokenDevice,
    Fault::SlowDisk,
    Fault::ClockJump,
    Fault::HangUps,
    Fault::Pause,
    Fault::Isolation,
    Fault::OneWayCut,
    Fault::Split,
    Fault::Refusals,
    Fault::BitFlip,
    Fault::SlowNetwork,
    Fault::QuickRestart,
    Fault::Ambush,
];

/// What ends after a while.
#[derive(Clone, Copy, Debug)]
enum Lasting {
    Network,
    CutOff(MachineId),
    Slowness(MachineId),
    Directory(MachineId),
}

#[derive(Debug)]
pub(super) struct Nemesis {
    dice: Dice,
    faults: Vec<Fault>,
    interval_us: u64,
    lasting: BTreeMap<u64, Lasting>,
    next: u64,
    /// By machine, until when it is stopped.
    paused_us: Vec<u64>,
}

impl Nemesis {
    pub(super) fn new(dice: Dice, faults: Vec<Fault>, interval_us: u64, machines: usize) -> Self {
        Self { dice, faults, interval_us, lasting: BTreeMap::new(), next: 0, paused_us: vec![0; machines] }
    }

    /// The next fault comes after a while; now and then right behind the last one.
    pub(super) fn plan(&mut self, core: &mut Core) {
        let most_us = if self.dice.one_in(4) { self.interval_us / 8 } else { 2 * self.interval_us };
        let delay_us = self.dice.between(0, most_us);
        core.after(delay_us, Event::Nemesis);
    }

    /// Until when a machine does nothing, if it is stopped.
    pub(super) fn paused_until(&self, now_us: u64, machine: MachineId) -> Option<u64> {
        let until_us = self.paused_us[machine];
        (until_us > now_us).then_some(until_us)
    }

    /// Does something.
    pub(super) fn strike(&mut self, core: &mut Core, machines: &mut [Machine]) {
        let Some(fault) = self.dice.pick(&self.faults).copied() else { return };
        let victim = self.victim(core, machines);
        if self.inflict(core, machines, victim, fault) {
            core.note(format_args!("FAULT {} of m{victim}", fault.name()));
            core.mark(fault.name());
        }
    }

    fn victim(&mut self, core: &Core, machines: &[Machine]) -> MachineId {
        let chosen = match self.dice.below(4) {
            0 => machines.iter().position(|machine| machine.node().is_some_and(|node| node.quorum().leads)),
            1 => {
                let judge = core.judge_of_cluster.as_ref();
                let leaders: Vec<i32> =
                    judge.into_iter().flat_map(|judge| judge.existing()).map(|(_, placed)| placed.leader).collect();
                self.dice.pick(&leaders).and_then(|leader| judge?.machine_of(*leader))
            }
            _ => None,
        };
        chosen.unwrap_or_else(|| self.dice.index(machines.len()))
    }

    fn inflict(&mut self, core: &mut Core, machines: &mut [Machine], victim: MachineId, fault: Fault) -> bool {
        let count = machines.len();
        let machine = &mut machines[victim];
        match fault {
            Fault::PowerCut if machine.is_off() => machine.cut_power_while_off(core),
            Fault::PowerCut => machine.crash(core, Ending::PowerCut),
            Fault::PowerCutOfAll => {
                machines.iter_mut().for_each(|machine| machine.crash_unless_off(core, Ending::PowerCut));
            }
            Fault::Isolation | Fault::OneWayCut | Fault::Split | Fault::Refusals if count > 1 => {
                self.disconnect(core, count, victim, fault);
            }
            Fault::SlowNetwork => {
                core.network.slow_down([50 * MS, 300 * MS, 2 * SECOND][self.dice.index(3)]);
                self.lasts(core, Lasting::Network);
            }
            Fault::ClockJump => self.jump(core, machine),
            Fault::Ambush => return ambush::lay(core, machines, &mut self.dice),
            Fault::BitFlip => return self.flip(core, machines, victim),
            Fault::DirectoryFails if machine.break_directory(core) => self.lasts(core, Lasting::Directory(victim)),
            _ if machine.is_off() => return false,
            Fault::Kill => machine.crash(core, Ending::Killed),
            Fault::QuickRestart => machine.crash_for(core, Ending::Killed, self.dice.spread(MS, 100 * MS)),
            Fault::Shutdown if machine.phase() == Some(Phase::Serving) => machine.shut_down(core),
            // Impatience with a process that does not end.
            Fault::Shutdown => machine.crash(core, Ending::Killed),
            Fault::NoSpace => machine.faults.doomed = Some((self.dice.below(12), Failure::Full)),
            Fault::BrokenDevice => machine.faults.doomed = Some((self.dice.below(12), Failure::Broken)),
            Fault::SlowDisk => {
                machine.faults.slowness = [5, 30, 200][self.dice.index(3)];
                self.lasts(core, Lasting::Slowness(victim));
            }
            Fault::HangUps => {
                for connection in machine.connections() {
                    if self.dice.one_in(2) {
                        machine.hang_up(core, connection);
                    }
                }
            }
            Fault::Pause => self.paused_us[victim] = core.now_us + self.dice.spread(200 * MS, 8 * SECOND),
            _ => return false,
        }
        true
    }

    /// Somebody who was waited for is struck.
    pub(super) fn deal(&mut self, core: &mut Core, machines: &mut [Machine], blow: Blow) {
        let machine = &mut machines[blow.victim];
        match blow.harm {
            Harm::Ends(Ending::PowerCut) if machine.is_off() => machine.cut_power_while_off(core),
            Harm::Ends(_) if machine.is_off() => {}
            Harm::Ends(ending) => machine.crash_for(core, ending, blow.for_us),
            Harm::ShutsDown if machine.phase() == Some(Phase::Serving) => machine.shut_down(core),
            Harm::ShutsDown => {}
            Harm::CutOff => {
                core.note(format_args!("m{} is cut off", blow.victim));
                core.network.cut_off(blow.victim);
                self.lasts_for(core, Lasting::CutOff(blow.victim), blow.for_us);
            }
            Harm::SlowsDown => {
                core.network.slow_down(self.dice.spread(5 * MS, 200 * MS));
                self.lasts_for(core, Lasting::Network, blow.for_us);
            }
        }
    }

    /// Cuts somebody off, in one direction or both, from everybody, from some, or from one.
    fn disconnect(&mut self, core: &mut Core, count: usize, victim: MachineId, fault: Fault) {
        match fault {
            Fault::OneWayCut => {
                let outwards = self.dice.one_in(2);
                let one = self.dice.one_in(2).then(|| self.dice.index(count));
                for other in (0..count).filter(|other| *other != victim && one.is_none_or(|one| one == *other)) {
                    if outwards { core.network.cut(victim, other) } else { core.network.cut(other, victim) }
                }
            }
            Fault::Split => {
                let sides: Vec<bool> = (0..count).map(|_| self.dice.one_in(2)).collect();
                for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
                    if sides[from] != sides[to] {
                        core.network.cut(from, to);
                    }
                }
            }
            Fault::Refusals => (0..count).filter(|other| *other != victim).for_each(|other| core.network.refuse(other, victim)),
            _ => {
                for other in (0..count).filter(|other| *other != victim) {
                    core.network.cut(victim, other);
                    core.network.cut(other, victim);
                }
            }
        }
        self.lasts(core, Lasting::Network);
    }

    fn lasts(&mut self, core: &mut Core, what: Lasting) {
        let for_us = self.dice.spread(300 * MS, 12 * SECOND);
        self.lasts_for(core, what, for_us);
    }

    fn lasts_for(&mut self, core: &mut Core, what: Lasting, for_us: u64) {
        self.next += 1;
        self.lasting.insert(self.next, what);
        core.after(for_us, Event::Relief(self.next));
    }

    fn jump(&mut self, core: &mut Core, machine: &mut Machine) {
        let most = [50, 2000, 600_000, 7_200_000][self.dice.index(4)];
        let by = i64::try_from(self.dice.below(2 * most + 1)).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
        let offset = &mut machine.faults.wall_offset_ms;
        *offset = (*offset + by).clamp(-WALL_OFFSET_MS_MAX, WALL_OFFSET_MS_MAX);
        core.note(format_args!("wall clock off by {offset} ms"));
    }

    /// Flips a bit of a replica while every other one is in sync and whole: its partition must not lose anything.
    fn flip(&mut self, core: &mut Core, machines: &mut [Machine], victim: MachineId) -> bool {
        if machines.iter().any(|machine| machine.disk.has_flips()) {
            return false;
        }
        let may = |name: &str, partition: i32| {
            let topic = core.topics.existing().find(|(_, topic)| topic.name.as_str() == name).map(|(_, topic)| topic);
            let key = topic.filter(|topic| topic.losses_covered.is_none()).map(|topic| topic.key(partition));
            let placed = key.and_then(|key| core.judge_of_cluster.as_ref()?.placed(key));
            placed.is_some_and(|placed| placed.isr.len() > 1 && placed.isr.len() == placed.replicas.len() && !placed.is_moving)
        };
        let Some(flip) = Flip::choose(&mut self.dice, &machines[victim].disk, may) else { return false };
        core.note(format_args!("bit {} of byte {} of {} flips", flip.bit, flip.byte, flip.file));
        machines[victim].disk.damage(&flip.file, flip.byte, flip.bit);
        true
    }

    /// A fault that lasts is over.
    pub(super) fn relieve(&mut self, core: &mut Core, machines: &mut [Machine], number: u64) {
        match self.lasting.remove(&number) {
            Some(Lasting::Network) => core.network.heal(),
            Some(Lasting::CutOff(machine)) => core.network.bring_back(machine),
            Some(Lasting::Slowness(machine)) => machines[machine].faults.slowness = 1,
            Some(Lasting::Directory(machine)) => machines[machine].mend_directories(core),
            None => return,
        }
        core.note(format_args!("relief"));
    }

    /// Everything that lasts is over, but for directories that do not work.
    pub(super) fn retire(&mut self, core: &mut Core, machines: &mut [Machine]) {
        self.lasting.clear();
        core.network.heal();
        (0..machines.len()).for_each(|machine| core.network.bring_back(machine));
        self.paused_us.fill(0);
        for machine in machines {
            machine.faults.doomed = None;
            machine.faults.slowness = 1;
            machine.disk.heal();
            if !machine.has_failed_directories() && machine.has_offline_partitions() {
                machine.crash(core, Ending::Killed);
            }
        }
    }

    /// Whoever has directories that do not work, or did not, starts again with whole ones.
    pub(super) fn mend(core: &mut Core, machines: &mut [Machine]) {
        for machine in machines.iter_mut().filter(|machine| machine.has_failed_directories()) {
            machine.disk.mend_dirs();
            machine.crash_unless_off(core, Ending::Killed);
        }
    }
}
