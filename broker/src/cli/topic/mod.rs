//! `strandline topic`: create, list, describe, alter, delete.

mod alter;
mod create;
mod delete;
mod describe;
mod list;

use clap::Subcommand;
use serde_json::json;
use strandline_client::{AdminError, KafkaError};

use crate::cli::Failure;
use crate::cli::connect::Format;
use crate::cli::exit::told;
use crate::cli::table;

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create topics
    Create(create::CreateArguments),
    /// List the topics of the cluster
    List(list::ListArguments),
    /// Show partitions, replicas, offsets and configuration of topics
    Describe(describe::DescribeArguments),
    /// Change the configuration of topics, or give them more partitions
    Alter(alter::AlterArguments),
    /// Delete topics with all their records
    Delete(delete::DeleteArguments),
}

impl TopicCommand {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(arguments) => arguments.run().await,
            Self::List(arguments) => arguments.run().await,
            Self::Describe(arguments) => arguments.run().await,
            Self::Alter(arguments) => arguments.run().await,
            Self::Delete(arguments) => arguments.run().await,
        }
    }
}

/// A configuration key and its value, as `key=value`.
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected key=value".to_owned()),
    }
}

/// Shows what became of each topic. Fails if one of them did; a single one is an error of its own.
fn report(results: Vec<(String, Result<&'static str, AdminError>)>, format: Format) -> Result<(), Failure> {
    let all = results.len();
    let failed = results.iter().filter(|(_, result)| result.is_err()).count();
    match format {
        Format::Json => {
            let shown = results.iter().map(|(topic, result)| match result {
                Ok(done) => json!({ "topic": topic, "status": done }),
                Err(error) => json!({ "topic": topic, "status": "failed", "error": error.to_string(), "code": error.code().map(|code| code.to_string()) }),
            });
            table::print_json(&shown.collect())?;
        }
        Format::Table => {
            let mut rows = table::table(&["topic", "status"]);
            for (topic, result) in &results {
                let status = result.as_ref().map_or_else(told, |done| (*done).to_owned());
                rows.add_row([topic.clone(), status]);
            }
            // One failure is told once, as the error of the command.
            if all > 1 || failed == 0 {
                table::print(&rows, "no topics")?;
            }
        }
    }
    match results.into_iter().find_map(|(_, result)| result.err()) {
        Some(error) if all == 1 => Err(error.into()),
        Some(_) => Err(Failure::Some { failed, all }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_the_separator() {
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(key_value("a="), Ok(("a".into(), String::new())));
        assert!(key_value("=a").is_err());
        assert!(key_value("a").is_err());
    }
}
