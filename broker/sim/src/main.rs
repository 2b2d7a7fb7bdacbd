//! `strandline-sim`: runs seeds until a time is over, and replays one.
//!
//! ```text
//! strandline-sim run [--cluster] [--seconds N] [--seeds N] [--hours H] [--seed S] [--flaw NAME] [--keep-going]
//! strandline-sim replay SEED [--cluster] [--flaw NAME] [--quiet]
//! strandline-sim hunt [--seeds N] [--sample N] [--flaw NAME]
//! strandline-sim flaws
//! ```
//! `run` ends with the first seed that fails, or tells of it and goes on. `hunt` runs every seeded bug of the protocol until a
//! seed catches it, or N seeds did not; with `--sample` only every so many of them, with `--flaw` only one. It needs the feature
//! `flaws`.
//! Exit code 1 and a command to replay for a violation, 2 for a command line that cannot be read.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
// Only to know when to stop and how fast it was; nothing of it gets into a run.
#[allow(clippy::disallowed_types)]
use std::time::Instant;

use strandline_sim::core::{SECOND, Violation};
use strandline_sim::flaw::{self, FLAWS, Flaw, PROTOCOL_FLAWS, Seeded};
use strandline_sim::invariants::INVARIANTS;
use strandline_sim::run::{Ended, Tally, Trouble, run};
use strandline_sim::trace::Keep;
use strandline_sim::world::{Outcome, Seed, Size};

/// Lines shown before a violation.
const LINES_SHOWN: usize = 40;

#[derive(Debug, Default)]
struct Arguments {
    seconds: Option<u64>,
    seeds: Option<u64>,
    seed: u64,
    flaw: Option<Flaw>,
    size: Size,
    sample: Option<u64>,
    hours: Option<u64>,
    quiet: bool,
    keep_going: bool,
}

