//! `strandline topic alter`.

use clap::Args;
use strandline_client::{Admin, AdminError, Change, ConfigResource};

use super::{key_value, report};
use crate::cli::Failure;
use crate::cli::connect::{Cluster, Shown};

#[derive(Debug, Args)]
#[group(id = "changes", required = true, multiple = true, args = ["set", "unset", "partitions"])]
pub(crate) struct AlterArguments {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Set a configuration, may be given several times
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Put a configuration back to its default, may be given several times
    #[arg(short, long, value_name = "KEY")]
    unset: Vec<String>,
    /// How many partitions the topics are to have; records with a key go elsewhere from then on
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

impl AlterArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let mut results: Vec<(String, Result<(), AdminError>)> =
            self.topics.iter().map(|topic| (topic.clone(), Ok(()))).collect();
        let changes = self.changes();
        if !changes.is_empty() {
            self.configure(&admin, changes, &mut results).await?;
        }
        if let Some(partitions) = self.partitions {
            // A topic whose configuration was refused keeps its partitions.
            let left: Vec<(String, i32)> =
                results.iter().filter(|(_, result)| result.is_ok()).map(|(topic, _)| (topic.clone(), partitions)).collect();
            merge(&mut results, admin.create_partitions(left).await?);
        }
        report(results.into_iter().map(|(topic, result)| (topic, result.map(|()| "altered"))).collect(), self.shown.format)
    }

    fn changes(&self) -> Vec<(String, Change)> {
        let set = self.set.iter().map(|(key, value)| (key.clone(), Change::Set(value.clone())));
        set.chain(self.unset.iter().map(|key| (key.clone(), Change::Delete))).collect()
    }

    async fn configure(
        &self,
        admin: &Admin,
        changes: Vec<(String, Change)>,
        results: &mut [(String, Result<(), AdminError>)],
    ) -> Result<(), Failure> {
        let asked = self.topics.iter().map(|topic| (ConfigResource::Topic(topic.clone()), changes.clone()));
        let answers = admin.alter_configs(asked.collect::<Vec<_>>()).await?.into_iter().filter_map(|(resource, result)| {
            let ConfigResource::Topic(topic) = resource else { return None };
            Some((topic, result))
        });
        merge(results, answers.collect());
        Ok(())
    }
}

/// Keeps the failures of a step.
fn merge(results: &mut [(String, Result<(), AdminError>)], step: Vec<(String, Result<(), AdminError>)>) {
    for (topic, result) in step {
        if let Some((_, kept)) = results.iter_mut().find(|(other, _)| *other == topic)
            && kept.is_ok()
        {
            *kept = result;
        }
    }
}
