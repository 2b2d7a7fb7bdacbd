//! The measured time, and what was counted in it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::cpu::Cpu;
use crate::failure::Failure;
use crate::settings::Common;

/// Latencies are kept in nanoseconds with three digits, up to this; longer ones count as this long.
const LATENCY_MAX: Duration = Duration::from_secs(120);

/// Digits of a latency that are kept.
const DIGITS: u8 = 3;

/// From when to when is measured; before is warm-up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

/// What one worker, or all of them, counted within the window.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) latencies: Histogram<u64>,
}

impl Window {
    pub(crate) fn begin(common: &Common) -> Self {
        let from = Instant::now() + common.warm_up;
        Self { from, until: from + common.duration }
    }

    pub(crate) fn contains(&self, moment: Instant) -> bool {
        (self.from..self.until).contains(&moment)
    }

    /// CPU that the processes used within the window.
    pub(crate) async fn cpu(self, pids: Vec<u32>) -> Result<Option<Duration>, Failure> {
        if pids.is_empty() {
            return Ok(None);
        }
        tokio::time::sleep_until(self.from.into()).await;
        let before = Cpu::of(&pids)?;
        tokio::time::sleep_until(self.until.into()).await;
        Ok(Some(Cpu::of(&pids)?.since(before)))
    }
}

impl Counts {
    pub(crate) fn new() -> Self {
        let most = LATENCY_MAX.as_nanos() as u64;
        let latencies = Histogram::new_with_bounds(1, most, DIGITS).expect("the bounds are in order and the digits few");
        Self { requests: 0, records: 0, bytes: 0, latencies }
    }

    /// Counts a request that was answered.
    pub(crate) fn count(&mut self, records: u64, bytes: u64, latency: Duration) {
        self.requests += 1;
        self.records += records;
        self.bytes += bytes;
        self.latencies.saturating_record(latency.as_nanos().try_into().unwrap_or(u64::MAX));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.records += other.records;
        self.bytes += other.bytes;
        self.latencies.add(&other.latencies).expect("both have the same bounds");
    }
}
