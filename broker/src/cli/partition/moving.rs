//! `strandline partition move`.

use clap::Args;
use strandline_client::BrokerId;

use super::Named;
use crate::cli::Failure;
use crate::cli::connect::Cluster;
use crate::cli::log_dirs;
use crate::cli::reassign::{self, Change};

#[derive(Debug, Args)]
pub(crate) struct MoveArguments {
    /// Which partitions
    #[arg(required = true, value_name = "TOPIC:PARTITION")]
    partitions: Vec<Named>,
    /// The brokers that are to keep replicas, the preferred leader first
    #[arg(long, value_name = "ID,ID,...", value_delimiter = ',', required_unless_present_any = ["cancel", "dir"])]
    to: Vec<i32>,
    /// The log directory that the replica on --broker is to lie in, as that broker names it
    #[arg(long, value_name = "PATH", requires = "broker", conflicts_with = "to")]
    dir: Option<String>,
    /// Whose replica --dir moves from one log directory to another, or --cancel leaves where it lies
    #[arg(long, value_name = "ID", conflicts_with = "to")]
    broker: Option<i32>,
    /// Take back a move that is under way
    #[arg(long, conflicts_with_all = ["to", "dir"])]
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
        let partitions: Vec<(String, i32)> = self.partitions.into_iter().map(|named| (named.topic, named.partition)).collect();
        match (self.broker.map(BrokerId), self.dir) {
            (Some(broker), Some(path)) => {
                log_dirs::begin(&admin, broker, &path, &partitions).await?;
                if self.no_wait { Ok(()) } else { log_dirs::wait(&admin, broker, &path, &partitions).await }
            }
            (Some(broker), None) => log_dirs::cancel(&admin, broker, &partitions).await,
            _ => {
                let replicas = (!self.cancel).then(|| self.to.iter().copied().map(BrokerId).collect::<Vec<_>>());
                let changes: Vec<Change> = partitions.into_iter().map(|key| (key, replicas.clone())).collect();
                reassign::begin(&admin, &changes).await?;
                if self.cancel || self.no_wait { Ok(()) } else { reassign::wait(&admin, &changes).await }
            }
        }
    }
}
