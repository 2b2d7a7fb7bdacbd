//! `strandline txn list`.

use clap::Args;
use serde_json::json;
use strandline_client::TransactionFilter;

use crate::cli::Failure;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::table;

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only transactions in these states, as in Ongoing or PrepareCommit
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<String>,
    /// Only those of these producers
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    producer_id: Vec<i64>,
    /// Only transactions that began longer ago than so many milliseconds
    #[arg(long, value_name = "MS")]
    running_longer_than_ms: Option<i64>,
    /// Only transactional ids that match this regular expression as a whole
    #[arg(long, value_name = "REGEX")]
    pattern: Option<String>,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

impl ListArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let filter = TransactionFilter {
            states: self.state,
            producer_ids: self.producer_id,
            running_longer_than_ms: self.running_longer_than_ms,
            pattern: self.pattern,
        };
        let listed = admin.list_transactions(&filter).await?;
        match self.shown.format {
            Format::Json => {
                let value = listed.iter().map(|transaction| {
                    json!({
                        "transactional_id": transaction.transactional_id,
                        "state": transaction.state,
                        "producer_id": transaction.producer_id,
                        "coordinator": transaction.coordinator.0,
                    })
                });
                table::print_json(&value.collect())?;
            }
            Format::Table => {
                let mut rows = table::table(&["transactional id", "state", "producer id", "coordinator"]);
                for transaction in &listed {
                    rows.add_row([
                        transaction.transactional_id.clone(),
                        transaction.state.clone(),
                        transaction.producer_id.to_string(),
                        transaction.coordinator.to_string(),
                    ]);
                }
                table::print(&rows, "no such transactions")?;
            }
        }
        Ok(())
    }
}
