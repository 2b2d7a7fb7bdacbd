//! A replica whose files are damaged, in a cluster: it leaves the in-sync set, is made anew from its leader, and comes back.

mod cluster {
    pub(crate) mod world;
}

use cluster::world::World;
use strandline_log::disk::FilePath;
use strandline_node::io::{Asked, Input};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicId, TopicName};
use strandline_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use strandline_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use strandline_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use strandline_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataResponsePartition};
use strandline_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
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

/// What three batches come to.
const END: Offset = Offset(3);

fn topic_id(world: &mut World) -> TopicId {
    let request = Asked::Other(Box::new(MetadataRequest { topics: None, ..Default::default() }.into()));
    let Some(Response::Metadata(response)) = world.call_within(100, 1, 12, request) else { panic!("not answered") };
    let topic = response.topics.iter().find(|topic| topic.name.as_ref().is_some_and(|name| name.as_str() == TOPIC));
    topic.expect("the topic is there").topic_id
}

fn fetch_request(id: TopicId, version: i16, from: Offset, wait_ms: i32) -> Asked {
    let partition = FetchPartition { partition: 0, fetch_offset: from, partition_max_bytes: 1 << 20, ..Default::default() };
    let name = if version >= 13 { TopicName::default() } else { TopicName::from(TOPIC) };
    let topic_id = if version >= 13 { id } else { TopicId::default() };
    let request = FetchRequest {
        replica_id: BrokerId(-1),
        max_wait_ms: wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic { topic: name, topic_id, partitions: vec![partition] }],
        ..FetchRequest::default()
    };
    Asked::Other(Box::new(request.into()))
}

fn fetched(response: Option<Response>) -> PartitionData {
    let Some(Response::Fetch(mut response)) = response else { panic!("not answered: {response:?}") };
    response.responses.remove(0).partitions.remove(0)
}

/// Where an answer to whoever reads at `from` lets librdkafka find the end of the partition, if it does: it looks at the ends before it
/// looks at the error, and takes the high watermark where no stable offset is told.
fn end_found(answer: &PartitionData, from: Offset) -> Option<Offset> {
    let end = if answer.last_stable_offset == Offset::NONE { answer.high_watermark } else { answer.last_stable_offset };
    (end == from).then_some(end)
}

/// Asks a node everything that tells a reader where the partition ends. Answers with what it says to a reader from the beginning.
fn ask_for_ends(world: &mut World, at: i32, id: TopicId) -> ErrorCode {
    let mut said = ErrorCode::NONE;
    for version in [4, 11, 12, 16] {
        let response = world.call_within(1, at, version, fetch_request(id, version, Offset::ZERO, 0));
        let answer = fetched(response);
        assert_eq!(end_found(&answer, Offset::ZERO), None, "v{version} at {at}: {answer:?}");
        assert_ne!(answer.error_code, ErrorCode::OFFSET_OUT_OF_RANGE, "v{version} at {at}");
        let has_records = answer.records.is_some_and(|records| !records.into_bytes().is_empty());
        assert_eq!(has_records, answer.error_code == ErrorCode::NONE, "v{version} at {at}");
        said = answer.error_code;
    }
    for (timestamp, expected) in [(-1, END), (-2, Offset::ZERO), (-4, Offset::ZERO)] {
        let partition = ListOffsetsPartition { partition_index: 0, timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: TopicName::from(TOPIC), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: BrokerId(-1), topics: vec![topic], ..Default::default() };
        let response = world.call_within(1, at, 8, Asked::Other(Box::new(request.into())));
        let Some(Response::ListOffsets(response)) = response else { panic!("not answered: {response:?}") };
        let answer = &response.topics[0].partitions[0];
        let expected = if answer.error_code == ErrorCode::NONE { expected } else { Offset::NONE };
        assert_eq!(answer.offset, expected, "{timestamp} at {at}: {answer:?}");
    }
    let partition = OffsetForLeaderPartition { partition: 0, leader_epoch: LeaderEpoch(0), ..Default::default() };
    let topic = OffsetForLeaderTopic { topic: TopicName::from(TOPIC), partitions: vec![partition] };
    let request = OffsetForLeaderEpochRequest { replica_id: BrokerId(-1), topics: vec![topic] };
    let response = world.call_within(1, at, 4, Asked::Other(Box::new(request.into())));
    let Some(Response::OffsetForLeaderEpoch(response)) = response else { panic!("not answered: {response:?}") };
    let answer = &response.topics[0].partitions[0];
    let expected = if answer.error_code == ErrorCode::NONE { END } else { Offset::NONE };
    assert_eq!(answer.end_offset, expected, "at {at}: {answer:?}");
    said
}

