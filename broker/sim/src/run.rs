//! Runs of one seed, and what many of them come to.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cluster::world::ClusterWorld;
use crate::core::{SECOND, Violation};
use crate::flaw::Flaw;
use crate::plan::{FAULTS, FAULTS_OF_CLUSTERS};
use crate::world::{Outcome, Seed, Size, World};

/// How a seed ended.
pub enum Ended {
    Well(Outcome),
    Badly(Outcome, Trouble),
}

/// Why it ended badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    Violation(Violation),
    /// The node, or the simulator, panicked.
    Panic(String),
}

/// Runs one seed; a panic ends only its own run.
pub fn run(seed: Seed) -> Ended {
    Flaw::seed(seed.flaw);
    // What a panic leaves is only looked at.
    let (panicked, mut outcome) = match seed.size {
        Size::Node => {
            let mut world = World::new(seed);
            (catch_unwind(AssertUnwindSafe(|| world.run())).err(), world.outcome())
        }
        Size::Cluster => {
            let mut world = ClusterWorld::new(seed);
            (catch_unwind(AssertUnwindSafe(|| world.run())).err(), world.outcome())
        }
    };
    let violation = outcome.violation.take().map(Trouble::Violation);
    match panicked.map(|panic| Trouble::Panic(text_of(&*panic))).or(violation) {
        None => Ended::Well(outcome),
        Some(trouble) => Ended::Badly(outcome, trouble),
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "a panic".to_owned())
}

/// What many runs come to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub seeds: u64,
    pub simulated_us: u64,
    pub events: u64,
    pub acknowledged: u64,
    /// How many times each place was reached, and in how many seeds.
    marks: BTreeMap<&'static str, (u64, u64)>,
    /// Over the hashes of all traces, in order of seed.
    pub fingerprint: u64,
}

impl Tally {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.simulated_us += outcome.simulated_us;
        self.events += outcome.trace.lines();
        self.acknowledged += outcome.acknowledged as u64;
        self.fingerprint = self.fingerprint.rotate_left(1) ^ outcome.trace.hash();
        for (place, times) in &outcome.marks {
            let known = self.marks.entry(place).or_default();
            known.0 += times;
            known.1 += 1;
        }
    }

    /// A sentence on how much was run in how much time of the processor.
    pub fn speed(&self, seconds: f64) -> String {
        let simulated = self.simulated_us as f64 / SECOND as f64;
        let seconds = seconds.max(1e-9);
        format!(
            "{} seeds, {:.1} simulated hours in {seconds:.0} s: {:.0} simulated seconds a second, {:.0} simulated hours a core-hour",
            self.seeds,
            simulated / 3600.0,
            simulated / seconds,
            simulated / seconds
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} records acknowledged, {} events", self.acknowledged, self.events)?;
        let is_fault = |place: &str| FAULTS.iter().chain(FAULTS_OF_CLUSTERS).any(|fault| fault.name() == place);
        for (title, wanted) in [("faults", true), ("places reached", false)] {
            writeln!(formatter, "{title}:")?;
            for (place, (times, seeds)) in self.marks.iter().filter(|(place, _)| is_fault(place) == wanted) {
                writeln!(formatter, "  {times:>9}  {place} (in {seeds} seeds)")?;
            }
        }
        write!(formatter, "fingerprint {:016x}", self.fingerprint)
    }
}
