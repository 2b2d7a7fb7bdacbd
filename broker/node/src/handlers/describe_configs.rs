//! DescribeConfigs (key 32), versions 1 to 4: keys of topics, brokers and groups with their layers.
//!
//! v1 synonyms (KIP-226) · v3 types and documentation (KIP-569). Source: ConfigHelper.describeConfigs.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::Answer;
use crate::broker::Broker;
use crate::config::Value;
use crate::config::broker::BROKER_KEYS;
use crate::config::group::GROUP_KEYS;
use crate::config::row::{Row, Scope};
use crate::config::topic::TOPIC_KEYS;
use crate::controller::topics::{Refused, check_topic_name};
use crate::image::Resource;

/// What a request wants to be told besides names and values.
#[derive(Clone, Copy)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

pub(crate) fn describe_configs(broker: &mut Broker, request: DescribeConfigsRequest) -> Answer {
    let detail = Detail { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let results = request.resources.iter().map(|resource| describe(broker, resource, detail)).collect();
    Answer::now(DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() })
}

fn describe(broker: &Broker, resource: &DescribeConfigsResource, detail: Detail) -> DescribeConfigsResult {
    let values = match Resource::new(resource.resource_type, &resource.resource_name) {
        Resource::Topic(name) => topic_values(broker, &name),
        Resource::Broker(id) => broker_values(broker, &id),
        Resource::Group(name) if name.is_empty() => {
            Err(Refused::new(ErrorCode::INVALID_REQUEST, "a group has a name".to_owned()))
        }
        Resource::Group(name) => Ok(group_values(broker, &name)),
        Resource::Other(kind, _) => {
            Err(Refused::new(ErrorCode::INVALID_REQUEST, format!("resources of type {kind} have no configuration here")))
        }
    };
    let mut result = DescribeConfigsResult {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        error_message: None,
        ..DescribeConfigsResult::default()
    };
    match values {
        Ok(values) => {
            let asked =
                |row: &Row| resource.configuration_keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key == row.name));
            result.configs =
                values.into_iter().filter(|value| asked(value.row)).map(|value| described(value, detail)).collect();
        }
        Err(refused) => {
            result.error_code = refused.code;
            result.error_message = Some(refused.message);
        }
    }
    result
}

fn topic_values(broker: &Broker, name: &TopicName) -> Result<Vec<Value>, Refused> {
    check_topic_name(name.as_str())?;
    if broker.image.topics.by_name(name).is_none() {
        return Err(Refused::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic {name}")));
    }
    let layers = broker.image.layers(&broker.config, broker.identity.node_id);
    let overrides = broker.image.topic_overrides(name);
    Ok(TOPIC_KEYS.iter().map(|row| layers.topic_value(row, overrides)).collect())
}

/// A group need not exist to have keys.
fn group_values(broker: &Broker, name: &str) -> Vec<Value> {
    let layers = broker.image.layers(&broker.config, broker.identity.node_id);
    let overrides = broker.image.group_overrides(name);
    GROUP_KEYS.iter().map(|row| layers.group_value(row, overrides)).collect()
}

/// An empty id is the layer of all brokers: only what is set there.
fn broker_values(broker: &Broker, id: &str) -> Result<Vec<Value>, Refused> {
    let layers = broker.image.layers(&broker.config, broker.identity.node_id);
    let values = BROKER_KEYS.iter().map(|row| layers.broker_value(row));
    if id.is_empty() {
        let set = |value: &Value| layers.all_brokers.is_some_and(|overrides| overrides.contains_key(value.row.name));
        return Ok(values.filter(set).collect());
    }
    if id != broker.identity.node_id.to_string() {
        return Err(Refused::new(
            ErrorCode::INVALID_REQUEST,
            format!("this is broker {}, not {id}: ask that broker", broker.identity.node_id),
        ));
    }
    Ok(values.collect())
}

fn described(value: Value, detail: Detail) -> DescribeConfigsResourceResult {
    let synonyms = value.synonyms.into_iter().map(|synonym| DescribeConfigsSynonym {
        name: synonym.name.to_owned(),
        value: Some(synonym.value),
        source: synonym.source as i8,
    });
    DescribeConfigsResourceResult {
        name: value.row.name.to_owned(),
        value: value.text,
        read_only: value.row.scope == Scope::Start,
        config_source: value.source as i8,
        is_sensitive: false,
        synonyms: if detail.synonyms { synonyms.collect() } else { Vec::new() },
        config_type: value.row.kind.wire_type(),
        documentation: detail.documentation.then(|| value.row.prose.to_owned()),
    }
}
