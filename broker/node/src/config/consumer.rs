//! What the configuration of a consumer group comes to.

use super::BrokerConfig;
use super::group::group_text;
use super::layers::Overrides;

/// A consumer group's keys, typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerConfig {
    pub assignment_interval_ms: i32,
    pub heartbeat_interval_ms: i32,
    pub session_timeout_ms: u64,
}

impl ConsumerConfig {
    /// Reads the keys of a group; `overrides` are its own.
    pub(crate) fn read(start: &BrokerConfig, overrides: Option<&Overrides>) -> Self {
        let number = |key: &str| group_text(start, overrides, key).parse::<i32>().unwrap_or(i32::MAX);
        Self {
            assignment_interval_ms: number("consumer.assignment.interval.ms"),
            heartbeat_interval_ms: number("consumer.heartbeat.interval.ms"),
            session_timeout_ms: u64::try_from(number("consumer.session.timeout.ms")).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_sets_goes_before_what_the_broker_says() {
        let start = BrokerConfig::from_pairs([("group.consumer.session.timeout.ms", "50000")]).expect("legal");
        let overrides = Overrides::from([("consumer.heartbeat.interval.ms".to_owned(), "6000".to_owned())]);
        let config = ConsumerConfig::read(&start, Some(&overrides));
        let expected = ConsumerConfig { assignment_interval_ms: 0, heartbeat_interval_ms: 6000, session_timeout_ms: 50_000 };
        assert_eq!(config, expected);
    }
}
