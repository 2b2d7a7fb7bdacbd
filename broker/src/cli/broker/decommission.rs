//! `strandline broker decommission`.

use std::time::Duration;

use clap::Args;
use strandline_client::BrokerId;

use super::drain::drain;
use crate::cli::Failure;
use crate::cli::connect::Cluster;

/// How often the cluster is asked whether the broker is still there.
const ASK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct DecommissionArguments {
    /// The broker's number
    #[arg(value_name = "ID")]
    broker: i32,
    #[command(flatten)]
    cluster: Cluster,
}

impl DecommissionArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let broker = BrokerId(self.broker);
        drain(&admin, broker, false).await?;
        let mut told = false;
        while admin.describe_cluster().await?.brokers.iter().any(|one| one.id == broker) {
            if !told {
                told = true;
                eprintln!("stop broker {broker} now (SIGTERM); waiting until it is gone, Ctrl-C ends the waiting");
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        admin.unregister_broker(broker).await?;
        eprintln!("broker {broker} is no longer part of the cluster");
        Ok(())
    }
}
