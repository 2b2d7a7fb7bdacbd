//! An image as records: applied to an empty image they give an equal one.
//!
//! They come in the order in which Kafka's `MetadataImage.write` emits them: `metadata.version` first, for what follows
//! is to be read in its light, then the other features, brokers and controllers, each topic before its partitions,
//! configurations, quotas, producer ids, access rules, SCRAM credentials, tokens. What to write next is said by how many records were
//! written already, so that a snapshot can be made piece by piece.

use strandline_protocol::ids::{BrokerId, TopicId};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::metadata::acl::AccessControlEntryRecord;
use strandline_protocol::metadata::broker::{BrokerEndpoint, BrokerFeature, RegisterBrokerRecord};
use strandline_protocol::metadata::client_quota::{ClientQuotaRecord, EntityData};
use strandline_protocol::metadata::config::ConfigRecord;
use strandline_protocol::metadata::controller::RegisterControllerRecord;
use strandline_protocol::metadata::delegation_token::DelegationTokenRecord;
use strandline_protocol::metadata::feature_level::FeatureLevelRecord;
use strandline_protocol::metadata::partition::PartitionRecord;
use strandline_protocol::metadata::producer_ids::ProducerIdsRecord;
use strandline_protocol::metadata::scram::UserScramCredentialRecord;
use strandline_protocol::metadata::topic::TopicRecord;

use crate::features::METADATA_VERSION_NAME;
use crate::image::brokers::Registration;
use crate::image::kept::QuotaKey;
use crate::image::topics::{Partition, Topic};
use crate::image::{Image, Resource};

