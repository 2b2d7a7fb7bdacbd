//! What does harm: at random moments one of the plan's faults.

use crate::core::{Core, Event, MS, SECOND};
use crate::dice::Dice;
use crate::faults::Failure;
use crate::flips::Flip;
use crate::invariants::Ending;
use crate::machine::{Machine, Phase};
use crate::plan::{Fault, Plan};

/// The wall clock is never off by more than this: producers would be forgotten that were idle for a day.
const WALL_OFFSET_MS_MAX: i64 = 6 * 60 * 60 * 1000;

#[derive(Debug)]
pub struct Nemesis {
    dice: Dice,
    faults: Vec<Fault>,
    interval_us: u64,
    relief: u64,
}

impl Nemesis {
    pub fn new(dice: Dice, plan: &Plan) -> Self {
        Self { dice, faults: plan.faults.clone(), interval_us: plan.fault_interval_us, relief: 0 }
    }

    /// The next fault comes after a while.
    pub fn plan(&mut self, core: &mut Core) {
        let delay_us = self.dice.between(0, 2 * self.interval_us);
        core.after(delay_us, Event::Nemesis);
    }

    /// Does something.
    pub fn strike(&mut self, core: &mut Core, machine: &mut Machine) {
        if let Some(fault) = self.dice.pick(&self.faults).copied() {
            self.inflict(core, machine, fault);
        }
    }

    fn inflict(&mut self, core: &mut Core, machine: &mut Machine, fault: Fault) {
        if machine.is_off() && !matches!(fault, Fault::BitFlip | Fault::ClockJump | Fault::PowerCut) {
            return;
        }
        match fault {
            Fault::Kill => machine.crash(core, Ending::Killed),
            Fault::PowerCut if machine.is_off() => machine.cut_power_while_off(core),
            Fault::PowerCut => machine.crash(core, Ending::PowerCut),
            Fault::Shutdown if machine.phase() == Some(Phase::Serving) => machine.shut_down(core),
            // Impatience with a process that does not end.
            Fault::Shutdown => machine.crash(core, Ending::Killed),
            Fault::NoSpace => self.doom(machine, Failure::Full),
            Fault::BrokenDevice => self.doom(machine, Failure::Broken),
            Fault::SlowDisk => self.slow_down(core, machine),
            Fault::BitFlip if !self.flip(core, machine) => return,
            Fault::BitFlip => {}
            Fault::ReadErrors => self.break_reads(core, machine),
            Fault::ClockJump => self.jump(core, machine),
            Fault::HangUps => self.hang_up(core, machine),
            Fault::PowerCutOfAll
            | Fault::Pause
            | Fault::Isolation
            | Fault::OneWayCut
            | Fault::Split
            | Fault::Refusals
            | Fault::DirectoryFails
            | Fault::SlowNetwork
            | Fault::QuickRestart
            | Fault::Ambush => return,
        }
        core.note(format_args!("FAULT {}", fault.name()));
        core.mark(fault.name());
    }

    /// A fault that lasts is over.
    pub fn relieve(&mut self, core: &mut Core, machine: &mut Machine, number: u64) {
        if number == self.relief {
            machine.faults.slowness = 1;
            machine.faults.read_errors_one_in = 0;
            machine.disturbed(core);
            core.note(format_args!("relief"));
        }
    }

    /// Everything that lasts is over.
    pub fn retire(&mut self, core: &mut Core, machine: &mut Machine) {
        machine.faults.doomed = None;
        self.relieve(core, machine, self.relief);
        machine.disk.heal();
    }

    fn doom(&mut self, machine: &mut Machine, failure: Failure) {
        machine.faults.doomed = Some((self.dice.below(12), failure));
    }

    fn slow_down(&mut self, core: &mut Core, machine: &mut Machine) {
        machine.faults.slowness = [5, 30, 200][self.dice.index(3)];
        self.lasts(core);
    }

    fn break_reads(&mut self, core: &mut Core, machine: &mut Machine) {
        machine.faults.read_errors_one_in = 3;
        self.lasts(core);
    }

    fn lasts(&mut self, core: &mut Core) {
        self.relief += 1;
        let delay_us = self.dice.spread(200 * MS, 5 * SECOND);
        core.after(delay_us, Event::Relief(self.relief));
    }

    fn jump(&mut self, core: &mut Core, machine: &mut Machine) {
        let most = [50, 2000, 600_000, 7_200_000][self.dice.index(4)];
        let by = i64::try_from(self.dice.below(2 * most + 1)).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
        let offset = &mut machine.faults.wall_offset_ms;
        *offset = (*offset + by).clamp(-WALL_OFFSET_MS_MAX, WALL_OFFSET_MS_MAX);
        core.note(format_args!("wall clock off by {offset} ms"));
    }

    fn hang_up(&mut self, core: &mut Core, machine: &mut Machine) {
        for connection in machine.connections() {
            if self.dice.one_in(2) {
                machine.hang_up(core, connection);
            }
        }
    }

    /// Flips a bit among the records below the recovery point of some partition.
    fn flip(&mut self, core: &mut Core, machine: &mut Machine) -> bool {
        let Some(flip) = Flip::choose(&mut self.dice, &machine.disk, |_, _| true) else { return false };
        core.note(format_args!("bit {} of byte {} of {} flips", flip.bit, flip.byte, flip.file));
        machine.disk.damage(&flip.file, flip.byte, flip.bit);
        true
    }
}
