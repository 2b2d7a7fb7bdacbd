//! What a node that is not the active controller says to requests of brokers and controllers: they look for the one that is.

use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::allocate_producer_ids::AllocateProducerIdsResponse;
use strandline_protocol::messages::alter_partition::AlterPartitionResponse;
use strandline_protocol::messages::assign_replicas_to_dirs::AssignReplicasToDirsResponse;
use strandline_protocol::messages::broker_heartbeat::BrokerHeartbeatResponse;
use strandline_protocol::messages::broker_registration::BrokerRegistrationResponse;
use strandline_protocol::messages::controller_registration::ControllerRegistrationResponse;

/// NOT_CONTROLLER in the form that the API has for it.
pub(crate) fn refusal(key: ApiKey) -> Option<Response> {
    let error_code = ErrorCode::NOT_CONTROLLER;
    let response = match key {
        ApiKey::BrokerRegistration => BrokerRegistrationResponse { error_code, ..Default::default() }.into(),
        ApiKey::BrokerHeartbeat => BrokerHeartbeatResponse { error_code, ..Default::default() }.into(),
        ApiKey::AlterPartition => AlterPartitionResponse { error_code, ..Default::default() }.into(),
        ApiKey::AllocateProducerIds => AllocateProducerIdsResponse { error_code, ..Default::default() }.into(),
        ApiKey::ControllerRegistration => ControllerRegistrationResponse { error_code, ..Default::default() }.into(),
        ApiKey::AssignReplicasToDirs => AssignReplicasToDirsResponse { error_code, ..Default::default() }.into(),
        _ => return None,
    };
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apis::SERVED;
    use crate::io::ListenerKind;

    #[test]
    fn whatever_is_asked_of_the_active_controller_alone_has_a_refusal() {
        // Of the quorum, which every controller belongs to, and what is for brokers too.
        let others = [
            ApiKey::Vote,
            ApiKey::BeginQuorumEpoch,
            ApiKey::EndQuorumEpoch,
            ApiKey::FetchSnapshot,
            ApiKey::UpdateRaftVoter,
            ApiKey::Envelope,
        ];
        let inside = SERVED.iter().filter(|api| api.is_on(ListenerKind::Controller) && !api.is_on(ListenerKind::Client));
        let without: Vec<ApiKey> =
            inside.map(|api| api.api).filter(|key| !others.contains(key) && refusal(*key).is_none()).collect();
        assert_eq!(without, []);
    }
}
