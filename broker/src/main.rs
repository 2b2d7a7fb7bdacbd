//! `strandline`: a log broker that speaks Apache Kafka's protocol, in one binary.
//!
//! The rim of the house: everything that waits, reads clocks, opens sockets and files. What is decided is decided in
//! `strandline_node`; start reading at `serve.rs` (a broker's life), `shell.rs` (how the node is stepped), `net/` and
//! `disk/`.

mod clock;
mod disk;
mod exit;
mod http;
mod jobs;
mod metrics;
mod net;
mod rim;
mod serve;
mod shell;
mod start;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::start::settings::ServeArgs;

/// A log broker that speaks Apache Kafka's protocol.
#[derive(Parser)]
#[command(name = "strandline", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(ServeArgs),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log_to_stderr();
    match arguments.command {
        Command::Serve(args) => serve::serve(&args).into(),
    }
}

/// Logs go to stderr; `RUST_LOG` says which.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
