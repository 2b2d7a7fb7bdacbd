//! Moving replicas between brokers (KIP-455): start, replace, cancel. A reassignment ends by itself, in
//! `partition_change`, when the in-sync set holds every replica that is to stay.
//!
//! Source: ReplicationControlManager.alterPartitionReassignment, PartitionReassignmentReplicas, PartitionReassignmentRevert.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;
use strandline_protocol::metadata::MetadataRecord;

use super::partition_change::PartitionChange;
use super::placement::check_replicas;
use super::terms::{Electorate, Terms};
use super::topics::Refused;
use crate::config::BrokerConfig;
use crate::image::Image;
use crate::image::topics::{Partition, Topic};

/// May the number of replicas become another one (KIP-860)?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factor {
    Free,
    Kept,
}

/// Decides on one partition's reassignment; `target` is where its replicas are to be, or nothing to cancel what is under way.
///
/// # Errors
/// UNKNOWN_TOPIC_OR_PARTITION, NO_REASSIGNMENT_IN_PROGRESS, INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR.
pub(crate) fn reassign(
    image: &Image,
    start: &BrokerConfig,
    name: &TopicName,
    index: i32,
    target: Option<&[i32]>,
    factor: Factor,
) -> Result<Option<MetadataRecord>, Refused> {
    let unknown = || Refused::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no partition {name}-{index}"));
    let topic = image.topics.by_name(name).ok_or_else(unknown)?;
    let partition = topic.partitions.get(&index).ok_or_else(unknown)?;
    let change = match target {
        Some(target) => moved(image, topic, index, partition, target, factor)?,
        None => reverted(topic, index, partition)?,
    };
    Ok(change.record(Electorate::of(image), Terms::of(image, start, topic)).map(Into::into))
}

fn moved<'a>(
    image: &Image,
    topic: &Topic,
    index: i32,
    partition: &'a Partition,
    target: &[i32],
    factor: Factor,
) -> Result<PartitionChange<'a>, Refused> {
    check_replicas(image, target, None)?;
    let settled = partition.replicas.iter().filter(|replica| !partition.adding_replicas.contains(replica)).count();
    if factor == Factor::Kept && target.len() != settled {
        let message = format!("{}-{index} has {settled} replicas, and the request does not allow {}", topic.name, target.len());
        return Err(Refused::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
    }
    let mut change = PartitionChange::of(topic.id, index, partition);
    change.removing = partition.replicas.iter().copied().filter(|replica| !target.contains(replica)).collect();
    change.removing.sort_unstable();
    change.adding = target.iter().copied().filter(|replica| !partition.replicas.contains(replica)).collect();
    // A replica that an earlier reassignment brought in and that is not in sync yet is still on its way.
    let on_its_way = |replica: &i32| partition.adding_replicas.contains(replica) && !partition.isr.contains(replica);
    change.adding.extend(target.iter().copied().filter(on_its_way));
    change.adding.sort_unstable();
    change.replicas = target.iter().chain(&change.removing).copied().collect();
    Ok(change)
}

