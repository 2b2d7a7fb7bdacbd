//! `strandline partition`: leaders and replicas of single partitions.

mod elect;
mod list;
mod moving;

use std::str::FromStr;

use clap::Subcommand;

use crate::cli::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum PartitionCommand {
    /// List partitions with their leader and replicas
    List(list::ListArguments),
    /// Give partitions other replicas or log directories, or cancel a move
    Move(moving::MoveArguments),
    /// Let the preferred replica lead, or elect an unclean leader
    Elect(elect::ElectArguments),
}

impl PartitionCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(arguments) => arguments.run().await,
            Self::Move(arguments) => arguments.run().await,
            Self::Elect(arguments) => arguments.run().await,
        }
    }
}

/// A partition as it is named on the command line: `TOPIC:PARTITION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.rsplit_once(':').and_then(|(topic, partition)| {
            let partition = partition.parse().ok().filter(|partition| *partition >= 0)?;
            (!topic.is_empty()).then(|| Self { topic: topic.to_owned(), partition })
        });
        parsed.ok_or_else(|| "expected TOPIC:PARTITION, as in orders:0".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_by_topic_and_number() {
        assert_eq!("a.b-c:7".parse(), Ok(Named { topic: "a.b-c".to_owned(), partition: 7 }));
        for wrong in ["orders", "orders:", ":1", "orders:-1", "orders:x"] {
            assert!(wrong.parse::<Named>().is_err(), "{wrong}");
        }
    }
}
