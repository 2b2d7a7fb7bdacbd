//! The APIs of Kafka 4.3: one row each, and the closed enums of requests and responses.
//!
//! The table says what exists, not what a node serves or how: that is a table of the node. Versions and flexible versions are
//! not repeated here, they are read from the definitions. Keys 4 to 7 lost their last version in Kafka 4.0 and have no row.
//!
//! Bytes behind the body of a request are left to the caller of `decode`; Kafka's broker does not look at them.

use std::fmt;

use crate::messages;
use crate::spec::{MessageSpec, Versions};
use crate::wire::{Message, Reader, WireError, Writer};

/// Which kind of node answers an API, by Kafka's definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listeners {
    Broker,
    Controller,
    /// Brokers and controllers.
    Both,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct ApiRow {
    pub key: ApiKey,
    pub name: &'static str,
    pub listeners: Listeners,
    /// Versions that Kafka still may change are above this one; it offers them only when told to.
    pub stable_last: i16,
    pub request: &'static MessageSpec,
    pub response: &'static MessageSpec,
}

macro_rules! apis {
    ($(
        $key:literal $name:ident $module:ident::{$request:ident, $response:ident} $listeners:ident $(stable $stable:literal)?;
    )*) => {
        /// The key of an API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $($name = $key,)*
        }

        /// Every API by ascending key.
        pub const APIS: &[ApiRow] = &[
            $(ApiRow {
                key: ApiKey::$name,
                name: stringify!($name),
                listeners: Listeners::$listeners,
                stable_last: [$($stable,)? messages::$module::$request::VERSIONS.last][0],
                request: &messages::$module::$request::MESSAGE,
                response: &messages::$module::$response::MESSAGE,
            },)*
        ];

        /// A request of any API.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request {
            $($name(messages::$module::$request),)*
        }

        /// A response of any API.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Response {
            $($name(messages::$module::$response),)*
        }

        impl Request {
            #[must_use]
            pub fn key(&self) -> ApiKey {
                match self {
                    $(Self::$name(_) => ApiKey::$name,)*
                }
            }

            /// Reads the body of a request.
            ///
            /// # Errors
            /// When the API has no such version, or the bytes are not the request in it.
            pub fn decode(key: ApiKey, version: i16, reader: &mut Reader) -> Result<Self, WireError> {
                match key {
                    $(ApiKey::$name => Message::decode(reader, version).map(Self::$name),)*
                }
            }

            pub fn encode(&self, writer: &mut Writer, version: i16) {
                match self {
                    $(Self::$name(request) => request.encode(writer, version),)*
                }
            }
        }

        impl Response {
            #[must_use]
            pub fn key(&self) -> ApiKey {
                match self {
                    $(Self::$name(_) => ApiKey::$name,)*
                }
            }

            /// Reads the body of a response.
            ///
            /// # Errors
            /// When the API has no such version, or the bytes are not the response in it.
            pub fn decode(key: ApiKey, version: i16, reader: &mut Reader) -> Result<Self, WireError> {
                match key {
                    $(ApiKey::$name => Message::decode(reader, version).map(Self::$name),)*
                }
            }

            pub fn encode(&self, writer: &mut Writer, version: i16) {
                match self {
                    $(Self::$name(response) => response.encode(writer, version),)*
                }
            }
        }

        $(
            impl From<messages::$module::$request> for Request {
                fn from(request: messages::$module::$request) -> Self {
                    Self::$name(request)
                }
            }

            impl From<messages::$module::$response> for Response {
                fn from(response: messages::$module::$response) -> Self {
                    Self::$name(response)
                }
            }
        )*
    };
}

