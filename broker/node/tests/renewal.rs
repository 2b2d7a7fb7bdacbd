//! A replica whose files are damaged, in a cluster: it leaves the in-sync set, is made anew from its leader, and comes back.

mod cluster {
    pub(crate) mod world;
}

use cluster::world::World;
use strandline_log::disk::FilePath;
use strandline_node::io::{Asked, Input};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicName};
use strandline_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataResponsePartition};
use strandline_protocol::records::BatchHeader;

const TOPIC: &str = "orders";
const FIRST: &str = "orders-0/00000000000000000000.log";
const LAST: &str = "orders-0/00000000000000000002.log";
/// Three batches of this size fill three segments.
const VALUE_BYTES: usize = 600_000;

fn partition(world: &mut World, at: i32) -> MetadataResponsePartition {
    let request = Asked::Other(Box::new(MetadataRequest { topics: None, ..Default::default() }.into()));
    let Some(Response::Metadata(mut response)) = world.call_within(100, at, 12, request) else { panic!("not answered") };
    let place = response.topics.iter().position(|topic| topic.name.as_ref().is_some_and(|name| name.as_str() == TOPIC));
    response.topics.remove(place.expect("the topic is there")).partitions.remove(0)
}

fn in_sync(world: &mut World, at: i32) -> Vec<i32> {
    partition(world, at).isr_nodes.iter().map(|id| id.0).collect()
}

fn wait_for_in_sync(world: &mut World, at: i32, count: usize) {
    for _ in 0..200 {
        if in_sync(world, at).len() == count {
            return;
        }
        world.run(50);
    }
    panic!("{:?} are in sync, not {count}", in_sync(world, at));
}

fn produce(world: &mut World, value: u8) {
    let leader = partition(world, 1).leader_id.0;
    assert_eq!(world.produce(5_000, leader, TOPIC, 0, &vec![value; VALUE_BYTES]), Some(ErrorCode::NONE));
}

/// Three nodes, and a partition on all of them that begins with a sealed segment; and what that segment holds.
fn world() -> (World, Vec<u8>) {
    let mut world = World::new(3);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    let topic = CreatableTopic {
        name: TopicName::from(TOPIC),
        num_partitions: 1,
        replication_factor: 3,
        configs: vec![CreatableTopicConfig { name: "segment.bytes".to_owned(), value: Some("1048576".to_owned()) }],
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..CreateTopicsRequest::default() };
    let created = world.call_within(5_000, 1, 7, Asked::Other(Box::new(request.into())));
    assert!(matches!(created, Some(Response::CreateTopics(_))), "{created:?}");
    world.run(100);
    (b'a'..b'd').for_each(|value| produce(&mut world, value));
    world.run(1_000);
    let first = world.contents(1, FIRST);
    assert!(first.len() > VALUE_BYTES);
    (world, first)
}

/// The first batch of a segment: behind the last one there may be padding.
fn records(mut segment: Vec<u8>) -> Vec<u8> {
    segment.truncate(BatchHeader::parse(&segment).expect("a batch").size_bytes());
    segment
}

fn end_at(world: &World, id: i32) -> Option<Offset> {
    world.node(id).partitions().find(|view| !view.deleted && view.name.as_str() == TOPIC).map(|view| view.positions.log_end)
}

#[test]
fn a_replica_found_damaged_at_start_is_made_anew_from_its_leader() {
    let (mut world, _) = world();
    let leader = partition(&mut world, 1).leader_id.0;
    let last = world.contents(leader, LAST);
    let (victim, other) = (1 + leader % 3, 1 + (leader + 1) % 3);
    world.stop(victim);
    world.run_until("it is gone", 8_000, |world| !world.is_running(victim));
    world.start(victim);
    world.run_until("it serves again", 10_000, |world| world.serves(victim));
    wait_for_in_sync(&mut world, leader, 3);
    world.kill(victim);
    world.put(victim, LAST, last[..VALUE_BYTES / 2].to_vec());
    world.start(victim);
    world.run_until("it serves again", 10_000, |world| world.serves(victim));
    world.run_until("it begins anew", 5_000, |world| world.node(victim).offline().count() == 0);
    wait_for_in_sync(&mut world, other, 3);
    assert_eq!(end_at(&world, victim), end_at(&world, leader));
    assert!(records(world.contents(victim, LAST)) == records(last));
    produce(&mut world, b'd');
}

#[test]
fn a_leader_with_a_turned_bit_gives_up_the_lead_and_comes_back_whole() {
    let (mut world, first) = world();
    let leader = partition(&mut world, 1).leader_id.0;
    let other = 1 + leader % 3;
    let mut damaged = first.clone();
    damaged[VALUE_BYTES / 2] ^= 1;
    world.put(leader, FIRST, damaged);
    world.input(leader, Input::Damaged { log: FilePath::top(FIRST), base_offset: Offset(0) });
    world.run(20);
    let state = partition(&mut world, other);
    assert_ne!(state.leader_id.0, leader);
    wait_for_in_sync(&mut world, other, 3);
    assert!(records(world.contents(leader, FIRST)) == records(first));
    assert_eq!(end_at(&world, leader), end_at(&world, other));
    produce(&mut world, b'd');
}

#[test]
fn an_active_segment_and_a_partition_elsewhere_are_not_taken_at_a_readers_word() {
    let (mut world, _) = world();
    let active = world.node(1).partitions().find(|view| view.name.as_str() == TOPIC).expect("hosted").positions.log_end;
    for (file, base_offset) in [(FIRST, active), ("nobodys-0/0.log", Offset(0))] {
        world.input(1, Input::Damaged { log: FilePath::top(file), base_offset });
    }
    world.run(2_000);
    assert_eq!(in_sync(&mut world, 1).len(), 3);
    assert_eq!(end_at(&world, 1), Some(Offset(3)));
}
