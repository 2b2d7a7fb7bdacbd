//! `strandline group describe`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};
use strandline_client::{Admin, AdminError, GroupDescription, GroupMember, KafkaError, TopicPartition};

use super::lag::{Standing, show_millis, standings};
use crate::cli::Failure;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::exit::told;
use crate::cli::table;

#[derive(Debug, Args)]
pub(crate) struct DescribeArguments {
    /// Names of the groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

/// A group with all that is shown of it.
struct Described {
    group: GroupDescription,
    standings: BTreeMap<TopicPartition, Standing>,
}

impl DescribeArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        let all = self.groups.len();
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for name in self.groups {
            match describe(&admin, &name).await {
                Ok(described) => found.push(described),
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
}

async fn describe(admin: &Admin, name: &str) -> Result<Described, AdminError> {
    let described = admin.describe_groups([name]).await.into_iter().next();
    let (_, group) = described.ok_or(AdminError::Unanswered)?;
    let group = group?;
    let standings = standings(admin, name, Some(&group)).await?;
    Ok(Described { group, standings })
}

impl Described {
    fn lag_records(&self) -> i64 {
        self.standings.values().filter_map(|standing| standing.records).sum()
    }

    fn lag_millis(&self) -> Option<i64> {
        self.standings.values().filter_map(|standing| standing.millis).max()
    }
}

fn print(described: &Described) -> io::Result<()> {
    let group = &described.group;
    let mut output = io::stdout().lock();
    let lag = described.lag_millis().map_or_else(String::new, |millis| format!(", {} behind", show_millis(millis)));
    writeln!(
        output,
        "{}  {}, {}, coordinator {}, assignor {}, {} members, lag {} records{lag}",
        group.group,
        group.group_type,
        group.state,
        group.coordinator,
        if group.assignor.is_empty() { "-" } else { &group.assignor },
        group.members.len(),
        described.lag_records(),
    )?;
    drop(output);
    let mut rows = table::table(&["topic", "partition", "committed", "end", "lag", "behind", "member", "client", "host"]);
    let owners = group.owners();
    for (partition, standing) in &described.standings {
        let owner = owners.get(partition);
        rows.add_row([
            partition.0.clone(),
            partition.1.to_string(),
            or_dash(standing.committed.as_ref().map(|committed| committed.offset)),
            or_dash(standing.end),
            or_dash(standing.records),
            or_dash(standing.millis.map(show_millis)),
            or_dash(owner.map(|member| &member.member_id)),
            or_dash(owner.map(|member| &member.client_id)),
            or_dash(owner.map(|member| &member.host)),
        ]);
    }
    table::print(&rows, "no offsets, and nothing is assigned")?;
    let mut rows = table::table(&["member", "instance", "client", "host", "epoch", "topics", "partitions", "to come"]);
    for member in &group.members {
        rows.add_row([
            member.member_id.clone(),
            or_dash(member.instance_id.as_ref()),
            member.client_id.clone(),
            member.host.clone(),
            or_dash(member.epoch),
            subscription(member),
            member.assigned.len().to_string(),
            member.target.difference(&member.assigned).count().to_string(),
        ]);
    }
    table::print(&rows, "no members")
}

fn subscription(member: &GroupMember) -> String {
    let topics = member.topics.iter().cloned().chain(member.topic_regex.iter().map(|regex| format!("/{regex}/")));
    topics.collect::<Vec<_>>().join(",")
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn value(described: &Described) -> Value {
    let group = &described.group;
    let owners = group.owners();
    let partition = |(partition, standing): (&TopicPartition, &Standing)| {
        json!({
            "topic": partition.0,
            "partition": partition.1,
            "committed": standing.committed.as_ref().map(|committed| committed.offset.0),
            "metadata": standing.committed.as_ref().map(|committed| &committed.metadata),
            "end": standing.end.map(|end| end.0),
            "lag": standing.records,
            "lag_ms": standing.millis,
            "member": owners.get(partition).map(|member| &member.member_id),
        })
    };
    let named = |partitions: &std::collections::BTreeSet<TopicPartition>| {
        let one = |(topic, partition): &TopicPartition| json!({ "topic": topic, "partition": partition });
        partitions.iter().map(one).collect::<Vec<_>>()
    };
    let member = |member: &GroupMember| {
        json!({
            "member": member.member_id,
            "instance": member.instance_id,
            "client": member.client_id,
            "host": member.host,
            "rack": member.rack,
            "epoch": member.epoch,
            "topics": member.topics,
            "topic_regex": member.topic_regex,
            "assigned": named(&member.assigned),
            "target": named(&member.target),
        })
    };
    json!({
        "group": group.group,
        "type": group.group_type,
        "protocol": group.protocol_type,
        "state": group.state,
        "coordinator": group.coordinator.0,
        "assignor": group.assignor,
        "epoch": group.epoch,
        "lag": described.lag_records(),
        "lag_ms": described.lag_millis(),
        "partitions": described.standings.iter().map(partition).collect::<Vec<_>>(),
        "members": group.members.iter().map(member).collect::<Vec<_>>(),
    })
}

fn failed_value((name, error): &(String, AdminError)) -> Value {
    json!({ "group": name, "error": error.to_string(), "code": error.code().map(|code| code.to_string()) })
}
