//! `strandline group list`.

use clap::Args;
use serde_json::json;
use strandline_client::GroupListing;

use crate::cli::Failure;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::table;

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only groups in these states, such as stable or empty
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<String>,
    /// Only groups of these types: classic, consumer, share
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<String>,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

impl ListArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut groups = self.cluster.connect().await?.admin().list_groups().await?;
        groups.retain(|group| is_one_of(&self.state, &group.state) && is_one_of(&self.types, &group.group_type));
        match self.shown.format {
            Format::Json => table::print_json(&groups.iter().map(value).collect())?,
            Format::Table => {
                let mut rows = table::table(&["group", "type", "protocol", "state", "coordinator"]);
                for group in groups {
                    let coordinator = group.coordinator.to_string();
                    rows.add_row([
                        group.group,
                        or_dash(group.group_type),
                        or_dash(group.protocol_type),
                        or_dash(group.state),
                        coordinator,
                    ]);
                }
                table::print(&rows, "no groups")?;
            }
        }
        Ok(())
    }
}

/// Whether a word is wanted; all are if none is named.
fn is_one_of(wanted: &[String], word: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|one| one.eq_ignore_ascii_case(word))
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

fn value(group: &GroupListing) -> serde_json::Value {
    json!({
        "group": group.group,
        "type": group.group_type,
        "protocol": group.protocol_type,
        "state": group.state,
        "coordinator": group.coordinator.0,
    })
}
