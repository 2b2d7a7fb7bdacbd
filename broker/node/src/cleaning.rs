//! Which logs are compacted, when, and how far each round is.
//!
//! A cleaner works on one log at a time, in steps: a step is a job that reads; what it wants written goes through the log, among the log's own
//! operations, and the next step begins when all of that is durable. So a produce waits for one write of a few hundred kilobytes at most, and
//! a log that is deleted or closed simply stops its round. The dirtiest log is next. What fails is tried again; what is damaged, or failed
//! too often, is set aside until the broker starts again: compacting must not spread damage.
//!
//! Source: Kafka's `LogCleaner`, `LogCleanerManager.grabFilthiestCompactedLog`.

use strandline_log::checkpoints::OffsetCheckpoint;
use strandline_log::cleaner::plan::RoundOptions;
use strandline_log::cleaner::round::{CleanError, Finished, Next, Round, Seed, Stepped};
use strandline_log::disk::{FilePath, LogDir};
use strandline_log::names::CLEANER_CHECKPOINT;
use strandline_protocol::ids::Offset;

use crate::broker::Broker;
use crate::config::Layers;
use crate::directory::After;
use crate::io::{Effect, Job, JobId, Now};
use crate::replica::Replica;

/// How often a round of one log may fail on the way before it is set aside.
const FAILURES_MAX: u8 = 3;

/// Less memory for keys than this a cleaner never gets. Source: Kafka's `LogCleaner.validateReconfiguration`.
const MAP_BYTES_MIN: usize = 1 << 20;

/// A step reads at least so much: less would be more overhead than work.
const STEP_BYTES_MIN: usize = 16 << 10;

/// The keys of the cleaner itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CleanerSettings {
    /// Logs that are compacted at a time; 0 compacts none.
    cleaners_max: usize,
    backoff_ms: u64,
    map_bytes_max: usize,
    map_load_factor: f64,
    step_bytes: usize,
    /// Read and written, by each cleaner.
    bytes_per_second_max: f64,
}

impl CleanerSettings {
    /// Reads the keys. Buffers and bandwidth are for all cleaners together.
    pub(crate) fn read(layers: &Layers<'_>) -> Self {
        let count = |key: &str| usize::try_from(layers.broker_number(key)).unwrap_or(0);
        let fraction = |key: &str| layers.broker_fraction(key).unwrap_or(f64::MAX);
        let threads = count("log.cleaner.threads");
        let share = threads.max(1);
        Self {
            cleaners_max: if layers.start.boolean("log.cleaner.enable") { threads } else { 0 },
            backoff_ms: u64::try_from(layers.broker_number("log.cleaner.backoff.ms")).unwrap_or(0),
            map_bytes_max: (count("log.cleaner.dedupe.buffer.size") / share).max(MAP_BYTES_MIN),
            map_load_factor: fraction("log.cleaner.io.buffer.load.factor").min(1.0),
            // One half to read, the other to write.
            step_bytes: (count("log.cleaner.io.buffer.size") / share / 2).max(STEP_BYTES_MIN),
            bytes_per_second_max: fraction("log.cleaner.io.max.bytes.per.second") / share as f64,
        }
    }
}

/// What a cleaner is at.
#[derive(Debug)]
enum At {
    /// A step runs.
    Stepping(JobId),
    /// What the step wanted is written; then this comes.
    Writing(Box<Round>, Next),
    /// The bandwidth is used up until then.
    Resting(Box<Round>, u64),
}

#[derive(Debug)]
struct Cleaner {
    /// The log is gone once this is `None`.
    slot: Option<u32>,
    at: At,
    /// When the bandwidth allows the next step.
    rested_ms: u64,
}

/// What was done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleaningTotals {
    pub rounds: u64,
    pub failed_rounds: u64,
    /// Of the segments that were written anew, before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// The cleaners.
#[derive(Debug)]
pub struct Cleaning {
    settings: CleanerSettings,
    cleaners: Vec<Cleaner>,
    next_look_ms: u64,
    is_stopped: bool,
    pub totals: CleaningTotals,
}

impl Cleaning {
    pub(crate) fn new(settings: CleanerSettings) -> Self {
        Self { settings, cleaners: Vec::new(), next_look_ms: 0, is_stopped: false, totals: CleaningTotals::default() }
    }

    /// The keys may have other values. They count from the next step and the next round on, and nobody waits for what was paid by others.
    pub(crate) fn refresh(&mut self, settings: CleanerSettings) {
        if self.is_stopped || settings == self.settings {
            return;
        }
        self.settings = settings;
        self.next_look_ms = 0;
        for cleaner in &mut self.cleaners {
            cleaner.rested_ms = 0;
            if let At::Resting(_, until_ms) = &mut cleaner.at {
                *until_ms = 0;
            }
        }
    }

