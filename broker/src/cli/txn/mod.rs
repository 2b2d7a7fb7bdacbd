//! `strandline txn`: transactions that are open, and how to end those that nobody ends.

mod abort;
mod describe;
mod list;

use clap::Subcommand;

use crate::cli::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum TxnCommand {
    /// List transactional ids with the state of their transactions
    List(list::ListArguments),
    /// Show the producer, the times and the partitions of transactional ids
    Describe(describe::DescribeArguments),
    /// Abort what is open under transactional ids, or what a producer left open in a partition
    Abort(abort::AbortArguments),
}

impl TxnCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(arguments) => arguments.run().await,
            Self::Describe(arguments) => arguments.run().await,
            Self::Abort(arguments) => arguments.run().await,
        }
    }
}
