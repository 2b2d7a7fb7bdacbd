//! `strandline-bench`: load for any cluster that speaks Kafka's protocol, and what came of it.
//!
//! Requests are made of batches that were built before the clock runs, so the generator costs little of the machine that
//! it may share with the broker. Not here: how Strandline compares with others; see `README.md` for how to read figures.

mod batch;
mod consume;
mod cpu;
mod failure;
mod latency;
mod measure;
mod produce;
mod rebalance;
mod report;
mod settings;
mod topic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::failure::Failure;
use crate::report::Report;

/// Load for any cluster that speaks Kafka's protocol
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    load: Load,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// As much as the cluster takes: every connection keeps a number of requests in flight
    Produce(produce::ProduceArguments),
    /// As much as the cluster gives: every connection fetches from the beginning to the end, over and over
    Consume(consume::ConsumeArguments),
    /// Produce at a given rate and measure how long each request takes from when it was due (open loop)
    Latency(latency::LatencyArguments),
    /// Many members of a group join at once, then some are restarted one after the other: time to stable, records held up
    Rebalance(rebalance::RebalanceArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = Runtime::new().map_err(Failure::Runtime).and_then(|runtime| runtime.block_on(run(arguments.load)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.code()
        }
    }
}

async fn run(load: Load) -> Result<(), Failure> {
    let (report, format): (Report, _) = match load {
        Load::Produce(arguments) => (arguments.run().await?, arguments.common.format),
        Load::Consume(arguments) => (arguments.run().await?, arguments.common.format),
        Load::Latency(arguments) => (arguments.run().await?, arguments.common.format),
        Load::Rebalance(arguments) => return arguments.run().await,
    };
    report.print(format)?;
    Ok(())
}
