//! Elections that somebody asks for, or that the clock brings: preferred leaders, and unclean ones by name.
//!
//! Source: ReplicationControlManager.electLeader, maybeBalancePartitionLeaders.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;
use strandline_protocol::metadata::MetadataRecord;

use super::partition_change::{Election, PartitionChange};
use super::terms::{Electorate, Terms};
use super::topics::Refused;
use crate::config::BrokerConfig;
use crate::image::Image;
use crate::image::topics::NO_LEADER;

/// What ElectLeaders may ask for, with Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Preferred = 0,
    Unclean = 1,
}

/// Decides on a new leader of one partition.
///
/// # Errors
/// UNKNOWN_TOPIC_OR_PARTITION, ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE.
pub(crate) fn elect(
    image: &Image,
    start: &BrokerConfig,
    name: &TopicName,
    index: i32,
    wanted: Wanted,
) -> Result<MetadataRecord, Refused> {
    let unknown = || Refused::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no partition {name}-{index}"));
    let topic = image.topics.by_name(name).ok_or_else(unknown)?;
    let partition = topic.partitions.get(&index).ok_or_else(unknown)?;
    let (done, election, impossible) = match wanted {
        Wanted::Preferred => {
            let done = partition.preferred() == Some(partition.leader);
            (done, Election::Preferred, ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE)
        }
        Wanted::Unclean => (partition.leader != NO_LEADER, Election::Unclean, ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE),
    };
    if done {
        let message = format!("{name}-{index} is led by broker {} already", partition.leader);
        return Err(Refused::new(ErrorCode::ELECTION_NOT_NEEDED, message));
    }
    let mut change = PartitionChange::of(topic.id, index, partition);
    change.election = election;
    let record = change.record(Electorate::of(image), Terms::of(image, start, topic));
    record.map(Into::into).ok_or_else(|| Refused::new(impossible, format!("no replica of {name}-{index} can take over")))
}

/// Gives partitions back to their preferred leaders where those can lead; at most so many.
pub(crate) fn balance(image: &Image, start: &BrokerConfig, most: usize) -> Vec<MetadataRecord> {
    let places = image.topics.standings.unpreferred();
    let records = places.filter_map(|(id, index)| {
        let topic = image.topics.by_id(id)?;
        let mut change = PartitionChange::of(id, index, topic.partitions.get(&index)?);
        change.election = Election::Preferred;
        change.record(Electorate::of(image), Terms::of(image, start, topic)).map(Into::into)
    });
    records.take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::worlds::World;

    fn asked(world: &World, wanted: Wanted) -> Result<(), ErrorCode> {
        let name = TopicName::from("orders");
        elect(&world.image, &world.start, &name, 0, wanted).map(|_| ()).map_err(|refused| refused.code)
    }

    #[test]
    fn an_election_is_refused_with_its_reason() {
        let mut world = World::new(&[1, 2]);
        assert_eq!(asked(&world, Wanted::Preferred), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        world.topic(&[1, 2], &[2], &[]);
        assert_eq!(asked(&world, Wanted::Preferred), Err(ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE));
        assert_eq!(asked(&world, Wanted::Unclean), Err(ErrorCode::ELECTION_NOT_NEEDED));
    }

    #[test]
    fn balancing_gives_partitions_back_to_preferred_replicas_in_sync() {
        let mut world = World::new(&[1, 2]);
        world.topic(&[1, 2], &[2, 1], &[]);
        assert_eq!(asked(&world, Wanted::Preferred), Ok(()));
        let records = balance(&world.image, &world.start, 10);
        assert_eq!(records.len(), 1);
        records.into_iter().for_each(|record| world.apply(record));
        assert_eq!(world.partition().leader, 1);
        assert_eq!(balance(&world.image, &world.start, 10), []);
    }
}
