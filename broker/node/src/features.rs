//! Features of the cluster (KIP-584) that this broker implements, with their levels.

use strandline_protocol::error::ErrorCode;

use crate::image::Image;

/// One feature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feature {
    pub name: &'static str,
    pub least: i16,
    pub most: i16,
}

/// `metadata.version` of Kafka 3.3 (3.3-IV3), the oldest that a KRaft cluster of 4.x can have.
pub(crate) const METADATA_VERSION_LEAST: i16 = 7;
/// `metadata.version` of Kafka 4.3 (4.3-IV0): whose records we write.
pub(crate) const METADATA_VERSION: i16 = 30;
/// `metadata.version` of Kafka 3.7 (3.7-IV0), from which on controllers register (KIP-919).
pub(crate) const CONTROLLERS_REGISTER_FROM: i16 = 15;
pub(crate) const METADATA_VERSION_NAME: &str = "metadata.version";
/// Leaders may come from replicas that left the in-sync set below its minimum (KIP-966); level 1 in new clusters, as in Kafka since 4.1.
pub(crate) const ELIGIBLE_LEADER_REPLICAS: &str = "eligible.leader.replicas.version";
/// Level 1: records of transactions have room for more; level 2: every end of a transaction raises the epoch (KIP-890).
pub(crate) const TRANSACTION_VERSION: &str = "transaction.version";
/// Level 1: consumer groups of the new protocol (KIP-848).
pub(crate) const GROUP_VERSION: &str = "group.version";

/// Level 1: share groups (KIP-932).
pub(crate) const SHARE_VERSION: &str = "share.version";

/// Level 1: the voters of the quorum stand in the metadata log, and can be changed (KIP-853). The quorum's own: no record of the metadata
/// names it.
pub(crate) const KRAFT_VERSION_NAME: &str = "kraft.version";
pub(crate) const KRAFT_VERSION_LEAST: i16 = 0;
pub(crate) const KRAFT_VERSION: i16 = 1;

/// In order of name. What is not here is not offered.
pub(crate) const FEATURES: &[Feature] = &[
    Feature { name: ELIGIBLE_LEADER_REPLICAS, least: 0, most: 1 },
    Feature { name: GROUP_VERSION, least: 0, most: 1 },
    Feature { name: KRAFT_VERSION_NAME, least: KRAFT_VERSION_LEAST, most: KRAFT_VERSION },
    Feature { name: METADATA_VERSION_NAME, least: METADATA_VERSION_LEAST, most: METADATA_VERSION },
    Feature { name: SHARE_VERSION, least: 0, most: 1 },
    Feature { name: TRANSACTION_VERSION, least: 0, most: 2 },
];

/// A release of Kafka with the level of `metadata.version` that it introduced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Release {
    pub name: &'static str,
    pub level: i16,
}

const fn introduced(name: &'static str, level: i16) -> Release {
    Release { name, level }
}

/// In order. Source: MetadataVersion.
#[rustfmt::skip]
pub(crate) const RELEASES: &[Release] = &[
    introduced("3.3-IV3", METADATA_VERSION_LEAST),
    introduced("3.4-IV0", 8),
    introduced("3.5-IV0", 9),
    introduced("3.5-IV1", 10),
    introduced("3.5-IV2", 11),
    introduced("3.6-IV0", 12),
    introduced("3.6-IV1", 13),
    introduced("3.6-IV2", 14),
    introduced("3.7-IV0", 15),
    introduced("3.7-IV1", 16),
    introduced("3.7-IV2", 17),
    introduced("3.7-IV3", 18),
    introduced("3.7-IV4", 19),
    introduced("3.8-IV0", 20),
    introduced("3.9-IV0", 21),
    introduced("4.0-IV0", 22),
    introduced("4.0-IV1", 23),
    introduced("4.0-IV2", 24),
    introduced("4.0-IV3", 25),
    introduced("4.1-IV0", 26),
    introduced("4.1-IV1", 27),
    introduced("4.2-IV0", 28),
    introduced("4.2-IV1", 29),
    introduced("4.3-IV0", METADATA_VERSION),
];

/// The level of `metadata.version` of a release: of 4.0-IV1 its own, of 4.0 and of 4.0.2 the last one of 4.0.
pub(crate) fn release(name: &str) -> Option<i16> {
    let minor: String = name.split('.').take(2).collect::<Vec<_>>().join(".");
    let is_it = |release: &&Release| match name.contains('-') {
        true => release.name == name,
        false => release.name.split('-').next() == Some(&minor),
    };
    RELEASES.iter().rev().find(is_it).map(|release| release.level)
}

/// The level that a feature has in a new cluster of this `metadata.version`. Source: Feature.defaultLevel.
pub(crate) fn first_level(feature: &str, metadata_version: i16) -> i16 {
    let from = |least: i16, level: i16| if metadata_version >= least { level } else { 0 };
    match feature {
        METADATA_VERSION_NAME => metadata_version,
        ELIGIBLE_LEADER_REPLICAS => from(26, 1),
        GROUP_VERSION => from(22, 1),
        SHARE_VERSION => from(28, 1),
        TRANSACTION_VERSION => from(24, 2),
        _ => 0,
    }
}

/// Whether share groups are switched on.
///
/// # Errors
/// UNSUPPORTED_VERSION.
pub(crate) fn check_share_groups(image: &Image) -> Result<(), ErrorCode> {
    let is_on = image.features.get(SHARE_VERSION).is_some_and(|level| *level >= 1);
    if is_on { Ok(()) } else { Err(ErrorCode::UNSUPPORTED_VERSION) }
}
