//! `strandline partition list`.

use clap::Args;
use serde_json::json;
use strandline_client::{BrokerId, Partition, Topic};

use crate::cli::Failure;
use crate::cli::cluster::Ailment;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::table;

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only these topics; otherwise all of them
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,
    /// Only partitions without a leader, without all their replicas, or not led by the preferred one
    #[arg(long)]
    unhealthy: bool,
    /// Only partitions of which this broker keeps a replica
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

impl ListArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let topics = if self.topics.is_empty() {
            admin.list_topics().await?
        } else {
            let described = admin.describe_topics(&self.topics).await?;
            described.into_iter().map(|(_, topic)| topic).collect::<Result<Vec<_>, _>>()?
        };
        let kept: Vec<(&Topic, &Partition)> = topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
            .filter(|(_, partition)| self.is_wanted(partition))
            .collect();
        match self.shown.format {
            Format::Json => table::print_json(&kept.iter().map(|(topic, partition)| value(topic, partition)).collect())?,
            Format::Table => {
                let mut rows = table::table(&["topic", "partition", "leader", "epoch", "replicas", "in sync", "what"]);
                for (topic, partition) in &kept {
                    rows.add_row([
                        topic.name.clone(),
                        partition.index.to_string(),
                        partition.leader.map_or_else(|| "none".to_owned(), |id| id.to_string()),
                        partition.leader_epoch.to_string(),
                        ids(&partition.replicas),
                        ids(&partition.in_sync),
                        Ailment::of(partition).map_or("", Ailment::name).to_owned(),
                    ]);
                }
                table::print(&rows, "no such partitions")?;
            }
        }
        Ok(())
    }

    fn is_wanted(&self, partition: &Partition) -> bool {
        let on_broker = self.broker.is_none_or(|id| partition.replicas.contains(&BrokerId(id)));
        on_broker && (!self.unhealthy || Ailment::of(partition).is_some())
    }
}

fn ids(ids: &[BrokerId]) -> String {
    ids.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",")
}

fn value(topic: &Topic, partition: &Partition) -> serde_json::Value {
    let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
    json!({
        "topic": topic.name,
        "partition": partition.index,
        "leader": partition.leader.map(|id| id.0),
        "leader_epoch": partition.leader_epoch.0,
        "replicas": numbers(&partition.replicas),
        "in_sync": numbers(&partition.in_sync),
        "offline": numbers(&partition.offline),
        "ailment": Ailment::of(partition).map(Ailment::name),
    })
}
