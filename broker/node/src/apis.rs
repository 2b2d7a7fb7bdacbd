//! The APIs that this broker serves: one row each. Advertising, routing, metrics labels and refusals read this table,
//! so nothing is offered that has no handler.

use strandline_protocol::api::{ApiKey, Listeners, Request};
use strandline_protocol::spec::Versions;

use crate::broker::Broker;
use crate::controller_channel;
use crate::handlers::{
    Answer, add_offsets_to_txn, add_partitions_to_txn, allocate_producer_ids, alter_configs, alter_partition,
    alter_partition_reassignments, alter_replica_log_dirs, alter_share_group_offsets, api_versions, assign_replicas_to_dirs,
    broker_heartbeat, broker_registration, consumer_group_describe, consumer_group_heartbeat, controller_registration,
    create_partitions, create_topics, delete_groups, delete_records, delete_share_group_offsets, delete_topics,
    describe_cluster, describe_configs, describe_groups, describe_log_dirs, describe_producers, describe_quorum,
    describe_share_group_offsets, describe_topic_partitions, describe_transactions, elect_leaders, end_txn, fetch,
    fetch_snapshot, find_coordinator, heartbeat, init_producer_id, join_group, leave_group, list_groups, list_offsets,
    list_partition_reassignments, list_transactions, metadata, metadata_fetch, not_controller, offset_commit, offset_delete,
    offset_fetch, offset_for_leader_epoch, quorum, raft_voters, share_acknowledge, share_fetch, share_group_describe,
    share_group_heartbeat, share_group_state, sync_group, txn_offset_commit, unregister_broker, update_features,
    write_txn_markers,
};
use crate::io::{Effect, ListenerKind, Now, RequestContext};

/// One served API.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    pub api: ApiKey,
    pub key: i16,
    /// Versions that are decoded and answered: those of Kafka 4.3.1.
    pub versions: Versions,
    /// The first version that is advertised; below `versions` only for Produce.
    pub advertised_from: i16,
    /// Where it is served, and advertised.
    pub listeners: Listeners,
}

impl Served {
    /// Whether a listener of this kind serves it.
    pub fn is_on(&self, listener: ListenerKind) -> bool {
        match self.listeners {
            Listeners::Both => true,
            Listeners::Broker => listener != ListenerKind::Controller,
            Listeners::Controller => listener == ListenerKind::Controller,
        }
    }
}

/// An API for clients and brokers.
const fn served(api: ApiKey, first: i16, last: i16) -> Served {
    Served { api, key: api as i16, versions: Versions::new(first, last), advertised_from: first, listeners: Listeners::Broker }
}

/// An API that is served everywhere.
const fn everywhere(api: ApiKey, first: i16, last: i16) -> Served {
    Served { listeners: Listeners::Both, ..served(api, first, last) }
}

/// An API for brokers and controllers, at the controllers' listener.
const fn inside(api: ApiKey, first: i16, last: i16) -> Served {
    Served { listeners: Listeners::Controller, ..served(api, first, last) }
}

