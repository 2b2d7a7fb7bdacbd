//! Levels at which the cluster works, feature by feature (KIP-584, KIP-778): raised when every broker can, lowered only on demand.
//!
//! What is not done here: `metadata.version` is not lowered, because records are written as its newest level has them; and
//! `kraft.version` is the quorum's (`quorum/change.rs`). Source: FeatureControlManager.updateFeatures.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::metadata::config::ConfigRecord;
use strandline_protocol::metadata::feature_level::FeatureLevelRecord;

use super::topics::Refused;
use crate::config::BrokerConfig;
use crate::features::{ELIGIBLE_LEADER_REPLICAS, FEATURES, METADATA_VERSION_NAME};
use crate::image::{Image, Resource};

const MIN_ISR: &str = "min.insync.replicas";

/// How far an update may go, with Kafka's numbers (FeatureUpdate.UpgradeType).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up = 1,
    SafelyDown = 2,
    Down = 3,
}

impl Direction {
    pub(crate) fn from_number(number: i8) -> Option<Self> {
        [Self::Up, Self::SafelyDown, Self::Down].into_iter().find(|direction| *direction as i8 == number)
    }
}

/// Decides on one feature's level; nothing if it is there already.
///
/// # Errors
/// INVALID_UPDATE_VERSION.
pub(crate) fn update(image: &Image, name: &str, level: i16, direction: Direction) -> Result<Option<MetadataRecord>, Refused> {
    let refuse = |message: String| Err(Refused::new(ErrorCode::INVALID_UPDATE_VERSION, message));
    let current = image.features.get(name).copied().unwrap_or(0);
    let Some(feature) = FEATURES.iter().find(|feature| feature.name == name) else {
        return refuse(format!("the controller does not know the feature {name}"));
    };
    if level < feature.least || level > feature.most {
        return refuse(format!("the controller works at levels {} to {} of {name}, not {level}", feature.least, feature.most));
    }
    if let Some(member) = unable(image, name, level) {
        return refuse(format!("{member} does not work at level {level} of {name}"));
    }
    if level < current && direction == Direction::Up {
        return refuse(format!("{name} is at level {current}; lower it with a downgrade, safe or unsafe"));
    }
    if level > current && direction != Direction::Up {
        return refuse(format!("{name} is at level {current}; {level} is no downgrade"));
    }
    if level < current && name == METADATA_VERSION_NAME {
        return refuse(format!("{name} cannot go down from {current}: records of that level are written"));
    }
    let without_leader = image.topics.standings.leaderless().next();
    if level < current && name == ELIGIBLE_LEADER_REPLICAS && without_leader.is_some() {
        return refuse(
            "a partition without a leader waits for its eligible replicas: the feature is what remembers them".to_owned(),
        );
    }
    let record = FeatureLevelRecord { name: name.to_owned(), feature_level: level };
    Ok((level != current).then(|| record.into()))
}

/// With eligible replicas all of the cluster goes by one number of in-sync replicas (KIP-966), whatever the keys of single brokers
/// are: unless the cluster has it already, the controller's own number becomes the cluster's. To be called when the levels are known.
/// Source: ConfigurationControlManager.maybeGenerateElrSafetyRecords.
pub(crate) fn common_min_isr(image: &Image, start: &BrokerConfig) -> Option<MetadataRecord> {
    let all_brokers = Resource::Broker(String::new());
    let is_set = image.configs.get(&all_brokers).is_some_and(|overrides| overrides.contains_key(MIN_ISR));
    if is_set || image.features.get(ELIGIBLE_LEADER_REPLICAS).is_none_or(|level| *level < 1) {
        return None;
    }
    let value = start.text(MIN_ISR).map(str::to_owned);
    let record =
        ConfigRecord { resource_type: Resource::BROKER, resource_name: String::new(), name: MIN_ISR.to_owned(), value };
    Some(record.into())
}

/// A registered broker or controller that does not know the level.
fn unable(image: &Image, name: &str, level: i16) -> Option<String> {
    let mut brokers = image.brokers.iter();
    let broker = brokers.find(|known| {
        let named = known.features.iter().find(|feature| feature.name == name);
        !named.map_or(level == 0, |feature| feature.least <= level && level <= feature.most)
    });
    let mut controllers = image.kept.controllers.values();
    let controller = controllers.find(|known| {
        let named = known.features.iter().find(|feature| feature.name == name);
        !named.map_or(level == 0, |feature| feature.min_supported_version <= level && level <= feature.max_supported_version)
    });
    let broker = broker.map(|known| format!("broker {}", known.id));
    broker.or_else(|| controller.map(|known| format!("controller {}", known.controller_id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::registrations;
    use crate::controller::worlds::{World, registration};

    fn world() -> World {
        let mut world = World::new(&[]);
        world.apply(registrations::record(&registration(1, 1), None, 1));
        world
    }

    fn asked(world: &World, name: &str, level: i16, direction: Direction) -> Result<bool, ErrorCode> {
        update(&world.image, name, level, direction).map(|record| record.is_some()).map_err(|refused| refused.code)
    }

    #[test]
    fn a_feature_goes_up_when_all_can_and_down_only_on_demand() {
        let world = world();
        let refused = Err(ErrorCode::INVALID_UPDATE_VERSION);
        assert_eq!(asked(&world, ELIGIBLE_LEADER_REPLICAS, 1, Direction::Up), Ok(false));
        assert_eq!(asked(&world, ELIGIBLE_LEADER_REPLICAS, 2, Direction::Up), refused);
        assert_eq!(asked(&world, ELIGIBLE_LEADER_REPLICAS, 0, Direction::Up), refused);
        assert_eq!(asked(&world, ELIGIBLE_LEADER_REPLICAS, 0, Direction::SafelyDown), Ok(true));
        assert_eq!(asked(&world, METADATA_VERSION_NAME, 30, Direction::Up), Ok(true));
        assert_eq!(asked(&world, METADATA_VERSION_NAME, 30, Direction::Down), refused);
        assert_eq!(asked(&world, "group.version", 1, Direction::Up), refused);
    }

    #[test]
    fn a_broker_that_does_not_know_a_level_keeps_it_from_being_taken() {
        let mut world = world();
        world.image.features.clear();
        let mut old = registration(2, 1);
        old.features.retain(|feature| feature.name != ELIGIBLE_LEADER_REPLICAS);
        world.apply(registrations::record(&old, None, 2));
        assert_eq!(asked(&world, ELIGIBLE_LEADER_REPLICAS, 1, Direction::Up), Err(ErrorCode::INVALID_UPDATE_VERSION));
    }

    #[test]
    fn the_first_controllers_number_of_in_sync_replicas_becomes_the_clusters() {
        let mut world = world();
        let start = BrokerConfig::from_pairs([(MIN_ISR, "2")]).expect("legal");
        let record = common_min_isr(&world.image, &start).expect("the cluster has none");
        world.apply(record);
        assert_eq!(common_min_isr(&world.image, &start), None);
        let another = BrokerConfig::from_pairs([(MIN_ISR, "3")]).expect("legal");
        let row = crate::config::topic_row(MIN_ISR).expect("known");
        for start in [&start, &another] {
            assert_eq!(world.image.layers(start, 1).topic_value(row, None).text.as_deref(), Some("2"));
        }
        world.image.configs.clear();
        world.image.features.insert(ELIGIBLE_LEADER_REPLICAS.to_owned(), 0);
        assert_eq!(common_min_isr(&world.image, &start), None);
    }
}
