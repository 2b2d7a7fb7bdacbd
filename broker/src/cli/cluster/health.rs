//! `strandline cluster health`.

use clap::Args;
use serde_json::json;
use strandline_client::{Partition, Topic};

use crate::cli::Failure;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::table;

/// Ailing partitions that are shown; `strandline partition list --unhealthy` shows all.
const SHOWN_MAX: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct HealthArguments {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

/// What a partition lacks; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ailment {
    /// Nobody leads it: it takes and gives nothing.
    Offline,
    /// Some of its replicas are not in sync.
    UnderReplicated,
    /// Another replica than the preferred one leads it, which only concerns balance.
    NotPreferred,
}

impl Ailment {
    pub(crate) fn of(partition: &Partition) -> Option<Self> {
        if partition.leader.is_none() {
            Some(Self::Offline)
        } else if partition.in_sync.len() < partition.replicas.len() {
            Some(Self::UnderReplicated)
        } else if partition.leader != partition.replicas.first().copied() {
            Some(Self::NotPreferred)
        } else {
            None
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::UnderReplicated => "under-replicated",
            Self::NotPreferred => "not led by the preferred replica",
        }
    }
}

impl HealthArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let brokers = admin.describe_cluster().await?.brokers.len();
        let topics = admin.list_topics().await?;
        let partitions = topics.iter().map(|topic| topic.partitions.len()).sum::<usize>();
        let mut ailing: Vec<(Ailment, &Topic, &Partition)> = topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
            .filter_map(|(topic, partition)| Some((Ailment::of(partition)?, topic, partition)))
            .collect();
        ailing.sort_by_key(|(ailment, topic, partition)| (*ailment, topic.name.as_str(), partition.index));
        let count = |wanted: Ailment| ailing.iter().filter(|(ailment, ..)| *ailment == wanted).count();
        let (offline, under, unbalanced) =
            (count(Ailment::Offline), count(Ailment::UnderReplicated), count(Ailment::NotPreferred));
        let moving = admin.reassignments().await.map_or(0, |moving| moving.len());
        match self.shown.format {
            Format::Json => table::print_json(&json!({
                "healthy": offline + under == 0,
                "brokers": brokers,
                "partitions": partitions,
                "offline": offline,
                "under_replicated": under,
                "not_preferred": unbalanced,
                "moving": moving,
                "ailing": ailing.iter().map(|(ailment, topic, partition)| json!({
                    "topic": topic.name, "partition": partition.index, "ailment": ailment.name(),
                })).collect::<Vec<_>>(),
            }))?,
            Format::Table => {
                println!(
                    "{brokers} brokers, {partitions} partitions: {offline} offline, {under} under-replicated, {unbalanced} not led by the preferred replica, {moving} moving"
                );
                let mut rows = table::table(&["topic", "partition", "what"]);
                for (ailment, topic, partition) in ailing.iter().take(SHOWN_MAX) {
                    rows.add_row([topic.name.as_str(), &partition.index.to_string(), ailment.name()]);
                }
                table::print(&rows, "every partition has its leader and all its replicas")?;
                if ailing.len() > SHOWN_MAX {
                    eprintln!("and {} more; `strandline partition list --unhealthy` shows all", ailing.len() - SHOWN_MAX);
                }
            }
        }
        if offline + under > 0 {
            return Err(Failure::Unhealthy { offline, under_replicated: under });
        }
        Ok(())
    }
}
