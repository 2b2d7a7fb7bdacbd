//! Start-up keys that handlers look at often, read once.

use crate::config::BrokerConfig;
use crate::quorum::Timing;
use crate::replica::fetchers::Bounds;
use crate::replica::selection::RACK_AWARE;

#[derive(Clone, Debug)]
pub struct Settings {
    pub rack: Option<String>,
    /// Consumers are sent to a replica in their own rack.
    pub selects_by_rack: bool,
    pub auto_create_topics: bool,
    pub delete_topics: bool,
    pub partitions_default: i32,
    pub replication_factor_default: i16,
    pub partitions_max: usize,
    pub fetch_bytes_max: i64,
    pub fetch_sessions_max: usize,
    pub describe_partitions_max: i32,
    pub checkpoint_interval_ms: u64,
    pub checkpoint_bytes_min: u64,
    pub high_watermark_checkpoint_interval_ms: u64,
    pub retention_check_interval_ms: u64,
    pub tail_cache_bytes: usize,
    pub producer_id_expiration_ms: i64,
    pub broker_session_timeout_ms: u64,
    /// Between two rounds in which partitions are given back to their preferred leaders; none if that is switched off.
    pub rebalance_interval_ms: Option<u64>,
    /// What a follower asks for at most.
    pub(crate) replica_fetch: Bounds,
    pub replica_backoff_ms: u64,
    pub replica_lag_max_ms: u64,
    pub heartbeat_interval_ms: u64,
    /// How long the controller may not know that a log directory failed.
    pub log_dir_failure_timeout_ms: u64,
    pub quorum_request_timeout_ms: u32,
    /// Of metadata, and of a snapshot of it, in one answer at most.
    pub quorum_fetch_bytes: i32,
    pub quorum_snapshot_bytes: i32,
    pub quorum: Timing,
}

impl Settings {
    /// Reads the keys.
    pub fn read(config: &BrokerConfig) -> Self {
        let count = |key: &str| usize::try_from(config.number(key)).unwrap_or(0);
        let millis = |key: &str| u64::try_from(config.number(key)).unwrap_or(0);
        let int = |key: &str| i32::try_from(config.number(key)).unwrap_or(i32::MAX);
        Self {
            rack: config.text("broker.rack").map(str::to_owned),
            selects_by_rack: config.text("replica.selector.class") == Some(RACK_AWARE),
            auto_create_topics: config.boolean("auto.create.topics.enable"),
            delete_topics: config.boolean("delete.topic.enable"),
            partitions_default: int("num.partitions"),
            replication_factor_default: i16::try_from(config.number("default.replication.factor")).unwrap_or(1),
            partitions_max: count("partitions.per.broker.max"),
            fetch_bytes_max: config.number("fetch.max.bytes"),
            fetch_sessions_max: count("max.incremental.fetch.session.cache.slots"),
            describe_partitions_max: int("max.request.partition.size.limit"),
            checkpoint_interval_ms: millis("log.flush.offset.checkpoint.interval.ms"),
            checkpoint_bytes_min: u64::try_from(config.number("log.flush.offset.checkpoint.min.bytes")).unwrap_or(0),
            high_watermark_checkpoint_interval_ms: millis("replica.high.watermark.checkpoint.interval.ms"),
            retention_check_interval_ms: millis("log.retention.check.interval.ms"),
            tail_cache_bytes: count("tail.cache.bytes"),
            producer_id_expiration_ms: config.number("producer.id.expiration.ms"),
            broker_session_timeout_ms: millis("broker.session.timeout.ms"),
            rebalance_interval_ms: config
                .boolean("auto.leader.rebalance.enable")
                .then(|| millis("leader.imbalance.check.interval.seconds") * 1000),
            replica_fetch: Bounds {
                wait_ms: int("replica.fetch.wait.max.ms"),
                bytes_min: int("replica.fetch.min.bytes"),
                bytes_max: int("replica.fetch.response.max.bytes"),
                partition_bytes_max: int("replica.fetch.max.bytes"),
            },
            replica_backoff_ms: millis("replica.fetch.backoff.ms"),
            replica_lag_max_ms: millis("replica.lag.time.max.ms"),
            heartbeat_interval_ms: millis("broker.heartbeat.interval.ms"),
            log_dir_failure_timeout_ms: millis("log.dir.failure.timeout.ms"),
            quorum_request_timeout_ms: u32::try_from(config.number("controller.quorum.request.timeout.ms")).unwrap_or(u32::MAX),
            quorum_fetch_bytes: int("controller.quorum.fetch.max.bytes"),
            quorum_snapshot_bytes: int("controller.quorum.fetch.snapshot.max.bytes"),
            quorum: Timing {
                election_ms: millis("controller.quorum.election.timeout.ms"),
                fetch_ms: millis("controller.quorum.fetch.timeout.ms"),
                backoff_max_ms: millis("controller.quorum.election.backoff.max.ms"),
                retry_ms: millis("controller.quorum.retry.backoff.ms"),
            },
        }
    }
}
