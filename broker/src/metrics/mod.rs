//! Every metric of the rim, as rows of one table: name, kind, labels, help.
//!
//! Names of our own begin with `strandline_`; those that begin with `kafka_` are spelled as Kafka's JMX exporter spells
//! them, so that dashboards made for Kafka work. Adding a metric is adding a row. What the node knows of itself is looked
//! at when it is asked for (`node.rs`, `coordination.rs`, `groups.rs`), what the system knows of the process too (`process.rs`). `METRICS.md` lists all of
//! them; a test holds it to these tables (`page.rs`).

pub(crate) mod coordination;
pub(crate) mod groups;
pub(crate) mod node;
#[cfg(test)]
mod page;
pub(crate) mod process;

use std::sync::OnceLock;
use std::time::Instant;

use prometheus::{
    Encoder, Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use strandline_protocol::api::ApiKey;
use strandline_protocol::error::ErrorCode;

/// Seconds, from a warm write to a stuck disk.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_2, 0.000_3, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];

/// How many of something, by powers of two.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

macro_rules! build {
    (IntCounter, $name:literal, $help:literal, [$($label:literal),*], $buckets:expr) => {
        IntCounter::with_opts(Opts::new($name, $help))
    };
    (IntGauge, $name:literal, $help:literal, [$($label:literal),*], $buckets:expr) => {
        IntGauge::with_opts(Opts::new($name, $help))
    };
    (IntCounterVec, $name:literal, $help:literal, [$($label:literal),*], $buckets:expr) => {
        IntCounterVec::new(Opts::new($name, $help), &[$($label),*])
    };
    (IntGaugeVec, $name:literal, $help:literal, [$($label:literal),*], $buckets:expr) => {
        IntGaugeVec::new(Opts::new($name, $help), &[$($label),*])
    };
    (Histogram, $name:literal, $help:literal, [$($label:literal),*], $buckets:expr) => {
        Histogram::with_opts(HistogramOpts::new($name, $help).buckets($buckets.to_vec()))
    };
    (HistogramVec, $name:literal, $help:literal, [$($label:literal),*], $buckets:expr) => {
        HistogramVec::new(HistogramOpts::new($name, $help).buckets($buckets.to_vec()), &[$($label),*])
    };
}

macro_rules! metrics {
    ($($field:ident: $kind:ident [$($label:literal),*] $buckets:expr, $name:literal, $help:literal;)*) => {
        /// Handles of every row. Cheap to touch; labelled ones are looked up once and kept by who touches them often.
        pub(crate) struct Metrics {
            registry: Registry,
            apis: ApiMetrics,
            $(pub(crate) $field: $kind,)*
        }

        impl Metrics {
            /// Registers every row.
            ///
            /// # Errors
            /// Two rows have the same name.
            pub(crate) fn new() -> Result<Self, Error> {
                let registry = Registry::new();
                $(
                    let $field = build!($kind, $name, $help, [$($label),*], $buckets)?;
                    registry.register(Box::new($field.clone()))?;
                )*
                Ok(Self { registry, apis: ApiMetrics::default(), $($field),* })
            }
        }

        /// The rows as they stand in the documentation.
        #[cfg(test)]
        const ROWS: &[page::Line] = &[
            $(page::Line { name: $name, kind: stringify!($kind), labels: &[$($label),*], help: $help },)*
        ];
    };
}

metrics! {
    requests: IntCounterVec ["api"] SECONDS, "strandline_requests_total",
        "Requests answered, by API.";
    request_errors: IntCounterVec ["api", "error"] SECONDS, "strandline_request_errors_total",
        "Error codes in answers, by API and Kafka's name of the error: every topic, partition or group that was refused counts.";
    request_seconds: HistogramVec ["api"] SECONDS, "strandline_request_seconds",
        "From the last byte of a request to its answer being ready to leave, by API. Waiting that the request asked for counts.";
    received_bytes: IntCounter [] SECONDS, "strandline_received_bytes_total",
        "Bytes read from connections.";
    sent_bytes: IntCounter [] SECONDS, "strandline_sent_bytes_total",
        "Bytes written to connections.";
    connections_accepted: IntCounter [] SECONDS, "strandline_connections_accepted_total",
        "Connections taken.";
    connections_refused: IntCounter [] SECONDS, "strandline_connections_refused_total",
        "Connections closed at once because their address had as many as it may.";
    connections_unanswerable: IntCounter [] SECONDS, "strandline_connections_unanswerable_total",
        "Connections closed because of a request that cannot be answered.";
    connections_expired: IntCounter [] SECONDS, "strandline_connections_expired_total",
        "Connections closed because nothing happened on them, or a request did not end.";
    connections: IntGauge [] SECONDS, "strandline_connections",
        "Open connections.";
    queued_request_bytes: IntGauge [] SECONDS, "strandline_queued_request_bytes",
        "Bytes of requests that are held until they are answered (limit: queued.max.request.bytes).";
    begun_request_bytes: IntGauge [] SECONDS, "strandline_begun_request_bytes",
        "Bytes of large requests that are not whole (limit: half of queued.max.request.bytes).";
    held_answer_bytes: IntGauge [] SECONDS, "strandline_held_answer_bytes",
        "Bytes of large answers that clients have not taken.";
    disk_open_files: IntGauge [] SECONDS, "strandline_disk_open_files",
        "Segment files open for appending.";
    disk_write_bytes: IntCounter [] SECONDS, "strandline_disk_write_bytes_total",
        "Bytes written for appends, with rewritten and padded blocks.";
    disk_append_bytes: IntCounter [] SECONDS, "strandline_disk_append_bytes_total",
        "Bytes that logs asked to have appended.";
    disk_write_seconds: Histogram [] SECONDS, "strandline_disk_write_seconds",
        "How long appends took from the wish to the completion.";
    disk_group_batches: Histogram [] COUNTS, "strandline_disk_group_commit_batches",
        "Batches that were written, and made durable, by one write.";
    disk_errors: IntCounter [] SECONDS, "strandline_disk_errors_total",
        "Disk operations that failed.";
    disk_executor: IntGaugeVec ["executor"] SECONDS, "strandline_disk_executor",
        "1 for the executor in use: uring, threads or buffered.";
}

/// The handles of one API.
struct ApiHandles {
    requests: IntCounter,
    seconds: Histogram,
}

/// Keys below this have their handles kept; Kafka's highest is 92.
const API_KEYS: usize = 128;

/// Handles that are touched by every request, looked up once.
pub(crate) struct ApiMetrics {
    handles: [OnceLock<ApiHandles>; API_KEYS],
}

impl Default for ApiMetrics {
    fn default() -> Self {
        Self { handles: [const { OnceLock::new() }; API_KEYS] }
    }
}

impl Metrics {
    /// Counts an answered request, and the errors in its answer.
    pub(crate) fn answered(&self, api: ApiKey, received: Instant, errors: &[(ErrorCode, u64)]) {
        for (code, count) in errors {
            self.request_errors.with_label_values(&[api.name(), &code.to_string()]).inc_by(*count);
        }
        let Some(slot) = usize::try_from(api as i16).ok().and_then(|key| self.apis.handles.get(key)) else { return };
        let handles = slot.get_or_init(|| ApiHandles {
            requests: self.requests.with_label_values(&[api.name()]),
            seconds: self.request_seconds.with_label_values(&[api.name()]),
        });
        handles.requests.inc();
        handles.seconds.observe(received.elapsed().as_secs_f64());
    }

    /// The registry's contents in Prometheus's text format.
    ///
    /// # Errors
    /// A metric cannot be written as text.
    pub(crate) fn render(&self, into: &mut Vec<u8>) -> Result<(), Error> {
        TextEncoder::new().encode(&self.registry.gather(), into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_of_their_own_and_are_shown() {
        let metrics = Metrics::new().expect("no two rows have the same name");
        metrics.answered(ApiKey::Produce, Instant::now(), &[(ErrorCode::NOT_CONTROLLER, 3)]);
        let mut text = Vec::new();
        metrics.render(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("strandline_requests_total{api=\"Produce\"} 1"));
        assert!(text.contains("strandline_request_errors_total{api=\"Produce\",error=\"NOT_CONTROLLER\"} 3"));
        assert!(text.contains("strandline_request_seconds_count{api=\"Produce\"} 1"));
    }
}