/// In order of key.
#[rustfmt::skip]
pub const SERVED: &[Served] = &[
    // librdkafka switches compression and features off unless Produce 0 is advertised (KAFKA-18659); Kafka advertises it
    // too and closes the connection on versions 0 to 2.
    Served { advertised_from: 0, ..served(ApiKey::Produce, 3, 13) },
    everywhere(ApiKey::Fetch, 4, 18),
    served(ApiKey::ListOffsets, 1, 11),
    served(ApiKey::Metadata, 0, 13),
    served(ApiKey::OffsetCommit, 2, 10),
    served(ApiKey::OffsetFetch, 1, 10),
    served(ApiKey::FindCoordinator, 0, 6),
    served(ApiKey::JoinGroup, 0, 9),
    served(ApiKey::Heartbeat, 0, 4),
    served(ApiKey::LeaveGroup, 0, 5),
    served(ApiKey::SyncGroup, 0, 5),
    served(ApiKey::DescribeGroups, 0, 6),
    served(ApiKey::ListGroups, 0, 5),
    everywhere(ApiKey::ApiVersions, 0, 4),
    everywhere(ApiKey::CreateTopics, 2, 7),
    everywhere(ApiKey::DeleteTopics, 1, 6),
    served(ApiKey::DeleteRecords, 0, 2),
    served(ApiKey::InitProducerId, 0, 5),
    served(ApiKey::OffsetForLeaderEpoch, 2, 4),
    served(ApiKey::AddPartitionsToTxn, 0, 5),
    served(ApiKey::AddOffsetsToTxn, 0, 4),
    served(ApiKey::EndTxn, 0, 5),
    served(ApiKey::WriteTxnMarkers, 1, 2),
    served(ApiKey::TxnOffsetCommit, 0, 5),
    served(ApiKey::DescribeConfigs, 1, 4),
    everywhere(ApiKey::AlterConfigs, 0, 2),
    served(ApiKey::AlterReplicaLogDirs, 1, 2),
    served(ApiKey::DescribeLogDirs, 1, 5),
    everywhere(ApiKey::CreatePartitions, 0, 3),
    served(ApiKey::DeleteGroups, 0, 2),
    everywhere(ApiKey::ElectLeaders, 0, 2),
    everywhere(ApiKey::IncrementalAlterConfigs, 0, 1),
    everywhere(ApiKey::AlterPartitionReassignments, 0, 1),
    everywhere(ApiKey::ListPartitionReassignments, 0, 0),
    served(ApiKey::OffsetDelete, 0, 0),
    inside(ApiKey::Vote, 0, 2),
    inside(ApiKey::BeginQuorumEpoch, 0, 1),
    inside(ApiKey::EndQuorumEpoch, 0, 1),
    everywhere(ApiKey::DescribeQuorum, 0, 2),
    inside(ApiKey::AlterPartition, 2, 3),
    everywhere(ApiKey::UpdateFeatures, 0, 2),
    inside(ApiKey::Envelope, 0, 0),
    inside(ApiKey::FetchSnapshot, 0, 1),
    everywhere(ApiKey::DescribeCluster, 0, 2),
    served(ApiKey::DescribeProducers, 0, 0),
    inside(ApiKey::BrokerRegistration, 0, 4),
    inside(ApiKey::BrokerHeartbeat, 0, 2),
    everywhere(ApiKey::UnregisterBroker, 0, 0),
    served(ApiKey::DescribeTransactions, 0, 0),
    served(ApiKey::ListTransactions, 0, 2),
    inside(ApiKey::AllocateProducerIds, 0, 0),
    served(ApiKey::ConsumerGroupHeartbeat, 0, 1),
    served(ApiKey::ConsumerGroupDescribe, 0, 1),
    inside(ApiKey::ControllerRegistration, 0, 0),
    inside(ApiKey::AssignReplicasToDirs, 0, 0),
    served(ApiKey::DescribeTopicPartitions, 0, 0),
    served(ApiKey::ShareGroupHeartbeat, 1, 1),
    served(ApiKey::ShareGroupDescribe, 1, 1),
    served(ApiKey::ShareFetch, 1, 2),
    served(ApiKey::ShareAcknowledge, 1, 2),
    everywhere(ApiKey::AddRaftVoter, 0, 1),
    everywhere(ApiKey::RemoveRaftVoter, 0, 0),
    inside(ApiKey::UpdateRaftVoter, 0, 0),
    served(ApiKey::InitializeShareGroupState, 0, 0),
    served(ApiKey::ReadShareGroupState, 0, 0),
    served(ApiKey::WriteShareGroupState, 0, 1),
    served(ApiKey::DeleteShareGroupState, 0, 0),
    served(ApiKey::ReadShareGroupStateSummary, 0, 1),
    served(ApiKey::DescribeShareGroupOffsets, 0, 1),
    served(ApiKey::AlterShareGroupOffsets, 0, 0),
    served(ApiKey::DeleteShareGroupOffsets, 0, 0),
];

