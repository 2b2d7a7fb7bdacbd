//! The keys a topic may set, and what a partition needs of them.

use std::sync::Arc;

use strandline_log::config::LogConfig;
use strandline_log::disk::Durability;
use strandline_protocol::records::{Compression, CompressionRule, ProduceRules, TimestampType};

use super::layers::{Layers, Overrides};
use super::row::{Kind, Row, Scope, ValueError, find, words_of};
use super::throttled::ThrottledReplicas;

/// Words of `compression.type`; `producer` keeps what was sent.
pub const COMPRESSIONS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
/// Words of `cleanup.policy`.
pub const POLICIES: &[&str] = &["compact", "delete"];
/// Words of `message.timestamp.type`.
pub const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
/// Words of `durability`.
pub const DURABILITIES: &[&str] = &["fsync", "replicated"];

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: i64 = i64::MAX;
const LONG_MAX_TEXT: &str = "9223372036854775807";

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    unit: &'static str,
    broker_key: Option<&'static str>,
    prose: &'static str,
) -> Row {
    Row { name, kind, default: Some(default), unit, scope: Scope::Dynamic, broker_key, prose }
}

/// Every topic key, sorted by name. Names, types and defaults are Kafka 4.3.1's, `durability` is ours.
#[rustfmt::skip]
pub const TOPIC_KEYS: &[Row] = &[
    row("cleanup.policy", Kind::List(POLICIES), "delete", "", Some("log.cleanup.policy"), "What happens to old records: `delete` removes whole segments by time or size; `compact` keeps the latest record of every key and refuses records without one; both may be set; empty keeps everything."),
    row("compression.gzip.level", Kind::Int { least: -1, most: 9 }, "-1", "", Some("compression.gzip.level"), "Level used where `compression.type` is gzip; -1 is the codec's default."),
    row("compression.lz4.level", Kind::Int { least: 9, most: 9 }, "9", "", Some("compression.lz4.level"), "The lz4 encoder has one level; another is refused."),
    row("compression.type", Kind::OneOf(COMPRESSIONS), "producer", "", Some("compression.type"), "Codec of stored batches: `producer` keeps them as they come, any other compresses anew what came otherwise."),
    row("compression.zstd.level", Kind::Int { least: -131_072, most: 22 }, "3", "", Some("compression.zstd.level"), "Level used where `compression.type` is zstd."),
    row("delete.retention.ms", Kind::Long { least: 0, most: LONG_MAX }, "86400000", "ms", Some("log.cleaner.delete.retention.ms"), "How long a tombstone stays once a compaction saw it: a reader that is slower than this may miss that its key was deleted."),
    row("durability", Kind::OneOf(DURABILITIES), "fsync", "", Some("durability"), "When a record counts: `fsync` once it is on the device of every in-sync replica, `replicated` once every in-sync replica has written it."),
    row("file.delete.delay.ms", Kind::Long { least: 0, most: LONG_MAX }, "60000", "ms", Some("log.segment.delete.delay.ms"), "How long a removed segment stays as a `.deleted` file."),
    row("flush.messages", Kind::Long { least: 1, most: LONG_MAX }, LONG_MAX_TEXT, "records", Some("log.flush.interval.messages"), "Any value below the default makes every append durable, which is what `durability=fsync` does anyway."),
    row("flush.ms", Kind::Long { least: 0, most: LONG_MAX }, LONG_MAX_TEXT, "ms", Some("log.flush.interval.ms"), "Any value below the default makes every append durable, which is what `durability=fsync` does anyway."),
    row("follower.replication.throttled.replicas", Kind::Replicas, "", "", None, "Followers that fetch no more than `follower.replication.throttled.rate` of their brokers while they are not in sync: `*`, or a list of PARTITION:BROKER."),
    row("index.interval.bytes", Kind::Int { least: 0, most: INT_MAX }, "4096", "bytes", Some("log.index.interval.bytes"), "Bytes of log between two entries of the offset and time index."),
    row("leader.replication.throttled.replicas", Kind::Replicas, "", "", None, "Leaders that give followers which are not in sync no more than `leader.replication.throttled.rate` of their brokers: `*`, or a list of PARTITION:BROKER."),
    row("max.compaction.lag.ms", Kind::Long { least: 1, most: LONG_MAX }, LONG_MAX_TEXT, "ms", Some("log.cleaner.max.compaction.lag.ms"), "A record older than this is compacted however little of the log is dirty; a segment spans no more time either."),
    row("max.message.bytes", Kind::Int { least: 0, most: INT_MAX }, "1048588", "bytes", Some("message.max.bytes"), "Largest batch that is taken, as stored."),
    row("message.timestamp.after.max.ms", Kind::Long { least: 0, most: LONG_MAX }, "3600000", "ms", Some("log.message.timestamp.after.max.ms"), "How far a record's timestamp may lie ahead of the broker's clock."),
    row("message.timestamp.before.max.ms", Kind::Long { least: 0, most: LONG_MAX }, LONG_MAX_TEXT, "ms", Some("log.message.timestamp.before.max.ms"), "How far a record's timestamp may lie behind the broker's clock."),
    row("message.timestamp.type", Kind::OneOf(TIMESTAMP_TYPES), "CreateTime", "", Some("log.message.timestamp.type"), "Whose clock stamps records: the producer's or the broker's."),
    row("min.cleanable.dirty.ratio", Kind::Ratio, "0.5", "", Some("log.cleaner.min.cleanable.ratio"), "The part of a log that must be dirty, more than this, before it is compacted."),
    row("min.compaction.lag.ms", Kind::Long { least: 0, most: LONG_MAX }, "0", "ms", Some("log.cleaner.min.compaction.lag.ms"), "A record younger than this is not compacted."),
    row("min.insync.replicas", Kind::Int { least: 1, most: INT_MAX }, "1", "replicas", Some("min.insync.replicas"), "In-sync replicas that an acks=all produce needs; never more than the topic has replicas."),
    row("retention.bytes", Kind::Long { least: -1, most: LONG_MAX }, "-1", "bytes", Some("log.retention.bytes"), "Size of a partition above which its oldest segments go; -1 is no limit."),
    row("retention.ms", Kind::Long { least: -1, most: LONG_MAX }, "604800000", "ms", Some("log.retention.ms"), "Age of its newest record at which a segment goes; -1 is no limit."),
    row("segment.bytes", Kind::Int { least: 1_048_576, most: INT_MAX }, "1073741824", "bytes", Some("log.segment.bytes"), "Size at which a new segment begins."),
    row("segment.index.bytes", Kind::Int { least: 4, most: INT_MAX }, "10485760", "bytes", Some("log.index.size.max.bytes"), "Size of the offset index at which a new segment begins."),
    row("segment.jitter.ms", Kind::Long { least: 0, most: LONG_MAX }, "0", "ms", Some("log.roll.jitter.ms"), "Largest random time taken off `segment.ms`, so that segments do not all roll at once."),
    row("segment.ms", Kind::Long { least: 1, most: LONG_MAX }, "604800000", "ms", Some("log.roll.ms"), "Span of record time in one segment."),
    row("unclean.leader.election.enable", Kind::OneOf(&["false"]), "false", "", Some("unclean.leader.election.enable"), "A replica that is not in sync never becomes leader by itself; `true` is refused."),
];

