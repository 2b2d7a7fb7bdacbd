//! DescribeCluster (key 60), versions 0 to 2: the brokers and the controller (KIP-700).
//!
//! v1 endpoint type (KIP-919): a broker's listener tells of brokers, a controller's of controllers · v2 fenced brokers (KIP-1073).

use std::collections::BTreeMap;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::BrokerId;
use strandline_protocol::messages::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};

use super::Answer;
use crate::broker::Broker;
use crate::io::{ListenerKind, RequestContext};

/// `endpoint_type` of brokers, and of controllers.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(crate) fn describe_cluster(broker: &mut Broker, context: &RequestContext, request: DescribeClusterRequest) -> Answer {
    let endpoint_type = if context.listener == ListenerKind::Controller { CONTROLLERS } else { BROKERS };
    if request.endpoint_type != endpoint_type {
        return Answer::now(DescribeClusterResponse {
            error_code: ErrorCode::MISMATCHED_ENDPOINT_TYPE,
            error_message: Some(format!("this listener tells of endpoints of type {endpoint_type} only")),
            endpoint_type,
            ..DescribeClusterResponse::default()
        });
    }
    if endpoint_type == CONTROLLERS {
        return Answer::now(controllers(broker, context));
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

/// The voters and who else is registered, where they listen by the name of the listener that was used.
fn controllers(broker: &Broker, context: &RequestContext) -> DescribeClusterResponse {
    let quorum = &broker.controller.quorum;
    let voters = quorum.voters().iter().filter_map(|voter| {
        let end = voter.endpoint(&context.listener_name)?;
        Some((voter.key.id, (end.host.clone(), end.port)))
    });
    let registered = broker.image.kept.controllers.values().filter_map(|known| {
        let end = known.end_points.iter().find(|end| *end.name == *context.listener_name)?;
        Some((known.controller_id.0, (end.host.clone(), end.port)))
    });
    let told: BTreeMap<i32, (String, u16)> = voters.chain(registered).collect();
    let told = told.into_iter().map(|(id, (host, port))| DescribeClusterBroker {
        broker_id: BrokerId(id),
        host,
        port: i32::from(port),
        rack: None,
        is_fenced: false,
    });
    DescribeClusterResponse {
        endpoint_type: CONTROLLERS,
        cluster_id: broker.identity.cluster_id.clone(),
        controller_id: quorum.leadership().leader.map_or(BrokerId::NONE, BrokerId),
        brokers: told.collect(),
        ..DescribeClusterResponse::default()
    }
}
