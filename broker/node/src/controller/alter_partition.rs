//! Leaders propose in-sync sets; the controller decides. What a proposal knew of the partition must still hold, and every
//! member must be alive, in the incarnation that the leader saw (KIP-497, KIP-841, KIP-903).
//!
//! A leader that knows more than this controller talks to one that was overtaken: NOT_CONTROLLER, and nothing is compared.
//! Source: ReplicationControlManager.alterPartition, validateAlterPartitionData.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::LeaderEpoch;
use strandline_protocol::metadata::MetadataRecord;

use super::fencing::Cluster;
use super::partition_change::PartitionChange;
use super::terms::{Electorate, Terms};
use crate::flaws::{self, Flaw};
use crate::image::brokers::Registration;
use crate::image::topics::{LEADER_UNCHANGED, Partition, RECOVERED, RECOVERING, Topic};

/// What a leader proposes for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub leader: i32,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
    /// Members with the broker epochs that the leader saw; -1 is not told.
    pub isr: Vec<(i32, i64)>,
    pub recovery: i8,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The partition as it is now.
    Holds { record: Option<MetadataRecord>, partition: Partition },
    /// The change was made, and by it another broker leads: a reassignment ended.
    NewLeader { record: MetadataRecord },
}

/// Decides on a proposal.
///
/// # Errors
/// UNKNOWN_TOPIC_OR_PARTITION, NOT_CONTROLLER, FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION, INELIGIBLE_REPLICA, INVALID_REQUEST.
pub(crate) fn alter(cluster: Cluster<'_>, topic: &Topic, index: i32, proposal: &Proposal) -> Result<Outcome, ErrorCode> {
    let partition = topic.partitions.get(&index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    check_epochs(partition, proposal)?;
    check_members(cluster, partition, proposal)?;
    let mut change = PartitionChange::of(topic.id, index, partition);
    change.isr = proposal.isr.iter().map(|(member, _)| *member).collect();
    change.recovery = proposal.recovery;
    let terms = Terms::of(cluster.image, cluster.start, topic);
    let Some(record) = change.record(Electorate::of(cluster.image), terms) else {
        return Ok(Outcome::Holds { record: None, partition: partition.as_ref().clone() });
    };
    let named: i32 = record.leader.into();
    if named != LEADER_UNCHANGED && named != proposal.leader {
        return Ok(Outcome::NewLeader { record: record.into() });
    }
    let mut partition = partition.as_ref().clone();
    partition.change(&record);
    Ok(Outcome::Holds { record: Some(record.into()), partition })
}

fn check_epochs(partition: &Partition, proposal: &Proposal) -> Result<(), ErrorCode> {
    if proposal.leader_epoch > partition.leader_epoch || proposal.partition_epoch > partition.partition_epoch {
        return Err(ErrorCode::NOT_CONTROLLER);
    }
    if proposal.leader_epoch < partition.leader_epoch {
        return Err(ErrorCode::FENCED_LEADER_EPOCH);
    }
    if proposal.leader != partition.leader {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    if proposal.partition_epoch < partition.partition_epoch && !flaws::is(Flaw::PartitionEpochIgnored) {
        return Err(ErrorCode::INVALID_UPDATE_VERSION);
    }
    Ok(())
}

fn check_members(cluster: Cluster<'_>, partition: &Partition, proposal: &Proposal) -> Result<(), ErrorCode> {
    let members: Vec<i32> = proposal.isr.iter().map(|(member, _)| *member).collect();
    let twice = (1..members.len()).any(|index| members[..index].contains(&members[index]));
    let foreign = members.iter().any(|member| !partition.replicas.contains(member));
    if twice || foreign || !members.contains(&partition.leader) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let recovers_late = proposal.recovery == RECOVERING && partition.leader_recovery_state == RECOVERED;
    let recovers_in_company = proposal.recovery == RECOVERING && members.len() > 1;
    if recovers_late || recovers_in_company || !matches!(proposal.recovery, RECOVERED | RECOVERING) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let eligible = |(member, epoch): &(i32, i64)| {
        let active = |known: &&Registration| known.is_active() || flaws::is(Flaw::FencedJoins);
        let known = cluster.image.brokers.get(*member).filter(active);
        // What lies in a directory that failed is out of sync, however far it had come.
        let known = known.filter(|known| known.has_online(partition.directory_of(*member)));
        known.is_some_and(|known| *epoch == -1 || known.epoch == *epoch || flaws::is(Flaw::StaleBrokerEpochJoins))
    };
    if proposal.isr.iter().all(eligible) { Ok(()) } else { Err(ErrorCode::INELIGIBLE_REPLICA) }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::ids::Uuid;

    use super::*;
    use crate::controller::worlds::{TOPIC, World};

    fn three() -> World {
        let mut world = World::new(&[1, 2, 3, 4]);
        world.topic(&[1, 2, 3], &[1, 2], &[]);
        world
    }

    fn proposal(world: &World, isr: &[i32]) -> Proposal {
        let partition = world.partition();
        Proposal {
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: isr.iter().map(|member| (*member, world.image.brokers.get(*member).map_or(-1, |known| known.epoch))).collect(),
            recovery: 0,
        }
    }

    fn ask(world: &World, proposal: &Proposal) -> Result<Outcome, ErrorCode> {
        alter(Cluster { image: &world.image, start: &world.start }, world.topic_of(), 0, proposal)
    }

    #[test]
    fn a_proposal_that_holds_raises_the_partition_epoch_alone() {
        let world = three();
        match ask(&world, &proposal(&world, &[1, 2, 3])) {
            Ok(Outcome::Holds { record: Some(_), partition }) => {
                assert_eq!((partition.isr, partition.partition_epoch, partition.leader_epoch.0), (vec![1, 2, 3], 11, 5));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn epochs_fence_what_is_old_and_what_is_newer_than_the_controller() {
        let world = three();
        let good = proposal(&world, &[1, 2, 3]);
        let with = |leader_epoch: i32, partition_epoch: i32| {
            let proposal = Proposal { leader_epoch: LeaderEpoch(leader_epoch), partition_epoch, ..good.clone() };
            ask(&world, &proposal).expect_err("refused")
        };
        assert_eq!(with(6, 10), ErrorCode::NOT_CONTROLLER);
        assert_eq!(with(5, 11), ErrorCode::NOT_CONTROLLER);
        assert_eq!(with(4, 10), ErrorCode::FENCED_LEADER_EPOCH);
        assert_eq!(with(5, 9), ErrorCode::INVALID_UPDATE_VERSION);
        assert_eq!(ask(&world, &Proposal { leader: 2, ..good.clone() }), Err(ErrorCode::INVALID_REQUEST));
    }

    #[test]
    fn nobody_joins_who_is_fenced_or_has_registered_again_since() {
        let mut world = three();
        let mut stale = proposal(&world, &[1, 2, 3]);
        stale.isr[2].1 += 1;
        assert_eq!(ask(&world, &stale), Err(ErrorCode::INELIGIBLE_REPLICA));
        world.fence(3);
        assert_eq!(ask(&world, &proposal(&world, &[1, 2, 3])), Err(ErrorCode::INELIGIBLE_REPLICA));
    }

    #[test]
    fn nobody_joins_whose_directory_failed() {
        let mut world = three();
        let mut change = PartitionChange::of(TOPIC, 0, world.partition());
        change.directories.insert(3, Uuid::LOST_DIRECTORY);
        let terms = Terms::of(&world.image, &world.start, world.topic_of());
        let record = change.record(Electorate::of(&world.image), terms).expect("it changes something");
        world.apply(MetadataRecord::from(record));
        assert_eq!(ask(&world, &proposal(&world, &[1, 2, 3])), Err(ErrorCode::INELIGIBLE_REPLICA));
        assert!(ask(&world, &proposal(&world, &[1, 2])).is_ok());
    }

    #[test]
    fn a_set_without_its_leader_or_with_strangers_is_no_proposal() {
        let world = three();
        for isr in [&[2, 3][..], &[1, 2, 4], &[1, 1], &[]] {
            assert_eq!(ask(&world, &proposal(&world, isr)), Err(ErrorCode::INVALID_REQUEST), "{isr:?}");
        }
        let recovering = Proposal { recovery: RECOVERING, ..proposal(&world, &[1]) };
        assert_eq!(ask(&world, &recovering), Err(ErrorCode::INVALID_REQUEST));
    }
}
