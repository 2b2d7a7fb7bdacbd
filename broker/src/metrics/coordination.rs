//! What a broker shows of transactions and share groups, as rows: a name, a kind, a label, a help text, and the values.
//!
//! Names that begin with `kafka_` are those of Kafka's JMX exporter.

use std::fmt::Write;

use strandline_node::gauges::{Gauges, ShareGauges, TransactionGauges};
use strandline_protocol::ids::{GroupId, TopicName};

use super::groups::escaped;

/// The values of a row, each with those of its labels.
type Values = Vec<(Vec<String>, f64)>;

struct Row {
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    values: fn(&Gauges) -> Values,
}

fn one(value: f64) -> Values {
    vec![(Vec::new(), value)]
}

fn ids(transactions: &TransactionGauges) -> Values {
    transactions.ids.iter().map(|(state, count)| (vec![(*state).to_owned()], *count as f64)).collect()
}

fn ended(transactions: &TransactionGauges) -> Values {
    let totals = transactions.totals;
    let all =
        [("committed", totals.committed), ("aborted", totals.aborted - totals.timed_out), ("timed_out", totals.timed_out)];
    all.map(|(how, count)| (vec![how.to_owned()], count as f64)).into()
}

fn held(transactions: &TransactionGauges) -> Values {
    let all = [("carried_out", transactions.held.carried_out), ("refused", transactions.held.refused)];
    all.map(|(how, count)| (vec![how.to_owned()], count as f64)).into()
}

fn acknowledgements(shares: &ShareGauges) -> Values {
    let totals = shares.acknowledgements;
    let all =
        [("Accept", totals.accepted), ("Release", totals.released), ("Reject", totals.rejected), ("Renew", totals.renewed)];
    all.map(|(kind, count)| (vec![kind.to_owned()], count as f64)).into()
}

fn in_flight(shares: &ShareGauges) -> Values {
    let labels = |group: &GroupId, topic: &TopicName| vec![escaped(group.as_str()), topic.as_str().to_owned()];
    shares.in_flight.iter().map(|((group, topic), count)| (labels(group, topic), *count as f64)).collect()
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "strandline_transactional_ids", kind: "gauge", labels: &["state"], help: "Transactional ids that this broker coordinates, by the state of their transaction.", values: |node| ids(&node.transactions) },
    Row { name: "strandline_transactions_ended_total", kind: "counter", labels: &["how"], help: "Transactions whose end was decided here: committed, aborted, or aborted because their time was over.", values: |node| ended(&node.transactions) },
    Row { name: "strandline_transaction_markers_pending", kind: "gauge", labels: &[], help: "Decided transactions that brokers are still to be told of, once for each broker.", values: |node| one(node.transactions.markers_pending as f64) },
    Row { name: "kafka_coordinator_transaction_transactionmarkerchannelmanager_unknowndestinationqueuesize", kind: "gauge", labels: &[], help: "Of them those that are to be sent again, or whose partition nobody leads.", values: |node| one(node.transactions.markers_postponed as f64) },
    Row { name: "strandline_transaction_requests_held", kind: "gauge", labels: &[], help: "Requests that wait for the end of the transaction before.", values: |node| one(node.transactions.held_requests as f64) },
    Row { name: "strandline_transaction_requests_waited_total", kind: "counter", labels: &["how"], help: "Requests that waited for the end of the transaction before: carried out then, or refused because its markers took too long.", values: |node| held(&node.transactions) },
    Row { name: "kafka_server_addpartitionstotxnmanager_verificationfailurerate_count", kind: "counter", labels: &[], help: "Partitions of requests that the coordinator of their transaction did not let take part.", values: |node| one(node.transactions.verification_failures as f64) },
    Row { name: "kafka_server_replicamanager_produceridcount", kind: "gauge", labels: &[], help: "Producers that partitions of this broker remember.", values: |node| one(node.transactions.producer_ids as f64) },
    Row { name: "kafka_server_replicamanager_partitionswithlatetransactionscount", kind: "gauge", labels: &[], help: "Partitions whose oldest open transaction has had no record for five minutes longer than a transaction may take: nobody will end it.", values: |node| one(node.transactions.late_partitions as f64) },
    Row { name: "kafka_server_sharesessioncache_sharesessionscount", kind: "gauge", labels: &[], help: "Sessions of members of share groups.", values: |node| one(node.shares.sessions as f64) },
    Row { name: "kafka_server_sharesessioncache_sharepartitionscount", kind: "gauge", labels: &[], help: "Partitions in those sessions, once for each.", values: |node| one(node.shares.partitions as f64) },
    Row { name: "kafka_server_sharegroupmetrics_recordacknowledgements_total", kind: "counter", labels: &["acktype"], help: "Records that members of share groups have said something of, by what they said.", values: |node| acknowledgements(&node.shares) },
    Row { name: "strandline_sharegroup_in_flight_records", kind: "gauge", labels: &["group", "topic"], help: "Records that members of a share group have and have said nothing of yet.", values: |node| in_flight(&node.shares) },
];

/// The rows as they stand in the documentation.
#[cfg(test)]
pub(super) fn lines() -> impl Iterator<Item = super::page::Line> {
    ROWS.iter().map(|row| super::page::Line { name: row.name, kind: row.kind, labels: row.labels, help: row.help })
}

/// Appends every row.
pub(crate) fn render(gauges: &Gauges, into: &mut String) {
    for row in ROWS {
        let _ = writeln!(into, "# HELP {} {}\n# TYPE {} {}", row.name, row.help, row.name, row.kind);
        for (labels, value) in (row.values)(gauges) {
            let labels: Vec<String> = row.labels.iter().zip(labels).map(|(label, of)| format!("{label}=\"{of}\"")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(into, "{}{labels} {value}", row.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_shown_with_its_labels() {
        let mut gauges = Gauges::default();
        gauges.transactions.ids.insert("Ongoing", 2);
        gauges.shares.acknowledgements.released = 3;
        gauges.shares.in_flight.insert(("a\"b".into(), "orders".into()), 4);
        let mut text = String::new();
        render(&gauges, &mut text);
        assert!(text.contains("\nstrandline_transactional_ids{state=\"Ongoing\"} 2\n"));
        assert!(text.contains("\nkafka_server_sharegroupmetrics_recordacknowledgements_total{acktype=\"Release\"} 3\n"));
        assert!(text.contains("\nstrandline_sharegroup_in_flight_records{group=\"a\\\"b\",topic=\"orders\"} 4\n"));
        assert_eq!(text.matches("# TYPE").count(), ROWS.len());
    }
}