/// What a topic's keys come to, typed.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    pub log: Arc<LogConfig>,
    pub rules: ProduceRules,
    pub durability: Durability,
    pub min_insync_replicas: i32,
    /// Whether DeleteRecords is allowed: the policy names `delete` or nothing at all.
    pub deletes: bool,
    pub leader_throttled: ThrottledReplicas,
    pub follower_throttled: ThrottledReplicas,
}

/// How long a record stays out of compaction at least, and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionLags {
    least_ms: i64,
    most_ms: i64,
}

impl CompactionLags {
    const LEAST: &str = "min.compaction.lag.ms";
    const MOST: &str = "max.compaction.lag.ms";

    /// What holds for a topic with these keys of its own.
    pub fn read(layers: &Layers<'_>, overrides: Option<&Overrides>) -> Self {
        let number = |key| {
            let text = find(TOPIC_KEYS, key).and_then(|row| layers.topic_value(row, overrides).text);
            text.and_then(|text| text.trim().parse().ok()).unwrap_or_default()
        };
        Self { least_ms: number(Self::LEAST), most_ms: number(Self::MOST) }
    }

    /// What holds where a topic has keys of its own on top.
    #[must_use]
    pub fn with(self, overrides: &Overrides) -> Self {
        let own = |key, below| overrides.get(key).and_then(|text| text.trim().parse().ok()).unwrap_or(below);
        Self { least_ms: own(Self::LEAST, self.least_ms), most_ms: own(Self::MOST, self.most_ms) }
    }

