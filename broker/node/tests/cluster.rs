//! Several nodes on disks in memory, with a network that carries everything in a millisecond: controllers elect a leader, brokers
//! join, and what one decides all of them know.

mod cluster {
    pub(crate) mod world;
}

use cluster::world::World;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicName};
use strandline_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use strandline_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};

#[test]
fn three_controllers_elect_one_and_all_of_them_know_what_is_committed() {
    let mut world = World::new(3);
    world.run_until("a leader", 10_000, |world| world.leader().is_some());
    world.run_until("everybody has the log", 5_000, World::is_level);
    let epoch = world.epoch();
    world.run(5_000);
    assert_eq!(world.epoch(), epoch, "a quiet quorum keeps its leader");
}

#[test]
fn three_brokers_register_with_whoever_leads_and_serve_when_they_are_let_in() {
    let mut world = World::new(3);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    let leader = world.leader().expect("there is one");
    let other = 1 + leader % 3;
    world.kill(other);
    world.run(4_000);
    world.start(other);
    world.run_until("it is let in again", 5_000, |world| world.serves(other));
}

#[test]
fn a_leader_that_dies_is_followed_by_another_well_within_a_second() {
    let mut world = World::new(3);
    world.run_until("a leader", 10_000, |world| world.leader().is_some());
    world.run_until("everybody has the log", 5_000, World::is_level);
    let first = world.leader().expect("there is one");
    let committed = world.committed(first);
    world.kill(first);
    world.run_until("another leader", 800, |world| world.leader().is_some_and(|leader| leader != first));
    let second = world.leader().expect("there is one");
    assert!(world.committed(second) >= committed);
    world.start(first);
    world.run_until("the old leader follows", 3_000, World::is_level);
}

#[test]
fn a_cluster_that_lost_power_altogether_comes_back_with_what_was_committed() {
    let mut world = World::new(3);
    world.run_until("a leader", 10_000, |world| world.leader().is_some());
    world.run_until("everybody has the log", 5_000, World::is_level);
    let committed = world.committed(1);
    (1..=3).for_each(|node| world.kill(node));
    (1..=3).for_each(|node| world.start(node));
    world.run_until("a leader again", 10_000, |world| world.leader().is_some());
    world.run_until("everybody has the log", 5_000, World::is_level);
    assert!((1..=3).all(|node| world.committed(node) >= committed));
}

#[test]
fn two_of_three_go_on_and_one_alone_decides_nothing() {
    let mut world = World::new(3);
    world.run_until("a leader", 10_000, |world| world.leader().is_some());
    let first = world.leader().expect("there is one");
    let others: Vec<i32> = (1..=3).filter(|node| *node != first).collect();
    world.kill(first);
    world.kill(others[0]);
    world.run(10_000);
    assert_eq!(world.leader(), None, "one of three is no majority");
    world.start(first);
    world.run_until("two are", 10_000, |world| world.leader().is_some());
}

#[test]
fn a_cluster_that_stops_as_a_whole_is_soon_gone_and_comes_back() {
    let mut world = World::new(3);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    (1..=3).for_each(|node| world.stop(node));
    world.run_until("all are gone", 8_000, |world| (1..=3).all(|node| !world.is_running(node)));
    (1..=3).for_each(|node| world.start(node));
    world.run_until("all serve again", 10_000, |world| (1..=3).all(|node| world.serves(node)));
}

#[test]
fn a_controller_whose_disk_failed_meets_its_end_without_a_panic() {
    let mut world = World::new(3);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    let leader = world.leader().expect("there is one");
    world.fail_disk(leader);
    // Brokers beat, one dies and is to be fenced: there is something to decide.
    world.kill(1 + leader % 3);
    world.run(5_000);
    assert!(world.is_running(leader));
}

const BY_RACK: &[(&str, &str)] = &[("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector")];

/// A topic of one partition on all nodes; answers with its id and leader.
fn topic(world: &mut World, name: &str) -> (strandline_protocol::ids::TopicId, i32) {
    let name = TopicName::from(name.to_owned());
    let topic = CreatableTopic { name: name.clone(), num_partitions: 1, replication_factor: 3, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
    let Response::CreateTopics(created) = world.call(1, request) else { panic!("another response") };
    assert_eq!(created.topics[0].error_code, ErrorCode::NONE);
    world.run(1_000);
    let named = MetadataRequestTopic { name: Some(name), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![named]), ..Default::default() };
    let Response::Metadata(metadata) = world.call(1, request) else { panic!("another response") };
    (metadata.topics[0].topic_id, metadata.topics[0].partitions[0].leader_id.0)
}

/// What a node tells a consumer that stands in a rack.
fn fetched(world: &mut World, from: i32, id: strandline_protocol::ids::TopicId, rack: &str) -> PartitionData {
    let partition = FetchPartition { partition: 0, partition_max_bytes: 1000, ..Default::default() };
    let request = FetchRequest {
        topics: vec![FetchTopic { topic_id: id, partitions: vec![partition], ..Default::default() }],
        rack_id: rack.to_owned(),
        max_bytes: 1000,
        session_epoch: -1,
        ..Default::default()
    };
    let Response::Fetch(mut response) = world.call(from, request) else { panic!("another response") };
    response.responses[0].partitions.remove(0)
}

#[test]
fn a_consumer_is_sent_to_the_in_sync_replica_in_its_rack() {
    let mut world = World::with(3, BY_RACK);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    let (id, leader) = topic(&mut world, "t");
    let follower = 1 + leader % 3;
    let there = format!("rack-{follower}");
    assert_eq!(fetched(&mut world, leader, id, &there).preferred_read_replica, BrokerId(follower));
    for rack in [format!("rack-{leader}"), "elsewhere".to_owned(), String::new()] {
        assert_eq!(fetched(&mut world, leader, id, &rack).preferred_read_replica, BrokerId::NONE, "{rack:?}");
    }
    let read = fetched(&mut world, follower, id, &there);
    assert_eq!((read.error_code, read.preferred_read_replica), (ErrorCode::NONE, BrokerId::NONE));
    world.kill(follower);
    world.run(4_000);
    assert_eq!(fetched(&mut world, leader, id, &there).preferred_read_replica, BrokerId::NONE, "it is not alive");
}

#[test]
fn without_a_selector_consumers_stay_at_the_leader() {
    let mut world = World::new(3);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    let (id, leader) = topic(&mut world, "t");
    let there = format!("rack-{}", 1 + leader % 3);
    assert_eq!(fetched(&mut world, leader, id, &there).preferred_read_replica, BrokerId::NONE);
}