/// The row of an API in a version that is served at such a listener, or nothing.
pub fn find(key: i16, version: i16, listener: ListenerKind) -> Option<&'static Served> {
    let row = &SERVED[SERVED.binary_search_by_key(&key, |api| api.key).ok()?];
    (row.versions.contains(version) && row.is_on(listener)).then_some(row)
}

/// Requests that only the active controller can decide.
pub(crate) fn needs_active_controller(key: ApiKey) -> bool {
    matches!(
        key,
        ApiKey::CreateTopics
            | ApiKey::DeleteTopics
            | ApiKey::CreatePartitions
            | ApiKey::AlterConfigs
            | ApiKey::IncrementalAlterConfigs
            | ApiKey::ElectLeaders
            | ApiKey::AlterPartitionReassignments
            | ApiKey::ListPartitionReassignments
            | ApiKey::UnregisterBroker
            | ApiKey::UpdateFeatures
    )
}

/// Whether a connection takes its next request only when the answer to this one has left. Answers to records do not hold up what is
/// behind them, nor do those to another broker: it asks for one of many producers, who may have to wait.
pub fn goes_alone(api: ApiKey, version: i16) -> bool {
    match api {
        ApiKey::Produce => false,
        ApiKey::AddPartitionsToTxn => version < add_partitions_to_txn::BROKERS_FROM,
        _ => true,
    }
}

/// Requests of clients that a broker hands on to the active controller if it is another node.
pub(crate) fn is_forwarded(key: ApiKey) -> bool {
    // Only the leader of the quorum knows how far the others are, and decides who votes.
    needs_active_controller(key) || matches!(key, ApiKey::DescribeQuorum | ApiKey::AddRaftVoter | ApiKey::RemoveRaftVoter)
}

