//! How fast this broker may copy: to followers, from leaders, and between its log directories (KIP-73, KIP-113).
//!
//! Each kind has a rate in bytes a second; what was copied is paid for by waiting. For followers and leaders only replicas count that the
//! topic's configuration names, and of those the ones in sync never wait: they would fall out of the in-sync set. Who has to
//! wait is left out of fetches, so that others are not held up. A rate that changes counts at once; a list of replicas within
//! [`WAIT_MS_MAX`].
//! Source: ReplicationQuotaManager, ReplicaManager.shouldLeaderThrottle, ReplicaFetcherThread.shouldFollowerThrottle.
//!
//! Deviation: Kafka takes the mean over eleven windows of a second, so that a burst comes before each wait; here every copy is paid for.

use std::collections::BTreeSet;

use crate::config::Layers;

/// Whoever waits looks again after so long, even if nothing is paid for until then: the configuration may have changed.
pub(crate) const WAIT_MS_MAX: u64 = 1_000;

/// Bytes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rates {
    leader: f64,
    follower: f64,
    moves: f64,
}

/// One kind of copying.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Paid {
    /// Until when what was copied is paid for by waiting.
    until_ms: u64,
}

impl Paid {
    fn pay(&mut self, rate: f64, now_ms: u64, bytes: usize) {
        if bytes > 0 {
            let wait_ms = (bytes as f64 * 1000.0 / rate).min(1e12) as u64;
            self.until_ms = self.until_ms.max(now_ms) + wait_ms;
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Throttles {
    rates: Rates,
    /// The step's clock.
    now_ms: u64,
    leader: Paid,
    follower: Paid,
    moves: Paid,
    /// Slots whose followers were left out of an answer; when they are looked at again.
    left_out: BTreeSet<u32>,
    look_ms: u64,
}

impl Rates {
    fn read(layers: &Layers<'_>) -> Self {
        let rate = |key: &str| layers.broker_number(key) as f64;
        Self {
            leader: rate("leader.replication.throttled.rate"),
            follower: rate("follower.replication.throttled.rate"),
            moves: rate("replica.alter.log.dirs.io.max.bytes.per.second"),
        }
    }
}

impl Throttles {
    /// Reads the keys.
    pub(crate) fn read(layers: &Layers<'_>) -> Self {
        Self {
            rates: Rates::read(layers),
            now_ms: 0,
            leader: Paid::default(),
            follower: Paid::default(),
            moves: Paid::default(),
            left_out: BTreeSet::new(),
            look_ms: 0,
        }
    }

    /// Reads the keys anew. Says whether they changed; nothing of what was copied before has to be paid for then.
    pub(crate) fn refresh(&mut self, layers: &Layers<'_>) -> bool {
        let rates = Rates::read(layers);
        if rates == self.rates {
            return false;
        }
        self.rates = rates;
        (self.leader, self.follower, self.moves, self.look_ms) = (Paid::default(), Paid::default(), Paid::default(), 0);
        true
    }

    /// A step begins.
    pub(crate) fn begin_step(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Whether followers of throttled partitions that are not in sync have to wait.
    pub(crate) fn holds_followers(&self) -> bool {
        self.leader.until_ms > self.now_ms
    }

    /// Followers of throttled partitions were given this.
    pub(crate) fn gave(&mut self, bytes: usize) {
        self.leader.pay(self.rates.leader, self.now_ms, bytes);
    }

    /// The follower of a partition had to wait.
    pub(crate) fn left_out(&mut self, slot: u32) {
        if self.left_out.insert(slot) {
            self.look_ms = self.leader.until_ms.min(self.now_ms + WAIT_MS_MAX);
        }
    }

    /// Partitions whose followers are to be looked at again.
    pub(crate) fn take_left_out(&mut self) -> BTreeSet<u32> {
        if self.look_ms > self.now_ms { BTreeSet::new() } else { std::mem::take(&mut self.left_out) }
    }

    pub(crate) fn next_due_ms(&self) -> u64 {
        if self.left_out.is_empty() { u64::MAX } else { self.look_ms }
    }

    /// Until when throttled partitions are not fetched from their leaders, if they are behind.
    pub(crate) fn fetches_rest_ms(&self) -> Option<u64> {
        (self.follower.until_ms > self.now_ms).then(|| self.follower.until_ms.min(self.now_ms + WAIT_MS_MAX))
    }

    /// Leaders of throttled partitions gave this.
    pub(crate) fn got(&mut self, bytes: usize) {
        self.follower.pay(self.rates.follower, self.now_ms, bytes);
    }

    /// Until when nothing is read for moves between log directories.
    pub(crate) fn moves_rest_ms(&self) -> Option<u64> {
        (self.moves.until_ms > self.now_ms).then_some(self.moves.until_ms)
    }

    /// So much was read for a move.
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.moves.pay(self.rates.moves, self.now_ms, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;

    fn throttles(rate: &str) -> Throttles {
        let keys = [("leader.replication.throttled.rate", rate), ("follower.replication.throttled.rate", rate)];
        let start = BrokerConfig::from_pairs(keys).expect("legal");
        Throttles::read(&Layers { start: &start, broker: None, all_brokers: None })
    }

    #[test]
    fn what_was_copied_is_paid_for_by_waiting() {
        let mut throttles = throttles("1000");
        throttles.begin_step(5_000);
        assert!(!throttles.holds_followers());
        throttles.gave(500);
        throttles.gave(300);
        assert!(throttles.holds_followers());
        throttles.begin_step(5_799);
        assert!(throttles.holds_followers());
        throttles.begin_step(5_800);
        assert!(!throttles.holds_followers());
        throttles.gave(0);
        assert!(!throttles.holds_followers());
        assert_eq!(throttles.fetches_rest_ms(), None, "the other direction has a rate of its own");
    }

    #[test]
    fn who_was_left_out_is_looked_at_when_it_is_paid_for_or_soon() {
        let mut throttles = throttles("1000");
        throttles.begin_step(5_000);
        assert_eq!(throttles.next_due_ms(), u64::MAX);
        throttles.gave(300);
        throttles.left_out(7);
        assert_eq!(throttles.next_due_ms(), 5_300);
        assert!(throttles.take_left_out().is_empty());
        throttles.begin_step(5_300);
        assert_eq!(throttles.take_left_out(), BTreeSet::from([7]));
        throttles.gave(1_000_000);
        throttles.left_out(7);
        assert_eq!(throttles.next_due_ms(), 6_300);
        throttles.got(1_000_000);
        assert_eq!(throttles.fetches_rest_ms(), Some(6_300));
    }

    #[test]
    fn without_a_rate_nobody_waits_and_with_none_at_all_nearly_forever() {
        let start = BrokerConfig::from_pairs([("log.dirs", "d")]).expect("legal");
        let layers = Layers { start: &start, broker: None, all_brokers: None };
        let mut throttles = Throttles::read(&layers);
        throttles.begin_step(5_000);
        throttles.gave(usize::MAX / 2);
        throttles.begin_step(8_000);
        assert!(!throttles.holds_followers());
        let mut throttles = self::throttles("0");
        throttles.begin_step(5_000);
        throttles.gave(1);
        throttles.begin_step(5_000_000);
        assert!(throttles.holds_followers());
        assert!(throttles.refresh(&layers), "another rate");
        assert!(!throttles.holds_followers());
    }
}
