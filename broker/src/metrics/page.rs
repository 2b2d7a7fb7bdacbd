//! `METRICS.md`: every metric with its type, labels, unit and meaning, written from the tables of this room.
//!
//! `UPDATE_METRICS_PAGE=1 cargo test -p strandline metrics` writes it anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::{ROWS, coordination, groups, node, process};

const HEAD: &str = "\
# Metrics

What `GET /metrics` on the HTTP port shows, in Prometheus's text format. Names of our own begin with `strandline_`; those that begin with
`kafka_` are spelled as Kafka's JMX exporter spells them, `process_` as all exporters do. Written from the tables in `src/metrics`.

| metric | type | labels | unit | meaning |
|---|---|---|---|---|
";

/// A row of the page.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

impl Line {
    /// As Prometheus calls it.
    fn kind(&self) -> &'static str {
        match self.kind {
            "IntCounter" | "IntCounterVec" => "counter",
            "IntGauge" | "IntGaugeVec" => "gauge",
            "Histogram" | "HistogramVec" => "histogram",
            plain => plain,
        }
    }

    /// The name says the unit; what has none is a number of things.
    fn unit(&self) -> &'static str {
        let words: Vec<&str> = self.name.split('_').collect();
        let has = |unit: &str| words.iter().any(|word| word.starts_with(unit));
        if has("seconds") {
            "seconds"
        } else if has("bytes") {
            "bytes"
        } else {
            "count"
        }
    }
}

/// What is looked at when it is asked for.
fn of_the_node() -> impl Iterator<Item = Line> {
    node::lines().chain(coordination::lines()).chain(groups::lines()).chain(process::lines())
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let rows = ROWS.iter().map(|row| Line { ..*row });
    for line in rows.chain(of_the_node()) {
        let labels = line.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(page, "| `{}` | {} | {labels} | {} | {} |", line.name, line.kind(), line.unit(), line.help);
    }
    page
}

#[test]
fn the_page_of_metrics_says_what_the_tables_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("METRICS.md");
    if std::env::var_os("UPDATE_METRICS_PAGE").is_some() {
        std::fs::write(&file, page()).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(written, page(), "write it anew: UPDATE_METRICS_PAGE=1 cargo test -p strandline metrics");
}

#[test]
fn every_metric_has_a_name_of_its_own() {
    let mut names = BTreeSet::new();
    for line in ROWS.iter().map(|row| Line { ..*row }).chain(of_the_node()) {
        assert!(names.insert(line.name), "{} is there twice", line.name);
    }
}
