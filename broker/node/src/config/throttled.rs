//! Which replicas of a topic are throttled: `leader.replication.throttled.replicas` and `follower.replication.throttled.replicas`.

use std::collections::BTreeSet;

use super::row::words_of;

/// Source: ThrottledReplicaListValidator, ConfigHandler.parseThrottledPartitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThrottledReplicas {
    All,
    /// Partitions and brokers.
    These(BTreeSet<(i32, i32)>),
}

impl ThrottledReplicas {
    /// Reads `*`, or `PARTITION:BROKER` several times.
    pub fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::All);
        }
        let one = |word: &str| {
            let (partition, broker) = word.split_once(':')?;
            Some((number(partition)?, number(broker)?))
        };
        words_of(text).map(one).collect::<Option<_>>().map(Self::These)
    }

    /// Whether the replica of the partition at the broker is one of them.
    pub fn has(&self, partition: i32, broker: i32) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => !these.is_empty() && these.contains(&(partition, broker)),
        }
    }
}

impl Default for ThrottledReplicas {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

fn number(text: &str) -> Option<i32> {
    text.trim().parse().ok().filter(|number| *number >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_named_one_by_one_or_all_at_once() {
        let some = ThrottledReplicas::parse("0:1, 3:2").expect("legal");
        assert!(some.has(0, 1) && some.has(3, 2) && !some.has(0, 2));
        assert!(ThrottledReplicas::parse("*").expect("legal").has(9, 9));
        assert_eq!(ThrottledReplicas::parse(""), Some(ThrottledReplicas::default()));
        for wrong in ["0", "0:", ":1", "a:1", "0:1:2", "*,0:1", "-1:1"] {
            assert_eq!(ThrottledReplicas::parse(wrong), None, "{wrong}");
        }
    }
}