/// Routes a decoded request to its handler. Produce comes another way: its batches were examined first.
pub fn dispatch(broker: &mut Broker, now: Now, context: &RequestContext, request: Request, outbox: &mut Vec<Effect>) -> Answer {
    if !broker.controller.is_active() {
        if let Some(refusal) = not_controller::refusal(request.key()) {
            return Answer::now(refusal);
        }
        let from_outside = matches!(context.listener, ListenerKind::Client | ListenerKind::Broker);
        if from_outside && is_forwarded(request.key()) {
            return controller_channel::forward(broker, now, context, &request);
        }
        if needs_active_controller(request.key()) {
            return Answer::Close;
        }
    }
    match request {
        Request::Fetch(request) if context.listener == ListenerKind::Controller => {
            metadata_fetch::fetch(broker, now, context, &request)
        }
        Request::Envelope(request) => controller_channel::open(broker, now, context, request, outbox),
        Request::Vote(request) => quorum::vote(broker, now, context, &request),
        Request::BeginQuorumEpoch(request) => quorum::begin(broker, now, context, &request),
        Request::EndQuorumEpoch(request) => quorum::end(broker, now, context, &request),
        Request::AddRaftVoter(request) => raft_voters::add(broker, now, context, &request),
        Request::RemoveRaftVoter(request) => raft_voters::remove(broker, now, context, &request),
        Request::UpdateRaftVoter(request) => raft_voters::update(broker, now, &request),
        Request::FetchSnapshot(request) => fetch_snapshot::fetch_snapshot(broker, now, context, &request, outbox),
        Request::Fetch(request) => fetch::fetch(broker, now, context, request),
        Request::ListOffsets(request) => list_offsets::list_offsets(broker, context, request, outbox),
        Request::Metadata(request) => metadata::metadata(broker, now, context, request),
        Request::OffsetCommit(request) => offset_commit::offset_commit(broker, now, context, request, outbox),
        Request::OffsetFetch(request) => offset_fetch::offset_fetch(broker, now, context, request, outbox),
        Request::FindCoordinator(request) => find_coordinator::find_coordinator(broker, now, context, request),
        Request::JoinGroup(request) => join_group::join_group(broker, now, context, request, outbox),
        Request::Heartbeat(request) => heartbeat::heartbeat(broker, now, request, outbox),
        Request::LeaveGroup(request) => leave_group::leave_group(broker, now, context, request, outbox),
        Request::SyncGroup(request) => sync_group::sync_group(broker, now, context, request, outbox),
        Request::DescribeGroups(request) => describe_groups::describe_groups(broker, now, context, request, outbox),
        Request::ListGroups(request) => list_groups::list_groups(broker, now, context, request, outbox),
        Request::ApiVersions(request) => api_versions::api_versions(broker, context, request),
        Request::CreateTopics(request) => create_topics::create_topics(broker, now, context, request),
        Request::DeleteTopics(request) => delete_topics::delete_topics(broker, now, context, request),
        Request::DeleteRecords(request) => delete_records::delete_records(broker, context, request, outbox),
        Request::InitProducerId(request) => init_producer_id::init_producer_id(broker, now, context, request, outbox),
        Request::AddPartitionsToTxn(request) => {
            add_partitions_to_txn::add_partitions_to_txn(broker, now, context, request, outbox)
        }
        Request::AddOffsetsToTxn(request) => add_offsets_to_txn::add_offsets_to_txn(broker, now, context, request, outbox),
        Request::EndTxn(request) => end_txn::end_txn(broker, now, context, request, outbox),
        Request::WriteTxnMarkers(request) => write_txn_markers::write_txn_markers(broker, now, context, request, outbox),
        Request::TxnOffsetCommit(request) => txn_offset_commit::txn_offset_commit(broker, now, context, request, outbox),
        Request::DescribeProducers(request) => describe_producers::describe_producers(broker, request),
        Request::DescribeTransactions(request) => {
            describe_transactions::describe_transactions(broker, now, context, request, outbox)
        }
        Request::ListTransactions(request) => list_transactions::list_transactions(broker, now, context, request, outbox),
        Request::OffsetForLeaderEpoch(request) => offset_for_leader_epoch::offset_for_leader_epoch(broker, request),
        Request::DescribeConfigs(request) => describe_configs::describe_configs(broker, request),
        Request::AlterConfigs(request) => alter_configs::alter_configs(broker, now, context, request),
        Request::AlterReplicaLogDirs(request) => alter_replica_log_dirs::alter_replica_log_dirs(broker, now, request, outbox),
        Request::DescribeLogDirs(request) => describe_log_dirs::describe_log_dirs(broker, context, request, outbox),
        Request::CreatePartitions(request) => create_partitions::create_partitions(broker, now, context, request),
        Request::DeleteGroups(request) => delete_groups::delete_groups(broker, now, context, request, outbox),
        Request::OffsetDelete(request) => offset_delete::offset_delete(broker, now, context, request, outbox),
        Request::IncrementalAlterConfigs(request) => alter_configs::incremental_alter_configs(broker, now, context, request),
        Request::ElectLeaders(request) => elect_leaders::elect_leaders(broker, now, context, request),
        Request::AlterPartitionReassignments(request) => {
            alter_partition_reassignments::alter_partition_reassignments(broker, now, context, request)
        }
        Request::ListPartitionReassignments(request) => {
            list_partition_reassignments::list_partition_reassignments(broker, request)
        }
        Request::AlterPartition(request) => alter_partition::alter_partition(broker, now, context, request),
        Request::BrokerRegistration(request) => broker_registration::broker_registration(broker, now, context, request),
        Request::BrokerHeartbeat(request) => broker_heartbeat::broker_heartbeat(broker, now, context, request),
        Request::UpdateFeatures(request) => update_features::update_features(broker, now, context, request),
        Request::AssignReplicasToDirs(request) => {
            assign_replicas_to_dirs::assign_replicas_to_dirs(broker, now, context, request)
        }
        Request::UnregisterBroker(request) => unregister_broker::unregister_broker(broker, now, context, request),
        Request::AllocateProducerIds(request) => allocate_producer_ids::allocate_producer_ids(broker, now, context, request),
        Request::ControllerRegistration(request) => {
            controller_registration::controller_registration(broker, now, context, request)
        }
        Request::DescribeQuorum(request) => describe_quorum::describe_quorum(broker, now, context, request),
        Request::DescribeCluster(request) => describe_cluster::describe_cluster(broker, context, request),
        Request::ConsumerGroupHeartbeat(request) => {
            consumer_group_heartbeat::consumer_group_heartbeat(broker, now, context, request, outbox)
        }
        Request::ConsumerGroupDescribe(request) => {
            consumer_group_describe::consumer_group_describe(broker, now, context, request, outbox)
        }
        Request::DescribeTopicPartitions(request) => describe_topic_partitions::describe_topic_partitions(broker, request),
        Request::ShareGroupHeartbeat(request) => {
            share_group_heartbeat::share_group_heartbeat(broker, now, context, request, outbox)
        }
        Request::ShareGroupDescribe(request) => {
            share_group_describe::share_group_describe(broker, now, context, request, outbox)
        }
        Request::ShareFetch(request) => share_fetch::share_fetch(broker, now, context, request),
        Request::ShareAcknowledge(request) => share_acknowledge::share_acknowledge(broker, now, context, request),
        Request::InitializeShareGroupState(request) => {
            share_group_state::initialize_share_group_state(broker, now, context, request, outbox)
        }
        Request::ReadShareGroupState(request) => {
            share_group_state::read_share_group_state(broker, now, context, request, outbox)
        }
        Request::WriteShareGroupState(request) => {
            share_group_state::write_share_group_state(broker, now, context, request, outbox)
        }
        Request::DeleteShareGroupState(request) => {
            share_group_state::delete_share_group_state(broker, now, context, request, outbox)
        }
        Request::ReadShareGroupStateSummary(request) => {
            share_group_state::read_share_group_state_summary(broker, now, context, request, outbox)
        }
        Request::DescribeShareGroupOffsets(request) => {
            describe_share_group_offsets::describe_share_group_offsets(broker, now, context, request, outbox)
        }
        Request::AlterShareGroupOffsets(request) => {
            alter_share_group_offsets::alter_share_group_offsets(broker, now, context, request, outbox)
        }
        Request::DeleteShareGroupOffsets(request) => {
            delete_share_group_offsets::delete_share_group_offsets(broker, now, context, request, outbox)
        }
        _ => Answer::Close,
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::api::APIS;

    use super::*;

    #[test]
    fn the_table_is_sorted_and_serves_only_versions_that_can_be_decoded() {
        assert!(SERVED.is_sorted_by(|left, right| left.key < right.key));
        for served in SERVED {
            let row = APIS.iter().find(|row| row.key == served.api).expect("known to the protocol");
            assert!(row.request.versions.contains(served.versions.first), "{:?}", served.api);
            assert!(row.stable_last >= served.versions.last, "{:?}", served.api);
        }
    }

    #[test]
    fn an_unknown_key_and_an_unserved_version_are_not_found() {
        assert!(find(18, 4, ListenerKind::Client).is_some());
        assert!(find(18, 5, ListenerKind::Client).is_none());
        assert!(find(0, 2, ListenerKind::Client).is_none());
        assert!(find(999, 0, ListenerKind::Client).is_none());
    }

    #[test]
    fn a_listener_serves_what_kafka_serves_there_at_most() {
        assert!(find(0, 3, ListenerKind::Controller).is_none());
        assert!(find(18, 4, ListenerKind::Controller).is_some());
        for served in SERVED {
            let row = APIS.iter().find(|row| row.key == served.api).expect("known to the protocol");
            assert!(row.listeners == Listeners::Both || row.listeners == served.listeners, "{:?}", served.api);
        }
    }
}
