//! `strandline group delete`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use strandline_client::{Admin, AdminError, ErrorCode, KafkaError, TopicPartition};

use super::Scope;
use crate::cli::Failure;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::exit::told;
use crate::cli::table;

#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// Names of the groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// Delete the groups' offsets of these topics or partitions only, and keep the groups
    #[arg(long, value_name = "TOPIC[:PARTITION]", value_delimiter = ',')]
    topic: Vec<Scope>,
    /// Do not fail if there is no such group
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

/// What became of a group, or of an offset of it.
type Results = Vec<(String, Result<&'static str, AdminError>)>;

impl DeleteArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let results =
            if self.topic.is_empty() { self.delete_groups(&admin).await } else { self.delete_offsets(&admin).await? };
        report(results, self.shown.format)
    }

    async fn delete_groups(&self, admin: &Admin) -> Results {
        let missing = |error: &AdminError| error.code() == Some(ErrorCode::GROUP_ID_NOT_FOUND);
        let deleted = admin.delete_groups(&self.groups).await.into_iter();
        let judged = deleted.map(|(group, result)| match result {
            Err(error) if self.if_exists && missing(&error) => (group, Ok("not there")),
            result => (group, result.map(|()| "deleted")),
        });
        judged.collect()
    }

    async fn delete_offsets(&self, admin: &Admin) -> Result<Results, Failure> {
        let mut results = Vec::new();
        for group in &self.groups {
            let committed: BTreeMap<TopicPartition, _> = admin.group_offsets(group).await?;
            let wanted = committed
                .into_keys()
                .filter(|(topic, partition)| self.topic.iter().any(|scope| scope.holds(topic, *partition)));
            for ((topic, partition), result) in admin.delete_group_offsets(group, wanted).await? {
                results.push((format!("{group} {topic}:{partition}"), result.map(|()| "offset deleted")));
            }
        }
        Ok(results)
    }
}

/// Shows what became of each. Fails if one of them did; a single one is an error of its own.
fn report(results: Results, format: Format) -> Result<(), Failure> {
    let all = results.len();
    let failed = results.iter().filter(|(_, result)| result.is_err()).count();
    match format {
        Format::Json => {
            let shown = results.iter().map(|(name, result)| match result {
                Ok(done) => json!({ "name": name, "status": done }),
                Err(error) => json!({ "name": name, "status": "failed", "error": error.to_string(), "code": error.code().map(|code| code.to_string()) }),
            });
            table::print_json(&shown.collect())?;
        }
        Format::Table => {
            let mut rows = table::table(&["group", "status"]);
            for (name, result) in &results {
                rows.add_row([name.clone(), result.as_ref().map_or_else(told, |done| (*done).to_owned())]);
            }
            // One failure is told once, as the error of the command.
            if all != 1 || failed == 0 {
                table::print(&rows, "nothing to delete")?;
            }
        }
    }
    match results.into_iter().find_map(|(_, result)| result.err()) {
        Some(error) if all == 1 => Err(error.into()),
        Some(_) => Err(Failure::Some { failed, all }),
        None => Ok(()),
    }
}
