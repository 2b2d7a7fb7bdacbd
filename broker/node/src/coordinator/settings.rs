//! Start-up keys that coordinators look at, read once.

use super::group::migration::MigrationPolicy;
use crate::config::BrokerConfig;

#[derive(Clone, Debug)]
pub(crate) struct CoordinatorSettings {
    pub initial_rebalance_delay_ms: u64,
    pub session_timeout_min_ms: i32,
    pub session_timeout_max_ms: i32,
    pub classic_members_max: usize,
    pub consumer_members_max: usize,
    pub consumer_heartbeat_interval_ms: i32,
    pub consumer_session_timeout_ms: u64,
    pub migration_policy: MigrationPolicy,
    pub offset_metadata_bytes_max: usize,
    pub lag_partitions_max: usize,
    pub commit_timeout_ms: u64,
    pub offsets_retention_ms: i64,
    pub offsets_retention_check_interval_ms: u64,
    pub offsets_topic: InternalTopic,
}

/// How an internal topic is made when it is needed first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InternalTopic {
    pub partitions: i32,
    pub replication_factor: i16,
    pub segment_bytes: i64,
}

impl CoordinatorSettings {
    /// Reads the keys.
    pub(crate) fn read(config: &BrokerConfig) -> Self {
        let int = |key: &str| i32::try_from(config.number(key)).unwrap_or(i32::MAX);
        let count = |key: &str| usize::try_from(config.number(key)).unwrap_or(0);
        let millis = |key: &str| u64::try_from(config.number(key)).unwrap_or(0);
        Self {
            initial_rebalance_delay_ms: millis("group.initial.rebalance.delay.ms"),
            session_timeout_min_ms: int("group.min.session.timeout.ms"),
            session_timeout_max_ms: int("group.max.session.timeout.ms"),
            classic_members_max: count("group.max.size"),
            consumer_members_max: count("group.consumer.max.size"),
            consumer_heartbeat_interval_ms: int("group.consumer.heartbeat.interval.ms"),
            consumer_session_timeout_ms: millis("group.consumer.session.timeout.ms"),
            migration_policy: MigrationPolicy::of(config.text("group.consumer.migration.policy").unwrap_or_default()),
            lag_partitions_max: count("group.lag.partitions.max"),
            offset_metadata_bytes_max: count("offset.metadata.max.bytes"),
            commit_timeout_ms: millis("offsets.commit.timeout.ms"),
            offsets_retention_ms: config.number("offsets.retention.minutes").saturating_mul(60_000),
            offsets_retention_check_interval_ms: millis("offsets.retention.check.interval.ms"),
            offsets_topic: InternalTopic {
                partitions: int("offsets.topic.num.partitions"),
                replication_factor: i16::try_from(config.number("offsets.topic.replication.factor")).unwrap_or(1),
                segment_bytes: config.number("offsets.topic.segment.bytes"),
            },
        }
    }
}
