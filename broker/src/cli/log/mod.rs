//! `strandline log`: what lies in a log directory, a cluster running or not.

mod dump;
mod rows;

use clap::Subcommand;

use crate::cli::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Show what files of a log directory hold: segments, indexes, snapshots, checkpoints, meta.properties and the rest
    Dump(dump::DumpArguments),
}

impl LogCommand {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Dump(arguments) => arguments.run(),
        }
    }
}
