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
pub(crate) const METADATA_VERSION_NAME: &str = "metadata.version";
/// Leaders may come from replicas that left the in-sync set below its minimum (KIP-966); level 1 in new clusters, as in Kafka since 4.1.
pub(crate) const ELIGIBLE_LEADER_REPLICAS: &str = "eligible.leader.replicas.version";
/// Level 1: records of transactions have room for more; level 2: every end of a transaction raises the epoch (KIP-890).
pub(crate) const TRANSACTION_VERSION: &str = "transaction.version";
/// Level 1: consumer groups of the new protocol (KIP-848).
pub(crate) const GROUP_VERSION: &str = "group.version";

/// Level 1: share groups (KIP-932).
pub(crate) const SHARE_VERSION: &str = "share.version";

/// In order of name. What is not here is not offered.
pub(crate) const FEATURES: &[Feature] = &[
    Feature { name: ELIGIBLE_LEADER_REPLICAS, least: 0, most: 1 },
    Feature { name: GROUP_VERSION, least: 0, most: 1 },
    Feature { name: "kraft.version", least: 0, most: 0 },
    Feature { name: METADATA_VERSION_NAME, least: METADATA_VERSION_LEAST, most: METADATA_VERSION },
    Feature { name: SHARE_VERSION, least: 0, most: 1 },
    Feature { name: TRANSACTION_VERSION, least: 0, most: 2 },
];

/// Whether share groups are switched on.
///
/// # Errors
/// UNSUPPORTED_VERSION.
pub(crate) fn check_share_groups(image: &Image) -> Result<(), ErrorCode> {
    let is_on = image.features.get(SHARE_VERSION).is_some_and(|level| *level >= 1);
    if is_on { Ok(()) } else { Err(ErrorCode::UNSUPPORTED_VERSION) }
}