/// What was added goes, what was to go stays.
fn reverted<'a>(topic: &Topic, index: i32, partition: &'a Partition) -> Result<PartitionChange<'a>, Refused> {
    if !partition.is_moving() {
        let message = format!("no reassignment of {}-{index} is under way", topic.name);
        return Err(Refused::new(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, message));
    }
    let stays = |replica: &i32| !partition.adding_replicas.contains(replica);
    let mut change = PartitionChange::of(topic.id, index, partition);
    change.replicas.retain(stays);
    change.isr.retain(stays);
    change.adding = Vec::new();
    change.removing = Vec::new();
    let mut holders = partition.isr.iter().chain(&partition.elr).peekable();
    if holders.peek().is_some() && !holders.any(stays) {
        let message =
            format!("only added replicas of {}-{index} are in sync or eligible: to cancel would lose records", topic.name);
        return Err(Refused::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::BrokerId;
    use strandline_protocol::metadata::partition::PartitionChangeRecord;

    use super::*;
    use crate::controller::worlds::{TOPIC, World};

    fn four() -> World {
        let mut world = World::new(&[1, 2, 3, 4]);
        world.topic(&[1, 2, 3], &[1, 2, 3], &[]);
        world
    }

    fn ask(world: &mut World, target: Option<&[i32]>, factor: Factor) -> Result<(), ErrorCode> {
        let name = TopicName::from("orders");
        let record = reassign(&world.image, &world.start, &name, 0, target, factor).map_err(|refused| refused.code)?;
        record.into_iter().for_each(|record| world.apply(record));
        Ok(())
    }

    #[test]
    fn new_replicas_join_first_and_the_old_ones_stay_until_then() {
        let mut world = four();
        ask(&mut world, Some(&[4, 2, 3]), Factor::Free).expect("legal");
        assert_eq!(world.partition().replicas, [4, 2, 3, 1]);
        assert_eq!(
            (world.partition().adding_replicas.clone(), world.partition().removing_replicas.clone()),
            (vec![4], vec![1])
        );
        assert_eq!(world.partition().leader, 1);
    }

    #[test]
    fn a_cancelled_reassignment_leaves_what_was() {
        let mut world = four();
        ask(&mut world, Some(&[4, 2, 3]), Factor::Free).expect("legal");
        ask(&mut world, None, Factor::Free).expect("legal");
        let mut replicas = world.partition().replicas.clone();
        replicas.sort_unstable();
        assert_eq!(replicas, [1, 2, 3]);
        assert!(!world.partition().is_moving());
        assert_eq!(ask(&mut world, None, Factor::Free), Err(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS));
    }

    #[test]
    fn what_only_an_added_replica_holds_is_not_given_up_to_cancel() {
        for (isr, elr) in [(vec![4], vec![]), (vec![], vec![4])] {
            let mut world = four();
            ask(&mut world, Some(&[4, 2, 3]), Factor::Free).expect("legal");
            let ids = |ids: Vec<i32>| Some(ids.into_iter().map(BrokerId).collect());
            world.apply(PartitionChangeRecord {
                partition_id: 0,
                topic_id: TOPIC,
                isr: ids(isr),
                eligible_leader_replicas: ids(elr),
                ..PartitionChangeRecord::default()
            });
            assert_eq!(ask(&mut world, None, Factor::Free), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT));
        }
    }

    #[test]
    fn another_order_of_the_same_replicas_is_done_at_once() {
        let mut world = four();
        ask(&mut world, Some(&[3, 1, 2]), Factor::Kept).expect("legal");
        assert_eq!(world.partition().replicas, [3, 1, 2]);
        assert!(!world.partition().is_moving());
        assert_eq!(world.partition().leader, 1, "a leader that can lead stays");
    }

    #[test]
    fn a_reassignment_may_be_replaced_while_it_is_under_way() {
        let mut world = four();
        ask(&mut world, Some(&[4, 2, 3]), Factor::Free).expect("legal");
        ask(&mut world, Some(&[4, 1, 2]), Factor::Free).expect("legal");
        assert_eq!(
            (world.partition().adding_replicas.clone(), world.partition().removing_replicas.clone()),
            (vec![4], vec![3])
        );
    }

    #[test]
    fn fewer_replicas_go_at_once_if_the_factor_may_change() {
        let mut world = four();
        assert_eq!(ask(&mut world, Some(&[2]), Factor::Kept), Err(ErrorCode::INVALID_REPLICATION_FACTOR));
        ask(&mut world, Some(&[2]), Factor::Free).expect("legal");
        assert_eq!((world.partition().replicas.clone(), world.partition().isr.clone()), (vec![2], vec![2]));
        assert_eq!(world.partition().leader, 2);
    }

    #[test]
    fn a_broker_that_nobody_knows_or_twice_is_refused() {
        let mut world = four();
        for target in [&[9][..], &[1, 1], &[]] {
            assert_eq!(ask(&mut world, Some(target), Factor::Free), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT));
        }
    }
}
