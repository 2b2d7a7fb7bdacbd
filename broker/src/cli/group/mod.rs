//! `strandline group`: who consumes what, how far behind they are, and where they go on.

mod delete;
mod describe;
mod lag;
mod list;
mod reset;

use std::str::FromStr;

use clap::Subcommand;

use crate::cli::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List the groups of all brokers
    List(list::ListArguments),
    /// Show members, what they are assigned, and their lag in records and in time
    Describe(describe::DescribeArguments),
    /// Move the offsets of a group that has no members; shows what would happen unless --execute is given
    Reset(reset::ResetArguments),
    /// Delete groups that have no members, or a group's offsets of some topics
    Delete(delete::DeleteArguments),
}

impl GroupCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(arguments) => arguments.run().await,
            Self::Describe(arguments) => arguments.run().await,
            Self::Reset(arguments) => arguments.run().await,
            Self::Delete(arguments) => arguments.run().await,
        }
    }
}

/// A topic, or one partition of it, as it is named on the command line: `TOPIC` or `TOPIC:PARTITION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) topic: String,
    /// `None`: all.
    pub(crate) partition: Option<i32>,
}

impl Scope {
    pub(crate) fn holds(&self, topic: &str, partition: i32) -> bool {
        self.topic == topic && self.partition.is_none_or(|only| only == partition)
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected TOPIC or TOPIC:PARTITION, as in orders:0".to_owned();
        let (topic, partition) = match text.rsplit_once(':') {
            Some((topic, number)) => {
                let partition = number.parse().ok().filter(|partition: &i32| *partition >= 0);
                (topic, Some(partition.ok_or_else(wrong)?))
            }
            None => (text, None),
        };
        if topic.is_empty() { Err(wrong()) } else { Ok(Self { topic: topic.to_owned(), partition }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_topic_or_one_of_its_partitions() {
        let all: Scope = "orders".parse().unwrap();
        assert!(all.holds("orders", 7) && !all.holds("others", 7));
        let one: Scope = "orders:7".parse().unwrap();
        assert!(one.holds("orders", 7) && !one.holds("orders", 8));
        for wrong in ["", ":1", "orders:", "orders:-1", "orders:x"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }
}
