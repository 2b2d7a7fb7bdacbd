//! A log directory that fails while the broker serves: it takes its partitions with it, and nothing else.

mod cluster {
    pub(crate) mod world;
}
mod harness;

use cluster::world::World;
use harness::TestBroker;
use strandline_log::disk::{FilePath, LogDir};
use strandline_node::io::{Asked, Input};
use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Offset, TopicName, Uuid};
use strandline_protocol::messages::create_topics::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use strandline_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use strandline_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use strandline_protocol::messages::describe_log_dirs::DescribeLogDirsRequest;
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataResponsePartition};

const TWO: &[(&str, &str)] = &[("log.dirs", "left0,right1")];
const LEFT: LogDir = LogDir(0);
const RIGHT: LogDir = LogDir(1);
/// Partitions go into the directories by turns.
const IN_LEFT: i32 = 0;
const IN_RIGHT: i32 = 1;

fn filled() -> TestBroker {
    let mut broker = TestBroker::on(harness::Disk::default(), TWO);
    broker.create_topic("orders", 4, &[]);
    for partition in 0..4 {
        assert_eq!(produced(&mut broker, partition), ErrorCode::NONE);
    }
    broker
}

fn produced(broker: &mut TestBroker, partition: i32) -> ErrorCode {
    broker.produce("orders", partition, &["v"]).responses[0].partition_responses[0].error_code
}

fn partitions(broker: &mut TestBroker) -> Vec<MetadataResponsePartition> {
    let Response::Metadata(mut response) = broker.call(12, MetadataRequest { topics: None, ..Default::default() }) else {
        panic!("another response")
    };
    response.topics.remove(0).partitions
}

#[test]
fn the_partitions_of_a_failed_directory_are_offline_and_the_others_are_served() {
    let mut broker = filled();
    broker.break_dir(RIGHT);
    for _ in 0..2 {
        assert_eq!(produced(&mut broker, IN_RIGHT), ErrorCode::KAFKA_STORAGE_ERROR);
        assert_eq!(produced(&mut broker, IN_RIGHT + 2), ErrorCode::KAFKA_STORAGE_ERROR, "all of the directory");
        assert_eq!(produced(&mut broker, IN_LEFT), ErrorCode::NONE);
    }
    let described = partitions(&mut broker);
    let leader = |partition: i32| described[partition as usize].leader_id;
    assert_eq!([leader(IN_LEFT), leader(IN_RIGHT)], [BrokerId(1), BrokerId::NONE]);
    assert_eq!(described[IN_RIGHT as usize].offline_replicas, [BrokerId(1)]);
    let sequence = broker.send(4, DescribeLogDirsRequest { topics: None });
    let Some(Response::DescribeLogDirs(response)) = broker.reply(sequence) else { panic!("another response") };
    let errors: Vec<ErrorCode> = response.results.iter().map(|result| result.error_code).collect();
    assert_eq!(errors, [ErrorCode::NONE, ErrorCode::KAFKA_STORAGE_ERROR]);
    assert_eq!((broker.node.gauges(0).offline_log_dirs, broker.node.gauges(0).offline_partitions), (1, 2));
    assert!(!broker.failed);
}

#[test]
fn what_was_acknowledged_is_there_when_the_directory_works_again() {
    let mut broker = filled();
    broker.break_dir(RIGHT);
    assert_eq!(produced(&mut broker, IN_RIGHT), ErrorCode::KAFKA_STORAGE_ERROR);
    broker.create_topic("more", 2, &[]);
    let mut again = broker.restart();
    assert_eq!(again.values("orders", IN_RIGHT, 0)[0], "v");
    assert_eq!(produced(&mut again, IN_RIGHT), ErrorCode::NONE);
}

#[test]
fn without_the_directory_of_the_metadata_log_or_the_last_one_the_process_ends() {
    let mut broker = filled();
    broker.break_dir(LEFT);
    broker.pass(3_600_000);
    assert!(broker.failed);
    let mut broker = filled();
    broker.break_dir(RIGHT);
    produced(&mut broker, IN_RIGHT);
    assert!(!broker.failed);
    broker.break_dir(LEFT);
    broker.pass(3_600_000);
    assert!(broker.failed);
}

