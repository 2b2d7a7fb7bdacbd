//! `strandline broker dirs`.

use clap::Args;
use indicatif::HumanBytes;
use serde_json::{Value, json};
use strandline_client::{AdminError, BrokerId, LogDirectory, PlacedReplica};

use crate::cli::Failure;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::exit::told;
use crate::cli::table;

#[derive(Debug, Args)]
pub(crate) struct DirsArguments {
    /// Only of these brokers; otherwise of all of them
    #[arg(value_name = "ID")]
    brokers: Vec<i32>,
    /// Every replica, instead of how many there are; always so in JSON
    #[arg(long)]
    replicas: bool,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

/// A directory of a broker, or why it is not known.
struct Found {
    broker: BrokerId,
    path: String,
    directory: Result<LogDirectory, AdminError>,
}

impl DirsArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let mut brokers: Vec<BrokerId> = self.brokers.iter().copied().map(BrokerId).collect();
        if brokers.is_empty() {
            brokers = admin.describe_cluster().await?.brokers.iter().map(|broker| broker.id).collect();
        }
        let mut found = Vec::new();
        let mut silent = 0;
        for broker in &brokers {
            match admin.describe_log_dirs(*broker).await {
                Ok(directories) => {
                    found.extend(directories.into_iter().map(|(path, directory)| Found { broker: *broker, path, directory }));
                }
                Err(error) => {
                    silent += 1;
                    eprintln!("broker {broker}: {}", told(&error));
                }
            }
        }
        match self.shown.format {
            Format::Json => table::print_json(&found.iter().map(value).collect())?,
            Format::Table if self.replicas => {
                let mut rows = table::table(&["broker", "directory", "topic", "partition", "size", "lag", "what"]);
                for found in &found {
                    for replica in found.directory.iter().flat_map(|directory| &directory.replicas) {
                        rows.add_row(replica_row(found, replica));
                    }
                }
                table::print(&rows, "no replicas")?;
            }
            Format::Table => {
                let mut rows = table::table(&["broker", "directory", "replicas", "size", "free", "of", "what"]);
                for found in &found {
                    rows.add_row(row(found));
                }
                table::print(&rows, "no log directories")?;
            }
        }
        if silent > 0 { Err(Failure::Some { failed: silent, all: brokers.len() }) } else { Ok(()) }
    }
}

fn row(found: &Found) -> [String; 7] {
    let (broker, path) = (found.broker.to_string(), found.path.clone());
    let none = || "-".to_owned();
    match &found.directory {
        Ok(directory) => {
            let coming = directory.replicas.iter().filter(|replica| replica.is_copy).count();
            let bytes = directory.replicas.iter().map(|replica| replica.bytes).sum();
            let volume = |bytes: Option<u64>| bytes.map_or_else(none, |bytes| HumanBytes(bytes).to_string());
            let what = if coming > 0 { format!("{coming} moving here") } else { String::new() };
            let replicas = (directory.replicas.len() - coming).to_string();
            let (free, of) = (volume(directory.usable_bytes), volume(directory.total_bytes));
            [broker, path, replicas, HumanBytes(bytes).to_string(), free, of, what]
        }
        Err(error) => [broker, path, none(), none(), none(), none(), format!("offline: {error}")],
    }
}

fn replica_row(found: &Found, replica: &PlacedReplica) -> [String; 7] {
    [
        found.broker.to_string(),
        found.path.clone(),
        replica.topic.clone(),
        replica.partition.to_string(),
        HumanBytes(replica.bytes).to_string(),
        replica.lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string()),
        if replica.is_copy { "moving here" } else { "" }.to_owned(),
    ]
}

fn value(found: &Found) -> Value {
    let replica = |replica: &PlacedReplica| {
        json!({
            "topic": replica.topic,
            "partition": replica.partition,
            "bytes": replica.bytes,
            "lag": replica.lag,
            "moving_here": replica.is_copy,
        })
    };
    let known = found.directory.as_ref();
    json!({
        "broker": found.broker.0,
        "directory": found.path,
        "error": known.err().map(ToString::to_string),
        "total_bytes": known.ok().and_then(|directory| directory.total_bytes),
        "usable_bytes": known.ok().and_then(|directory| directory.usable_bytes),
        "replicas": known.map_or_else(|_| Vec::new(), |directory| directory.replicas.iter().map(replica).collect()),
    })
}
