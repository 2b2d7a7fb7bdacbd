//! What a node shows of itself to metrics: read between two steps, nothing is counted here.

mod coordination;

use std::collections::BTreeMap;

use strandline_protocol::ids::{LeaderEpoch, Offset, TopicName};

use crate::cleaning::{self, CleaningTotals};
use crate::node::Node;
use crate::replica::Traffic;
use crate::scrubbing::ScrubTotals;

pub use self::coordination::{ShareGauges, TransactionGauges};

/// One topic, over its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicGauges {
    pub partitions: usize,
    pub log_bytes: u64,
    pub traffic: Traffic,
}

/// A look at the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    pub topics: BTreeMap<TopicName, TopicGauges>,
    pub hosted_partitions: usize,
    /// Partitions of this broker that cannot be served: damaged, or in a log directory that does not work or is not here.
    pub offline_partitions: usize,
    pub offline_log_dirs: usize,
    /// Replicas on their way to another log directory.
    pub moving_replicas: usize,
    /// Partitions of the cluster that nobody leads.
    pub leaderless_partitions: usize,
    /// Replies that wait for something.
    pub parked_replies: usize,
    pub fetch_sessions: usize,
    pub tail_cache_bytes: usize,
    pub metadata_epoch: LeaderEpoch,
    pub metadata_end: Offset,
    pub metadata_committed: Offset,
    pub cleaning: CleaningTotals,
    pub scrubbing: ScrubTotals,
    /// Compacted partitions that are set aside, because of damage or after too many failures.
    pub cleaning_set_aside: usize,
    pub transactions: TransactionGauges,
    pub shares: ShareGauges,
}

impl Node {
    /// Looks at everything once; costs a walk over the hosted partitions.
    pub fn gauges(&self, wall_ms: i64) -> Gauges {
        let broker = &self.broker;
        let mut gauges = Gauges {
            hosted_partitions: broker.replicas.count(),
            offline_partitions: broker.offline.count(),
            offline_log_dirs: broker.log_dirs.iter().filter(|(_, directory)| directory.failed.is_some()).count(),
            moving_replicas: broker.moves.count(),
            leaderless_partitions: broker.image.topics.leaderless_count(),
            parked_replies: broker.waiting.count(),
            fetch_sessions: broker.sessions.count(),
            metadata_epoch: broker.controller.epoch(),
            metadata_end: broker.controller.end(),
            metadata_committed: broker.controller.committed(),
            cleaning: broker.cleaning.totals,
            scrubbing: broker.scrubbing.totals,
            transactions: coordination::transactions(broker, wall_ms),
            shares: coordination::shares(broker),
            ..Gauges::default()
        };
        for (_, replica) in broker.replicas.iter().filter(|(_, replica)| replica.is_listed()) {
            let topic = gauges.topics.entry(replica.name.clone()).or_default();
            topic.partitions += 1;
            topic.log_bytes += replica.log.bytes();
            topic.traffic.records_in += replica.traffic.records_in;
            topic.traffic.bytes_in += replica.traffic.bytes_in;
            topic.traffic.bytes_out += replica.traffic.bytes_out;
            gauges.cleaning_set_aside += usize::from(cleaning::is_set_aside(replica));
            gauges.tail_cache_bytes += replica.log.cached_bytes();
        }
        gauges
    }
}
