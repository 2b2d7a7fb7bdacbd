//! `strandline cluster`: the cluster as a whole.

mod health;
mod info;
mod quorum;
mod voters;

use clap::Subcommand;

use crate::cli::Failure;

pub(crate) use health::Ailment;

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the brokers and how many partitions each leads and keeps
    Info(info::InfoArguments),
    /// Say whether every partition has a leader and all its replicas; ends with 1 if not
    Health(health::HealthArguments),
    /// Show the controllers and how far each follows the metadata log, or change who votes
    Quorum(quorum::QuorumArguments),
}

impl ClusterCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Info(arguments) => arguments.run().await,
            Self::Health(arguments) => arguments.run().await,
            Self::Quorum(arguments) => arguments.run().await,
        }
    }
}
