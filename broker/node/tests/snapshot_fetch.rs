//! Whoever is behind the beginning of the metadata log is brought back by a snapshot.

mod cluster {
    pub(crate) mod world;
}

use cluster::world::World;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use strandline_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use strandline_protocol::messages::metadata::MetadataRequest;

/// A snapshot soon after whatever is committed, and nothing kept behind the newest.
const OFTEN: &[(&str, &str)] =
    &[("metadata.log.max.record.bytes.between.snapshots", "1"), ("metadata.max.retention.bytes", "1")];

fn create(world: &mut World, to: i32, name: &str) {
    let topic = CreatableTopic {
        name: TopicName::from(name.to_owned()),
        num_partitions: 3,
        replication_factor: 3,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
    let Response::CreateTopics(response) = world.call(to, request) else { panic!("another response") };
    assert_eq!(response.topics[0].error_code, ErrorCode::NONE, "{name}");
    // A tick, which looks whether a snapshot is due.
    world.run(1_100);
}

fn delete(world: &mut World, to: i32, name: &str) {
    let topic = DeleteTopicState { name: Some(TopicName::from(name.to_owned())), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
    let Response::DeleteTopics(response) = world.call(to, request) else { panic!("another response") };
    assert_eq!(response.responses[0].error_code, ErrorCode::NONE, "{name}");
    world.run(1_100);
}

fn topics(world: &mut World, of: i32) -> Vec<String> {
    let request = MetadataRequest { topics: None, ..Default::default() };
    let Response::Metadata(response) = world.call(of, request) else { panic!("another response") };
    let mut names: Vec<String> =
        response.topics.iter().filter_map(|topic| topic.name.as_ref()).map(ToString::to_string).collect();
    names.sort();
    names
}

/// Three nodes that serve, and the one that does not lead.
fn cluster() -> (World, i32) {
    let mut world = World::with(3, OFTEN);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    let leader = world.leader().expect("there is one");
    (world, 1 + leader % 3)
}

/// The log was cut: its first segment is gone.
fn is_cut(world: &World, node: i32) -> bool {
    !world.files(node, "__cluster_metadata-0").iter().any(|name| name == "00000000000000000000.log")
}

#[test]
fn a_voter_behind_the_cut_log_is_brought_back_by_a_snapshot() {
    let (mut world, behind) = cluster();
    let leader = world.leader().expect("there is one");
    create(&mut world, leader, "before");
    create(&mut world, leader, "doomed");
    world.run_until("everybody has it", 5_000, World::is_level);
    world.kill(behind);
    delete(&mut world, leader, "doomed");
    (0..4).for_each(|index| create(&mut world, leader, &format!("topic-{index}")));
    assert!(is_cut(&world, leader));
    world.start(behind);
    world.run_until("it serves", 20_000, |world| world.serves(behind));
    world.run_until("it has all", 5_000, World::is_level);
    let expected = topics(&mut world, leader);
    assert_eq!(expected, ["before", "topic-0", "topic-1", "topic-2", "topic-3"]);
    assert_eq!(topics(&mut world, behind), expected);
    assert_eq!(world.topics_on_disk(behind).len(), 5);
    // And it is a full voter again.
    create(&mut world, leader, "after");
    world.kill(leader);
    world.run_until("another leader", 10_000, |world| world.leader().is_some_and(|next| next != leader));
    world.run(3_000);
    assert_eq!(topics(&mut world, behind).len(), 6);
}

#[test]
fn a_new_broker_that_is_no_voter_begins_with_a_snapshot() {
    let (mut world, _) = cluster();
    let leader = world.leader().expect("there is one");
    (0..4).for_each(|index| create(&mut world, leader, &format!("topic-{index}")));
    assert!(is_cut(&world, leader));
    world.add(4);
    world.start(4);
    world.run_until("it serves", 20_000, |world| world.serves(4));
    world.run_until("it has all", 5_000, World::is_level);
    assert_eq!(topics(&mut world, 4).len(), 4);
    world.kill(4);
    world.start(4);
    world.run_until("it serves again", 20_000, |world| world.serves(4));
    assert_eq!(topics(&mut world, 4).len(), 4);
}

#[test]
fn a_serving_broker_that_fell_behind_takes_what_changed_meanwhile() {
    let (mut world, behind) = cluster();
    let leader = world.leader().expect("there is one");
    create(&mut world, leader, "doomed");
    create(&mut world, leader, "kept");
    world.run_until("everybody has it", 5_000, World::is_level);
    world.cut_off(behind);
    delete(&mut world, leader, "doomed");
    (0..4).for_each(|index| create(&mut world, leader, &format!("topic-{index}")));
    assert!(is_cut(&world, leader));
    world.reconnect();
    world.run_until("it has all", 20_000, World::is_level);
    world.run(3_000);
    let expected = topics(&mut world, leader);
    assert_eq!(topics(&mut world, behind), expected);
    assert_eq!(world.hosted_partitions(behind), 15, "three of each topic");
}

#[test]
fn a_kill_at_any_operation_of_the_disk_leaves_the_old_log_or_the_new_one() {
    for operation in 1.. {
        let (mut world, behind) = cluster();
        let leader = world.leader().expect("there is one");
        create(&mut world, leader, "before");
        world.run_until("everybody has it", 5_000, World::is_level);
        world.kill(behind);
        (0..3).for_each(|index| create(&mut world, leader, &format!("topic-{index}")));
        world.kill_at(behind, operation);
        world.start(behind);
        world.run(3_000);
        let was_whole = world.spare(behind);
        if !was_whole {
            assert!(!world.is_running(behind));
            world.topics_on_disk(behind);
            world.start(behind);
        }
        world.run_until("it has all", 20_000, World::is_level);
        assert_eq!(world.topics_on_disk(behind).len(), 4, "operation {operation}");
        if was_whole {
            assert!(operation > 8, "{operation} operations are too few for what was done");
            return;
        }
    }
}
