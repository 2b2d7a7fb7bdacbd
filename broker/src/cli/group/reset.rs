//! `strandline group reset`: where a group goes on. Nothing is changed without `--execute`.

use std::collections::{BTreeMap, BTreeSet};

use clap::{ArgGroup, Args};
use serde_json::json;
use strandline_client::{Admin, AdminError, CommittedOffset, ErrorCode, KafkaError, Offset, OffsetSpec, Start, TopicPartition};

use super::Scope;
use super::lag::ends;
use crate::cli::Failure;
use crate::cli::connect::{Cluster, Format, Shown};
use crate::cli::exit::told;
use crate::cli::{consume, table, time};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("place").required(true))]
pub(crate) struct ResetArguments {
    /// The group; one that does not exist is made
    group: String,
    /// Go on here: beginning, end, an offset, a time such as 2026-11-21T07:00:00Z, or @ and milliseconds since 1970
    #[arg(long, value_name = "PLACE", group = "place", value_parser = consume::place)]
    to: Option<Start>,
    /// Go on so many records further, or before the committed offset if the number is negative
    #[arg(long, value_name = "RECORDS", group = "place", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// Go on with what is not older than this, such as 90s, 15m, 6h, 2d or PT1H30M
    #[arg(long, value_name = "DURATION", group = "place", value_parser = time::parse_duration)]
    by_duration: Option<i64>,
    /// Only these topics or partitions; default all for which the group has committed something
    #[arg(long, value_name = "TOPIC[:PARTITION]", value_delimiter = ',')]
    topic: Vec<Scope>,
    /// Do it; without this the change is only shown
    #[arg(long)]
    execute: bool,
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    shown: Shown,
}

/// What is to become of one partition.
struct Change {
    partition: TopicPartition,
    before: Option<Offset>,
    after: Offset,
}

impl ResetArguments {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let admin = self.cluster.connect().await?.admin();
        refuse_living(&admin, &self.group).await?;
        let committed = admin.group_offsets(&self.group).await?;
        let partitions = self.partitions(&admin, &committed).await?;
        let changes = self.changes(&admin, &committed, &partitions).await?;
        if changes.is_empty() {
            return Err(Failure::NothingToReset { group: self.group });
        }
        let mut failures: BTreeMap<TopicPartition, AdminError> = BTreeMap::new();
        if self.execute {
            let offsets = changes.iter().map(|change| (change.partition.clone(), CommittedOffset::at(change.after)));
            let answers = admin.alter_group_offsets(&self.group, offsets).await?;
            failures.extend(answers.into_iter().filter_map(|(partition, answer)| Some((partition, answer.err()?))));
        }
        self.show(&changes, &failures)?;
        if failures.is_empty() { Ok(()) } else { Err(Failure::Some { failed: failures.len(), all: changes.len() }) }
    }

    /// The partitions that are meant.
    async fn partitions(
        &self,
        admin: &Admin,
        committed: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<BTreeSet<TopicPartition>, Failure> {
        if self.topic.is_empty() {
            return Ok(committed.keys().cloned().collect());
        }
        let names: BTreeSet<&str> = self.topic.iter().map(|scope| scope.topic.as_str()).collect();
        let mut partitions = BTreeSet::new();
        for (name, topic) in admin.describe_topics(names).await? {
            let all = topic?.partitions.into_iter().map(|partition| (name.clone(), partition.index));
            let meant = |(topic, partition): &TopicPartition| self.topic.iter().any(|scope| scope.holds(topic, *partition));
            partitions.extend(all.filter(meant));
        }
        Ok(partitions)
    }

    /// Where each partition goes on, within what its log has.
    async fn changes(
        &self,
        admin: &Admin,
        committed: &BTreeMap<TopicPartition, CommittedOffset>,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<Vec<Change>, Failure> {
        let first = ends(admin, partitions, OffsetSpec::Earliest).await?;
        let last = ends(admin, partitions, OffsetSpec::Latest).await?;
        let timestamp = match (self.to, self.by_duration) {
            (Some(Start::Timestamp(timestamp)), _) => Some(timestamp),
            (_, Some(millis)) => Some(time::now_ms() - millis),
            _ => None,
        };
        let by_time = match timestamp {
            Some(timestamp) => ends(admin, partitions, OffsetSpec::Timestamp(timestamp)).await?,
            None => BTreeMap::new(),
        };
        let mut changes = Vec::new();
        for partition in partitions {
            let (Some(first), Some(last)) = (first.get(partition), last.get(partition)) else { continue };
            let before = committed.get(partition).map(|committed| committed.offset);
            let wanted = match (self.to, self.shift_by) {
                (Some(Start::Beginning), _) => Some(*first),
                (Some(Start::End), _) => Some(*last),
                (Some(Start::Offset(offset)), _) => Some(offset),
                (_, Some(shift)) => before.map(|before| before.plus(shift).unwrap_or(Offset::MAX)),
                _ => Some(by_time.get(partition).copied().unwrap_or(*last)),
            };
            if let Some(wanted) = wanted {
                changes.push(Change { partition: partition.clone(), before, after: wanted.clamp(*first, *last) });
            }
        }
        Ok(changes)
    }

    fn show(&self, changes: &[Change], failures: &BTreeMap<TopicPartition, AdminError>) -> Result<(), Failure> {
        let status = |change: &Change| match failures.get(&change.partition) {
            Some(error) => told(error),
            None if self.execute => "done".to_owned(),
            None => "preview".to_owned(),
        };
        match self.shown.format {
            Format::Json => {
                let shown = changes.iter().map(|change| {
                    json!({
                        "topic": change.partition.0,
                        "partition": change.partition.1,
                        "before": change.before.map(|offset| offset.0),
                        "after": change.after.0,
                        "status": status(change),
                    })
                });
                table::print_json(&shown.collect())?;
            }
            Format::Table => {
                let mut rows = table::table(&["topic", "partition", "before", "after", "change", "status"]);
                for change in changes {
                    rows.add_row([
                        change.partition.0.clone(),
                        change.partition.1.to_string(),
                        change.before.map_or_else(|| "-".to_owned(), |offset| offset.to_string()),
                        change.after.to_string(),
                        change
                            .before
                            .map_or_else(|| "-".to_owned(), |before| format!("{:+}", change.after.distance_from(before))),
                        status(change),
                    ]);
                }
                table::print(&rows, "nothing to reset")?;
                if !self.execute {
                    eprintln!("nothing was changed; add --execute to do it");
                }
            }
        }
        Ok(())
    }
}

/// Members would go on where they are, and commit that over it.
async fn refuse_living(admin: &Admin, group: &str) -> Result<(), Failure> {
    match admin.describe_groups([group]).await.into_iter().next() {
        Some((_, Ok(described))) if !described.members.is_empty() => {
            Err(Failure::GroupInUse { group: group.to_owned(), members: described.members.len() })
        }
        Some((_, Err(error))) if error.code() != Some(ErrorCode::GROUP_ID_NOT_FOUND) => Err(error.into()),
        _ => Ok(()),
    }
}
