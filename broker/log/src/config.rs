//! The settings of a topic that its logs act on.
//!
//! Shared by the logs of a topic and replaced whole when the topic's configuration changes. Names are those of Kafka's topic
//! configuration; who may set what, and to which values, is decided above.

use crate::disk::Durability;

/// Settings of one topic's logs.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment ends before the batch that would make it larger.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment ends at a batch that is this much younger than its first one.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to this much less, so that partitions do not all roll at once.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: a segment ends when its index would grow past this.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: bytes between index entries.
    pub index_interval_bytes: u32,
    /// Whether `cleanup.policy` holds `delete`: without it only what lies below the log start is removed.
    pub expires: bool,
    /// `retention.ms`; -1 keeps records however old.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 keeps records however many.
    pub retention_bytes: i64,
    /// Whether `cleanup.policy` holds `compact`: of every key the latest record is kept.
    pub compacts: bool,
    /// `min.cleanable.dirty.ratio`: the part of the log that has to be new before it is compacted.
    pub min_cleanable_ratio: f64,
    /// `delete.retention.ms`: how long a tombstone stays once a compaction saw it.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: records younger than this are not compacted.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: records older than this are compacted, whatever the ratio.
    pub max_compaction_lag_ms: i64,
    /// `file.delete.delay.ms`: how long a removed file lies there for readers that were sent to it.
    pub file_delete_delay_ms: i64,
    /// When a record counts as readable (`durability`).
    pub durability: Durability,
    /// `producer.id.expiration.ms`: a producer is forgotten when it was silent for this long.
    pub producer_id_expiration_ms: i64,
    /// Producers remembered a partition; beyond, those silent longest are forgotten.
    pub producers_max: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            expires: true,
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            retention_bytes: -1,
            compacts: false,
            min_cleanable_ratio: 0.5,
            delete_retention_ms: 24 * 60 * 60 * 1000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            durability: Durability::Durable,
            producer_id_expiration_ms: 24 * 60 * 60 * 1000,
            // About 200 bytes each: 20 MB for a partition that somebody floods with producer ids.
            producers_max: 100_000,
        }
    }
}
