//! In which log directory a broker's replicas lie (KIP-858): it tells, the controller keeps it, and a replica in a directory
//! that is not online is out of sync. Source: ReplicationControlManager.handleAssignReplicasToDirs.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{TopicId, Uuid};
use strandline_protocol::metadata::MetadataRecord;

use super::fencing::Cluster;
use super::partition_change::PartitionChange;
use super::terms::{Electorate, Terms};
use crate::image::brokers::Registration;

/// Decides on one replica's directory; nothing if it is known already.
///
/// # Errors
/// UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER if the broker holds no replica of it.
pub(crate) fn assign(
    cluster: Cluster<'_>,
    known: &Registration,
    directory: Uuid,
    id: TopicId,
    index: i32,
) -> Result<Option<MetadataRecord>, ErrorCode> {
    let topic = cluster.image.topics.by_id(id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?;
    let partition = topic.partitions.get(&index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    if !partition.replicas.contains(&known.id) {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    let mut change = PartitionChange::of(id, index, partition);
    change.directories.insert(known.id, directory);
    let electorate = if known.has_online(Some(directory)) {
        Electorate::of(cluster.image)
    } else {
        change.isr.retain(|member| *member != known.id);
        // What is lost is nothing to be elected for, unless it is all there is.
        change.unclean = (directory == Uuid::LOST_DIRECTORY && !change.isr.is_empty()).then_some(known.id);
        Electorate::without(cluster.image, known.id)
    };
    Ok(change.record(electorate, Terms::of(cluster.image, cluster.start, topic)).map(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::worlds::{TOPIC, World, directory};

    fn told(world: &mut World, broker: i32, place: Uuid) -> Result<bool, ErrorCode> {
        let known = world.image.brokers.get(broker).expect("registered").clone();
        let record = assign(Cluster { image: &world.image, start: &world.start }, &known, place, TOPIC, 0)?;
        let changed = record.is_some();
        record.into_iter().for_each(|record| world.apply(record));
        Ok(changed)
    }

    #[test]
    fn a_directory_is_kept_once_and_an_offline_one_costs_the_seat() {
        let mut world = World::new(&[1, 2, 3]);
        world.topic(&[1, 2], &[1, 2], &[]);
        assert_eq!(told(&mut world, 1, directory(1)), Ok(false));
        assert_eq!(told(&mut world, 3, directory(3)), Err(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        assert_eq!(told(&mut world, 1, Uuid::LOST_DIRECTORY), Ok(true));
        assert_eq!((world.partition().leader, world.partition().isr.clone()), (2, vec![2]));
        assert_eq!(told(&mut world, 1, directory(1)), Ok(true));
        assert_eq!(world.partition().directory_of(1), Some(directory(1)));
    }

    /// A broker alone whose replica was about to lie in a directory that failed before it lay there.
    #[test]
    fn a_replica_that_lies_in_a_directory_that_works_leads_again() {
        let mut world = World::new(&[1]);
        world.topic(&[1], &[1], &[]);
        assert_eq!(told(&mut world, 1, Uuid([99; 16])), Ok(true));
        assert_eq!(world.partition().leader, -1);
        assert_eq!(told(&mut world, 1, directory(1)), Ok(true));
        assert_eq!(world.partition().leader, 1);
    }
}
