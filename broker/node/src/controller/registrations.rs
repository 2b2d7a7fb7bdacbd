//! Whether a broker may register, and its record.
//!
//! The id belongs to whoever has a live session; the same incarnation may amend what it said, another one must wait until the
//! session is over. The epoch of a registration is the offset of its record, so a later one is always larger.
//! Source: ClusterControlManager.registerBroker, KIP-631, KIP-858, KIP-966.

use std::collections::BTreeSet;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::Uuid;
use strandline_protocol::messages::broker_registration::{BrokerRegistrationRequest, Feature, Listener};
use strandline_protocol::metadata::broker::{BrokerEndpoint, BrokerFeature, RegisterBrokerRecord};

use super::topics::Refused;
use crate::features::METADATA_VERSION_NAME;
use crate::image::Image;
use crate::image::brokers::Registration;

/// What a broker that names no level of `metadata.version` is taken for. Source: MetadataVersion.MINIMUM_KRAFT_VERSION.
const METADATA_VERSION_UNNAMED: i16 = 1;

/// Holds a request against the cluster; whether its id is taken is the caller's to know.
///
/// # Errors
/// INCONSISTENT_CLUSTER_ID, BROKER_ID_NOT_REGISTERED (ZooKeeper brokers), INVALID_REGISTRATION, UNSUPPORTED_VERSION.
pub(crate) fn check(image: &Image, cluster_id: &str, request: &BrokerRegistrationRequest) -> Result<(), Refused> {
    let refuse = |code, message: String| Err(Refused::new(code, message));
    if request.cluster_id != cluster_id {
        let message = format!("this is cluster {cluster_id}, not {}", request.cluster_id);
        return refuse(ErrorCode::INCONSISTENT_CLUSTER_ID, message);
    }
    if request.is_migrating_zk_broker {
        return refuse(ErrorCode::BROKER_ID_NOT_REGISTERED, "brokers of ZooKeeper cannot register".to_owned());
    }
    if request.listeners.is_empty() {
        return refuse(ErrorCode::INVALID_REGISTRATION, "a broker without a listener cannot be reached".to_owned());
    }
    check_directories(image, request)?;
    check_features(image, &request.features)
}

fn check_directories(image: &Image, request: &BrokerRegistrationRequest) -> Result<(), Refused> {
    let refuse = |message: String| Err(Refused::new(ErrorCode::INVALID_REGISTRATION, message));
    let directories: BTreeSet<Uuid> = request.log_dirs.iter().copied().collect();
    if directories.is_empty() {
        return refuse("no log directory is named".to_owned());
    }
    if directories.len() != request.log_dirs.len() {
        return refuse("a log directory is named twice".to_owned());
    }
    let reserved = [Uuid::MIGRATING_DIRECTORY, Uuid::UNASSIGNED_DIRECTORY, Uuid::LOST_DIRECTORY];
    if reserved.iter().any(|reserved| directories.contains(reserved)) {
        return refuse("a log directory has a reserved id".to_owned());
    }
    let mut others = image.brokers.iter().filter(|known| known.id != request.broker_id.0);
    match others.find(|known| known.log_dirs.iter().any(|directory| directories.contains(directory))) {
        Some(known) => refuse(format!("broker {} is registered with one of these log directories", known.id)),
        None => Ok(()),
    }
}

/// Every level that the cluster works at must be one that the broker knows; a feature that nobody switched on is at level 0.
fn check_features(image: &Image, offered: &[Feature]) -> Result<(), Refused> {
    let range = |name: &str| {
        let unnamed = if name == METADATA_VERSION_NAME { METADATA_VERSION_UNNAMED } else { 0 };
        let named = offered.iter().find(|feature| feature.name == name);
        named.map_or((unnamed, unnamed), |feature| (feature.min_supported_version, feature.max_supported_version))
    };
    let names: BTreeSet<&str> =
        image.features.keys().map(String::as_str).chain(offered.iter().map(|feature| feature.name.as_str())).collect();
    for name in names {
        let (least, most) = range(name);
        let level = image.features.get(name).copied().unwrap_or(0);
        if level < least || level > most {
            let message = format!("the cluster works at level {level} of {name}, the broker at {least} to {most}");
            return Err(Refused::new(ErrorCode::UNSUPPORTED_VERSION, message));
        }
    }
    Ok(())
}

/// The record of a registration; the same incarnation keeps its epoch and its state.
pub(crate) fn record(request: &BrokerRegistrationRequest, before: Option<&Registration>, epoch: i64) -> RegisterBrokerRecord {
    let same = before.filter(|known| known.incarnation == request.incarnation_id);
    let endpoint = |listener: &Listener| BrokerEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    };
    let feature = |feature: &Feature| BrokerFeature {
        name: feature.name.clone(),
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
    };
    RegisterBrokerRecord {
        broker_id: request.broker_id,
        incarnation_id: request.incarnation_id,
        broker_epoch: same.map_or(epoch, |known| known.epoch),
        end_points: request.listeners.iter().map(endpoint).collect(),
        features: request.features.iter().map(feature).collect(),
        rack: request.rack.clone(),
        fenced: same.is_none_or(|known| known.fenced),
        in_controlled_shutdown: same.is_some_and(|known| known.in_controlled_shutdown),
        log_dirs: request.log_dirs.clone(),
        ..RegisterBrokerRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::BrokerId;

    use super::*;
    use crate::controller::worlds::{World, directory, incarnation, registration};

    fn asked(world: &World, request: &BrokerRegistrationRequest) -> Result<(), ErrorCode> {
        check(&world.image, "cluster", request).map_err(|refused| refused.code)
    }

    #[test]
    fn a_registration_that_does_not_fit_the_cluster_is_refused_by_kafkas_code() {
        let world = World::new(&[1]);
        let legal = registration(2, 1);
        assert_eq!(asked(&world, &legal), Ok(()));
        let other = BrokerRegistrationRequest { cluster_id: "another".to_owned(), ..legal.clone() };
        assert_eq!(asked(&world, &other), Err(ErrorCode::INCONSISTENT_CLUSTER_ID));
        let shared = BrokerRegistrationRequest { log_dirs: vec![directory(1)], ..legal.clone() };
        assert_eq!(asked(&world, &shared), Err(ErrorCode::INVALID_REGISTRATION));
        let none = BrokerRegistrationRequest { log_dirs: vec![], ..legal.clone() };
        assert_eq!(asked(&world, &none), Err(ErrorCode::INVALID_REGISTRATION));
        let old = BrokerRegistrationRequest { features: vec![], ..legal };
        assert_eq!(asked(&world, &old), Err(ErrorCode::UNSUPPORTED_VERSION), "eligible replicas are in force");
    }

    #[test]
    fn the_same_incarnation_keeps_its_epoch_and_another_begins_fenced() {
        let world = World::new(&[1]);
        let known = world.image.brokers.get(1);
        let same = BrokerRegistrationRequest { broker_id: BrokerId(1), incarnation_id: incarnation(1), ..registration(1, 1) };
        let record_of = |request: &BrokerRegistrationRequest| {
            let record = record(request, known, 99);
            (record.broker_epoch, record.fenced)
        };
        assert_eq!(record_of(&same), (world.epoch(1), false));
        assert_eq!(record_of(&registration(1, 77)), (99, true));
    }
}
