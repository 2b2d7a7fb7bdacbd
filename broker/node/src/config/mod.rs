//! Configuration: every key is a row of a table, every value comes from a layer.
//!
//! Layers of a broker key, strongest first: set for this broker, set for all brokers (both in the metadata log), given
//! at start, the default. A topic key lies on top of the broker key that gives its default. An accepted key acts; an
//! unknown one is refused.

pub mod broker;
pub(crate) mod consumer;
pub mod group;
mod layers;
pub mod row;
pub(crate) mod share;
pub mod throttled;
pub mod topic;

use std::collections::BTreeMap;

use broker::BROKER_KEYS;
pub use group::{check_group, group_row};
pub use layers::{Layers, Source, Synonym, Value};
use row::{Row, Scope, ValueError, find};
use topic::CompactionLags;

/// What was given at start: the file, then `--set`. Checked against the table.
#[derive(Clone, Debug, Default)]
pub struct BrokerConfig {
    given: BTreeMap<&'static str, String>,
}

impl BrokerConfig {
    /// Takes pairs of key and value; a later pair wins.
    ///
    /// # Errors
    /// [`ValueError`] for the first key that is unknown or whose value is not legal, or for two that contradict each other.
    pub fn from_pairs<K: AsRef<str>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, ValueError> {
        let mut config = Self::default();
        for (key, value) in pairs {
            config.set(key.as_ref(), value.into())?;
        }
        group::check_start(&config)?;
        CompactionLags::read(&Layers { start: &config, broker: None, all_brokers: None }, None).check()?;
        Ok(config)
    }

    /// Sets one key.
    ///
    /// # Errors
    /// [`ValueError`] if the key is unknown or the value not legal.
    pub fn set(&mut self, key: &str, value: String) -> Result<(), ValueError> {
        let row = broker_row(key)?;
        row.check(&value)?;
        self.given.insert(row.name, value.trim().to_owned());
        Ok(())
    }

    /// The text that was given for a key, if any.
    pub fn given(&self, key: &str) -> Option<&str> {
        self.given.get(key).map(String::as_str)
    }

    /// The text in force without what the metadata log says: given, or the default.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.given(key).or_else(|| find(BROKER_KEYS, key).and_then(|row| row.default))
    }

    /// A number key's value; 0 for a key without one.
    pub fn number(&self, key: &str) -> i64 {
        self.text(key).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// A boolean key's value.
    pub fn boolean(&self, key: &str) -> bool {
        self.text(key) == Some("true")
    }
}

/// The row of a broker key.
///
/// # Errors
/// [`ValueError::UnknownKey`].
pub fn broker_row(key: &str) -> Result<&'static Row, ValueError> {
    find(BROKER_KEYS, key).ok_or_else(|| ValueError::UnknownKey { key: key.to_owned() })
}

/// The row of a topic key.
///
/// # Errors
/// [`ValueError::UnknownKey`].
pub fn topic_row(key: &str) -> Result<&'static Row, ValueError> {
    find(topic::TOPIC_KEYS, key).ok_or_else(|| ValueError::UnknownKey { key: key.to_owned() })
}

/// Checks a value for a topic.
///
/// # Errors
/// [`ValueError`] if the key is unknown or the value not legal.
pub fn check_topic(key: &str, value: &str) -> Result<(), ValueError> {
    topic_row(key)?.check(value)
}

/// Checks a value for a running broker.
///
/// # Errors
/// [`ValueError`] if the key is unknown, can only be set at start, or the value is not legal.
pub fn check_broker(key: &str, value: &str) -> Result<(), ValueError> {
    let row = broker_row(key)?;
    if row.scope == Scope::Start {
        return Err(ValueError::OnlyAtStart { key: key.to_owned() });
    }
    row.check(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_so_that_every_key_is_found() {
        assert!(BROKER_KEYS.is_sorted_by(|left, right| left.name < right.name));
        assert!(topic::TOPIC_KEYS.is_sorted_by(|left, right| left.name < right.name));
        assert!(group::GROUP_KEYS.is_sorted_by(|left, right| left.name < right.name));
    }

    #[test]
    fn every_default_is_legal_and_every_topic_key_has_its_broker_key() {
        for row in BROKER_KEYS.iter().chain(topic::TOPIC_KEYS).chain(group::GROUP_KEYS) {
            if let Some(default) = row.default {
                assert_eq!(row.check(default), Ok(()), "{}", row.name);
            }
        }
        // Which replicas are throttled is a topic's own.
        for row in topic::TOPIC_KEYS.iter().filter(|row| row.kind != row::Kind::Replicas) {
            let key = row.broker_key.expect("topic keys have a broker key");
            assert!(broker_row(key).is_ok(), "{key}");
        }
    }

    #[test]
    fn a_group_key_is_bounded_by_the_broker() {
        let start = BrokerConfig::from_pairs([("group.share.max.record.lock.duration.ms", "40000")]).expect("legal");
        assert!(check_group(&start, "share.record.lock.duration.ms", "40000").is_ok());
        assert!(check_group(&start, "share.record.lock.duration.ms", "40001").is_err());
        assert!(check_group(&start, "share.auto.offset.reset", "by_duration:PT1H").is_ok());
        assert!(check_group(&start, "share.auto.offset.reset", "never").is_err());
        let odd = BrokerConfig::from_pairs([("group.share.record.lock.duration.ms", "60001")]);
        assert!(odd.is_err(), "the default of the most is 60000");
    }

    #[test]
    fn a_compaction_that_is_due_before_it_may_be_is_refused() {
        let start = |least: &str, most: &str| {
            BrokerConfig::from_pairs([
                ("log.cleaner.min.compaction.lag.ms", least),
                ("log.cleaner.max.compaction.lag.ms", most),
            ])
        };
        assert!(start("5", "5").is_ok());
        let error = start("6", "5").expect_err("they contradict each other");
        let said = "conflict topic config setting min.compaction.lag.ms (6) > max.compaction.lag.ms (5)";
        assert_eq!(error.to_string(), said);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = BrokerConfig::from_pairs([("log.segment.bites", "1")]).expect_err("unknown");
        assert_eq!(error.to_string(), "unknown configuration key log.segment.bites");
    }

    #[test]
    fn a_key_that_is_read_at_start_cannot_be_altered_later() {
        assert!(matches!(check_broker("node.id", "2"), Err(ValueError::OnlyAtStart { .. })));
    }
}
