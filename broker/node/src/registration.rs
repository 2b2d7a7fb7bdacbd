//! How a broker that is its own controller comes to serve: its registration, its partitions' leader epochs.
//!
//! Every start registers anew and gives each partition that it leads a new leader epoch, all as committed records, before
//! the first request is taken.

use std::collections::BTreeMap;

use strandline_protocol::ids::{BrokerId, Offset, TopicId, Uuid};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::metadata::broker::{
    BrokerEndpoint, BrokerFeature, BrokerRegistrationChangeRecord, RegisterBrokerRecord,
};
use strandline_protocol::metadata::feature_level::FeatureLevelRecord;
use strandline_protocol::metadata::partition::PartitionChangeRecord;

use crate::broker::Broker;
use crate::controller::feature_levels::common_min_isr;
use crate::controller::membership;
use crate::controller_membership;
use crate::features::{
    ELIGIBLE_LEADER_REPLICAS, FEATURES, GROUP_VERSION, METADATA_VERSION, METADATA_VERSION_NAME, SHARE_VERSION,
    TRANSACTION_VERSION, first_level,
};
use crate::handlers::controller_registration;
use crate::image::brokers::Endpoint;
use crate::image::topics::{NO_LEADER, Partition};
use crate::io::Now;
use crate::node::RecoveredPartition;
use crate::replica::assign;

/// `fenced` of a registration change that lifts the fence.
const UNFENCE: i8 = -1;

/// What a new cluster begins with, for its first leader to say: as `format` chose it, or the usual levels; and what all of it
/// goes by.
pub(crate) fn bootstrap(broker: &mut Broker, now: Now) {
    if !broker.controller.image.features.contains_key(METADATA_VERSION_NAME) {
        let chosen = std::mem::take(&mut broker.bootstrap);
        let levels = if chosen.is_empty() { new_cluster() } else { chosen };
        broker.controller.emit(now, levels);
    }
    let min_isr = common_min_isr(&broker.controller.image, &broker.config);
    broker.controller.emit(now, min_isr.into_iter().collect());
}

/// The levels of a new cluster.
fn new_cluster() -> Vec<MetadataRecord> {
    let level = |name: &str| FeatureLevelRecord { name: name.to_owned(), feature_level: first_level(name, METADATA_VERSION) };
    [METADATA_VERSION_NAME, ELIGIBLE_LEADER_REPLICAS, GROUP_VERSION, SHARE_VERSION, TRANSACTION_VERSION]
        .map(|name| level(name).into())
        .into()
}

/// Emits what serving needs, with these logs found. Answers with the offset at which all of it is committed.
pub(crate) fn register(broker: &mut Broker, now: Now, found: &[RecoveredPartition]) -> Offset {
    let id = broker.identity.node_id;
    broker.identity.epoch = broker.controller.end().0;
    let registration = registration(broker);
    broker.controller.emit(now, vec![registration]);
    let unfenced = BrokerRegistrationChangeRecord {
        broker_id: BrokerId(id),
        broker_epoch: broker.identity.epoch,
        fenced: UNFENCE,
        ..Default::default()
    };
    broker.controller.emit(now, vec![unfenced.into()]);
    if controller_membership::is_known_at(&broker.controller.image) {
        let controller = controller_registration::record(controller_membership::registration(broker));
        broker.controller.emit(now, vec![controller.into()]);
    }
    // The broker of this process is known to live.
    membership::take_over(broker, now);
    let found = found.iter().filter(|found| !found.is_copy()).filter_map(|found| {
        let directory = broker.log_dirs.id_of(found.log.directory().log_dir())?;
        Some(((found.topic, found.partition), directory))
    });
    let elections = elections(broker, &found.collect());
    broker.controller.emit_all(now, elections)
}

fn registration(broker: &Broker) -> MetadataRecord {
    let endpoint = |endpoint: &Endpoint| BrokerEndpoint {
        name: endpoint.listener.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    };
    let feature = |feature: &crate::features::Feature| BrokerFeature {
        name: feature.name.to_owned(),
        min_supported_version: feature.least,
        max_supported_version: feature.most,
    };
    RegisterBrokerRecord {
        broker_id: BrokerId(broker.identity.node_id),
        incarnation_id: broker.identity.incarnation,
        broker_epoch: broker.identity.epoch,
        end_points: broker.topology.client_endpoints().map(endpoint).collect(),
        features: FEATURES.iter().map(feature).collect(),
        rack: broker.settings.rack.clone(),
        fenced: true,
        log_dirs: broker.log_dirs.online_ids(),
        ..Default::default()
    }
    .into()
}

/// A new leader epoch for every partition that this broker led, or that nobody leads and it may: it is in sync, or eligible with
/// nobody in sync. `found` says in which directories logs lie.
fn elections(broker: &Broker, found: &BTreeMap<(TopicId, i32), Uuid>) -> Vec<MetadataRecord> {
    let id = broker.identity.node_id;
    let mut records = Vec::new();
    for topic in broker.controller.image.topics.iter() {
        for (index, partition) in &topic.partitions {
            let found = found.get(&(topic.id, *index)).copied();
            let change = match broker.offline.contains(topic.id, *index) {
                true => set_aside(id, partition, Some(Uuid::LOST_DIRECTORY)),
                false if found.is_none() && assign::is_away(broker, partition) => set_aside(id, partition, None),
                false => election(id, found, partition),
            };
            records.extend(
                change.map(|change| PartitionChangeRecord { partition_id: *index, topic_id: topic.id, ..change }.into()),
            );
        }
    }
    records
}

fn election(id: i32, found: Option<Uuid>, partition: &Partition) -> Option<PartitionChangeRecord> {
    let in_sync = partition.isr.contains(&id);
    let eligible = partition.isr.is_empty() && partition.elr.contains(&id);
    let is_others = partition.leader != NO_LEADER && partition.leader != id;
    let may_lead = !is_others && (in_sync || eligible);
    may_lead.then(|| PartitionChangeRecord {
        leader: BrokerId(id),
        isr: (!in_sync).then(|| vec![BrokerId(id)]),
        eligible_leader_replicas: (!in_sync).then(Vec::new),
        directories: found.and_then(|directory| moved(id, partition, directory)),
        ..Default::default()
    })
}

/// A partition that cannot be opened here is not led from here. It stays in sync: nobody else has what it holds.
fn set_aside(id: i32, partition: &Partition, directory: Option<Uuid>) -> Option<PartitionChangeRecord> {
    let directories = directory.and_then(|directory| moved(id, partition, directory));
    let leads = partition.leader == id;
    let leader = if leads { BrokerId::NONE } else { PartitionChangeRecord::default().leader };
    (leads || directories.is_some()).then(|| PartitionChangeRecord { leader, directories, ..Default::default() })
}

/// The directories of all replicas with that of this broker's own replaced by `to`; `None` if they stay as they are.
fn moved(id: i32, partition: &Partition, to: Uuid) -> Option<Vec<Uuid>> {
    let places = partition.replicas.iter().zip(&partition.directories);
    let moved = |(replica, held): (&i32, &Uuid)| if *replica == id { to } else { *held };
    let held = partition.directory_of(id)?;
    (held != to).then(|| places.map(moved).collect())
}
