//! `strandline txn describe`.

use clap::Args;
use serde_json::json;
use strandline_client::{AdminError, KafkaError, TransactionDescription};

use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::exit::told;
use crate::cli::{Failure, table, time};

#[derive(Debug, Args)]
pub(crate) struct DescribeArguments {
    /// Transactional ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

impl DescribeArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let described = admin.describe_transactions(&self.ids).await;
        match self.shown.format {
            Format::Json => table::print_json(&described.iter().map(value).collect())?,
            Format::Table => print(&described)?,
        }
        let (all, failed) = (described.len(), described.iter().filter(|(_, result)| result.is_err()).count());
        match described.into_iter().find_map(|(_, result)| result.err()) {
            Some(error) if all == 1 => Err(error.into()),
            Some(_) => Err(Failure::Some { failed, all }),
            None => Ok(()),
        }
    }
}

type Described = (String, Result<TransactionDescription, AdminError>);

fn value((id, result): &Described) -> serde_json::Value {
    match result {
        Ok(found) => json!({
            "transactional_id": id,
            "state": found.state,
            "producer_id": found.producer_id,
            "producer_epoch": found.producer_epoch,
            "coordinator": found.coordinator.0,
            "timeout_ms": found.timeout_ms,
            "started_ms": found.started_ms,
            "partitions": found.partitions.iter().map(|(topic, partition)| json!({ "topic": topic, "partition": partition })).collect::<Vec<_>>(),
        }),
        Err(error) => {
            json!({ "transactional_id": id, "error": error.to_string(), "code": error.code().map(|code| code.to_string()) })
        }
    }
}

fn print(described: &[Described]) -> Result<(), Failure> {
    let header = ["transactional id", "state", "producer", "epoch", "coordinator", "timeout ms", "started", "partitions"];
    let mut rows = table::table(&header);
    for (id, result) in described {
        let row = match result {
            Ok(found) => [
                id.clone(),
                found.state.clone(),
                found.producer_id.to_string(),
                found.producer_epoch.to_string(),
                found.coordinator.to_string(),
                found.timeout_ms.to_string(),
                time::show(found.started_ms.unwrap_or(-1)),
                found.partitions.iter().map(|(topic, partition)| format!("{topic}:{partition}")).collect::<Vec<_>>().join(","),
            ],
            // One failure is told once, as the error of the command.
            Err(_) if described.len() == 1 => continue,
            Err(error) => {
                let mut row = [const { String::new() }; 8];
                (row[0], row[1]) = (id.clone(), told(error));
                row
            }
        };
        rows.add_row(row);
    }
    if described.len() > 1 || rows.row_count() > 0 {
        table::print(&rows, "no such transactions")?;
    }
    Ok(())
}