impl Arguments {
    fn seed(&self, number: u64, keep: Keep) -> Seed {
        Seed { number, size: self.size, flaw: self.flaw, keep }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let result = match command.as_str() {
        "run" => parse(&rest, None).map(|arguments| run_many(&arguments)),
        "replay" => match rest.split_first() {
            Some((seed, rest)) => parse(rest, Some(seed)).map(|arguments| replay(&arguments)),
            None => Err("replay takes a seed".to_owned()),
        },
        "hunt" => parse(&rest, None).and_then(|arguments| hunt(&arguments)),
        "flaws" => Ok(show_lists()),
        _ => Err("usage: strandline-sim run|replay|hunt|flaws".to_owned()),
    };
    result.unwrap_or_else(|message| {
        eprintln!("{message}");
        ExitCode::from(2)
    })
}

fn parse(words: &[String], seed: Option<&str>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    if let Some(seed) = seed {
        arguments.seed = number(seed)?;
    }
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} takes a value"));
        match word.as_str() {
            "--seconds" => arguments.seconds = Some(number(value()?)?),
            "--seeds" => arguments.seeds = Some(number(value()?)?),
            "--hours" => arguments.hours = Some(number(value()?)?),
            "--sample" => arguments.sample = Some(number(value()?)?),
            "--seed" => arguments.seed = number(value()?)?,
            "--flaw" => {
                let name = value()?;
                arguments.flaw = Some(Flaw::named(name).ok_or_else(|| format!("no flaw is called {name}"))?);
            }
            "--cluster" => arguments.size = Size::Cluster,
            "--quiet" => arguments.quiet = true,
            "--keep-going" => arguments.keep_going = true,
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(arguments)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

#[allow(clippy::disallowed_types, clippy::disallowed_methods)]
fn run_many(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let mut tally = Tally::default();
    let mut number = arguments.seed;
    let mut failed = 0;
    let over = |tally: &Tally| {
        let time_is_over = arguments.seconds.is_some_and(|seconds| began.elapsed().as_secs() >= seconds);
        let enough = arguments.hours.is_some_and(|hours| tally.simulated_us >= hours * 3600 * SECOND);
        time_is_over || enough || arguments.seeds.is_some_and(|seeds| tally.seeds >= seeds)
    };
    while !over(&tally) {
        match run(arguments.seed(number, Keep::Nothing)) {
            Ended::Well(outcome) => tally.add(&outcome),
            Ended::Badly(outcome, trouble) if arguments.keep_going => {
                failed += 1;
                println!("seed {number}: {}", sentence(&trouble));
                tally.add(&outcome);
            }
            Ended::Badly(_, trouble) => {
                println!("{}", tally.speed(began.elapsed().as_secs_f64()));
                return tell(number, arguments, &trouble);
            }
        }
        number += 1;
    }
    println!("{}\n{tally}", tally.speed(began.elapsed().as_secs_f64()));
    if failed > 0 {
        println!("{failed} seeds failed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Seeds in which a seeded bug has to be caught.
const HUNT_SEEDS: u64 = 500;
/// So many of a hundred seeded bugs have to be caught.
const CAUGHT_PERCENT: usize = 95;

/// Looks for every seeded bug of the protocol.
fn hunt(arguments: &Arguments) -> Result<ExitCode, String> {
    if PROTOCOL_FLAWS.is_empty() {
        return Err("the protocol's seeded bugs are compiled in with --features flaws".to_owned());
    }
    // Panics are catches here, and told as such.
    std::panic::set_hook(Box::new(|_| {}));
    let seeds = arguments.seeds.unwrap_or(HUNT_SEEDS);
    let every = usize::try_from(arguments.sample.unwrap_or(1).max(1)).unwrap_or(1);
    let (mut caught, mut hunted) = (0, 0);
    let wanted = |seeded: &&Seeded| arguments.flaw.is_none_or(|flaw| flaw == seeded.flaw);
    for seeded in PROTOCOL_FLAWS.iter().step_by(every).filter(wanted) {
        hunted += 1;
        let caught_by = (0..seeds).find_map(|number| {
            match run(Seed { number, size: Size::Cluster, flaw: Some(seeded.flaw), keep: Keep::Nothing }) {
                Ended::Well(_) => None,
                Ended::Badly(_, trouble) => Some((number, trouble)),
            }
        });
        match caught_by {
            Some((number, trouble)) => {
                caught += 1;
                let sentence = sentence(&trouble);
                let first = sentence.lines().next().unwrap_or_default();
                println!("{:<32} caught in {:>3} seeds by {first}", seeded.name, number + 1);
            }
            None => println!("{:<32} NOT CAUGHT in {seeds} seeds", seeded.name),
        }
    }
    println!("{caught} of {hunted} seeded bugs caught");
    Ok(if caught * 100 >= hunted * CAUGHT_PERCENT { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(number: u64, arguments: &Arguments, trouble: &Trouble) -> ExitCode {
    if let Ended::Badly(outcome, _) = run(arguments.seed(number, Keep::Last(LINES_SHOWN))) {
        show(&outcome);
    }
    println!("seed {number}: {}\nreplay: {}", sentence(trouble), command(number, arguments));
    ExitCode::FAILURE
}

fn sentence(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Violation(Violation::Invariant { invariant, story }) => {
            format!("invariant {}: {}\n  {story}", invariant.number(), invariant.sentence())
        }
        Trouble::Violation(Violation::History(anomaly)) => format!("history: {anomaly:?}"),
        Trouble::Panic(text) => format!("panicked: {text}"),
    }
}

fn command(number: u64, arguments: &Arguments) -> String {
    let mut command = format!("cargo run --release -p strandline-sim -- replay {number}");
    if arguments.size == Size::Cluster {
        command.push_str(" --cluster");
    }
    if let Some(seeded) = arguments.flaw.and_then(|flaw| flaw::all().find(|seeded| seeded.flaw == flaw)) {
        let _ = write!(command, " --flaw {}", seeded.name);
    }
    command
}

fn replay(arguments: &Arguments) -> ExitCode {
    let keep = if arguments.quiet { Keep::Nothing } else { Keep::Everything };
    let (outcome, trouble) = match run(arguments.seed(arguments.seed, keep)) {
        Ended::Well(outcome) => (outcome, None),
        Ended::Badly(outcome, trouble) => (outcome, Some(trouble)),
    };
    show(&outcome);
    println!("hash {:016x} over {} events", outcome.trace.hash(), outcome.trace.lines());
    match trouble {
        None => ExitCode::SUCCESS,
        Some(trouble) => {
            println!("{}", sentence(&trouble));
            ExitCode::FAILURE
        }
    }
}

/// Shows the kept part of a trace, as far as somebody reads it.
fn show(outcome: &Outcome) {
    let mut out = std::io::stdout().lock();
    for line in outcome.trace.kept() {
        if writeln!(out, "{line}").is_err() {
            return;
        }
    }
}

fn show_lists() -> ExitCode {
    println!("seeded bugs:");
    FLAWS.iter().chain(PROTOCOL_FLAWS).for_each(|seeded| println!("  {:<24} {}", seeded.name, seeded.story));
    println!("invariants:");
    INVARIANTS.iter().for_each(|(_, number, sentence)| println!("  {number:>3} {sentence}"));
    ExitCode::SUCCESS
}
