//! What the node shows of itself, as rows: a name, a kind, a help text, and where in the snapshot the value is.
//!
//! Names that begin with `kafka_` are those of Kafka's JMX exporter. A topic that is gone shows nothing any more.

use std::fmt::Write;

use strandline_node::gauges::{Gauges, TopicGauges};

/// A value of the whole node.
struct Row {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&Gauges) -> f64,
}

/// A value of every topic.
struct TopicRow {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&TopicGauges) -> f64,
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "strandline_partitions", kind: "gauge", help: "Hosted partitions.", value: |node| node.hosted_partitions as f64 },
    Row { name: "kafka_server_replicamanager_partitioncount", kind: "gauge", help: "Hosted partitions.", value: |node| node.hosted_partitions as f64 },
    Row { name: "strandline_offline_partitions", kind: "gauge", help: "Partitions of this broker that cannot be served: damaged, or in a log directory that does not work or is not here.", value: |node| node.offline_partitions as f64 },
    Row { name: "kafka_server_replicamanager_offlinereplicacount", kind: "gauge", help: "Partitions of this broker that cannot be served: damaged, or in a log directory that does not work or is not here.", value: |node| node.offline_partitions as f64 },
    Row { name: "kafka_log_logmanager_offlinelogdirectorycount", kind: "gauge", help: "Log directories that do not work.", value: |node| node.offline_log_dirs as f64 },
    Row { name: "strandline_moving_replicas", kind: "gauge", help: "Replicas on their way to another log directory of this broker.", value: |node| node.moving_replicas as f64 },
    Row { name: "kafka_controller_kafkacontroller_offlinepartitionscount", kind: "gauge", help: "Partitions of the cluster that have no leader.", value: |node| node.leaderless_partitions as f64 },
    Row { name: "kafka_controller_kafkacontroller_globaltopiccount", kind: "gauge", help: "Topics.", value: |node| node.topics.len() as f64 },
    Row { name: "strandline_parked_replies", kind: "gauge", help: "Replies that wait for something.", value: |node| node.parked_replies as f64 },
    Row { name: "strandline_fetch_sessions", kind: "gauge", help: "Fetch sessions kept.", value: |node| node.fetch_sessions as f64 },
    Row { name: "strandline_tail_cache_bytes", kind: "gauge", help: "Bytes of the newest batches held for tail readers.", value: |node| node.tail_cache_bytes as f64 },
    Row { name: "strandline_metadata_epoch", kind: "gauge", help: "Epoch of the metadata quorum.", value: |node| f64::from(node.metadata_epoch.0) },
    Row { name: "strandline_metadata_end_offset", kind: "gauge", help: "End of the metadata log.", value: |node| node.metadata_end.0 as f64 },
    Row { name: "strandline_metadata_committed_offset", kind: "gauge", help: "Metadata below this offset is committed.", value: |node| node.metadata_committed.0 as f64 },
    Row { name: "strandline_cleaner_rounds_total", kind: "counter", help: "Rounds of compaction that came to their end.", value: |node| node.cleaning.rounds as f64 },
    Row { name: "strandline_cleaner_failed_rounds_total", kind: "counter", help: "Rounds of compaction that failed.", value: |node| node.cleaning.failed_rounds as f64 },
    Row { name: "strandline_cleaner_bytes_cleaned_total", kind: "counter", help: "Bytes of segments that were compacted, before.", value: |node| node.cleaning.bytes_before as f64 },
    Row { name: "strandline_cleaner_bytes_kept_total", kind: "counter", help: "Bytes of segments that were compacted, after.", value: |node| node.cleaning.bytes_after as f64 },
    Row { name: "strandline_scrub_bytes_total", kind: "counter", help: "Bytes of finished segments that were looked through for damage.", value: |node| node.scrubbing.bytes as f64 },
    Row { name: "strandline_scrub_passes_total", kind: "counter", help: "Times that all finished segments were looked through.", value: |node| node.scrubbing.passes as f64 },
    Row { name: "strandline_scrub_damaged_segments_total", kind: "counter", help: "Damaged segments that were found before a reader met them.", value: |node| node.scrubbing.damaged_segments as f64 },
    Row { name: "kafka_log_logcleanermanager_uncleanable_partitions_count", kind: "gauge", help: "Partitions that are not compacted any more, because of damage or after too many failures.", value: |node| node.cleaning_set_aside as f64 },
];

#[rustfmt::skip]
const TOPIC_ROWS: &[TopicRow] = &[
    TopicRow { name: "kafka_server_brokertopicmetrics_messagesin_total", kind: "counter", help: "Records taken.", value: |topic| topic.traffic.records_in as f64 },
    TopicRow { name: "kafka_server_brokertopicmetrics_bytesin_total", kind: "counter", help: "Bytes of batches taken.", value: |topic| topic.traffic.bytes_in as f64 },
    TopicRow { name: "kafka_server_brokertopicmetrics_bytesout_total", kind: "counter", help: "Bytes of batches given to readers.", value: |topic| topic.traffic.bytes_out as f64 },
    TopicRow { name: "strandline_topic_partitions", kind: "gauge", help: "Hosted partitions of the topic.", value: |topic| topic.partitions as f64 },
    TopicRow { name: "strandline_topic_log_bytes", kind: "gauge", help: "Bytes of the topic's logs.", value: |topic| topic.log_bytes as f64 },
];

/// The rows as they stand in the documentation.
#[cfg(test)]
pub(super) fn lines() -> impl Iterator<Item = super::page::Line> {
    let rows = ROWS.iter().map(|row| super::page::Line { name: row.name, kind: row.kind, labels: &[], help: row.help });
    let of_topics = TOPIC_ROWS.iter();
    rows.chain(of_topics.map(|row| super::page::Line { name: row.name, kind: row.kind, labels: &["topic"], help: row.help }))
}

/// Appends every row.
pub(crate) fn render(gauges: &Gauges, into: &mut String) {
    for row in ROWS {
        head(into, row.name, row.kind, row.help);
        let _ = writeln!(into, "{} {}", row.name, (row.value)(gauges));
    }
    for row in TOPIC_ROWS {
        head(into, row.name, row.kind, row.help);
        for (topic, values) in &gauges.topics {
            // Topic names have no character that a label would have to escape.
            let _ = writeln!(into, "{}{{topic=\"{}\"}} {}", row.name, topic.as_str(), (row.value)(values));
        }
    }
}

fn head(into: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(into, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::TopicName;

    use super::*;

    #[test]
    fn topics_are_labels_and_every_row_is_shown() {
        let mut gauges = Gauges { hosted_partitions: 3, ..Gauges::default() };
        let mut topic = TopicGauges::default();
        topic.traffic.records_in = 12;
        gauges.topics.insert(TopicName::from("orders".to_owned()), topic);
        let mut text = String::new();
        render(&gauges, &mut text);
        assert!(text.contains("\nstrandline_partitions 3\n"));
        assert!(text.contains("\nkafka_server_brokertopicmetrics_messagesin_total{topic=\"orders\"} 12\n"));
        assert_eq!(text.matches("# TYPE").count(), ROWS.len() + TOPIC_ROWS.len());
    }
}
