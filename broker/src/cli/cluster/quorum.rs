//! `strandline cluster quorum`.

use clap::Args;
use serde_json::json;
use strandline_client::{QuorumDescription, QuorumReplica};

use super::voters::VotersCommand;
use crate::cli::Failure;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::table;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct QuorumArguments {
    #[command(subcommand)]
    change: Option<VotersCommand>,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

impl QuorumArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.change {
            Some(change) => change.run().await,
            None => self.show().await,
        }
    }

    async fn show(self) -> Result<(), Failure> {
        let quorum = self.cluster.connect().await?.admin().describe_quorum().await?;
        let voters = quorum.voters.iter().map(|replica| (role(&quorum, replica), replica));
        let all: Vec<(&str, &QuorumReplica)> =
            voters.chain(quorum.observers.iter().map(|replica| ("observer", replica))).collect();
        let end = quorum.voters.iter().map(|replica| replica.log_end.0).max().unwrap_or_default();
        let lag = |replica: &QuorumReplica| end.saturating_sub(replica.log_end.0).max(0);
        // Times are told against the newest one that the leader knows, whose clock is not ours.
        let newest = all.iter().filter_map(|(_, replica)| replica.last_fetch_ms).max();
        let ago = |time: Option<i64>| newest.zip(time).map(|(newest, time)| (newest - time).max(0));
        match self.shown.format {
            Format::Json => {
                let replica = |(role, replica): &(&str, &QuorumReplica)| {
                    json!({
                        "id": replica.id.0,
                        "directory": replica.directory.map(|directory| directory.to_string()),
                        "role": role,
                        "log_end": replica.log_end.0,
                        "lag": lag(replica),
                        "last_fetch_ms": replica.last_fetch_ms,
                        "last_caught_up_ms": replica.last_caught_up_ms,
                    })
                };
                table::print_json(&json!({
                    "leader": quorum.leader.map(|id| id.0),
                    "leader_epoch": quorum.leader_epoch.0,
                    "high_watermark": quorum.high_watermark.0,
                    "replicas": all.iter().map(replica).collect::<Vec<_>>(),
                }))?;
            }
            Format::Table => {
                let leader = quorum.leader.map_or_else(|| "nobody".to_owned(), |id| format!("node {id}"));
                println!("led by {leader} in epoch {}, committed up to {}", quorum.leader_epoch, quorum.high_watermark);
                let mut rows =
                    table::table(&["node", "directory", "role", "log end", "lag", "fetched ms ago", "caught up ms ago"]);
                let shown = |time: Option<i64>| time.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
                for (role, replica) in &all {
                    rows.add_row([
                        replica.id.to_string(),
                        replica.directory.map_or_else(|| "-".to_owned(), |directory| directory.to_string()),
                        (*role).to_owned(),
                        replica.log_end.to_string(),
                        lag(replica).to_string(),
                        shown(ago(replica.last_fetch_ms)),
                        shown(ago(replica.last_caught_up_ms)),
                    ]);
                }
                table::print(&rows, "no voters")?;
            }
        }
        Ok(())
    }
}

fn role(quorum: &QuorumDescription, replica: &QuorumReplica) -> &'static str {
    if quorum.leader == Some(replica.id) { "leader" } else { "voter" }
}
