//! IncrementalAlterConfigs (key 44), versions 0 to 1, and AlterConfigs (key 33), versions 0 to 2.
//!
//! The first changes keys one by one (KIP-339), the second replaces all keys of a resource and is what old clients have.
//! Every resource is one decision; the answer leaves when all of them are committed.
//! Source: ConfigurationControlManager.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::alter_configs::{AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse};
use strandline_protocol::messages::incremental_alter_configs::{
    AlterConfigsResourceResponse as IncrementalResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::metadata::config::ConfigRecord;

use super::Answer;
use crate::broker::Broker;
use crate::config::row::{Kind, words_of};
use crate::config::topic::CompactionLags;
use crate::config::{Layers, broker_row, check_broker, check_group, check_topic, group_row, topic_row};
use crate::controller::RECORDS_PER_DECISION_MAX;
use crate::controller::eligibility::reconsider;
use crate::controller::fencing::Cluster;
use crate::controller::topics::Refused;
use crate::features::ELIGIBLE_LEADER_REPLICAS;
use crate::image::topics::Topic;
use crate::image::{Overrides, Resource};
use crate::io::{Now, RequestContext};

const MIN_ISR: &str = "min.insync.replicas";
const CLEANERS: &str = "log.cleaner.threads";

/// What one key becomes; `None` is "not set here any more".
type Changes = BTreeMap<String, Option<String>>;

pub(crate) fn incremental_alter_configs(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> Answer {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let target = Resource::new(resource.resource_type, &resource.resource_name);
        let changes = step_by_step(broker, &target, &resource.configs);
        let outcome = changes.and_then(|changes| decide(broker, now, &target, changes, request.validate_only));
        let (error_code, error_message) = told(outcome);
        responses.push(IncrementalResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        });
    }
    let before = broker.controller.end();
    broker.reply_when_committed(context, before, IncrementalAlterConfigsResponse { responses, ..Default::default() }.into())
}

pub(crate) fn alter_configs(broker: &mut Broker, now: Now, context: &RequestContext, request: AlterConfigsRequest) -> Answer {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let target = Resource::new(resource.resource_type, &resource.resource_name);
        let wanted: Changes = resource.configs.into_iter().map(|config| (config.name, config.value)).collect();
        let changes = replaced(broker, &target, wanted);
        let outcome = decide(broker, now, &target, changes, request.validate_only);
        let (error_code, error_message) = told(outcome);
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        });
    }
    let before = broker.controller.end();
    broker.reply_when_committed(context, before, AlterConfigsResponse { responses, ..Default::default() }.into())
}

fn told(outcome: Result<(), Refused>) -> (ErrorCode, Option<String>) {
    match outcome {
        Ok(()) => (ErrorCode::NONE, None),
        Err(refused) => (refused.code, Some(refused.message)),
    }
}

fn current<'a>(broker: &'a Broker, target: &Resource) -> Option<&'a Overrides> {
    broker.controller.image.configs.get(target)
}

/// Everything that is set and not named goes.
fn replaced(broker: &Broker, target: &Resource, wanted: Changes) -> Changes {
    let mut changes: Changes = current(broker, target).into_iter().flatten().map(|(key, _)| (key.clone(), None)).collect();
    changes.extend(wanted);
    changes
}

fn step_by_step(broker: &Broker, target: &Resource, configs: &[AlterableConfig]) -> Result<Changes, Refused> {
    let mut changes = Changes::new();
    for config in configs {
        let value = match config.config_operation {
            0 => Some(config.value.clone().ok_or_else(|| {
                Refused::new(ErrorCode::INVALID_REQUEST, format!("configuration {} is set without a value", config.name))
            })?),
            1 => None,
            2 => Some(listed(broker, target, config, |words, given| words.extend(given))?),
            3 => Some(listed(broker, target, config, |words, given| words.retain(|word| !given.contains(word)))?),
            other => {
                return Err(Refused::new(ErrorCode::INVALID_REQUEST, format!("there is no configuration operation {other}")));
            }
        };
        if changes.insert(config.name.clone(), value).is_some() {
            return Err(Refused::new(
                ErrorCode::INVALID_REQUEST,
                format!("configuration {} is changed twice in one request", config.name),
            ));
        }
    }
    Ok(changes)
}

