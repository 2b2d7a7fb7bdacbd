//! The client commands of the binary: what a person or a script asks of a cluster, this one or any other that speaks
//! Kafka's protocol, and what they look up in a log directory.
//!
//! Results go to standard output, as tables for people or as JSON for scripts; everything else goes to standard error.
//! A command that fails says what to do next, and ends with a code of the table in `exit.rs`. Only this folder uses the
//! client library.

mod base64;
mod broker;
mod cluster;
mod connect;
mod consume;
mod exit;
mod group;
mod input;
mod keys;
mod log;
mod log_dirs;
mod partition;
mod produce;
mod progress;
mod reassign;
mod render;
mod table;
mod time;
mod topic;
mod txn;

use std::process::ExitCode;

use clap::Subcommand;
use tokio::runtime::Runtime;

pub(crate) use exit::Failure;

/// The client commands.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Create, list, describe, alter and delete topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Produce records from lines of standard input or a file
    Produce(produce::ProduceArguments),
    /// Print the records of a topic
    Consume(consume::ConsumeArguments),
    /// Show the cluster, its health and its quorum
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// List, move and elect single partitions
    #[command(subcommand)]
    Partition(partition::PartitionCommand),
    /// Show log directories, empty brokers and take them out of the cluster
    #[command(subcommand)]
    Broker(broker::BrokerCommand),
    /// Look after consumer groups: members, lag, offsets
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// List, describe and abort transactions
    #[command(subcommand)]
    Txn(txn::TxnCommand),
    /// Look into a log directory
    #[command(subcommand)]
    Log(log::LogCommand),
    /// List the configuration keys of brokers and topics
    Keys(keys::KeysArguments),
}

impl ClientCommand {
    /// Carries the command out, in a runtime of its own.
    pub(crate) fn run(self) -> ExitCode {
        let result = Runtime::new().map_err(Failure::Runtime).and_then(|runtime| runtime.block_on(self.carry_out()));
        exit::code(result)
    }

    async fn carry_out(self) -> Result<(), Failure> {
        match self {
            Self::Topic(command) => command.run().await,
            Self::Produce(arguments) => arguments.run().await,
            Self::Consume(arguments) => arguments.run().await,
            Self::Cluster(command) => command.run().await,
            Self::Partition(command) => command.run().await,
            Self::Broker(command) => command.run().await,
            Self::Group(command) => command.run().await,
            Self::Txn(command) => command.run().await,
            Self::Log(command) => command.run(),
            Self::Keys(arguments) => arguments.run(),
        }
    }
}
