//! `strandline cluster info`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use strandline_client::{BrokerDescription, BrokerId, Topic};

use crate::cli::Failure;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::table;

#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

/// Partitions of one broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    leads: usize,
    keeps: usize,
}

impl InfoArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let cluster = admin.describe_cluster().await?;
        let load = load(&admin.list_topics().await?);
        let of = |broker: &BrokerDescription| load.get(&broker.id).copied().unwrap_or_default();
        match self.shown.format {
            Format::Json => {
                let broker = |broker: &BrokerDescription| {
                    json!({
                        "id": broker.id.0,
                        "address": broker.address.to_string(),
                        "rack": broker.rack,
                        "leads": of(broker).leads,
                        "keeps": of(broker).keeps,
                    })
                };
                table::print_json(&json!({
                    "cluster_id": cluster.cluster_id,
                    "controller": cluster.controller.map(|id| id.0),
                    "brokers": cluster.brokers.iter().map(broker).collect::<Vec<_>>(),
                }))?;
            }
            Format::Table => {
                println!("cluster {}", cluster.cluster_id.as_deref().unwrap_or("without an id"));
                let mut rows = table::table(&["broker", "address", "rack", "leads", "keeps"]);
                for broker in &cluster.brokers {
                    let Load { leads, keeps } = of(broker);
                    rows.add_row([
                        broker.id.to_string(),
                        broker.address.to_string(),
                        broker.rack.clone().unwrap_or_else(|| "-".to_owned()),
                        leads.to_string(),
                        keeps.to_string(),
                    ]);
                }
                table::print(&rows, "no brokers")?;
            }
        }
        Ok(())
    }
}

fn load(topics: &[Topic]) -> BTreeMap<BrokerId, Load> {
    let mut load: BTreeMap<BrokerId, Load> = BTreeMap::new();
    for partition in topics.iter().flat_map(|topic| &topic.partitions) {
        for replica in &partition.replicas {
            load.entry(*replica).or_default().keeps += 1;
        }
        if let Some(leader) = partition.leader {
            load.entry(leader).or_default().leads += 1;
        }
    }
    load
}
