//! DescribeCluster (key 60), versions 0 to 2: the brokers and the controller (KIP-700).
//!
//! v1 endpoint type (KIP-919): this listener knows brokers only · v2 fenced brokers (KIP-1073).

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::BrokerId;
use strandline_protocol::messages::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};

use super::Answer;
use crate::broker::Broker;
use crate::io::RequestContext;

/// `endpoint_type` of brokers.
const BROKERS: i8 = 1;

pub(crate) fn describe_cluster(broker: &mut Broker, context: &RequestContext, request: DescribeClusterRequest) -> Answer {
    if request.endpoint_type != BROKERS {
        return Answer::now(DescribeClusterResponse {
            error_code: ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            error_message: Some("this listener serves brokers (endpoint type 1) only".to_owned()),
            endpoint_type: BROKERS,
            ..DescribeClusterResponse::default()
        });
    }
    let told = broker.image.brokers.iter().filter(|known| !known.fenced || request.include_fenced_brokers);
    let brokers = told.filter_map(|known| {
        let endpoint = known.endpoint_at(&context.listener_name)?;
        Some(DescribeClusterBroker {
            broker_id: BrokerId(known.id),
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: known.rack.clone(),
            is_fenced: known.fenced,
        })
    });
    Answer::now(DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: broker.identity.cluster_id.clone(),
        controller_id: BrokerId(broker.identity.node_id),
        brokers: brokers.collect(),
        ..DescribeClusterResponse::default()
    })
}