/// Asks everybody until all are in sync again; the victim has nothing for a while, and says no end then.
fn watch(world: &mut World, victim: i32, id: TopicId) {
    let (mut empty, mut whole) = (0, 0);
    for _ in 0..5_000 {
        for at in (1..=3).filter(|at| *at != victim || world.serves(victim)).collect::<Vec<_>>() {
            let is_empty = at == victim && end_at(world, victim) == Some(Offset::ZERO);
            let said = ask_for_ends(world, at, id);
            empty += i32::from(is_empty);
            assert!(!is_empty || said == ErrorCode::NOT_LEADER_OR_FOLLOWER, "{said:?}");
        }
        let other = 1 + victim % 3;
        let is_back = in_sync(world, other).len() == 3 && empty > 0 && end_at(world, victim) == Some(END);
        whole += i32::from(is_back);
        if whole == 20 {
            return;
        }
        world.run(1);
    }
    panic!("it was empty for {empty} ms, and is not whole again");
}

/// A follower starts with half of a batch that was whole; answers with its number.
fn cut_below_the_recovery_point(world: &mut World) -> i32 {
    let leader = partition(world, 1).leader_id.0;
    let last = world.contents(leader, LAST);
    let victim = 1 + leader % 3;
    world.stop(victim);
    world.run_until("it is gone", 8_000, |world| !world.is_running(victim));
    world.start(victim);
    world.run_until("it serves again", 10_000, |world| world.serves(victim));
    wait_for_in_sync(world, leader, 3);
    world.kill(victim);
    world.put(victim, LAST, last[..VALUE_BYTES / 2].to_vec());
    world.start(victim);
    victim
}

#[test]
fn a_leader_that_is_made_anew_tells_no_reader_of_an_end() {
    let (mut world, first) = world();
    let leader = partition(&mut world, 1).leader_id.0;
    let id = topic_id(&mut world);
    let waiting = world.send(leader, 16, fetch_request(id, 16, END, 4_000));
    let mut damaged = first.clone();
    damaged[VALUE_BYTES / 2] ^= 1;
    world.put(leader, FIRST, damaged);
    world.input(leader, Input::Damaged { log: FilePath::top(FIRST), base_offset: Offset(0) });
    watch(&mut world, leader, id);
    let answer = fetched(world.take_answer(waiting));
    assert_eq!(answer.error_code, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!((answer.high_watermark, answer.last_stable_offset), (Offset::NONE, Offset::NONE));
}

#[test]
fn a_replica_found_damaged_at_start_tells_no_reader_of_an_end() {
    let (mut world, _) = world();
    let id = topic_id(&mut world);
    let victim = cut_below_the_recovery_point(&mut world);
    watch(&mut world, victim, id);
}

#[test]
fn one_that_is_killed_while_it_is_empty_tells_no_reader_of_an_end() {
    let (mut world, first) = world();
    let leader = partition(&mut world, 1).leader_id.0;
    let id = topic_id(&mut world);
    let mut damaged = first.clone();
    damaged[VALUE_BYTES / 2] ^= 1;
    world.put(leader, FIRST, damaged);
    world.input(leader, Input::Damaged { log: FilePath::top(FIRST), base_offset: Offset(0) });
    world.run_until("it is empty", 1_000, |world| end_at(world, leader) == Some(Offset::ZERO));
    world.kill(leader);
    world.start(leader);
    watch(&mut world, leader, id);
}

#[test]
fn a_replica_found_damaged_at_start_is_made_anew_from_its_leader() {
    let (mut world, _) = world();
    let leader = partition(&mut world, 1).leader_id.0;
    let last = world.contents(leader, LAST);
    let victim = cut_below_the_recovery_point(&mut world);
    let other = 1 + (leader + 1) % 3;
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

fn delete_records(world: &mut World, before: Offset) {
    let leader = partition(world, 1).leader_id.0;
    let partition = DeleteRecordsPartition { partition_index: 0, offset: before };
    let topics = vec![DeleteRecordsTopic { name: TopicName::from(TOPIC), partitions: vec![partition] }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 1_000 };
    let Some(Response::DeleteRecords(response)) = world.call_within(5_000, leader, 2, Asked::Other(Box::new(request.into())))
    else {
        panic!("not answered")
    };
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::NONE);
}

#[test]
fn a_follower_that_begins_its_log_again_counts_when_the_new_one_has_its_file() {
    let mut began = false;
    for operation in 1.. {
        let (mut world, _) = world();
        let follower = 1 + partition(&mut world, 1).leader_id.0 % 3;
        world.kill(follower);
        produce(&mut world, b'd');
        delete_records(&mut world, Offset(4));
        world.kill_at(follower, operation);
        world.start(follower);
        world.run(2_000);
        if world.spare(follower) {
            break;
        }
        if world.last_end(follower, TOPIC) == Some(Offset(4)) {
            began = true;
            let files = world.files(follower, "orders-0");
            assert!(files.contains(&"00000000000000000004.log".to_owned()), "killed at operation {operation}: {files:?}");
        }
    }
    assert!(began, "it was never killed behind that");
}