apis! {
    0 Produce produce::{ProduceRequest, ProduceResponse} Broker;
    1 Fetch fetch::{FetchRequest, FetchResponse} Both;
    2 ListOffsets list_offsets::{ListOffsetsRequest, ListOffsetsResponse} Broker;
    3 Metadata metadata::{MetadataRequest, MetadataResponse} Broker;
    8 OffsetCommit offset_commit::{OffsetCommitRequest, OffsetCommitResponse} Broker;
    9 OffsetFetch offset_fetch::{OffsetFetchRequest, OffsetFetchResponse} Broker;
    10 FindCoordinator find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse} Broker;
    11 JoinGroup join_group::{JoinGroupRequest, JoinGroupResponse} Broker;
    12 Heartbeat heartbeat::{HeartbeatRequest, HeartbeatResponse} Broker;
    13 LeaveGroup leave_group::{LeaveGroupRequest, LeaveGroupResponse} Broker;
    14 SyncGroup sync_group::{SyncGroupRequest, SyncGroupResponse} Broker;
    15 DescribeGroups describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse} Broker;
    16 ListGroups list_groups::{ListGroupsRequest, ListGroupsResponse} Broker;
    17 SaslHandshake sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse} Both;
    18 ApiVersions api_versions::{ApiVersionsRequest, ApiVersionsResponse} Both;
    19 CreateTopics create_topics::{CreateTopicsRequest, CreateTopicsResponse} Both;
    20 DeleteTopics delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse} Both;
    21 DeleteRecords delete_records::{DeleteRecordsRequest, DeleteRecordsResponse} Broker;
    22 InitProducerId init_producer_id::{InitProducerIdRequest, InitProducerIdResponse} Broker stable 5;
    23 OffsetForLeaderEpoch offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse} Broker;
    24 AddPartitionsToTxn add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse} Broker;
    25 AddOffsetsToTxn add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse} Broker;
    26 EndTxn end_txn::{EndTxnRequest, EndTxnResponse} Broker;
    27 WriteTxnMarkers write_txn_markers::{WriteTxnMarkersRequest, WriteTxnMarkersResponse} Broker;
    28 TxnOffsetCommit txn_offset_commit::{TxnOffsetCommitRequest, TxnOffsetCommitResponse} Broker;
    29 DescribeAcls describe_acls::{DescribeAclsRequest, DescribeAclsResponse} Both;
    30 CreateAcls create_acls::{CreateAclsRequest, CreateAclsResponse} Both;
    31 DeleteAcls delete_acls::{DeleteAclsRequest, DeleteAclsResponse} Both;
    32 DescribeConfigs describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse} Both;
    33 AlterConfigs alter_configs::{AlterConfigsRequest, AlterConfigsResponse} Both;
    34 AlterReplicaLogDirs alter_replica_log_dirs::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse} Broker;
    35 DescribeLogDirs describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse} Broker;
    36 SaslAuthenticate sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse} Both;
    37 CreatePartitions create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse} Both;
    38 CreateDelegationToken create_delegation_token::{CreateDelegationTokenRequest, CreateDelegationTokenResponse} Both;
    39 RenewDelegationToken renew_delegation_token::{RenewDelegationTokenRequest, RenewDelegationTokenResponse} Both;
    40 ExpireDelegationToken expire_delegation_token::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse} Both;
    41 DescribeDelegationToken describe_delegation_token::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse} Both;
    42 DeleteGroups delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse} Broker;
    43 ElectLeaders elect_leaders::{ElectLeadersRequest, ElectLeadersResponse} Both;
    44 IncrementalAlterConfigs incremental_alter_configs::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse} Both;
    45 AlterPartitionReassignments alter_partition_reassignments::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse} Both;
    46 ListPartitionReassignments list_partition_reassignments::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse} Both;
    47 OffsetDelete offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse} Broker;
    48 DescribeClientQuotas describe_client_quotas::{DescribeClientQuotasRequest, DescribeClientQuotasResponse} Broker;
    49 AlterClientQuotas alter_client_quotas::{AlterClientQuotasRequest, AlterClientQuotasResponse} Both;
    50 DescribeUserScramCredentials describe_user_scram_credentials::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse} Both;
    51 AlterUserScramCredentials alter_user_scram_credentials::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse} Both;
    52 Vote vote::{VoteRequest, VoteResponse} Controller;
    53 BeginQuorumEpoch begin_quorum_epoch::{BeginQuorumEpochRequest, BeginQuorumEpochResponse} Controller;
    54 EndQuorumEpoch end_quorum_epoch::{EndQuorumEpochRequest, EndQuorumEpochResponse} Controller;
    55 DescribeQuorum describe_quorum::{DescribeQuorumRequest, DescribeQuorumResponse} Both;
    56 AlterPartition alter_partition::{AlterPartitionRequest, AlterPartitionResponse} Controller;
    57 UpdateFeatures update_features::{UpdateFeaturesRequest, UpdateFeaturesResponse} Both;
    58 Envelope envelope::{EnvelopeRequest, EnvelopeResponse} Controller;
    59 FetchSnapshot fetch_snapshot::{FetchSnapshotRequest, FetchSnapshotResponse} Controller;
    60 DescribeCluster describe_cluster::{DescribeClusterRequest, DescribeClusterResponse} Both;
    61 DescribeProducers describe_producers::{DescribeProducersRequest, DescribeProducersResponse} Broker;
    62 BrokerRegistration broker_registration::{BrokerRegistrationRequest, BrokerRegistrationResponse} Controller;
    63 BrokerHeartbeat broker_heartbeat::{BrokerHeartbeatRequest, BrokerHeartbeatResponse} Controller;
    64 UnregisterBroker unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse} Both;
    65 DescribeTransactions describe_transactions::{DescribeTransactionsRequest, DescribeTransactionsResponse} Broker;
    66 ListTransactions list_transactions::{ListTransactionsRequest, ListTransactionsResponse} Broker;
    67 AllocateProducerIds allocate_producer_ids::{AllocateProducerIdsRequest, AllocateProducerIdsResponse} Controller;
    68 ConsumerGroupHeartbeat consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse} Broker;
    69 ConsumerGroupDescribe consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse} Broker;
    70 ControllerRegistration controller_registration::{ControllerRegistrationRequest, ControllerRegistrationResponse} Controller;
    71 GetTelemetrySubscriptions get_telemetry_subscriptions::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse} Broker;
    72 PushTelemetry push_telemetry::{PushTelemetryRequest, PushTelemetryResponse} Broker;
    73 AssignReplicasToDirs assign_replicas_to_dirs::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse} Controller;
    74 ListConfigResources list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse} Broker;
    75 DescribeTopicPartitions describe_topic_partitions::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse} Broker;
    76 ShareGroupHeartbeat share_group_heartbeat::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse} Broker;
    77 ShareGroupDescribe share_group_describe::{ShareGroupDescribeRequest, ShareGroupDescribeResponse} Broker;
    78 ShareFetch share_fetch::{ShareFetchRequest, ShareFetchResponse} Broker;
    79 ShareAcknowledge share_acknowledge::{ShareAcknowledgeRequest, ShareAcknowledgeResponse} Broker;
    80 AddRaftVoter add_raft_voter::{AddRaftVoterRequest, AddRaftVoterResponse} Both;
    81 RemoveRaftVoter remove_raft_voter::{RemoveRaftVoterRequest, RemoveRaftVoterResponse} Both;
    82 UpdateRaftVoter update_raft_voter::{UpdateRaftVoterRequest, UpdateRaftVoterResponse} Controller;
    83 InitializeShareGroupState initialize_share_group_state::{InitializeShareGroupStateRequest, InitializeShareGroupStateResponse} Broker;
    84 ReadShareGroupState read_share_group_state::{ReadShareGroupStateRequest, ReadShareGroupStateResponse} Broker;
    85 WriteShareGroupState write_share_group_state::{WriteShareGroupStateRequest, WriteShareGroupStateResponse} Broker;
    86 DeleteShareGroupState delete_share_group_state::{DeleteShareGroupStateRequest, DeleteShareGroupStateResponse} Broker;
    87 ReadShareGroupStateSummary read_share_group_state_summary::{ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse} Broker;
    88 StreamsGroupHeartbeat streams_group_heartbeat::{StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse} Broker;
    89 StreamsGroupDescribe streams_group_describe::{StreamsGroupDescribeRequest, StreamsGroupDescribeResponse} Broker;
    90 DescribeShareGroupOffsets describe_share_group_offsets::{DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse} Broker;
    91 AlterShareGroupOffsets alter_share_group_offsets::{AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse} Broker;
    92 DeleteShareGroupOffsets delete_share_group_offsets::{DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse} Broker;
}

