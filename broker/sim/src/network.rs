//! Which machines reach which. Cuts are one-way: two of them make a partition. What is sent over a cut is lost without a
//! word, and so is everything behind it on the same connection, as with a stream whose packets do not arrive.

use std::collections::BTreeSet;

use crate::core::MachineId;

#[derive(Debug, Default)]
pub struct Network {
    /// From, to.
    cuts: BTreeSet<(MachineId, MachineId)>,
    /// From, to: connections are refused on the way.
    refused: BTreeSet<(MachineId, MachineId)>,
    /// Reaches nobody, and nobody reaches it, whatever heals.
    cut_off: Option<MachineId>,
    /// Added to every delay at most, by the plan and while the network is slow.
    usual_us: u64,
    slow_us: u64,
}

impl Network {
    pub fn with_delay(usual_us: u64) -> Self {
        Self { usual_us, ..Self::default() }
    }

    /// What is added to every delay at most.
    pub fn slowness_us(&self) -> u64 {
        self.usual_us.max(self.slow_us)
    }

    /// Everything takes up to so much longer.
    pub fn slow_down(&mut self, by_us: u64) {
        self.slow_us = by_us;
    }

    /// Nothing that `from` sends arrives at `to` any more.
    pub fn cut(&mut self, from: MachineId, to: MachineId) {
        self.cuts.insert((from, to));
    }

    /// Whoever connects from `from` to `to` is told that nobody is there.
    pub fn refuse(&mut self, from: MachineId, to: MachineId) {
        self.refused.insert((from, to));
    }

    /// Everything arrives everywhere again, as soon as usual, but for who is cut off.
    pub fn heal(&mut self) {
        *self = Self { cut_off: self.cut_off, ..Self::with_delay(self.usual_us) };
    }

    /// Nothing gets to this machine, nor away from it; whoever was cut off before is back.
    pub fn cut_off(&mut self, machine: MachineId) {
        self.cut_off = Some(machine);
    }

    /// The machine is back, if it is the one that is cut off.
    pub fn bring_back(&mut self, machine: MachineId) {
        self.cut_off.take_if(|cut_off| *cut_off == machine);
    }

    pub fn refuses(&self, from: MachineId, to: MachineId) -> bool {
        self.refused.contains(&(from, to))
    }

    pub fn reaches(&self, from: MachineId, to: MachineId) -> bool {
        !self.cuts.contains(&(from, to)) && self.cut_off.is_none_or(|cut_off| cut_off != from && cut_off != to)
    }
}
