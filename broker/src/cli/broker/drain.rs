//! `strandline broker drain`.

use clap::Args;
use strandline_client::{Admin, BrokerId};

use super::plan::{Placed, emptied};
use crate::cli::Failure;
use crate::cli::connect::Cluster;
use crate::cli::reassign;

#[derive(Debug, Args)]
pub(crate) struct DrainArguments {
    /// The broker's number
    #[arg(value_name = "ID")]
    broker: i32,
    /// Only say what would be moved
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    cluster: Cluster,
}

impl DrainArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        drain(&admin, BrokerId(self.broker), self.dry_run).await
    }
}

/// Moves every replica of a broker to the others and waits until they have arrived.
pub(super) async fn drain(admin: &Admin, broker: BrokerId, dry_run: bool) -> Result<(), Failure> {
    let brokers = admin.describe_cluster().await?.brokers;
    let topics = admin.list_topics().await?;
    let placed = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| Placed {
            topic: topic.name.clone(),
            partition: partition.index,
            replicas: partition.replicas.clone(),
        })
    });
    let placed: Vec<Placed> = placed.collect();
    let changes = emptied(&placed, &brokers, broker).map_err(|stuck| Failure::NoHeir {
        broker: broker.0,
        topic: stuck.topic,
        partition: stuck.partition,
    })?;
    if dry_run {
        for ((topic, partition), replicas) in &changes {
            let replicas: Vec<String> = replicas.iter().flatten().map(BrokerId::to_string).collect();
            println!("{topic}:{partition} to {}", replicas.join(","));
        }
    }
    eprintln!("broker {broker} keeps {} replicas", changes.len());
    if dry_run || changes.is_empty() {
        return Ok(());
    }
    reassign::begin(admin, &changes).await?;
    reassign::wait(admin, &changes).await?;
    eprintln!("broker {broker} is empty");
    Ok(())
}
