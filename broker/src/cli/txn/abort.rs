//! `strandline txn abort`.

use clap::Args;
use strandline_client::Admin;

use crate::cli::Failure;
use crate::cli::connect::Cluster;
use crate::cli::exit::told;
use crate::cli::partition::Named;

#[derive(Debug, Args)]
pub(crate) struct AbortArguments {
    /// Transactional ids: what is open under them is aborted, and whoever produces under them is fenced
    #[arg(value_name = "ID", required_unless_present = "hanging_in")]
    ids: Vec<String>,
    /// Instead: end a producer's transaction in this partition, although no coordinator knows of it
    #[arg(long, value_name = "TOPIC:PARTITION", requires = "producer_id", conflicts_with = "ids")]
    hanging_in: Option<Named>,
    /// The producer whose transaction hangs
    #[arg(long, value_name = "ID", requires = "hanging_in")]
    producer_id: Option<i64>,
    #[command(flatten)]
    cluster: Cluster,
}

impl AbortArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        if let (Some(place), Some(producer)) = (&self.hanging_in, self.producer_id) {
            return abort_hanging(&admin, place, producer).await;
        }
        let fenced = admin.fence_producers(&self.ids).await;
        let (all, failed) = (fenced.len(), fenced.iter().filter(|(_, result)| result.is_err()).count());
        for (id, result) in fenced {
            match result {
                Ok(()) => eprintln!("nothing is open under {id}"),
                Err(error) if all == 1 => return Err(error.into()),
                Err(error) => eprintln!("{id}: {}", told(&error)),
            }
        }
        if failed > 0 { Err(Failure::Some { failed, all }) } else { Ok(()) }
    }
}

async fn abort_hanging(admin: &Admin, place: &Named, producer: i64) -> Result<(), Failure> {
    let known = admin.describe_producers(&place.topic, place.partition).await?;
    let open = known.into_iter().find(|known| known.producer_id == producer && known.transaction_start.is_some());
    let Some(open) = open else {
        return Err(Failure::NothingOpen { producer, topic: place.topic.clone(), partition: place.partition });
    };
    admin.abort_hanging(&place.topic, place.partition, &open).await?;
    eprintln!("the transaction of producer {producer} in {}:{} is aborted", place.topic, place.partition);
    Ok(())
}