/// Appends to or takes from a list, as it stands now.
fn listed(
    broker: &Broker,
    target: &Resource,
    config: &AlterableConfig,
    change: impl Fn(&mut Vec<String>, BTreeSet<String>),
) -> Result<String, Refused> {
    let row = match target {
        Resource::Topic(_) => topic_row(&config.name),
        Resource::Group(_) => group_row(&config.name),
        _ => broker_row(&config.name),
    };
    let row = row.map_err(|error| Refused::new(ErrorCode::INVALID_CONFIG, error.to_string()))?;
    if !matches!(row.kind, Kind::List(_)) {
        return Err(Refused::new(
            ErrorCode::INVALID_CONFIG,
            format!("configuration {} is not a list: it can only be set or removed", row.name),
        ));
    }
    let given: BTreeSet<String> = words_of(config.value.as_deref().unwrap_or_default()).map(str::to_owned).collect();
    let layers = broker.controller.image.layers(&broker.config, broker.identity.node_id);
    let value = match target {
        Resource::Topic(_) => layers.topic_value(row, current(broker, target)),
        Resource::Group(_) => layers.group_value(row, current(broker, target)),
        _ => layers.broker_value(row),
    };
    let mut words: Vec<String> = words_of(value.text.as_deref().unwrap_or_default()).map(str::to_owned).collect();
    let given = given.into_iter().filter(|word| config.config_operation == 3 || !words.contains(word)).collect();
    change(&mut words, given);
    Ok(words.join(","))
}

fn decide(broker: &mut Broker, now: Now, target: &Resource, changes: Changes, validate_only: bool) -> Result<(), Refused> {
    let (kind, name) = checked_target(broker, target)?;
    if matches!(target, Resource::Broker(id) if !id.is_empty()) && changes.contains_key(MIN_ISR) {
        // Eligibility is decided by one number for the whole cluster (KIP-966).
        let message = format!("{MIN_ISR} is set for a topic or for all brokers, not for one");
        return Err(Refused::new(ErrorCode::INVALID_CONFIG, message));
    }
    let keeps_eligible = broker.controller.image.features.get(ELIGIBLE_LEADER_REPLICAS).is_some_and(|level| *level >= 1);
    if keeps_eligible && matches!(target, Resource::Broker(_)) && changes.get(MIN_ISR).is_some_and(Option::is_none) {
        let message =
            format!("{MIN_ISR} of the cluster can be changed, not removed: brokers with different keys would disagree");
        return Err(Refused::new(ErrorCode::INVALID_CONFIG, message));
    }
    for (key, value) in &changes {
        if let Some(value) = value {
            let checked = match kind {
                Resource::TOPIC => check_topic(key, value),
                Resource::GROUP => check_group(&broker.config, key, value),
                _ => check_broker(key, value),
            };
            checked.map_err(|error| Refused::new(ErrorCode::INVALID_CONFIG, error.to_string()))?;
        }
    }
    check_together(broker, target, &changes)?;
    if validate_only {
        return Ok(());
    }
    let set = current(broker, target).cloned().unwrap_or_default();
    let differs = |(key, value): &(String, Option<String>)| set.get(key) != value.as_ref();
    let record = |(key, value)| ConfigRecord { resource_type: kind, resource_name: name.clone(), name: key, value };
    let changes: Changes = changes.into_iter().filter(differs).collect();
    let eligibility = changes.get(MIN_ISR).map(|value| reconsidered(broker, target, value.as_deref()));
    let mut records = eligibility.unwrap_or_default();
    records.extend(changes.into_iter().map(record).map(MetadataRecord::from));
    if records.len() > RECORDS_PER_DECISION_MAX {
        let message = format!("{MIN_ISR} would change {} partitions at once: change it topic by topic", records.len());
        return Err(Refused::new(ErrorCode::POLICY_VIOLATION, message));
    }
    broker.controller.emit(now, records);
    Ok(())
}

