//! `strandline topic list`.

use clap::Args;
use serde_json::json;
use strandline_client::Topic;

use crate::cli::Failure;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::table;

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Also topics that the cluster keeps for itself
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

impl ListArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let mut topics = admin.list_topics().await?;
        topics.retain(|topic| self.internal || !topic.is_internal);
        match self.shown.format {
            Format::Json => table::print_json(&topics.iter().map(summary).collect())?,
            Format::Table => {
                let mut rows = table::table(&["topic", "partitions", "replicas", "id"]);
                for topic in &topics {
                    let counts = [topic.partitions.len().to_string(), replicas(topic).to_string()];
                    let [partitions, replicas] = counts;
                    rows.add_row([topic.name.clone(), partitions, replicas, topic.id.to_string()]);
                }
                table::print(&rows, "no topics; `strandline topic create NAME` makes one")?;
            }
        }
        Ok(())
    }
}

fn summary(topic: &Topic) -> serde_json::Value {
    json!({
        "topic": topic.name,
        "id": topic.id.to_string(),
        "partitions": topic.partitions.len(),
        "replicas": replicas(topic),
        "internal": topic.is_internal,
    })
}

/// Replicas of the partition that has the most; only while partitions move do they differ.
fn replicas(topic: &Topic) -> usize {
    topic.partitions.iter().map(|partition| partition.replicas.len()).max().unwrap_or(0)
}
