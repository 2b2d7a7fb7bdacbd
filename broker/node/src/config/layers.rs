//! Which layer a value comes from.

use std::collections::BTreeMap;

use super::row::{Row, find};
use super::topic::{TOPIC_KEYS, TopicConfig};
use super::{BROKER_KEYS, BrokerConfig};

/// Keys and values that the metadata log holds for one resource.
pub(super) type Overrides = BTreeMap<String, String>;

/// Where a value comes from, with Kafka's numbers (DescribeConfigsResponse.ConfigSource).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Topic = 1,
    Broker = 2,
    AllBrokers = 3,
    Start = 4,
    Default = 5,
    Group = 8,
}

/// One layer that holds a value for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: &'static str,
    pub value: String,
    pub source: Source,
}

/// A key's value in force, and every layer that would give one, strongest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub row: &'static Row,
    pub text: Option<String>,
    pub source: Source,
    pub synonyms: Vec<Synonym>,
}

/// All layers below the topics.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    pub start: &'a BrokerConfig,
    pub broker: Option<&'a Overrides>,
    pub all_brokers: Option<&'a Overrides>,
}

impl Layers<'_> {
    /// A broker key with its layers.
    pub fn broker_value(&self, row: &'static Row) -> Value {
        self.settle(row, self.broker_synonyms(row.name))
    }

    /// The number of a broker key in force.
    pub fn broker_number(&self, key: &str) -> i64 {
        let value = find(BROKER_KEYS, key).and_then(|row| self.broker_value(row).text);
        value.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// The fraction of a broker key in force.
    pub fn broker_fraction(&self, key: &str) -> Option<f64> {
        let row = find(BROKER_KEYS, key)?;
        self.broker_value(row).text?.trim().parse().ok()
    }

    /// A topic key with its layers; `overrides` are the topic's own.
    pub fn topic_value(&self, row: &'static Row, overrides: Option<&Overrides>) -> Value {
        let mut synonyms = Vec::new();
        push(&mut synonyms, row.name, overrides, Source::Topic);
        for (key, factor) in broker_keys(row) {
            for mut synonym in self.broker_synonyms(key) {
                if *factor != 1 {
                    synonym.value = scaled(&synonym.value, *factor);
                }
                synonyms.push(synonym);
            }
        }
        self.settle(row, synonyms)
    }

    /// A group key with its layers; `overrides` are the group's own.
    pub fn group_value(&self, row: &'static Row, overrides: Option<&Overrides>) -> Value {
        let below = row.broker_key.map_or_else(Vec::new, |key| self.broker_synonyms(key));
        let value = self.settle(row, below);
        let Some(own) = overrides.and_then(|overrides| overrides.get(row.name)) else { return value };
        let synonym = Synonym { name: row.name, value: own.clone(), source: Source::Group };
        let synonyms = std::iter::once(synonym).chain(value.synonyms).collect();
        Value { row, text: Some(own.clone()), source: Source::Group, synonyms }
    }

    /// A topic's keys, typed.
    pub fn topic_config(&self, overrides: Option<&Overrides>) -> TopicConfig {
        let texts: BTreeMap<&'static str, String> =
            TOPIC_KEYS.iter().map(|row| (row.name, self.topic_value(row, overrides).text.unwrap_or_default())).collect();
        TopicConfig::read(|key| texts.get(key).map_or("", String::as_str), self.start.number("producer.id.expiration.ms"))
    }

    fn settle(&self, row: &'static Row, synonyms: Vec<Synonym>) -> Value {
        let strongest = synonyms.iter().min_by_key(|synonym| synonym.source as i8);
        Value {
            row,
            text: strongest.map(|synonym| synonym.value.clone()).or(row.default.map(str::to_owned)),
            source: strongest.map_or(Source::Default, |synonym| synonym.source),
            synonyms,
        }
    }

    fn broker_synonyms(&self, key: &'static str) -> Vec<Synonym> {
        let mut synonyms = Vec::new();
        push(&mut synonyms, key, self.broker, Source::Broker);
        push(&mut synonyms, key, self.all_brokers, Source::AllBrokers);
        if let Some(value) = self.start.given(key) {
            synonyms.push(Synonym { name: key, value: value.to_owned(), source: Source::Start });
        }
        if let Some(value) = find(BROKER_KEYS, key).and_then(|row| row.default) {
            synonyms.push(Synonym { name: key, value: value.to_owned(), source: Source::Default });
        }
        synonyms
    }
}

fn push(synonyms: &mut Vec<Synonym>, key: &'static str, overrides: Option<&Overrides>, source: Source) {
    if let Some(value) = overrides.and_then(|overrides| overrides.get(key)) {
        synonyms.push(Synonym { name: key, value: value.clone(), source });
    }
}