#[test]
fn a_topic_can_be_deleted_and_made_again_without_the_directory() {
    let mut broker = filled();
    broker.break_dir(RIGHT);
    produced(&mut broker, IN_RIGHT);
    let topic = DeleteTopicState { name: Some(TopicName::from("orders")), ..Default::default() };
    broker.call(6, DeleteTopicsRequest { topics: vec![topic], ..Default::default() });
    broker.create_topic("orders", 2, &[]);
    assert_eq!([0, 1].map(|partition| produced(&mut broker, partition)), [ErrorCode::NONE; 2]);
    let mut broker = broker.restart();
    assert_eq!([0, 1].map(|partition| broker.values("orders", partition, 0).len()), [1, 1]);
}

#[test]
fn deleted_records_that_may_come_back_are_told_so() {
    let mut broker = filled();
    broker.break_dir(RIGHT);
    let partition = |partition_index| DeleteRecordsPartition { partition_index, offset: Offset(1) };
    let topic = DeleteRecordsTopic { name: TopicName::from("orders"), partitions: vec![partition(IN_RIGHT)] };
    let sequence = broker.send(2, DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000 });
    let Some(Response::DeleteRecords(response)) = broker.reply(sequence) else { panic!("another response") };
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::KAFKA_STORAGE_ERROR);
}

#[test]
fn a_read_that_failed_is_followed_by_a_write_that_shows_whether_the_directory_works() {
    let mut broker = filled();
    let log = FilePath::of(RIGHT, "orders-1/00000000000000000000.log");
    broker.input(Input::Unreadable { log: log.clone(), base_offset: Offset(0) });
    assert_eq!(broker.node.gauges(0).offline_log_dirs, 0);
    broker.break_dir(RIGHT);
    broker.input(Input::Unreadable { log, base_offset: Offset(0) });
    assert_eq!(broker.node.gauges(0).offline_log_dirs, 1);
    assert_eq!(produced(&mut broker, IN_RIGHT), ErrorCode::KAFKA_STORAGE_ERROR);
}

fn described(world: &mut World, at: i32) -> Vec<MetadataResponsePartition> {
    let request = Asked::Other(Box::new(MetadataRequest { topics: None, ..Default::default() }.into()));
    let Some(Response::Metadata(mut response)) = world.call_within(100, at, 12, request) else { panic!("not answered") };
    let mut partitions = response.topics.remove(0).partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    partitions
}

fn produce(world: &mut World, to: i32, partition: i32) -> ErrorCode {
    world.produce(5_000, to, "orders", partition, b"v").expect("answered")
}

