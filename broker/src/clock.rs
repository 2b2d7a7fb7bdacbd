//! The clocks, and the alarm that the node sets.
//!
//! Time enters the node only with a step. Not here: what is due when; the node says so with `Effect::WakeAt`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use strandline_node::io::Now;
use tokio::sync::Notify;

/// The node is told that time passed at least this often.
const TICK_MS: u64 = 1000;

/// Two ticks are at least this far apart.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    begun: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now() }
    }

    pub(crate) fn monotonic_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    pub(crate) fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { wall_ms: since_epoch.as_millis() as i64, monotonic_ms: self.monotonic_ms() }
    }
}

/// The time at which the node wants to be woken; the last one said counts.
pub(crate) struct Alarm {
    due_ms: AtomicU64,
    moved: Notify,
}

impl Alarm {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { due_ms: AtomicU64::new(u64::MAX), moved: Notify::new() })
    }

    /// Wakes the waiting task only if the alarm moved closer: one that rings early is set again.
    pub(crate) fn set(&self, due_ms: u64) {
        if self.due_ms.swap(due_ms, Ordering::AcqRel) > due_ms {
            self.moved.notify_one();
        }
    }

    /// Waits until the alarm is due, or the longest time between two ticks has passed. Always waits a little: a node
    /// whose wish lies in the past must not keep everything else on this thread from running.
    pub(crate) async fn wait(&self, clock: &Clock) {
        tokio::time::sleep(WAIT_MIN).await;
        let latest_ms = clock.monotonic_ms() + TICK_MS;
        loop {
            let (due_ms, now_ms) = (self.due_ms.load(Ordering::Acquire), clock.monotonic_ms());
            if due_ms <= now_ms {
                // Rung once: the node sets it again if it still wants to be woken.
                let _ = self.due_ms.compare_exchange(due_ms, u64::MAX, Ordering::AcqRel, Ordering::Acquire);
                return;
            }
            if latest_ms <= now_ms {
                return;
            }
            let rest_ms = due_ms.min(latest_ms) - now_ms;
            let _ = tokio::time::timeout(Duration::from_millis(rest_ms), self.moved.notified()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_that_moves_closer_rings_earlier() {
        let clock = Clock::start();
        let alarm = Alarm::new();
        alarm.set(900);
        let setter = Arc::clone(&alarm);
        let waiter = tokio::spawn(async move { setter.wait(&clock).await });
        tokio::task::yield_now().await;
        alarm.set(20);
        waiter.await.expect("the waiter does not panic");
        let rung_ms = clock.monotonic_ms();
        assert!((20..800).contains(&rung_ms), "{rung_ms}");
    }

    #[tokio::test]
    async fn a_tick_leaves_a_later_alarm_set() {
        let clock = Clock::start();
        let alarm = Alarm::new();
        alarm.set(TICK_MS + 400);
        alarm.wait(&clock).await;
        assert!(clock.monotonic_ms() < TICK_MS + 300);
        alarm.wait(&clock).await;
        assert!((TICK_MS + 400..TICK_MS + 900).contains(&clock.monotonic_ms()));
    }

    #[tokio::test]
    async fn without_an_alarm_time_still_passes() {
        let clock = Clock::start();
        Alarm::new().wait(&clock).await;
        assert!(clock.monotonic_ms() >= TICK_MS);
    }
}
