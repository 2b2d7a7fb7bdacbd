//! What groups of this broker show of themselves: the names of `kafka_exporter` where it has one, so that its dashboards
//! work without it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};
use strandline_node::coordinator::standing::{GroupSummary, Standings};

use crate::lag::Behind;

/// A value of every partition that a group has committed something for.
struct Row {
    name: &'static str,
    help: &'static str,
    value: fn(&Behind) -> Option<f64>,
}

const MEMBERS: &str = "kafka_consumergroup_members";
const MEMBERS_HELP: &str = "Members of the group.";
const GROUPS: &str = "kafka_server_group_coordinator_metrics_group_count";
const GROUPS_HELP: &str = "Groups that this broker coordinates, by protocol and state.";
const LEFT_OUT: &str = "strandline_consumergroup_partitions_left_out";
const LEFT_OUT_HELP: &str = "Partitions of groups that are not shown (limit: group.lag.partitions.max).";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "kafka_consumergroup_current_offset", help: "Offset that the group has committed.", value: |one| Some(one.standing.committed.0 as f64) },
    Row { name: "kafka_consumergroup_lag", help: "Offsets between the committed one and the end of the partition.", value: |one| one.standing.lag().map(|lag| lag as f64) },
    Row { name: "strandline_consumergroup_lag_seconds", help: "Age of the first record that is not committed, by the time of its batch; 0 if all are.", value: |one| one.seconds },
];

const PARTITION_LABELS: &[&str] = &["consumergroup", "topic", "partition"];

/// The rows as they stand in the documentation.
#[cfg(test)]
pub(super) fn lines() -> impl Iterator<Item = super::page::Line> {
    use super::page::Line;
    let rows = ROWS.iter().map(|row| Line { name: row.name, kind: "gauge", labels: PARTITION_LABELS, help: row.help });
    let members = Line { name: MEMBERS, kind: "gauge", labels: &["consumergroup"], help: MEMBERS_HELP };
    let groups = Line { name: GROUPS, kind: "gauge", labels: &["protocol", "state"], help: GROUPS_HELP };
    rows.chain([members, groups, Line { name: LEFT_OUT, kind: "gauge", labels: &[], help: LEFT_OUT_HELP }])
}

/// Appends every row.
pub(crate) fn render(standings: &Standings, behind: &[Behind], into: &mut String) {
    for row in ROWS {
        head(into, row.name, row.help);
        for (one, value) in behind.iter().filter_map(|one| Some((one, (row.value)(one)?))) {
            let (group, topic) = (escaped(one.standing.group.as_str()), one.standing.topic.as_str());
            let [group_label, topic_label, partition_label] = PARTITION_LABELS else { continue };
            let partition = one.standing.partition;
            let labels = format!("{group_label}=\"{group}\",{topic_label}=\"{topic}\",{partition_label}=\"{partition}\"");
            let _ = writeln!(into, "{}{{{labels}}} {value}", row.name);
        }
    }
    head(into, MEMBERS, MEMBERS_HELP);
    for group in &standings.groups {
        let _ = writeln!(into, "{MEMBERS}{{consumergroup=\"{}\"}} {}", escaped(group.group.as_str()), group.members);
    }
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for group in &standings.groups {
        *counts.entry((group.kind, group.state)).or_default() += 1;
    }
    head(into, GROUPS, GROUPS_HELP);
    for ((protocol, state), count) in counts {
        let _ = writeln!(into, "{GROUPS}{{protocol=\"{protocol}\",state=\"{state}\"}} {count}");
    }
    head(into, LEFT_OUT, LEFT_OUT_HELP);
    let _ = writeln!(into, "{LEFT_OUT} {}", standings.left_out);
}

fn head(into: &mut String, name: &str, help: &str) {
    let _ = writeln!(into, "# HELP {name} {help}\n# TYPE {name} gauge");
}

/// A label's value may hold anything; these three are escaped. Topic names have none of them.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The same as JSON: every group with its partitions.
pub(crate) fn page(standings: &Standings, behind: &[Behind]) -> Value {
    let partitions = |group: &GroupSummary| {
        let of_group = behind.iter().filter(|one| one.standing.group == group.group);
        let partition = |one: &Behind| {
            json!({
                "topic": one.standing.topic.as_str(),
                "partition": one.standing.partition,
                "committed": one.standing.committed.0,
                "end": one.standing.end.map(|end| end.0),
                "lag": one.standing.lag(),
                "lag_seconds": one.seconds,
            })
        };
        of_group.map(partition).collect::<Vec<_>>()
    };
    let group = |group: &GroupSummary| {
        json!({
            "group": group.group.as_str(),
            "type": group.kind,
            "protocol": group.protocol_type,
            "state": group.state,
            "members": group.members,
            "partitions": partitions(group),
        })
    };
    json!({
        "groups": standings.groups.iter().map(group).collect::<Vec<_>>(),
        "partitions_left_out": standings.left_out,
    })
}

#[cfg(test)]
mod tests {
    use strandline_node::coordinator::standing::GroupStanding;
    use strandline_protocol::ids::Offset;

    use super::*;

    fn behind(group: &str) -> Behind {
        let standing = GroupStanding {
            group: group.into(),
            topic: "orders".into(),
            partition: 3,
            committed: Offset(5),
            end: Some(Offset(12)),
            batch: Vec::new(),
            timestamp_ms: None,
        };
        Behind { standing, seconds: Some(2.5) }
    }

    fn standings(group: &str) -> Standings {
        let summary = GroupSummary {
            group: group.into(),
            kind: "classic",
            protocol_type: "consumer".to_owned(),
            state: "Stable",
            members: 2,
        };
        Standings { groups: vec![summary], partitions: Vec::new(), left_out: 1 }
    }

    #[test]
    fn lag_is_shown_in_records_and_seconds_and_names_are_escaped() {
        let mut text = String::new();
        render(&standings("a\"b"), &[behind("a\"b")], &mut text);
        let labels = "{consumergroup=\"a\\\"b\",topic=\"orders\",partition=\"3\"}";
        assert!(text.contains(&format!("\nkafka_consumergroup_lag{labels} 7\n")), "{text}");
        assert!(text.contains(&format!("\nstrandline_consumergroup_lag_seconds{labels} 2.5\n")));
        assert!(text.contains("\nkafka_consumergroup_members{consumergroup=\"a\\\"b\"} 2\n"));
        assert!(text.contains("\nstrandline_consumergroup_partitions_left_out 1\n"));
    }

    #[test]
    fn the_page_has_every_group_with_its_partitions() {
        let page = page(&standings("g"), &[behind("g"), behind("other")]);
        assert_eq!(page["groups"][0]["partitions"].as_array().map(Vec::len), Some(1));
        assert_eq!(page["groups"][0]["partitions"][0]["lag"], 7);
        assert_eq!(page["partitions_left_out"], 1);
    }
}
