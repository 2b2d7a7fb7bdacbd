//! Which request has which response: the typed door to the APIs that this client uses.

use strandline_protocol::api::{ApiKey, Request};
use strandline_protocol::messages;
use strandline_protocol::wire::Message;

/// A request that can be sent, and what answers it.
pub trait Call: Message + Into<Request> {
    type Response: Message;
    const API: ApiKey;
}

macro_rules! calls {
    ($($key:ident $module:ident::{$request:ident, $response:ident};)*) => {$(
        impl Call for messages::$module::$request {
            type Response = messages::$module::$response;
            const API: ApiKey = ApiKey::$key;
        }
    )*};
}

calls! {
    Produce produce::{ProduceRequest, ProduceResponse};
    Fetch fetch::{FetchRequest, FetchResponse};
    ListOffsets list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
    Metadata metadata::{MetadataRequest, MetadataResponse};
    CreateTopics create_topics::{CreateTopicsRequest, CreateTopicsResponse};
    DeleteTopics delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
    DeleteRecords delete_records::{DeleteRecordsRequest, DeleteRecordsResponse};
    AddPartitionsToTxn add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
    AddOffsetsToTxn add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
    TxnOffsetCommit txn_offset_commit::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
    EndTxn end_txn::{EndTxnRequest, EndTxnResponse};
    InitProducerId init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
    FindCoordinator find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
    WriteTxnMarkers write_txn_markers::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
    DescribeProducers describe_producers::{DescribeProducersRequest, DescribeProducersResponse};
    DescribeTransactions describe_transactions::{DescribeTransactionsRequest, DescribeTransactionsResponse};
    ListTransactions list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
    DescribeConfigs describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse};
    CreatePartitions create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
    IncrementalAlterConfigs incremental_alter_configs::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
    DescribeLogDirs describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
    AlterReplicaLogDirs alter_replica_log_dirs::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
    ElectLeaders elect_leaders::{ElectLeadersRequest, ElectLeadersResponse};
    AlterPartitionReassignments alter_partition_reassignments::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
    ListPartitionReassignments list_partition_reassignments::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};
    DescribeQuorum describe_quorum::{DescribeQuorumRequest, DescribeQuorumResponse};
    AddRaftVoter add_raft_voter::{AddRaftVoterRequest, AddRaftVoterResponse};
    RemoveRaftVoter remove_raft_voter::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};
    UnregisterBroker unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};
    JoinGroup join_group::{JoinGroupRequest, JoinGroupResponse};
    SyncGroup sync_group::{SyncGroupRequest, SyncGroupResponse};
    Heartbeat heartbeat::{HeartbeatRequest, HeartbeatResponse};
    LeaveGroup leave_group::{LeaveGroupRequest, LeaveGroupResponse};
    ConsumerGroupHeartbeat consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
    ShareGroupHeartbeat share_group_heartbeat::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
    ShareFetch share_fetch::{ShareFetchRequest, ShareFetchResponse};
    ShareAcknowledge share_acknowledge::{ShareAcknowledgeRequest, ShareAcknowledgeResponse};
    OffsetCommit offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
    OffsetFetch offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
    OffsetDelete offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
    ListGroups list_groups::{ListGroupsRequest, ListGroupsResponse};
    DescribeGroups describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
    ConsumerGroupDescribe consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
    DeleteGroups delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
    DescribeCluster describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
}
