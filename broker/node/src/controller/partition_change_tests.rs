use super::*;
use crate::controller::worlds::{TOPIC, World};
use crate::image::topics::RECOVERED;

/// The in-sync set becomes `isr`, as `broker` leaves.
fn leaves(world: &mut World, broker: i32) {
    let mut change = PartitionChange::of(TOPIC, 0, world.partition());
    change.isr.retain(|member| *member != broker);
    if let Some(record) = change.record(Electorate::without(&world.image, broker), world.terms()) {
        world.apply(record);
    }
    world.fence(broker);
}

fn crashes(world: &mut World, broker: i32) {
    let mut change = PartitionChange::of(TOPIC, 0, world.partition());
    change.isr.retain(|member| *member != broker);
    change.unclean = Some(broker);
    if let Some(record) = change.record(Electorate::without(&world.image, broker), world.terms()) {
        world.apply(record);
    }
}

fn comes(world: &mut World, broker: i32) {
    world.unfence(broker);
    elects(world, Election::Online);
}

fn elects(world: &mut World, election: Election) {
    let mut change = PartitionChange::of(TOPIC, 0, world.partition());
    change.election = election;
    if let Some(record) = change.record(Electorate::of(&world.image), world.terms()) {
        world.apply(record);
    }
}

fn three(configs: &[(&str, &str)]) -> World {
    let mut world = World::new(&[1, 2, 3]);
    world.topic(&[1, 2, 3], &[1, 2, 3], configs);
    world
}

fn sets(world: &World) -> (i32, Vec<i32>, Vec<i32>) {
    let partition = world.partition();
    (partition.leader, partition.isr.clone(), partition.elr.clone())
}

#[test]
fn a_change_that_changes_nothing_is_no_record() {
    let world = three(&[]);
    let change = PartitionChange::of(TOPIC, 0, world.partition());
    assert_eq!(change.record(Electorate::of(&world.image), world.terms()), None);
}

#[test]
fn the_next_replica_in_sync_follows_a_leader_that_leaves() {
    let mut world = three(&[("min.insync.replicas", "2")]);
    leaves(&mut world, 1);
    assert_eq!(sets(&world), (2, vec![2, 3], vec![]));
    assert_eq!((world.partition().leader_epoch.0, world.partition().partition_epoch), (6, 11));
}

#[test]
fn a_follower_that_leaves_costs_no_leader_epoch() {
    let mut world = three(&[]);
    leaves(&mut world, 3);
    assert_eq!(sets(&world), (1, vec![1, 2], vec![]));
    assert_eq!((world.partition().leader_epoch.0, world.partition().partition_epoch), (5, 11));
}

#[test]
fn below_the_minimum_who_leaves_stays_eligible_and_leads_again() {
    let mut world = three(&[("min.insync.replicas", "2")]);
    leaves(&mut world, 1);
    leaves(&mut world, 2);
    assert_eq!(sets(&world), (3, vec![3], vec![2]));
    leaves(&mut world, 3);
    assert_eq!(sets(&world), (-1, vec![], vec![2, 3]));
    assert_eq!(world.partition().last_known_elr, [3]);
    comes(&mut world, 1);
    assert_eq!(sets(&world).0, -1, "he left while two others were in sync: records were acknowledged without him");
    comes(&mut world, 2);
    assert_eq!(sets(&world), (2, vec![2], vec![3]));
    assert_eq!(world.partition().last_known_elr, [0; 0]);
    assert_eq!(world.partition().leader_recovery_state, RECOVERED);
}

#[test]
fn a_minimum_above_the_number_of_replicas_counts_as_that_number() {
    let mut world = World::new(&[1, 2]);
    world.topic(&[1, 2], &[1, 2], &[("min.insync.replicas", "3")]);
    leaves(&mut world, 2);
    assert_eq!(sets(&world), (1, vec![1], vec![2]));
    let mut change = PartitionChange::of(TOPIC, 0, world.partition());
    change.isr = vec![1, 2];
    let record = change.record(Electorate::of(&world.image), world.terms()).expect("a change");
    world.apply(record);
    assert_eq!(sets(&world), (1, vec![1, 2], vec![]));
}

