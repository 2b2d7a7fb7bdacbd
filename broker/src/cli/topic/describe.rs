//! `strandline topic describe`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};
use strandline_client::{
    Admin, AdminError, BrokerId, ConfigEntry, ConfigResource, ConfigSource, KafkaError, Offset, OffsetSpec, Partition, Topic,
};

use crate::cli::Failure;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::exit::told;
use crate::cli::table;

#[derive(Debug, Args)]
pub(crate) struct DescribeArguments {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Also configuration that nobody has set
    #[arg(long)]
    all_configs: bool,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

/// A topic with all that is shown of it.
struct Described {
    topic: Topic,
    ends: BTreeMap<i32, Ends>,
    configs: Vec<ConfigEntry>,
}

/// Where a partition's log begins and ends; none if its leader cannot say.
#[derive(Clone, Copy, Default)]
struct Ends {
    earliest: Option<Offset>,
    latest: Option<Offset>,
}

impl DescribeArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let all = self.topics.len();
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for (name, topic) in admin.describe_topics(&self.topics).await? {
            match topic {
                Ok(topic) => found.push(self.look_at(&admin, topic).await?),
                Err(error) => failures.push((name, error)),
            }
        }
        match self.shown.format {
            Format::Json => {
                let failed = failures.iter().map(failed_value);
                table::print_json(&found.iter().map(value).chain(failed).collect())?;
            }
            Format::Table => {
                found.iter().try_for_each(print)?;
                if all > 1 {
                    failures.iter().for_each(|(name, error)| eprintln!("{name}: {}", told(error)));
                }
            }
        }
        match (failures.len(), failures.pop()) {
            (_, Some((_, error))) if all == 1 => Err(error.into()),
            (failed, Some(_)) => Err(Failure::Some { failed, all }),
            (_, None) => Ok(()),
        }
    }

    async fn look_at(&self, admin: &Admin, topic: Topic) -> Result<Described, Failure> {
        let led = topic.partitions.iter().filter(|partition| partition.leader.is_some());
        let partitions: Vec<i32> = led.map(|partition| partition.index).collect();
        let mut ends: BTreeMap<i32, Ends> = BTreeMap::new();
        for (partition, found) in admin.list_offsets(&topic.name, &partitions, OffsetSpec::Earliest).await? {
            ends.entry(partition).or_default().earliest = found.ok().and_then(|found| found.offset);
        }
        for (partition, found) in admin.list_offsets(&topic.name, &partitions, OffsetSpec::Latest).await? {
            ends.entry(partition).or_default().latest = found.ok().and_then(|found| found.offset);
        }
        let configs = admin.describe_configs([ConfigResource::Topic(topic.name.clone())]).await?;
        let mut configs = configs.into_iter().filter_map(|(_, entries)| entries.ok()).next().unwrap_or_default();
        configs.retain(|entry| self.all_configs || entry.source == ConfigSource::Topic);
        Ok(Described { topic, ends, configs })
    }
}

fn print(described: &Described) -> io::Result<()> {
    let Described { topic, ends, configs } = described;
    let mut output = io::stdout().lock();
    writeln!(output, "{}  id {}", topic.name, topic.id)?;
    for entry in configs {
        writeln!(output, "  {} = {}", entry.name, entry.value.as_deref().unwrap_or("(hidden)"))?;
    }
    let mut rows = table::table(&["partition", "leader", "epoch", "replicas", "in sync", "earliest", "latest"]);
    for partition in &topic.partitions {
        let ends = ends.get(&partition.index).copied().unwrap_or_default();
        rows.add_row([
            partition.index.to_string(),
            partition.leader.map_or_else(|| "none".to_owned(), |id| id.to_string()),
            partition.leader_epoch.to_string(),
            replicas(partition),
            ids(&partition.in_sync),
            offset(ends.earliest),
            offset(ends.latest),
        ]);
    }
    table::print(&rows, "no partitions")
}

/// The replicas, those that are offline marked.
fn replicas(partition: &Partition) -> String {
    let one = |id: &BrokerId| if partition.offline.contains(id) { format!("{id}!") } else { id.to_string() };
    partition.replicas.iter().map(one).collect::<Vec<_>>().join(",")
}

fn ids(ids: &[BrokerId]) -> String {
    ids.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",")
}

fn offset(offset: Option<Offset>) -> String {
    offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string())
}

fn value(described: &Described) -> Value {
    let Described { topic, ends, configs } = described;
    let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
    let partition = |partition: &Partition| {
        let ends = ends.get(&partition.index).copied().unwrap_or_default();
        json!({
            "partition": partition.index,
            "leader": partition.leader.map(|id| id.0),
            "leader_epoch": partition.leader_epoch.0,
            "replicas": numbers(&partition.replicas),
            "in_sync": numbers(&partition.in_sync),
            "offline": numbers(&partition.offline),
            "earliest": ends.earliest.map(|offset| offset.0),
            "latest": ends.latest.map(|offset| offset.0),
        })
    };
    let config = |entry: &ConfigEntry| (entry.name.clone(), json!(entry.value));
    json!({
        "topic": topic.name,
        "id": topic.id.to_string(),
        "internal": topic.is_internal,
        "configs": configs.iter().map(config).collect::<serde_json::Map<_, _>>(),
        "partitions": topic.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}

fn failed_value((name, error): &(String, AdminError)) -> Value {
    json!({ "topic": name, "error": error.to_string(), "code": error.code().map(|code| code.to_string()) })
}