#[test]
fn others_lead_what_a_failed_directory_held_and_it_leads_what_the_other_one_holds() {
    let mut world = World::with(3, &[("log.dirs", "left,right")]);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    let topic = CreatableTopic {
        name: TopicName::from("orders"),
        num_partitions: 6,
        replication_factor: 3,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..CreateTopicsRequest::default() };
    world.call_within(5_000, 1, 7, Asked::Other(Box::new(request.into()))).expect("answered");
    world.run(500);
    let before = described(&mut world, 1);
    let placed: Vec<u8> = world
        .node(1)
        .placed()
        .map(|placed| {
            let place = placed.replicas.iter().position(|replica| *replica == 1).expect("on all");
            placed.directories[place].0[0]
        })
        .collect();
    assert_eq!(placed, [1, 101, 1, 101, 1, 101], "the controller knows where replicas lie");
    world.break_dir(1, RIGHT);
    let led: Vec<i32> = before.iter().filter(|one| one.leader_id == BrokerId(1)).map(|one| one.partition_index).collect();
    let (right, left): (Vec<i32>, Vec<i32>) = led.iter().partition(|partition| *partition % 2 == 1);
    assert_ne!((right.len(), left.len()), (0, 0));
    let touched = right.first().or(left.first()).copied().expect("it leads something");
    if right.is_empty() {
        // As a follower it finds out by the first record.
        let partition = before.iter().find(|one| one.partition_index % 2 == 1).expect("there are six");
        assert_eq!(produce(&mut world, partition.leader_id.0, partition.partition_index), ErrorCode::NONE);
    } else {
        assert_eq!(produce(&mut world, 1, touched), ErrorCode::KAFKA_STORAGE_ERROR);
    }
    world.run(200);
    for (then, now) in before.iter().zip(described(&mut world, 2)) {
        let is_lost = now.partition_index % 2 == 1;
        assert_eq!(now.isr_nodes.contains(&BrokerId(1)), !is_lost, "{now:?}");
        assert_eq!(now.offline_replicas, if is_lost { vec![BrokerId(1)] } else { vec![] });
        if is_lost {
            assert!(now.leader_id != BrokerId(1) && now.leader_id != BrokerId::NONE);
        } else {
            assert_eq!(now.leader_id, then.leader_id, "nothing else moves");
        }
        assert_eq!(produce(&mut world, now.leader_id.0, now.partition_index), ErrorCode::NONE);
    }
    world.mend_dir(1, RIGHT);
    world.kill(1);
    world.start(1);
    world.run_until("it serves again", 10_000, |world| world.serves(1));
    world.run(2_000);
    assert!(described(&mut world, 2).iter().all(|one| one.isr_nodes.len() == 3), "{:?}", described(&mut world, 2));
}

#[test]
fn a_disk_that_was_exchanged_for_an_empty_one_is_filled_again_from_others() {
    let mut world = World::with(3, &[("log.dirs", "left,right")]);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    let topic = CreatableTopic {
        name: TopicName::from("orders"),
        num_partitions: 2,
        replication_factor: 3,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..CreateTopicsRequest::default() };
    world.call_within(5_000, 1, 7, Asked::Other(Box::new(request.into()))).expect("answered");
    world.run(500);
    let leader = described(&mut world, 1)[1].leader_id.0;
    for _ in 0..3 {
        assert_eq!(produce(&mut world, leader, 1), ErrorCode::NONE);
    }
    let victim = 1 + leader % 3;
    world.stop(victim);
    world.run_until("it is gone", 8_000, |world| !world.is_running(victim));
    world.exchange_dir(victim, RIGHT);
    world.start(victim);
    world.run_until("it serves again", 10_000, |world| world.serves(victim));
    world.run(3_000);
    assert!(described(&mut world, leader).iter().all(|one| one.isr_nodes.len() == 3), "{:?}", described(&mut world, leader));
    let ends: Vec<Offset> =
        world.node(victim).partitions().filter(|view| view.partition == 1).map(|view| view.positions.log_end).collect();
    assert!(ends.contains(&Offset(3)), "{ends:?}");
}

/// The directory that the metadata names for a node's replica.
fn named(world: &World, at: i32, of: i32, partition: i32) -> Uuid {
    let placed = world.node(at).placed().find(|placed| placed.name.as_str() == "orders" && placed.partition == partition);
    let placed = placed.expect("it is there");
    placed.directories[placed.replicas.iter().position(|replica| *replica == of).expect("it has one")]
}

fn ends(world: &World, at: i32) -> Vec<Offset> {
    let mut views: Vec<_> =
        world.node(at).partitions().filter(|view| !view.deleted && view.name.as_str() == "orders").collect();
    views.sort_by_key(|view| view.partition);
    views.iter().map(|view| view.positions.log_end).collect()
}

/// No controller, and the only one in sync of two partitions that lie in different directories, with a record in each.
const VICTIM: i32 = 4;
const OTHER: i32 = 5;