#[test]
fn without_eligible_replicas_the_last_in_sync_replica_keeps_its_place() {
    let mut world = three(&[]);
    world.image.features.clear();
    leaves(&mut world, 2);
    leaves(&mut world, 3);
    leaves(&mut world, 1);
    assert_eq!(sets(&world), (-1, vec![1], vec![]));
    comes(&mut world, 2);
    assert_eq!(sets(&world).0, -1);
    comes(&mut world, 1);
    assert_eq!(sets(&world), (1, vec![1], vec![]));
}

#[test]
fn where_crashes_cost_records_the_last_leader_follows_nobody_and_recovers() {
    let mut world = three(&[("durability", "replicated")]);
    [1, 2, 3].into_iter().for_each(|broker| leaves(&mut world, broker));
    assert_eq!(sets(&world), (-1, vec![], vec![3]));
    crashes(&mut world, 3);
    assert_eq!(sets(&world), (-1, vec![], vec![]));
    comes(&mut world, 1);
    assert_eq!(sets(&world).0, -1);
    comes(&mut world, 3);
    assert_eq!(sets(&world), (3, vec![3], vec![]));
    assert_eq!(world.partition().leader_recovery_state, RECOVERING);
}

#[test]
fn where_records_are_durable_and_every_disk_is_lost_only_a_human_elects() {
    let mut world = three(&[("durability", "fsync")]);
    [1, 2, 3].into_iter().for_each(|broker| leaves(&mut world, broker));
    crashes(&mut world, 3);
    comes(&mut world, 3);
    assert_eq!(sets(&world).0, -1);
    elects(&mut world, Election::Unclean);
    assert_eq!(sets(&world), (3, vec![3], vec![]));
    assert_eq!(world.partition().leader_recovery_state, RECOVERING);
}

#[test]
fn the_preferred_replica_leads_again_when_asked_for_and_in_sync() {
    let mut world = three(&[]);
    leaves(&mut world, 1);
    world.unfence(1);
    elects(&mut world, Election::Preferred);
    assert_eq!(sets(&world).0, 2, "not in sync yet");
    let mut change = PartitionChange::of(TOPIC, 0, world.partition());
    change.isr = vec![2, 3, 1];
    let record = change.record(Electorate::of(&world.image), world.terms()).expect("a change");
    world.apply(record);
    elects(&mut world, Election::Preferred);
    assert_eq!(sets(&world).0, 1);
}

#[test]
fn a_reassignment_ends_when_all_that_stay_are_in_sync() {
    let mut world = World::new(&[1, 2, 3, 4]);
    world.topic(&[1, 2, 3], &[1, 2, 3], &[("min.insync.replicas", "2")]);
    let mut change = PartitionChange::of(TOPIC, 0, world.partition());
    change.replicas = vec![4, 2, 3, 1];
    change.adding = vec![4];
    change.removing = vec![1];
    let record = change.record(Electorate::of(&world.image), world.terms()).expect("a change");
    world.apply(record);
    assert!(world.partition().is_moving());
    assert_eq!(sets(&world).0, 1);
    let epoch = world.partition().leader_epoch;
    let mut change = PartitionChange::of(TOPIC, 0, world.partition());
    change.isr = vec![1, 2, 3, 4];
    let record = change.record(Electorate::of(&world.image), world.terms()).expect("a change");
    world.apply(record);
    assert!(!world.partition().is_moving());
    assert_eq!(world.partition().replicas, [4, 2, 3]);
    assert_eq!(world.partition().directories.len(), 3);
    assert_eq!(sets(&world), (4, vec![2, 3, 4], vec![]));
    assert!(world.partition().leader_epoch > epoch);
}

#[test]
fn a_replica_whose_directory_failed_does_not_lead() {
    let mut world = three(&[]);
    let mut change = PartitionChange::of(TOPIC, 0, world.partition());
    change.directories.insert(2, Uuid::LOST_DIRECTORY);
    let record = change.record(Electorate::of(&world.image), world.terms()).expect("a change");
    world.apply(record);
    leaves(&mut world, 1);
    assert_eq!(sets(&world).0, 3);
}
