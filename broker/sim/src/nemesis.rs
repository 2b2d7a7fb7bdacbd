//! What does harm: at random moments one of the plan's faults.

use strandline_log::disk::FilePath;
use strandline_log::names::RECOVERY_POINT_CHECKPOINT;
use strandline_protocol::records::{Batches, HEADER_BYTES, position};

use crate::core::{Core, Event, MS, SECOND};
use crate::dice::Dice;
use crate::faults::Failure;
use crate::invariants::Ending;
use crate::machine::{Machine, Phase};
use crate::plan::{Fault, Plan};

/// The wall clock is never off by more than this: producers would be forgotten that were idle for a day.
const WALL_OFFSET_MS_MAX: i64 = 6 * 60 * 60 * 1000;

/// A bit that becomes another one.
struct Flip {
    file: FilePath,
    byte: usize,
    bit: u8,
}

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
            Fault::PowerCutOfAll | Fault::Pause | Fault::Isolation | Fault::OneWayCut | Fault::Split | Fault::Refusals => {
                return;
            }
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
        let Some(flip) = self.choose_flip(machine) else { return false };
        core.note(format_args!("bit {} of byte {} of {} flips", flip.bit, flip.byte, flip.file));
        machine.disk.damage(&flip.file, flip.byte, flip.bit);
        true
    }

    /// A byte of a batch whose damage a reader can find: the checksum and what it covers, but not what the broker itself keeps
    /// in memory from headers (timestamps, producers, attributes), for that outlives the damage.
    fn damaged_byte(&mut self, batch_bytes: usize) -> usize {
        match self.dice.below(8) {
            0 => position::MAGIC + self.dice.index(position::ATTRIBUTES - position::MAGIC),
            1 => position::LAST_OFFSET_DELTA + self.dice.index(position::BASE_TIMESTAMP - position::LAST_OFFSET_DELTA),
            2 => position::RECORD_COUNT + self.dice.index(position::RECORDS - position::RECORD_COUNT),
            _ => HEADER_BYTES + self.dice.index(batch_bytes.saturating_sub(HEADER_BYTES)),
        }
    }

    fn choose_flip(&mut self, machine: &Machine) -> Option<Flip> {
        let points = machine.disk.contents(&FilePath::top(RECOVERY_POINT_CHECKPOINT))?;
        let points = strandline_log::checkpoints::parse(points).ok()?;
        let point = self.dice.pick(&points)?;
        let directory = strandline_log::names::partition_directory(&point.topic, point.partition);
        let named = |ending: &'static str| {
            let inside = |path: &&FilePath| {
                path.as_str().strip_prefix(&directory).is_some_and(|rest| rest.starts_with('/') && rest.ends_with(ending))
            };
            machine.disk.paths().filter(inside).collect::<Vec<&FilePath>>()
        };
        // An earlier topic of the same name may have left the recovery point: as recovery does, it is believed up to the
        // newest snapshot.
        let confirmed = named(".snapshot").last().and_then(|path| offset_in(path)).unwrap_or(0);
        let durable = point.offset.0.min(confirmed);
        let logs = named(".log");
        let file = (*self.dice.pick(&logs)?).clone();
        let contents = machine.disk.contents(&file)?;
        let batches = Batches::new(contents).map_while(Result::ok);
        let below: Vec<(usize, usize)> = batches
            .filter(|batch| batch.header.next_offset() <= durable)
            .map(|batch| (batch.position, batch.bytes.len()))
            .collect();
        let (begin, bytes) = *self.dice.pick(&below)?;
        let byte = begin + self.damaged_byte(bytes);
        Some(Flip { file, byte, bit: u8::try_from(self.dice.below(8)).unwrap_or(0) })
    }
}

/// The offset in the name of a segment's file.
fn offset_in(path: &FilePath) -> Option<i64> {
    let name = path.as_str().rsplit('/').next()?;
    name.split('.').next()?.parse().ok()
}
