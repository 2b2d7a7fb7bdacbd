//! `strandline`: a log broker that speaks Apache Kafka's protocol, in one binary.
//!
//! The rim of the house: everything that waits, reads clocks, opens sockets and files. What is decided is decided in
//! `strandline_node`; start reading at `serve.rs` (a broker's life), `shell.rs` (how the node is stepped), `net/` and
//! `disk/`.

mod cli;
mod clock;
mod dev;
mod disk;
mod exit;
mod format;
mod http;
mod jobs;
mod lag;
mod metrics;
mod net;
mod peers;
mod rim;
mod serve;
mod shell;
mod start;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::cli::ClientCommand;
use crate::dev::DevArgs;
use crate::format::FormatArgs;
use crate::start::settings::ServeArgs;

/// A log broker that speaks Apache Kafka's protocol.
#[derive(Parser)]
#[command(name = "strandline", version, after_help = exit::CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(ServeArgs),
    Dev(DevArgs),
    Format(FormatArgs),
    #[command(flatten)]
    Client(ClientCommand),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Serve(args) => {
            log_to_stderr("info");
            serve::serve(&args).into()
        }
        Command::Format(args) => format::format(&args).into(),
        Command::Dev(args) => dev::dev(&args).into(),
        Command::Client(command) => {
            log_to_stderr("warn");
            command.run()
        }
    }
}

/// Logs go to stderr; `RUST_LOG` says which, otherwise those of at least the level `default`.
fn log_to_stderr(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
