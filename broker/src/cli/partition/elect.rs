//! `strandline partition elect`.

use clap::Args;
use serde_json::json;
use strandline_client::{AdminError, Election, ErrorCode, KafkaError};

use super::Named;
use crate::cli::Failure;
use crate::cli::cluster::Ailment;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::exit::told;
use crate::cli::table;

#[derive(Debug, Args)]
pub(crate) struct ElectArguments {
    /// Which partitions; without any, all that are not led by their preferred replica
    #[arg(value_name = "TOPIC:PARTITION")]
    partitions: Vec<Named>,
    /// Elect any replica where none that is in sync is left: ACKNOWLEDGED RECORDS MAY BE LOST
    #[arg(long, requires = "partitions")]
    unclean: bool,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

impl ElectArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let mut wanted: Vec<(String, i32)> = self.partitions.into_iter().map(|named| (named.topic, named.partition)).collect();
        if wanted.is_empty() {
            for topic in admin.list_topics().await? {
                let astray = topic.partitions.iter().filter(|one| Ailment::of(one) == Some(Ailment::NotPreferred));
                wanted.extend(astray.map(|partition| (topic.name.clone(), partition.index)));
            }
        }
        let election = if self.unclean { Election::Unclean } else { Election::Preferred };
        let results = if wanted.is_empty() { Vec::new() } else { admin.elect_leaders(election, wanted).await? };
        let all = results.len();
        let failed = results.iter().filter(|(_, result)| outcome(result).is_err()).count();
        match self.shown.format {
            Format::Json => table::print_json(
                &results
                    .iter()
                    .map(|((topic, partition), result)| match outcome(result) {
                        Ok(status) => json!({ "topic": topic, "partition": partition, "status": status }),
                        Err(error) => {
                            json!({ "topic": topic, "partition": partition, "status": "failed", "error": error.to_string() })
                        }
                    })
                    .collect(),
            )?,
            Format::Table => {
                let mut rows = table::table(&["topic", "partition", "status"]);
                for ((topic, partition), result) in &results {
                    let status = outcome(result).map_or_else(told, str::to_owned);
                    rows.add_row([topic.clone(), partition.to_string(), status]);
                }
                table::print(&rows, "every partition is led by its preferred replica")?;
            }
        }
        if failed > 0 { Err(Failure::Some { failed, all }) } else { Ok(()) }
    }
}

/// That a partition has the desired leader already is no failure.
fn outcome(result: &Result<(), AdminError>) -> Result<&'static str, &AdminError> {
    match result {
        Ok(()) => Ok("elected"),
        Err(error) if error.code() == Some(ErrorCode::ELECTION_NOT_NEEDED) => Ok("not needed"),
        Err(error) => Err(error),
    }
}
