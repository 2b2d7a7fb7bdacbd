//! `strandline-sim`: runs seeds until a time is over, and replays one.
//!
//! ```text
//! strandline-sim run [--seconds N] [--seeds N] [--seed S] [--flaw NAME]
//! strandline-sim replay SEED [--flaw NAME] [--quiet]
//! strandline-sim flaws
//! ```
//! Exit code 1 and a command to replay for a violation, 2 for a command line that cannot be read.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
// Only to know when to stop and how fast it was; nothing of it gets into a run.
#[allow(clippy::disallowed_types)]
use std::time::Instant;

use strandline_sim::core::Violation;
use strandline_sim::flaw::{FLAWS, Flaw};
use strandline_sim::invariants::INVARIANTS;
use strandline_sim::run::{Ended, Tally, Trouble, run};
use strandline_sim::trace::Keep;
use strandline_sim::world::{Outcome, Seed};

/// Lines shown before a violation.
const LINES_SHOWN: usize = 40;

#[derive(Debug, Default)]
struct Arguments {
    seconds: Option<u64>,
    seeds: Option<u64>,
    seed: u64,
    flaw: Option<Flaw>,
    quiet: bool,
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
        "flaws" => Ok(show_lists()),
        _ => Err("usage: strandline-sim run|replay|flaws".to_owned()),
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
            "--seed" => arguments.seed = number(value()?)?,
            "--flaw" => {
                let name = value()?;
                arguments.flaw = Some(Flaw::named(name).ok_or_else(|| format!("no flaw is called {name}"))?);
            }
            "--quiet" => arguments.quiet = true,
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
    let over = |tally: &Tally| {
        let time_is_over = arguments.seconds.is_some_and(|seconds| began.elapsed().as_secs() >= seconds);
        time_is_over || arguments.seeds.is_some_and(|seeds| tally.seeds >= seeds)
    };
    while !over(&tally) {
        match run(Seed { number, flaw: arguments.flaw, keep: Keep::Nothing }) {
            Ended::Well(outcome) => tally.add(&outcome),
            Ended::Badly(_, trouble) => {
                println!("{}", tally.speed(began.elapsed().as_secs_f64()));
                return tell(number, arguments.flaw, &trouble);
            }
        }
        number += 1;
    }
    println!("{}\n{tally}", tally.speed(began.elapsed().as_secs_f64()));
    ExitCode::SUCCESS
}

fn tell(number: u64, flaw: Option<Flaw>, trouble: &Trouble) -> ExitCode {
    if let Ended::Badly(outcome, _) = run(Seed { number, flaw, keep: Keep::Last(LINES_SHOWN) }) {
        show(&outcome);
    }
    println!("seed {number}: {}\nreplay: {}", sentence(trouble), command(number, flaw));
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

fn command(number: u64, flaw: Option<Flaw>) -> String {
    let mut command = format!("cargo run --release -p strandline-sim -- replay {number}");
    if let Some(seeded) = flaw.and_then(|flaw| FLAWS.iter().find(|seeded| seeded.flaw == flaw)) {
        let _ = write!(command, " --flaw {}", seeded.name);
    }
    command
}

fn replay(arguments: &Arguments) -> ExitCode {
    let keep = if arguments.quiet { Keep::Nothing } else { Keep::Everything };
    let (outcome, trouble) = match run(Seed { number: arguments.seed, flaw: arguments.flaw, keep }) {
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
    FLAWS.iter().for_each(|seeded| println!("  {:<24} {}", seeded.name, seeded.story));
    println!("invariants:");
    INVARIANTS.iter().for_each(|(_, number, sentence)| println!("  {number:>3} {sentence}"));
    ExitCode::SUCCESS
}
