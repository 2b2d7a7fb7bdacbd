//! The replies of ShareFetch and ShareAcknowledge, once everything that stands in them is known.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, TopicId};
use strandline_protocol::messages::fetch::NodeEndpoint;
use strandline_protocol::messages::share_acknowledge as acknowledge;
use strandline_protocol::messages::share_fetch as fetch;
use strandline_protocol::wire::Records;

use super::hosted::config_of;
use super::partition::Acquired;
use super::sessions::Place;
use super::waiting::{ShareWait, key_of};
use crate::broker::Broker;
use crate::fetching::endpoints;

/// Records of one partition that are sent.
pub(super) struct Given {
    pub acquired: Vec<Acquired>,
    pub records: Records,
}

/// The reply of a fetch: partitions that have something to say.
pub(super) fn fetched(broker: &Broker, wait: ShareWait, mut given: BTreeMap<Place, Given>) -> Response {
    let lock_ms = config_of(broker, &key_of(&wait.owner, (TopicId::ZERO, 0))).lock_ms;
    let listener = wait.listener;
    let failed = wait.fetch.map(|fetch| fetch.failed).unwrap_or_default();
    let places: BTreeSet<Place> = given.keys().chain(failed.keys()).chain(wait.acknowledged.keys()).copied().collect();
    let (mut responses, mut leaders): (Vec<fetch::ShareFetchableTopicResponse>, _) = (Vec::new(), BTreeSet::new());
    for place in places {
        let code = failed.get(&place).copied().unwrap_or(ErrorCode::NONE);
        let acknowledge_code = wait.acknowledged.get(&place).copied().unwrap_or(ErrorCode::NONE);
        let mut data = fetch::PartitionData {
            partition_index: place.1,
            error_code: code,
            error_message: message(code),
            acknowledge_error_code: acknowledge_code,
            acknowledge_error_message: message(acknowledge_code),
            ..fetch::PartitionData::default()
        };
        if let Some((leader_id, leader_epoch)) = leader_of(broker, place, [code, acknowledge_code]) {
            data.current_leader = fetch::LeaderIdAndEpoch { leader_id: BrokerId(leader_id), leader_epoch };
            leaders.insert(leader_id);
        }
        if let Some(given) = given.remove(&place) {
            let acquired = |one: Acquired| fetch::AcquiredRecords {
                first_offset: one.first,
                last_offset: one.last,
                delivery_count: i16::try_from(one.deliveries).unwrap_or(i16::MAX),
            };
            data.records = given.records;
            data.acquired_records = given.acquired.into_iter().map(acquired).collect();
        }
        match responses.last_mut().filter(|topic| topic.topic_id == place.0) {
            Some(topic) => topic.partitions.push(data),
            None => responses.push(fetch::ShareFetchableTopicResponse { topic_id: place.0, partitions: vec![data] }),
        }
    }
    let endpoint =
        |end: NodeEndpoint| fetch::NodeEndpoint { node_id: end.node_id, host: end.host, port: end.port, rack: end.rack };
    let node_endpoints = endpoints(&broker.image, &listener, leaders).into_iter().map(endpoint).collect();
    fetch::ShareFetchResponse {
        acquisition_lock_timeout_ms: i32::try_from(lock_ms).unwrap_or(i32::MAX),
        responses,
        node_endpoints,
        ..fetch::ShareFetchResponse::default()
    }
    .into()
}

/// The reply of an acknowledgement.
pub(super) fn acknowledged(broker: &Broker, wait: ShareWait) -> Response {
    let lock_ms = config_of(broker, &key_of(&wait.owner, (TopicId::ZERO, 0))).lock_ms;
    let (mut responses, mut leaders): (Vec<acknowledge::ShareAcknowledgeTopicResponse>, _) = (Vec::new(), BTreeSet::new());
    let listener = wait.listener;
    for (place, code) in wait.acknowledged {
        let mut data = acknowledge::PartitionData {
            partition_index: place.1,
            error_code: code,
            error_message: message(code),
            ..acknowledge::PartitionData::default()
        };
        if let Some((leader_id, leader_epoch)) = leader_of(broker, place, [code, ErrorCode::NONE]) {
            data.current_leader = acknowledge::LeaderIdAndEpoch { leader_id: BrokerId(leader_id), leader_epoch };
            leaders.insert(leader_id);
        }
        match responses.last_mut().filter(|topic| topic.topic_id == place.0) {
            Some(topic) => topic.partitions.push(data),
            None => responses.push(acknowledge::ShareAcknowledgeTopicResponse { topic_id: place.0, partitions: vec![data] }),
        }
    }
    let endpoint =
        |end: NodeEndpoint| acknowledge::NodeEndpoint { node_id: end.node_id, host: end.host, port: end.port, rack: end.rack };
    let node_endpoints = endpoints(&broker.image, &listener, leaders).into_iter().map(endpoint).collect();
    acknowledge::ShareAcknowledgeResponse {
        acquisition_lock_timeout_ms: i32::try_from(lock_ms).unwrap_or(i32::MAX),
        responses,
        node_endpoints,
        ..acknowledge::ShareAcknowledgeResponse::default()
    }
    .into()
}

fn message(code: ErrorCode) -> Option<String> {
    (!code.is_none()).then(|| code.meaning().to_owned())
}

/// Whoever is not at the leader is told who leads.
fn leader_of(broker: &Broker, place: Place, codes: [ErrorCode; 2]) -> Option<(i32, LeaderEpoch)> {
    if !codes.contains(&ErrorCode::NOT_LEADER_OR_FOLLOWER) {
        return None;
    }
    let partition = broker.image.topics.by_id(place.0)?.partitions.get(&place.1)?;
    Some((partition.leader, partition.leader_epoch))
}