/// Whether what the keys become fits what others are.
fn check_together(broker: &Broker, target: &Resource, changes: &Changes) -> Result<(), Refused> {
    let mut merged = current(broker, target).cloned().unwrap_or_default();
    for (key, value) in changes {
        match value {
            Some(value) => drop(merged.insert(key.clone(), value.clone())),
            None => drop(merged.remove(key)),
        }
    }
    let image = &broker.controller.image;
    let (layers, own) = match target {
        Resource::Topic(_) => (image.cluster_layers(&broker.config), Some(&merged)),
        Resource::Broker(id) if id.is_empty() => {
            (Layers { all_brokers: Some(&merged), ..image.cluster_layers(&broker.config) }, None)
        }
        Resource::Broker(_) => (Layers { broker: Some(&merged), ..image.cluster_layers(&broker.config) }, None),
        _ => return Ok(()),
    };
    if changes.keys().any(|key| CompactionLags::are_set_by(key)) {
        let lags = CompactionLags::read(&layers, own);
        lags.check().map_err(|error| Refused::new(ErrorCode::INVALID_CONFIG, error.to_string()))?;
    }
    if let Resource::Broker(id) = target
        && changes.contains_key(CLEANERS)
    {
        let all = image.cluster_layers(&broker.config);
        let before = id.parse().map_or(all, |id| image.layers(&broker.config, id));
        check_cleaners(before.broker_number(CLEANERS), layers.broker_number(CLEANERS))?;
    }
    Ok(())
}

/// Source: LogCleaner.validateReconfiguration.
fn check_cleaners(now: i64, then: i64) -> Result<(), Refused> {
    let refuse = |message: String| Err(Refused::new(ErrorCode::INVALID_REQUEST, message));
    match then {
        ..1 => refuse(format!("{CLEANERS} should be at least 1")),
        _ if then < now / 2 => refuse(format!("{CLEANERS} cannot be reduced to less than half the current value {now}")),
        _ if then > now * 2 => refuse(format!("{CLEANERS} cannot be increased to more than double the current value {now}")),
        _ => Ok(()),
    }
}

/// What another minimum of in-sync replicas does to partitions; without a value the next layer below holds.
fn reconsidered(broker: &Broker, target: &Resource, value: Option<&str>) -> Vec<MetadataRecord> {
    let image = &broker.controller.image;
    let below = || match target {
        Resource::Topic(_) => {
            let layers = image.cluster_layers(&broker.config);
            topic_row(MIN_ISR).ok().and_then(|row| layers.topic_value(row, None).text)
        }
        _ => broker.config.text(MIN_ISR).map(str::to_owned),
    };
    let min_isr = value.map(str::to_owned).or_else(below).and_then(|text| text.trim().parse().ok()).unwrap_or(1);
    let sets_it = |topic: &Topic| image.topic_overrides(&topic.name).is_some_and(|own| own.contains_key(MIN_ISR));
    reconsider(Cluster { image, start: &broker.config }, min_isr, |topic| match target {
        Resource::Topic(name) => topic.name == *name,
        _ => !sets_it(topic),
    })
}

fn is_registered(broker: &Broker, id: &str) -> bool {
    // The text is the key: "01" is nobody.
    id.parse().is_ok_and(|number: i32| number.to_string() == id && broker.controller.image.brokers.get(number).is_some())
}

fn checked_target(broker: &Broker, target: &Resource) -> Result<(i8, String), Refused> {
    match target {
        Resource::Topic(name) if broker.controller.image.topics.by_name(name).is_none() => {
            Err(Refused::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic {name}")))
        }
        Resource::Topic(name) => Ok((Resource::TOPIC, name.to_string())),
        Resource::Broker(id) if id.is_empty() || is_registered(broker, id) => Ok((Resource::BROKER, id.clone())),
        Resource::Broker(id) => Err(Refused::new(ErrorCode::INVALID_REQUEST, format!("there is no broker {id}"))),
        Resource::Group(name) if name.is_empty() => {
            Err(Refused::new(ErrorCode::INVALID_REQUEST, "a group has a name".to_owned()))
        }
        Resource::Group(name) => Ok((Resource::GROUP, name.clone())),
        Resource::Other(kind, _) => {
            Err(Refused::new(ErrorCode::INVALID_REQUEST, format!("resources of type {kind} have no configuration here")))
        }
    }
}
