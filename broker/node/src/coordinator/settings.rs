//! Start-up keys that coordinators look at, read once.

use super::group::migration::MigrationPolicy;
use super::kind::Kind;
use crate::config::BrokerConfig;

#[derive(Clone, Debug)]
pub(crate) struct CoordinatorSettings {
    pub initial_rebalance_delay_ms: u64,
    pub session_timeout_min_ms: i32,
    pub session_timeout_max_ms: i32,
    pub classic_members_max: usize,
    pub consumer_members_max: usize,
    pub migration_policy: MigrationPolicy,
    pub offset_metadata_bytes_max: usize,
    pub lag_partitions_max: usize,
    pub commit_timeout_ms: u64,
    pub offsets_retention_ms: i64,
    pub offsets_retention_check_interval_ms: u64,
    pub share_members_max: usize,
    pub share_updates_per_snapshot: i64,
    pub share_prune_interval_ms: u64,
    pub share_write_timeout_ms: u64,
    pub transaction_timeout_max_ms: i32,
    pub transactional_id_expiration_ms: i64,
    pub abort_timed_out_interval_ms: u64,
    pub remove_expired_interval_ms: u64,
    pub verifies_partitions: bool,
    /// How long after the end of a transaction was decided requests of the next one wait.
    pub next_transaction_wait_max_ms: u64,
    offsets_topic: InternalTopic,
    share_topic: InternalTopic,
    transactions_topic: InternalTopic,
}

/// How an internal topic is made when it is needed first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InternalTopic {
    pub partitions: i32,
    pub replication_factor: i16,
    pub segment_bytes: i64,
    pub cleanup_policy: &'static str,
    pub compression: &'static str,
    /// As the cluster has it, if nothing is said.
    pub min_insync_replicas: Option<i32>,
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
            migration_policy: MigrationPolicy::of(config.text("group.consumer.migration.policy").unwrap_or_default()),
            lag_partitions_max: count("group.lag.partitions.max"),
            offset_metadata_bytes_max: count("offset.metadata.max.bytes"),
            commit_timeout_ms: millis("offsets.commit.timeout.ms"),
            offsets_retention_ms: config.number("offsets.retention.minutes").saturating_mul(60_000),
            offsets_retention_check_interval_ms: millis("offsets.retention.check.interval.ms"),
            share_members_max: count("group.share.max.size"),
            share_updates_per_snapshot: config.number("share.coordinator.snapshot.update.records.per.snapshot"),
            share_prune_interval_ms: millis("share.coordinator.state.topic.prune.interval.ms"),
            share_write_timeout_ms: millis("share.coordinator.write.timeout.ms"),
            share_topic: InternalTopic {
                partitions: int("share.coordinator.state.topic.num.partitions"),
                replication_factor: i16::try_from(config.number("share.coordinator.state.topic.replication.factor"))
                    .unwrap_or(1),
                segment_bytes: config.number("share.coordinator.state.topic.segment.bytes"),
                // Updates build on each other, so compaction would lose some: see `share`.
                cleanup_policy: "delete",
                compression: "producer",
                min_insync_replicas: Some(int("share.coordinator.state.topic.min.isr")),
            },
            transaction_timeout_max_ms: int("transaction.max.timeout.ms"),
            transactional_id_expiration_ms: config.number("transactional.id.expiration.ms"),
            abort_timed_out_interval_ms: millis("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            remove_expired_interval_ms: millis("transaction.remove.expired.transaction.cleanup.interval.ms"),
            verifies_partitions: config.boolean("transaction.partition.verification.enable"),
            next_transaction_wait_max_ms: millis("add.partitions.to.txn.retry.backoff.max.ms"),
            transactions_topic: InternalTopic {
                partitions: int("transaction.state.log.num.partitions"),
                replication_factor: i16::try_from(config.number("transaction.state.log.replication.factor")).unwrap_or(1),
                segment_bytes: config.number("transaction.state.log.segment.bytes"),
                cleanup_policy: "compact",
                compression: "uncompressed",
                min_insync_replicas: Some(int("transaction.state.log.min.isr")),
            },
            offsets_topic: InternalTopic {
                partitions: int("offsets.topic.num.partitions"),
                replication_factor: i16::try_from(config.number("offsets.topic.replication.factor")).unwrap_or(1),
                segment_bytes: config.number("offsets.topic.segment.bytes"),
                cleanup_policy: "compact",
                compression: "producer",
                min_insync_replicas: None,
            },
        }
    }

    /// How the topic of a kind is made.
    pub(crate) fn topic(&self, kind: Kind) -> InternalTopic {
        match kind {
            Kind::Groups => self.offsets_topic,
            Kind::ShareStates => self.share_topic,
            Kind::Transactions => self.transactions_topic,
        }
    }
}