    /// When [`run`] has something to do although nothing else happens.
    pub(crate) fn next_due_ms(&self) -> u64 {
        let look = if self.cleaners.len() < self.settings.cleaners_max { self.next_look_ms } else { u64::MAX };
        let rested = self.cleaners.iter().map(|cleaner| match cleaner.at {
            At::Resting(_, until_ms) => until_ms,
            _ => u64::MAX,
        });
        rested.fold(look, u64::min)
    }

    /// Whether a cleaner works on the log in this slot: nothing else may take segments away from it.
    pub(crate) fn holds(&self, slot: u32) -> bool {
        self.cleaners.iter().any(|cleaner| cleaner.slot == Some(slot))
    }

    /// The log in this slot goes: what is still under way for it comes to nothing.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.take_slot(slot);
    }

    /// A step that runs still comes back, to nobody.
    fn take_slot(&mut self, slot: u32) -> Option<Cleaner> {
        let mut cleaner = self.take(|cleaner| cleaner.slot == Some(slot))?;
        if matches!(cleaner.at, At::Stepping(_)) {
            cleaner.slot = None;
            self.cleaners.push(cleaner);
            return None;
        }
        Some(cleaner)
    }

    /// Nothing begins any more, and what is under way comes to nothing.
    pub(crate) fn stop(&mut self) {
        self.is_stopped = true;
        self.settings.cleaners_max = 0;
        self.cleaners.clear();
    }

    fn take(&mut self, is_it: impl Fn(&Cleaner) -> bool) -> Option<Cleaner> {
        let place = self.cleaners.iter().position(is_it)?;
        Some(self.cleaners.remove(place))
    }
}

/// Does what is due: cleaners that rested go on, free ones look for a log.
pub(crate) fn run(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    let is_rested = |cleaner: &Cleaner| matches!(cleaner.at, At::Resting(_, until_ms) if until_ms <= now.monotonic_ms);
    while let Some(cleaner) = broker.cleaning.take(is_rested) {
        if let (At::Resting(round, _), Some(slot)) = (cleaner.at, cleaner.slot) {
            begin_step(broker, slot, round, cleaner.rested_ms, outbox);
        }
    }
    if broker.cleaning.next_look_ms > now.monotonic_ms {
        return;
    }
    while broker.cleaning.cleaners.len() < broker.cleaning.settings.cleaners_max {
        let Some(slot) = dirtiest(broker, now) else {
            broker.cleaning.next_look_ms = now.monotonic_ms + broker.cleaning.settings.backoff_ms;
            return;
        };
        begin_round(broker, now, slot, outbox);
    }
}

/// The log in this slot is to be cut back: what is under way for it comes to nothing, and its files get their places.
pub(crate) fn give_up(broker: &mut Broker, slot: u32) {
    let cleaner = broker.cleaning.take_slot(slot);
    let Some(replica) = broker.replicas.get_mut(slot) else { return };
    if let Some(Cleaner { at: At::Writing(_, Next::SwapIn(replacement)), .. }) = cleaner {
        replica.log.discard(&replacement);
    }
    replica.log.settle_swaps();
}

/// A step ended.
pub(crate) fn stepped(
    broker: &mut Broker,
    now: Now,
    job: JobId,
    round: Box<Round>,
    result: Result<Stepped, CleanError>,
    outbox: &mut Vec<Effect>,
) {
    let is_it = |cleaner: &Cleaner| matches!(cleaner.at, At::Stepping(known) if known == job);
    let Some(Cleaner { slot: Some(slot), rested_ms, .. }) = broker.cleaning.take(is_it) else { return };
    let Stepped { ops, next, bytes } = match result {
        Ok(stepped) => stepped,
        Err(reason) => return fail(broker, now, slot, &reason),
    };
    // The bandwidth is counted from when the step before was paid for.
    let paid_ms = (bytes as f64 * 1_000.0 / broker.cleaning.settings.bytes_per_second_max).min(1e12) as u64;
    let rested_ms = rested_ms.max(now.monotonic_ms) + paid_ms;
    let Some(replica) = broker.replicas.get_mut(slot) else { return };
    let waits = replica.log.write_cleaning(ops);
    if waits {
        broker.cleaning.cleaners.push(Cleaner { slot: Some(slot), at: At::Writing(round, next), rested_ms });
        broker.mark_dirty(slot);
    } else {
        go_on(broker, now, slot, round, next, rested_ms, outbox);
    }
}

/// What a step of the log in this slot wanted is written.
pub(crate) fn written(broker: &mut Broker, now: Now, slot: u32, outbox: &mut Vec<Effect>) {
    let is_it = |cleaner: &Cleaner| cleaner.slot == Some(slot) && matches!(cleaner.at, At::Writing(..));
    if let Some(Cleaner { at: At::Writing(round, next), rested_ms, .. }) = broker.cleaning.take(is_it) {
        go_on(broker, now, slot, round, next, rested_ms, outbox);
    }
}

