//! What a node that is not the active controller says to requests of brokers: they look for the one that is.

use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::allocate_producer_ids::AllocateProducerIdsResponse;
use strandline_protocol::messages::alter_partition::AlterPartitionResponse;
use strandline_protocol::messages::assign_replicas_to_dirs::AssignReplicasToDirsResponse;
use strandline_protocol::messages::broker_heartbeat::BrokerHeartbeatResponse;
use strandline_protocol::messages::broker_registration::BrokerRegistrationResponse;

/// NOT_CONTROLLER in the form that the API has for it.
pub(crate) fn refusal(key: ApiKey) -> Option<Response> {
    let error_code = ErrorCode::NOT_CONTROLLER;
    let response = match key {
        ApiKey::BrokerRegistration => BrokerRegistrationResponse { error_code, ..Default::default() }.into(),
        ApiKey::BrokerHeartbeat => BrokerHeartbeatResponse { error_code, ..Default::default() }.into(),
        ApiKey::AlterPartition => AlterPartitionResponse { error_code, ..Default::default() }.into(),
        ApiKey::AllocateProducerIds => AllocateProducerIdsResponse { error_code, ..Default::default() }.into(),
        ApiKey::AssignReplicasToDirs => AssignReplicasToDirsResponse { error_code, ..Default::default() }.into(),
        _ => return None,
    };
    Some(response)
}
