//! `strandline keys`: every configuration key that there is, from the tables that configurations are checked with.

use clap::{Args, ValueEnum};
use serde_json::json;
use strandline_node::config::broker::BROKER_KEYS;
use strandline_node::config::row::{Row, Scope};
use strandline_node::config::topic::TOPIC_KEYS;

use crate::cli::Failure;
use crate::cli::connect::{Format, Shown};
use crate::cli::table;

/// Whose keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Of {
    /// Keys of the configuration file and of --set
    Broker,
    /// Keys of `topic create` and `topic alter`
    Topic,
}

#[derive(Debug, Args)]
pub(crate) struct KeysArguments {
    /// Only keys whose name contains this
    #[arg(value_name = "PART")]
    part: Option<String>,
    /// Only keys of brokers or of topics
    #[arg(long)]
    of: Option<Of>,
    #[command(flatten)]
    shown: Shown,
}

impl KeysArguments {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let tables = [(Of::Broker, BROKER_KEYS), (Of::Topic, TOPIC_KEYS)];
        let keys = tables.into_iter().flat_map(|(of, rows)| rows.iter().map(move |row| (of, row)));
        let wanted = keys.filter(|(of, row)| {
            self.of.is_none_or(|wanted| wanted == *of) && self.part.as_deref().is_none_or(|part| row.name.contains(part))
        });
        match self.shown.format {
            Format::Json => table::print_json(&wanted.map(|(of, row)| described(of, row)).collect())?,
            Format::Table => {
                let mut rows = table::table(&["key", "of", "default", "what it does"]);
                for (of, row) in wanted {
                    rows.add_row([row.name, name(of), &default(row), &prose(of, row)]);
                }
                table::print(&rows, "no key has such a name")?;
            }
        }
        Ok(())
    }
}

fn name(of: Of) -> &'static str {
    match of {
        Of::Broker => "broker",
        Of::Topic => "topic",
    }
}

fn default(row: &Row) -> String {
    match row.default {
        Some("") => "(empty)".to_owned(),
        Some(value) => format!("{value} {}", row.unit).trim_end().to_owned(),
        None => "-".to_owned(),
    }
}

fn prose(of: Of, row: &Row) -> String {
    let when = if of == Of::Broker && row.scope == Scope::Start { " Read at start." } else { "" };
    format!("{}{when}", row.prose)
}

fn described(of: Of, row: &Row) -> serde_json::Value {
    json!({
        "key": row.name,
        "of": name(of),
        "default": row.default,
        "unit": row.unit,
        "changes_while_running": row.scope == Scope::Dynamic,
        "broker_key": row.broker_key,
        "description": row.prose,
    })
}
