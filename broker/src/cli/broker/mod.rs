//! `strandline broker`: what lies in brokers' log directories; brokers emptied and taken out of the cluster.

mod decommission;
mod dirs;
mod drain;
mod plan;

use clap::Subcommand;

use crate::cli::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum BrokerCommand {
    /// List log directories, and what lies in them
    Dirs(dirs::DirsArguments),
    /// Move every replica of a broker to the others
    Drain(drain::DrainArguments),
    /// Drain a broker, wait until it is stopped, and take it out of the cluster
    Decommission(decommission::DecommissionArguments),
}

impl BrokerCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Dirs(arguments) => arguments.run().await,
            Self::Drain(arguments) => arguments.run().await,
            Self::Decommission(arguments) => arguments.run().await,
        }
    }
}
