//! What a broker shows of transactions and of share groups: as their coordinator, and as the leader of partitions.

use std::collections::BTreeMap;

use strandline_protocol::ids::{GroupId, TopicName};

use crate::broker::Broker;
use crate::coordinator::transaction::TransactionTotals;
use crate::holding::HoldTotals;
use crate::share::AcknowledgementTotals;

/// A transaction is late if its producer has been silent for this much longer than a transaction may take. Source:
/// ProducerStateManager.LATE_TRANSACTION_BUFFER_MS.
const LATE_BUFFER_MS: i64 = 5 * 60 * 1000;

/// Transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionGauges {
    /// Transactional ids that this broker coordinates, by the state of their transaction.
    pub ids: BTreeMap<&'static str, usize>,
    pub totals: TransactionTotals,
    /// Transactions that some broker is still to be told of how they ended, and those of them that wait before it is tried again.
    pub markers_pending: usize,
    pub markers_postponed: usize,
    /// Requests that wait for the end of the transaction before, and what became of those that did.
    pub held_requests: usize,
    pub held: HoldTotals,
    /// Partitions of requests that a coordinator did not let take part.
    pub verification_failures: u64,
    /// Producers that partitions of this broker remember.
    pub producer_ids: usize,
    /// Partitions with a transaction that nobody seems to end.
    pub late_partitions: usize,
}

/// Share groups, where partitions are led.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareGauges {
    pub sessions: usize,
    /// Partitions in sessions, once for each.
    pub partitions: usize,
    pub acknowledgements: AcknowledgementTotals,
    /// Records that members have, by group and topic.
    pub in_flight: BTreeMap<(GroupId, TopicName), u64>,
}

pub(super) fn transactions(broker: &Broker, wall_ms: i64) -> TransactionGauges {
    let mut gauges = TransactionGauges {
        ids: broker.coordinators.transactional_ids(),
        totals: broker.coordinators.transaction_totals,
        markers_pending: broker.markers.pending_count(),
        markers_postponed: broker.markers.postponed_count(),
        held_requests: broker.held.count(),
        held: broker.held.totals,
        verification_failures: broker.verifying.failures,
        ..TransactionGauges::default()
    };
    let silent_ms = i64::from(broker.coordinators.settings.transaction_timeout_max_ms) + LATE_BUFFER_MS;
    for (_, replica) in broker.replicas.iter().filter(|(_, replica)| replica.is_listed()) {
        let Some(producers) = replica.log.producers() else { continue };
        gauges.producer_ids += producers.count();
        let oldest = producers.transactions().oldest_ongoing().and_then(|(producer, _)| producers.get(producer));
        let is_late = oldest.is_some_and(|producer| wall_ms.saturating_sub(producer.timestamp_ms()) > silent_ms);
        gauges.late_partitions += usize::from(is_late);
    }
    gauges
}

pub(super) fn shares(broker: &Broker) -> ShareGauges {
    let mut in_flight = BTreeMap::new();
    for (group, topic, records) in broker.shares.in_flight() {
        if let Some(topic) = broker.image.topics.by_id(topic) {
            *in_flight.entry((group.clone(), topic.name.clone())).or_default() += records;
        }
    }
    ShareGauges {
        sessions: broker.shares.sessions.count(),
        partitions: broker.shares.sessions.place_count(),
        acknowledgements: broker.shares.acknowledgements,
        in_flight,
    }
}