    /// Whether a key is one of the two, or gives their defaults.
    pub fn are_set_by(key: &str) -> bool {
        let gives = |name| find(TOPIC_KEYS, name).and_then(|row| row.broker_key);
        [Self::LEAST, Self::MOST].iter().any(|name| key == *name || gives(name) == Some(key))
    }

    /// # Errors
    /// [`ValueError::Conflict`] if a record would have to be compacted before it may. Source: LogConfig.validateValues.
    pub fn check(self) -> Result<(), ValueError> {
        if self.least_ms <= self.most_ms {
            return Ok(());
        }
        Err(ValueError::Conflict { least: (Self::LEAST, self.least_ms), most: (Self::MOST, self.most_ms) })
    }
}

impl TopicConfig {
    /// Reads the typed values. `value` gives the effective text of a key; every text was checked against its row.
    pub fn read<'a>(value: impl Fn(&'static str) -> &'a str, producer_id_expiration_ms: i64) -> Self {
        let number = |key| value(key).trim().parse::<i64>().unwrap_or_default();
        let policy: Vec<&str> = words_of(value("cleanup.policy")).collect();
        let deletes = policy.contains(&"delete");
        let compacts = policy.contains(&"compact");
        let max_compaction_lag_ms = number("max.compaction.lag.ms");
        // Only what lies in a finished segment is compacted, so no segment may span more time than that (KIP-354).
        let segment_ms = if compacts { number("segment.ms").min(max_compaction_lag_ms) } else { number("segment.ms") };
        let flushes = number("flush.messages") != LONG_MAX || number("flush.ms") != LONG_MAX;
        let durability = if value("durability") == "fsync" || flushes { Durability::Durable } else { Durability::Written };
        let log = LogConfig {
            segment_bytes: clamp_u32(number("segment.bytes")),
            segment_ms,
            segment_jitter_ms: number("segment.jitter.ms"),
            segment_index_bytes: clamp_u32(number("segment.index.bytes")),
            index_interval_bytes: clamp_u32(number("index.interval.bytes")),
            compacts,
            min_cleanable_ratio: value("min.cleanable.dirty.ratio").trim().parse().unwrap_or_default(),
            delete_retention_ms: number("delete.retention.ms"),
            min_compaction_lag_ms: number("min.compaction.lag.ms"),
            max_compaction_lag_ms,
            expires: deletes,
            retention_ms: number("retention.ms"),
            retention_bytes: number("retention.bytes"),
            file_delete_delay_ms: number("file.delete.delay.ms"),
            durability,
            producer_id_expiration_ms,
            ..LogConfig::default()
        };
        let rules = ProduceRules {
            max_message_bytes: usize::try_from(number("max.message.bytes")).unwrap_or(0),
            segment_bytes: usize::try_from(number("segment.bytes")).unwrap_or(usize::MAX),
            timestamp_type: if value("message.timestamp.type") == "LogAppendTime" {
                TimestampType::LogAppendTime
            } else {
                TimestampType::CreateTime
            },
            before_max_ms: number("message.timestamp.before.max.ms"),
            after_max_ms: number("message.timestamp.after.max.ms"),
            compacted: compacts,
            compression: compression(value("compression.type"), number),
        };
        Self {
            log: Arc::new(log),
            rules,
            durability,
            min_insync_replicas: i32::try_from(number("min.insync.replicas")).unwrap_or(i32::MAX),
            deletes: deletes || policy.is_empty(),
            leader_throttled: ThrottledReplicas::parse(value("leader.replication.throttled.replicas")).unwrap_or_default(),
            follower_throttled: ThrottledReplicas::parse(value("follower.replication.throttled.replicas")).unwrap_or_default(),
        }
    }
}

fn compression(word: &str, number: impl Fn(&'static str) -> i64) -> CompressionRule {
    let level = |key, default| i32::try_from(number(key)).ok().filter(|level| *level != -1).unwrap_or(default);
    match word {
        "uncompressed" => CompressionRule::Always(Compression::None),
        "gzip" => CompressionRule::Always(Compression::Gzip {
            level: level("compression.gzip.level", Compression::GZIP_LEVEL_DEFAULT),
        }),
        "snappy" => CompressionRule::Always(Compression::Snappy),
        "lz4" => CompressionRule::Always(Compression::Lz4),
        "zstd" => CompressionRule::Always(Compression::Zstd {
            level: level("compression.zstd.level", Compression::ZSTD_LEVEL_DEFAULT),
        }),
        _ => CompressionRule::Producer,
    }
}

fn clamp_u32(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}