fn go_on(broker: &mut Broker, now: Now, slot: u32, round: Box<Round>, next: Next, rested_ms: u64, outbox: &mut Vec<Effect>) {
    match next {
        Next::Step => {}
        Next::SwapIn(replacement) => {
            let Some(replica) = broker.replicas.get_mut(slot) else { return };
            let swapped = replica.log.swap_in(now.wall_ms, replacement);
            broker.mark_dirty(slot);
            if swapped.is_err() {
                // Records were deleted meanwhile: another round begins with what is left.
                return;
            }
        }
        Next::End(finished) => return end_round(broker, now, slot, finished, outbox),
    }
    if rested_ms > now.monotonic_ms {
        let at = At::Resting(round, rested_ms);
        broker.cleaning.cleaners.push(Cleaner { slot: Some(slot), at, rested_ms });
    } else {
        begin_step(broker, slot, round, rested_ms, outbox);
    }
}

fn begin_step(broker: &mut Broker, slot: u32, round: Box<Round>, rested_ms: u64, outbox: &mut Vec<Effect>) {
    let job = broker.next_job();
    broker.cleaning.cleaners.push(Cleaner { slot: Some(slot), at: At::Stepping(job), rested_ms });
    outbox.push(Effect::Start { job, what: Job::Clean(round) });
}

/// The slot of the dirtiest log that is worth a round.
fn dirtiest(broker: &Broker, now: Now) -> Option<u32> {
    let may = |(slot, replica): &(u32, &Replica)| {
        replica.log.config().compacts
            && replica.is_listed()
            && replica.truncation.is_none()
            && replica.cleaning_failures < FAILURES_MAX
            && !broker.cleaning.holds(*slot)
            && !broker.moves.has(*slot)
    };
    let worth = broker.replicas.iter().filter(may).filter_map(|(slot, replica)| {
        let cleanable = replica.log.cleanable(now.wall_ms, replica.last_stable_offset())?;
        replica.log.is_worth_cleaning(&cleanable).then(|| (cleanable.ratio(), slot))
    });
    worth.max_by(|left, right| left.0.total_cmp(&right.0)).map(|(_, slot)| slot)
}

fn begin_round(broker: &mut Broker, now: Now, slot: u32, outbox: &mut Vec<Effect>) {
    let seed = Seed([broker.dice.roll(), broker.dice.roll()]);
    let settings = broker.cleaning.settings;
    let options = RoundOptions {
        map_bytes_max: settings.map_bytes_max,
        map_load_factor: settings.map_load_factor,
        step_bytes: settings.step_bytes,
        seed,
    };
    let Some(replica) = broker.replicas.get(slot) else { return };
    let cleanable = replica.log.cleanable(now.wall_ms, replica.last_stable_offset());
    if let Some(cleanable) = cleanable {
        let round = replica.log.begin_cleaning(now.wall_ms, &cleanable, options);
        begin_step(broker, slot, Box::new(round), now.monotonic_ms, outbox);
    }
}

fn end_round(broker: &mut Broker, now: Now, slot: u32, finished: Finished, outbox: &mut Vec<Effect>) {
    let totals = &mut broker.cleaning.totals;
    totals.rounds += 1;
    totals.bytes_before += finished.bytes_before;
    totals.bytes_after += finished.bytes_after;
    if let Some(replica) = broker.replicas.get_mut(slot) {
        replica.log.set_cleaned_below(Some(finished.clean_below));
        replica.cleaning_failures = 0;
    }
    if let Some(log_dir) = broker.replicas.get(slot).map(Replica::log_dir) {
        write_checkpoint(broker, log_dir, outbox);
    }
    // The next one is looked for at once.
    broker.cleaning.next_look_ms = now.monotonic_ms;
}

fn fail(broker: &mut Broker, now: Now, slot: u32, reason: &CleanError) {
    broker.cleaning.totals.failed_rounds += 1;
    broker.cleaning.next_look_ms = now.monotonic_ms + broker.cleaning.settings.backoff_ms;
    let Some(replica) = broker.replicas.get_mut(slot) else { return };
    replica.cleaning_failures = match reason {
        CleanError::Disk(_) => replica.cleaning_failures.saturating_add(1),
        // Another try would find the same.
        CleanError::Corrupt { .. } | CleanError::MapTooSmall { .. } => FAILURES_MAX,
    };
}

/// Writes how far every log of a log directory was compacted.
pub(crate) fn write_checkpoint(broker: &mut Broker, log_dir: LogDir, outbox: &mut Vec<Effect>) {
    let hosted = broker.replicas.iter().filter(|(_, replica)| !replica.deleted && replica.log_dir() == log_dir);
    let known = hosted.filter_map(|(_, replica)| {
        let offset: Offset = replica.log.cleaned_below()?;
        Some(OffsetCheckpoint { topic: replica.name.to_string(), partition: replica.partition, offset })
    });
    let offsets: Vec<OffsetCheckpoint> = known.collect();
    broker.directory.write_offsets(FilePath::of(log_dir, CLEANER_CHECKPOINT), &offsets, After::Nothing, outbox);
}

/// Whether a log is set aside.
pub(crate) fn is_set_aside(replica: &Replica) -> bool {
    replica.cleaning_failures >= FAILURES_MAX
}
