//! CreateTopics (key 19), versions 2 to 7.
//!
//! v4 defaults by -1 (KIP-464) · v5 the topic's configuration in the answer (KIP-525) · v7 topic ids. Each topic is one
//! decision; more than 10,000 partitions in one request are refused as a whole; the answer leaves when all of them are committed and hosted. Source: ControllerApis.createTopics.

use std::collections::BTreeMap;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};

use super::{Answer, named};
use crate::broker::Broker;
use crate::config::topic::TOPIC_KEYS;
use crate::controller::topics::{NewTopic, Refused, check_request_size, create};
use crate::image::Overrides;
use crate::io::{Now, RequestContext};

pub(crate) fn create_topics(broker: &mut Broker, now: Now, context: &RequestContext, request: CreateTopicsRequest) -> Answer {
    let twice = named::twice(request.topics.iter().map(|topic| &topic.name));
    let wanted = request.topics.iter().map(|topic| partitions_wanted(topic, broker.settings.partitions_default)).sum();
    let fits = check_request_size(wanted);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let result = if twice.contains(&topic.name) {
            Err(Refused::new(ErrorCode::INVALID_REQUEST, "the request names this topic twice"))
        } else {
            fits.clone().and_then(|()| create_one(broker, now, &topic, request.validate_only))
        };
        topics.push(result.unwrap_or_else(|refused| CreatableTopicResult {
            name: topic.name,
            error_code: refused.code,
            error_message: Some(refused.message),
            ..CreatableTopicResult::default()
        }));
    }
    let before = broker.controller.end();
    broker.reply_when_committed(context, before, CreateTopicsResponse { topics, ..CreateTopicsResponse::default() }.into())
}

/// Source: ReplicationControlManager.validateTotalNumberOfPartitions.
fn partitions_wanted(topic: &CreatableTopic, default: i32) -> usize {
    let count = if topic.num_partitions == -1 { default } else { topic.num_partitions };
    match topic.assignments.len() {
        0 => usize::try_from(count).unwrap_or(0),
        assigned => assigned,
    }
}

fn create_one(
    broker: &mut Broker,
    now: Now,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<CreatableTopicResult, Refused> {
    let wanted = NewTopic {
        name: topic.name.clone(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments(topic)?,
        configs: topic.configs.iter().map(|config| (config.name.clone(), config.value.clone())).collect(),
    };
    let bounds = broker.bounds();
    let created = create(&broker.controller.image, bounds, &mut broker.dice, &wanted)?;
    let overrides: Overrides = wanted.configs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let result = CreatableTopicResult {
        name: topic.name.clone(),
        error_message: None,
        topic_id: if validate_only { Default::default() } else { created.id },
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(configs(broker, &overrides)),
        ..CreatableTopicResult::default()
    };
    if !validate_only {
        broker.controller.emit(now, created.records);
    }
    Ok(result)
}

fn assignments(topic: &CreatableTopic) -> Result<BTreeMap<i32, Vec<i32>>, Refused> {
    let mut assignments = BTreeMap::new();
    for assigned in &topic.assignments {
        let brokers = assigned.broker_ids.iter().map(|id| id.0).collect();
        if assignments.insert(assigned.partition_index, brokers).is_some() {
            return Err(Refused::new(
                ErrorCode::INVALID_REPLICA_ASSIGNMENT,
                format!("partition {} is assigned twice", assigned.partition_index),
            ));
        }
    }
    Ok(assignments)
}

fn configs(broker: &Broker, overrides: &Overrides) -> Vec<CreatableTopicConfigs> {
    let layers = broker.controller.image.layers(&broker.config, broker.identity.node_id);
    let described = TOPIC_KEYS.iter().map(|row| {
        let value = layers.topic_value(row, Some(overrides));
        CreatableTopicConfigs {
            name: row.name.to_owned(),
            value: value.text,
            config_source: value.source as i8,
            ..CreatableTopicConfigs::default()
        }
    });
    described.collect()
}
