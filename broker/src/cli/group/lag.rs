//! How far a group is behind, in records and in time.
//!
//! Lag in records is the end of the log less the committed offset; what is not there any more, or never was a record, is
//! counted too. Lag in time is the age of the first record that the group has not committed, by the record's own timestamp:
//! that record is fetched. Nothing is behind by 0 records that is behind in time.

use std::collections::{BTreeMap, BTreeSet};

use strandline_client::{Admin, AdminError, CommittedOffset, GroupDescription, Offset, OffsetSpec, TopicPartition};

use crate::cli::time;

/// How one partition stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) committed: Option<CommittedOffset>,
    pub(super) end: Option<Offset>,
    pub(super) records: Option<i64>,
    pub(super) millis: Option<i64>,
}

/// Every partition that the group has committed something for, or that a member has.
pub(super) async fn standings(
    admin: &Admin,
    group: &str,
    described: Option<&GroupDescription>,
) -> Result<BTreeMap<TopicPartition, Standing>, AdminError> {
    let mut committed = admin.group_offsets(group).await?;
    let mut partitions: BTreeSet<TopicPartition> = committed.keys().cloned().collect();
    partitions.extend(described.into_iter().flat_map(GroupDescription::owners).map(|(partition, _)| partition.clone()));
    let ends = ends(admin, &partitions, OffsetSpec::Latest).await?;
    let mut behind = Vec::new();
    let mut standings = BTreeMap::new();
    for partition in partitions {
        let (committed, end) = (committed.remove(&partition), ends.get(&partition).copied());
        let records = committed.as_ref().zip(end).map(|(from, end)| end.distance_from(from.offset).max(0));
        if let (Some(from), Some(end), Some(1..)) = (&committed, end, records) {
            behind.push((partition.clone(), from.offset, end));
        }
        let millis = records.filter(|records| *records == 0);
        standings.insert(partition, Standing { committed, end, records, millis });
    }
    let now_ms = time::now_ms();
    for (partition, timestamp_ms) in admin.first_record_times(behind).await {
        if let Some(standing) = standings.get_mut(&partition) {
            standing.millis = Some(timestamp_ms).filter(|time| *time >= 0).map(|time| (now_ms - time).max(0));
        }
    }
    Ok(standings)
}

/// An offset of each partition; those that cannot be found out are left out.
pub(super) async fn ends(
    admin: &Admin,
    partitions: &BTreeSet<TopicPartition>,
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, Offset>, AdminError> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let mut ends = BTreeMap::new();
    for (topic, partitions) in topics {
        // The offsets of a topic that is gone stay for a while, and have no end.
        let Ok(found) = admin.list_offsets(topic, &partitions, spec).await else { continue };
        for (partition, found) in found {
            if let Some(offset) = found.ok().and_then(|found| found.offset) {
                ends.insert((topic.to_owned(), partition), offset);
            }
        }
    }
    Ok(ends)
}

/// A time as people say it.
pub(super) fn show_millis(millis: i64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{}.{}s", seconds, millis % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_two_units_that_matter() {
        for (millis, shown) in [(0, "0.0s"), (1234, "1.2s"), (61_000, "1m01s"), (3_660_000, "1h01m"), (90_000_000, "1d01h")] {
            assert_eq!(show_millis(millis), shown);
        }
    }
}