/// The controller has not heard where the victim's replicas lie; the others of `replicas` are not in sync.
fn untold(replicas: &[i32]) -> World {
    let mut world = World::with(3, &[("log.dirs", "left,right")]);
    for broker in [VICTIM, OTHER] {
        world.add(broker);
        world.start(broker);
    }
    world.run_until("all serve", 10_000, |world| (1..=OTHER).all(|node| world.serves(node)));
    world.lose_requests(Some(ApiKey::AssignReplicasToDirs));
    let broker_ids: Vec<BrokerId> = replicas.iter().copied().map(BrokerId).collect();
    let assignment = |partition_index| CreatableReplicaAssignment { partition_index, broker_ids: broker_ids.clone() };
    let topic = CreatableTopic {
        name: TopicName::from("orders"),
        num_partitions: -1,
        replication_factor: -1,
        assignments: [IN_LEFT, IN_RIGHT].map(assignment).to_vec(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..CreateTopicsRequest::default() };
    world.call_within(5_000, 1, 7, Asked::Other(Box::new(request.into()))).expect("answered");
    world.run(100);
    world.kill(OTHER);
    world.run(1_000);
    for partition in [IN_LEFT, IN_RIGHT] {
        assert_eq!(produce(&mut world, VICTIM, partition), ErrorCode::NONE);
        assert_eq!(named(&world, 1, VICTIM, partition), Uuid::UNASSIGNED_DIRECTORY);
    }
    assert!(described(&mut world, 1).iter().all(|one| one.isr_nodes == [BrokerId(VICTIM)]));
    world
}

fn starts_again(world: &mut World) {
    world.start(VICTIM);
    world.run_until("it serves again", 10_000, |world| world.serves(VICTIM));
    world.run(1_000);
}

#[test]
fn a_replica_that_may_lie_in_a_directory_that_is_away_is_not_made_anew_elsewhere() {
    for replicas in [&[VICTIM][..], &[VICTIM, OTHER]] {
        let mut world = untold(replicas);
        world.kill(VICTIM);
        world.take_dir_away(VICTIM, RIGHT);
        starts_again(&mut world);
        assert_eq!(produce(&mut world, VICTIM, IN_RIGHT), ErrorCode::KAFKA_STORAGE_ERROR);
        world.lose_requests(None);
        world.run(1_000);
        assert_eq!(produce(&mut world, VICTIM, IN_LEFT), ErrorCode::NONE);
        world.start(OTHER);
        world.run(3_000);
        for is_killed in [false, true] {
            let state = described(&mut world, 1).remove(IN_RIGHT as usize);
            assert_eq!(
                (state.leader_id, &state.offline_replicas[..]),
                (BrokerId::NONE, &[BrokerId(VICTIM)][..]),
                "{replicas:?}"
            );
            assert_eq!(produce(&mut world, VICTIM, IN_RIGHT), ErrorCode::KAFKA_STORAGE_ERROR);
            if is_killed {
                world.kill(VICTIM);
            } else {
                world.stop(VICTIM);
                world.run_until("it is gone", 8_000, |world| !world.is_running(VICTIM));
            }
            starts_again(&mut world);
        }
        world.kill(VICTIM);
        world.bring_dir_back(VICTIM, RIGHT);
        starts_again(&mut world);
        world.run(2_000);
        assert_eq!(produce(&mut world, VICTIM, IN_RIGHT), ErrorCode::NONE, "{replicas:?}");
        world.run(2_000);
        for node in replicas {
            assert_eq!(ends(&world, *node), [Offset(2), Offset(2)]);
        }
    }
}

#[test]
fn where_others_are_in_sync_it_is_made_anew_in_a_directory_that_works() {
    let mut world = untold(&[VICTIM, OTHER]);
    world.start(OTHER);
    world.run(5_000);
    assert!(described(&mut world, 1).iter().all(|one| one.isr_nodes.len() == 2));
    world.kill(VICTIM);
    world.take_dir_away(VICTIM, RIGHT);
    world.lose_requests(None);
    starts_again(&mut world);
    world.run(3_000);
    assert!(described(&mut world, 1).iter().all(|one| one.isr_nodes.len() == 2), "{:?}", described(&mut world, 1));
    assert_eq!(ends(&world, VICTIM), [Offset(1), Offset(1)]);
    assert_eq!(named(&world, 1, VICTIM, IN_RIGHT), named(&world, 1, VICTIM, IN_LEFT));
}
