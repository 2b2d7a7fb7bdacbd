//! The figures of a run.

use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::measure::Counts;
use crate::settings::Format;

/// What a run came to. Bytes are those of batches as they travel; a GB has 10^9.
#[derive(Debug)]
pub(crate) struct Report {
    load: &'static str,
    counts: Counts,
    time: Duration,
    /// CPU of the broker's processes.
    cpu: Option<Duration>,
}

/// Percentiles that are shown.
const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

impl Report {
    pub(crate) fn new(load: &'static str, counts: Counts, time: Duration, cpu: Option<Duration>) -> Result<Self, Failure> {
        if counts.records == 0 { Err(Failure::NothingMeasured) } else { Ok(Self { load, counts, time, cpu }) }
    }

    pub(crate) fn print(&self, format: Format) -> io::Result<()> {
        let mut output = io::stdout().lock();
        match format {
            Format::Json => writeln!(output, "{:#}", self.json()),
            Format::Table => self.rows().iter().try_for_each(|(name, value)| writeln!(output, "{name:<24}{value:>16}")),
        }
    }

    fn records_per_second(&self) -> f64 {
        self.counts.records as f64 / self.time.as_secs_f64()
    }

    fn megabytes_per_second(&self) -> f64 {
        self.counts.bytes as f64 / 1e6 / self.time.as_secs_f64()
    }

    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            ("load".to_owned(), self.load.to_owned()),
            ("seconds".to_owned(), format!("{:.1}", self.time.as_secs_f64())),
            ("requests".to_owned(), self.counts.requests.to_string()),
            ("records/s".to_owned(), format!("{:.0}", self.records_per_second())),
            ("MB/s".to_owned(), format!("{:.2}", self.megabytes_per_second())),
        ];
        let latencies = percentiles(&self.counts.latencies);
        rows.extend(latencies.into_iter().map(|(name, value)| (format!("latency {name} ms"), format!("{value:.3}"))));
        if let Some(cpu) = self.cpu {
            rows.push(("broker CPU s".to_owned(), format!("{:.2}", cpu.as_secs_f64())));
            rows.push(("broker CPU us/record".to_owned(), format!("{:.3}", self.cpu_per_record(cpu))));
            rows.push(("broker CPU s/GB".to_owned(), format!("{:.3}", self.cpu_per_gigabyte(cpu))));
        }
        rows
    }

    fn json(&self) -> Value {
        let latencies = percentiles(&self.counts.latencies);
        let cpu = self.cpu.map(|cpu| {
            json!({
                "seconds": cpu.as_secs_f64(),
                "microseconds_per_record": self.cpu_per_record(cpu),
                "seconds_per_gigabyte": self.cpu_per_gigabyte(cpu),
            })
        });
        json!({
            "load": self.load,
            "seconds": self.time.as_secs_f64(),
            "requests": self.counts.requests,
            "records": self.counts.records,
            "bytes": self.counts.bytes,
            "records_per_second": self.records_per_second(),
            "megabytes_per_second": self.megabytes_per_second(),
            "latency_ms": latencies.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "broker_cpu": cpu,
        })
    }

    fn cpu_per_record(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.counts.records as f64
    }

    fn cpu_per_gigabyte(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e9 / self.counts.bytes as f64
    }
}

/// Percentiles in milliseconds, the greatest last.
fn percentiles(latencies: &Histogram<u64>) -> Vec<(&'static str, f64)> {
    let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    let at = |(name, percentile)| (name, milliseconds(latencies.value_at_percentile(percentile)));
    PERCENTILES.into_iter().map(at).chain([("max", milliseconds(latencies.max()))]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut counts = Counts::new();
        for milliseconds in 1..=100 {
            counts.count(10, 1_000_000, Duration::from_millis(milliseconds));
        }
        Report::new("produce", counts, Duration::from_secs(2), Some(Duration::from_secs(1))).unwrap()
    }

    #[test]
    fn rates_and_costs_follow_from_the_counts() {
        let json = report().json();
        assert_eq!(json["records_per_second"], 500.0);
        assert_eq!(json["megabytes_per_second"], 50.0);
        assert_eq!(json["broker_cpu"]["microseconds_per_record"], 1000.0);
        assert_eq!(json["broker_cpu"]["seconds_per_gigabyte"], 10.0);
        let p50 = json["latency_ms"]["p50"].as_f64().unwrap();
        assert!((49.9..50.1).contains(&p50), "{p50}");
    }

    #[test]
    fn a_run_without_answers_has_no_figures() {
        assert!(Report::new("produce", Counts::new(), Duration::from_secs(1), None).is_err());
    }
}
