//! AlterPartitionReassignments (key 45), versions 0 to 1: replicas begin to move, or stop moving (KIP-455).
//!
//! v1 `allow_replication_factor_change` (KIP-860). Each partition is told on its own.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};

use super::Answer;
use crate::broker::Broker;
use crate::controller::reassignments::{Factor, reassign};
use crate::io::{Now, RequestContext};

pub(crate) fn alter_partition_reassignments(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> Answer {
    let factor = if request.allow_replication_factor_change { Factor::Free } else { Factor::Kept };
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for ReassignablePartition { partition_index, replicas } in topic.partitions {
            let target: Option<Vec<i32>> = replicas.map(|ids| ids.into_iter().map(Into::into).collect());
            let image = &broker.controller.image;
            let outcome = reassign(image, &broker.config, &topic.name, partition_index, target.as_deref(), factor);
            let (error_code, error_message) = match outcome {
                Ok(record) => {
                    broker.controller.emit(now, record.into_iter().collect());
                    (ErrorCode::NONE, None)
                }
                Err(refused) => (refused.code, Some(refused.message)),
            };
            partitions.push(ReassignablePartitionResponse { partition_index, error_code, error_message });
        }
        responses.push(ReassignableTopicResponse { name: topic.name, partitions });
    }
    let response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        responses,
        ..Default::default()
    };
    let before = broker.controller.end();
    broker.reply_when_committed(context, before, response.into())
}