/// What one record of a snapshot will say: only looked at, so that those that were written already are skipped for
/// nothing.
#[derive(Clone, Copy)]
pub(super) enum Fact<'a> {
    Feature(&'a str, i16),
    Broker(&'a Registration),
    Controller(&'a RegisterControllerRecord),
    Topic(&'a Topic),
    Partition(TopicId, i32, &'a Partition),
    Config(&'a Resource, &'a str, &'a str),
    Quota(&'a QuotaKey, f64),
    ProducerIds(i64),
    AccessRule(&'a AccessControlEntryRecord),
    Scram(&'a UserScramCredentialRecord),
    Token(&'a DelegationTokenRecord),
}

/// Every fact of an image, in order.
pub(super) fn facts(image: &Image) -> impl Iterator<Item = Fact<'_>> {
    let version = image.features.get_key_value(METADATA_VERSION_NAME);
    let others = image.features.iter().filter(|(name, _)| *name != METADATA_VERSION_NAME);
    let configs = image
        .configs
        .iter()
        .flat_map(|(resource, overrides)| overrides.iter().map(move |(key, value)| Fact::Config(resource, key, value)));
    let producer_ids = Some(image.next_producer_id.0).filter(|next| *next > 0);
    let kept = &image.kept;
    let features = version.into_iter().chain(others).map(|(name, level)| Fact::Feature(name, *level));
    features
        .chain(image.brokers.iter().map(Fact::Broker))
        .chain(kept.controllers.values().map(Fact::Controller))
        .chain(image.topics.iter_by_id().flat_map(topic_facts))
        .chain(configs)
        .chain(kept.quotas.iter().map(|(key, value)| Fact::Quota(key, *value)))
        .chain(producer_ids.map(Fact::ProducerIds))
        .chain(kept.access_rules.values().map(Fact::AccessRule))
        .chain(kept.scram.values().map(Fact::Scram))
        .chain(kept.tokens.values().map(Fact::Token))
}

fn topic_facts(topic: &Topic) -> impl Iterator<Item = Fact<'_>> {
    let partitions = topic.partitions.iter().map(|(index, partition)| Fact::Partition(topic.id, *index, partition));
    std::iter::once(Fact::Topic(topic)).chain(partitions)
}

impl Fact<'_> {
    pub(super) fn record(self) -> MetadataRecord {
        match self {
            Self::Feature(name, level) => FeatureLevelRecord { name: name.to_owned(), feature_level: level }.into(),
            Self::Broker(registration) => broker(registration).into(),
            Self::Controller(record) => record.clone().into(),
            Self::Topic(topic) => TopicRecord { name: topic.name.clone(), topic_id: topic.id }.into(),
            Self::Partition(topic, index, partition) => partition_record(topic, index, partition).into(),
            Self::Config(resource, key, value) => config(resource, key, value).into(),
            Self::Quota(key, value) => quota(key, value).into(),
            Self::ProducerIds(next) => {
                ProducerIdsRecord { broker_id: BrokerId::NONE, next_producer_id: next.into(), ..ProducerIdsRecord::default() }
                    .into()
            }
            Self::AccessRule(record) => record.clone().into(),
            Self::Scram(record) => record.clone().into(),
            Self::Token(record) => record.clone().into(),
        }
    }
}

fn broker(known: &Registration) -> RegisterBrokerRecord {
    let endpoint = |end: &crate::image::brokers::Endpoint| BrokerEndpoint {
        name: end.listener.clone(),
        host: end.host.clone(),
        port: end.port,
        security_protocol: end.security_protocol,
    };
    let feature = |feature: &crate::image::brokers::SupportedFeature| BrokerFeature {
        name: feature.name.clone(),
        min_supported_version: feature.least,
        max_supported_version: feature.most,
    };
    RegisterBrokerRecord {
        broker_id: BrokerId(known.id),
        is_migrating_zk_broker: false,
        incarnation_id: known.incarnation,
        broker_epoch: known.epoch,
        end_points: known.endpoints.iter().map(endpoint).collect(),
        features: known.features.iter().map(feature).collect(),
        rack: known.rack.clone(),
        fenced: known.fenced,
        in_controlled_shutdown: known.in_controlled_shutdown,
        log_dirs: known.log_dirs.clone(),
        cordoned_log_dirs: Some(known.cordoned_log_dirs.clone()).filter(|cordoned| !cordoned.is_empty()),
    }
}

fn partition_record(topic: TopicId, index: i32, known: &Partition) -> PartitionRecord {
    // As Kafka does: tagged fields that say nothing are left out.
    let unless_empty = |replicas: &[i32]| Some(ids(replicas)).filter(|replicas| !replicas.is_empty());
    PartitionRecord {
        partition_id: index,
        topic_id: topic,
        replicas: ids(&known.replicas),
        isr: ids(&known.isr),
        removing_replicas: ids(&known.removing_replicas),
        adding_replicas: ids(&known.adding_replicas),
        leader: BrokerId(known.leader),
        leader_recovery_state: known.leader_recovery_state,
        leader_epoch: known.leader_epoch,
        partition_epoch: known.partition_epoch,
        directories: known.directories.clone(),
        eligible_leader_replicas: unless_empty(&known.elr),
        last_known_elr: unless_empty(&known.last_known_elr),
    }
}

fn config(resource: &Resource, key: &str, value: &str) -> ConfigRecord {
    let (resource_type, resource_name) = match resource {
        Resource::Topic(name) => (Resource::TOPIC, name.as_str()),
        Resource::Broker(name) => (Resource::BROKER, name.as_str()),
        Resource::Group(name) => (Resource::GROUP, name.as_str()),
        Resource::Other(kind, name) => (*kind, name.as_str()),
    };
    ConfigRecord { resource_type, resource_name: resource_name.to_owned(), name: key.to_owned(), value: Some(value.to_owned()) }
}

fn quota((entity, key): &QuotaKey, value: f64) -> ClientQuotaRecord {
    let part = |(kind, name): &(String, Option<String>)| EntityData { entity_type: kind.clone(), entity_name: name.clone() };
    ClientQuotaRecord { entity: entity.iter().map(part).collect(), key: key.clone(), value, remove: false }
}

fn ids(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().copied().map(BrokerId).collect()
}

#[cfg(test)]
mod tests;
