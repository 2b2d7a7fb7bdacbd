//! Several nodes on disks in memory, with a network that carries everything in a millisecond: controllers elect a leader, brokers
//! join, and what one decides all of them know.

mod cluster {
    pub(crate) mod world;
}

use cluster::world::World;
use strandline_node::io::Input;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, GroupId, Offset, TopicId, TopicName};
use strandline_protocol::messages::create_topics::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use strandline_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use strandline_protocol::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use strandline_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use strandline_protocol::messages::find_coordinator::FindCoordinatorRequest;
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use strandline_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};

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
fn topic(world: &mut World, name: &str) -> (TopicId, i32) {
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
fn fetched(world: &mut World, from: i32, id: TopicId, rack: &str) -> PartitionData {
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

/// A topic of one replica, on this node, with three records.
fn topic_on(world: &mut World, node: i32) -> TopicId {
    let name = TopicName::from("far");
    let assignments = vec![CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![BrokerId(node)] }];
    let topic =
        CreatableTopic { name: name.clone(), num_partitions: -1, replication_factor: -1, assignments, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
    let Response::CreateTopics(created) = world.call(1, request) else { panic!("another response") };
    assert_eq!(created.topics[0].error_code, ErrorCode::NONE);
    world.run(1_000);
    for value in [b"1", b"2", b"3"] {
        assert_eq!(world.produce(5_000, node, "far", 0, value), Some(ErrorCode::NONE));
    }
    created.topics[0].topic_id
}

/// Who coordinates the group; makes the topic of groups.
fn coordinator(world: &mut World, group: &str) -> i32 {
    for _ in 0..20 {
        let request = FindCoordinatorRequest { coordinator_keys: vec![group.to_owned()], ..Default::default() };
        let Response::FindCoordinator(found) = world.call(1, request) else { panic!("another response") };
        if found.coordinators[0].error_code.is_none() {
            return found.coordinators[0].node_id.0;
        }
        world.run(1_000);
    }
    panic!("nobody coordinates {group}");
}

fn commit(world: &mut World, to: i32, group: &str, topic_id: TopicId, offset: i64) {
    let place = OffsetCommitRequestPartition { partition_index: 0, committed_offset: Offset(offset), ..Default::default() };
    let topic = OffsetCommitRequestTopic { name: TopicName::from("far"), topic_id, partitions: vec![place] };
    let request = OffsetCommitRequest { group_id: GroupId::from(group), topics: vec![topic], ..Default::default() };
    let Response::OffsetCommit(committed) = world.call(to, request) else { panic!("another response") };
    assert_eq!(committed.topics[0].partitions[0].error_code, ErrorCode::NONE);
}

/// End of the partition, and when the batch was written that the group has not read, as one look at its coordinator shows them.
fn looked(world: &mut World, at: i32) -> (Option<Offset>, Option<i64>) {
    world.input(at, Input::LookAtLag);
    world.run(100);
    assert!(!world.node(at).is_asking_for_lag(), "everybody has answered");
    let standing = world.node(at).standings(10, |_| true).partitions.remove(0);
    (standing.end, standing.timestamp_ms)
}

#[test]
fn leaders_tell_how_far_a_group_is_behind_where_its_coordinator_has_no_replica() {
    let mut world = World::new(3);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    let at = coordinator(&mut world, "g");
    let leader = 1 + at % 3;
    let topic = topic_on(&mut world, leader);
    commit(&mut world, at, "g", topic, 1);
    assert_eq!(world.node(at).standings(10, |_| true).partitions[0].end, None, "nobody was asked");
    let (end, time) = looked(&mut world, at);
    assert_eq!((end, time.is_some()), (Some(Offset(3)), true));
    commit(&mut world, at, "g", topic, 3);
    assert_eq!(looked(&mut world, at), (Some(Offset(3)), None), "it is not behind");
    let cut = DeleteRecordsPartition { partition_index: 0, offset: Offset(2) };
    let topics = vec![DeleteRecordsTopic { name: TopicName::from("far"), partitions: vec![cut] }];
    world.call(leader, DeleteRecordsRequest { topics, timeout_ms: 5_000 });
    commit(&mut world, at, "g", topic, 0);
    assert!(looked(&mut world, at).1.is_some(), "the first record that is left");
    world.kill(leader);
    world.input(at, Input::LookAtLag);
    world.run(3_000);
    assert_eq!(looked(&mut world, at), (None, None), "what a dead leader said long ago does not count");
}

#[test]
fn every_replica_tells_which_producers_it_knows() {
    let mut world = World::new(3);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    let asked = |world: &mut World, node: i32, name: &str| {
        let topics = vec![TopicRequest { name: TopicName::from(name), partition_indexes: vec![0] }];
        let Response::DescribeProducers(response) = world.call(node, DescribeProducersRequest { topics }) else {
            panic!("another response")
        };
        response.topics[0].partitions[0].error_code
    };
    topic(&mut world, "t");
    topic_on(&mut world, 2);
    // Who looks for hanging transactions asks a broker for all that it has.
    assert_eq!([1, 2, 3].map(|node| asked(&mut world, node, "t")), [ErrorCode::NONE; 3]);
    let elsewhere = ErrorCode::NOT_LEADER_OR_FOLLOWER;
    assert_eq!([1, 2, 3].map(|node| asked(&mut world, node, "far")), [elsewhere, ErrorCode::NONE, elsewhere]);
}