/// The broker keys behind a topic key with what their number is multiplied by, strongest first.
fn broker_keys(row: &'static Row) -> &'static [(&'static str, i64)] {
    const MINUTE_MS: i64 = 60_000;
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    match row.name {
        "retention.ms" => &[("log.retention.ms", 1), ("log.retention.minutes", MINUTE_MS), ("log.retention.hours", HOUR_MS)],
        "segment.ms" => &[("log.roll.ms", 1), ("log.roll.hours", HOUR_MS)],
        _ => PLAIN.iter().find(|(name, _)| *name == row.name).map_or(&[], |(_, keys)| keys),
    }
}

/// Topic keys whose broker key has the same unit.
#[rustfmt::skip]
const PLAIN: &[(&str, &[(&str, i64)])] = &[
    ("cleanup.policy", &[("log.cleanup.policy", 1)]),
    ("compression.gzip.level", &[("compression.gzip.level", 1)]),
    ("compression.lz4.level", &[("compression.lz4.level", 1)]),
    ("compression.type", &[("compression.type", 1)]),
    ("compression.zstd.level", &[("compression.zstd.level", 1)]),
    ("delete.retention.ms", &[("log.cleaner.delete.retention.ms", 1)]),
    ("durability", &[("durability", 1)]),
    ("file.delete.delay.ms", &[("log.segment.delete.delay.ms", 1)]),
    ("flush.messages", &[("log.flush.interval.messages", 1)]),
    ("flush.ms", &[("log.flush.interval.ms", 1)]),
    ("index.interval.bytes", &[("log.index.interval.bytes", 1)]),
    ("max.compaction.lag.ms", &[("log.cleaner.max.compaction.lag.ms", 1)]),
    ("max.message.bytes", &[("message.max.bytes", 1)]),
    ("message.timestamp.after.max.ms", &[("log.message.timestamp.after.max.ms", 1)]),
    ("message.timestamp.before.max.ms", &[("log.message.timestamp.before.max.ms", 1)]),
    ("message.timestamp.type", &[("log.message.timestamp.type", 1)]),
    ("min.cleanable.dirty.ratio", &[("log.cleaner.min.cleanable.ratio", 1)]),
    ("min.compaction.lag.ms", &[("log.cleaner.min.compaction.lag.ms", 1)]),
    ("min.insync.replicas", &[("min.insync.replicas", 1)]),
    ("retention.bytes", &[("log.retention.bytes", 1)]),
    ("segment.bytes", &[("log.segment.bytes", 1)]),
    ("segment.index.bytes", &[("log.index.size.max.bytes", 1)]),
    ("segment.jitter.ms", &[("log.roll.jitter.ms", 1)]),
    ("unclean.leader.election.enable", &[("unclean.leader.election.enable", 1)]),
];

/// A negative number (no limit) stays what it is.
fn scaled(text: &str, factor: i64) -> String {
    text.parse::<i64>().map_or_else(
        |_| text.to_owned(),
        |number| if number < 0 { number.to_string() } else { number.saturating_mul(factor).to_string() },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic_row;

    fn retention(start: &BrokerConfig, all: &Overrides, topic: &Overrides) -> (Option<String>, Source) {
        let layers = Layers { start, broker: None, all_brokers: Some(all) };
        let value = layers.topic_value(topic_row("retention.ms").expect("known"), Some(topic));
        (value.text, value.source)
    }

    #[test]
    fn a_topic_goes_before_all_brokers_before_start_before_the_default() {
        let start = BrokerConfig::from_pairs([("log.retention.hours", "1")]).expect("legal");
        let none = Overrides::new();
        let all = Overrides::from([("log.retention.ms".to_owned(), "5".to_owned())]);
        let topic = Overrides::from([("retention.ms".to_owned(), "7".to_owned())]);
        assert_eq!(retention(&BrokerConfig::default(), &none, &none), (Some("604800000".to_owned()), Source::Default));
        assert_eq!(retention(&start, &none, &none), (Some("3600000".to_owned()), Source::Start));
        assert_eq!(retention(&start, &all, &none), (Some("5".to_owned()), Source::AllBrokers));
        assert_eq!(retention(&start, &all, &topic), (Some("7".to_owned()), Source::Topic));
    }

    #[test]
    fn no_limit_in_hours_is_no_limit_in_milliseconds() {
        let start = BrokerConfig::from_pairs([("log.retention.hours", "-1")]).expect("legal");
        let none = Overrides::new();
        assert_eq!(retention(&start, &none, &none).0, Some("-1".to_owned()));
    }
}
