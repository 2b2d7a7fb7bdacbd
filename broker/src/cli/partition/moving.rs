//! `strandline partition move`.

use clap::Args;
use strandline_client::BrokerId;

use super::Named;
use crate::cli::Failure;
use crate::cli::connect::Cluster;
use crate::cli::reassign::{self, Change};

#[derive(Debug, Args)]
pub(crate) struct MoveArguments {
    /// Which partitions
    #[arg(required = true, value_name = "TOPIC:PARTITION")]
    partitions: Vec<Named>,
    /// The brokers that are to keep replicas, the preferred leader first
    #[arg(long, value_name = "ID,ID,...", value_delimiter = ',', required_unless_present = "cancel")]
    to: Vec<i32>,
    /// Take back a move that is under way
    #[arg(long, conflicts_with = "to")]
    cancel: bool,
    /// Answer when the move has begun instead of waiting for its end
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    cluster: Cluster,
}

impl MoveArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let replicas = (!self.cancel).then(|| self.to.iter().copied().map(BrokerId).collect::<Vec<_>>());
        let changes: Vec<Change> =
            self.partitions.into_iter().map(|named| ((named.topic, named.partition), replicas.clone())).collect();
        reassign::begin(&admin, &changes).await?;
        if self.cancel || self.no_wait {
            return Ok(());
        }
        reassign::wait(&admin, &changes).await
    }
}