/// A key without a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown API key {0}")]
pub struct UnknownApiKey(pub i16);

impl TryFrom<i16> for ApiKey {
    type Error = UnknownApiKey;

    fn try_from(key: i16) -> Result<Self, UnknownApiKey> {
        APIS.binary_search_by_key(&key, |row| row.key as i16).map(|index| APIS[index].key).map_err(|_| UnknownApiKey(key))
    }
}

impl ApiKey {
    #[must_use]
    pub fn row(self) -> &'static ApiRow {
        let index = APIS.binary_search_by_key(&self, |row| row.key).expect("every variant was written from a row");
        &APIS[index]
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The versions that exist, unstable ones included.
    #[must_use]
    pub fn versions(self) -> Versions {
        self.row().request.versions
    }

    /// The header's version in front of a request of this version: 2 carries tagged fields.
    #[must_use]
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.row().request.flexible.contains(version) { 2 } else { 1 }
    }

    /// The header's version in front of a response of this version.
    ///
    /// ApiVersions keeps version 0 for good: its client does not know yet what the broker speaks, so the answer has to be
    /// readable by a client of any age (KIP-511).
    #[must_use]
    pub fn response_header_version(self, version: i16) -> i16 {
        let flexible = self.row().response.flexible.contains(version);
        i16::from(flexible && self != Self::ApiVersions)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_belongs_to_the_messages_that_it_names() {
        for row in APIS {
            assert_eq!(row.request.body.name, format!("{}Request", row.name));
            assert_eq!(row.response.body.name, format!("{}Response", row.name));
            assert_eq!((row.request.key, row.response.key), (Some(row.key as i16), Some(row.key as i16)));
            assert_eq!((row.request.versions, row.request.flexible), (row.response.versions, row.response.flexible));
        }
    }

    #[test]
    fn every_key_is_found_and_no_other() {
        assert!(APIS.is_sorted_by_key(|row| row.key));
        assert_eq!(ApiKey::try_from(18), Ok(ApiKey::ApiVersions));
        assert_eq!(ApiKey::try_from(4), Err(UnknownApiKey(4)));
        assert_eq!(ApiKey::try_from(-1), Err(UnknownApiKey(-1)));
    }

    #[test]
    fn headers_are_flexible_with_their_bodies_except_the_answer_to_api_versions() {
        assert_eq!((ApiKey::Produce.request_header_version(8), ApiKey::Produce.response_header_version(8)), (1, 0));
        assert_eq!((ApiKey::Produce.request_header_version(9), ApiKey::Produce.response_header_version(9)), (2, 1));
        assert_eq!((ApiKey::ApiVersions.request_header_version(4), ApiKey::ApiVersions.response_header_version(4)), (2, 0));
    }

    #[test]
    fn only_the_sixth_version_of_init_producer_id_is_unstable() {
        let unstable: Vec<_> = APIS
            .iter()
            .filter(|row| row.stable_last != row.request.versions.last)
            .map(|row| (row.name, row.stable_last))
            .collect();
        assert_eq!(unstable, [("InitProducerId", 5)]);
    }
}
