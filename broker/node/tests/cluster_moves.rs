//! Replicas of a cluster move between log directories: the controller knows where each lies, and neither a kill nor another leader costs
//! anything.

mod cluster {
    pub(crate) mod world;
}

use cluster::world::World;
use strandline_node::io::Asked;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Offset, TopicName};
use strandline_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use strandline_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataResponsePartition};

fn described(world: &mut World, at: i32) -> MetadataResponsePartition {
    let request = Asked::Other(Box::new(MetadataRequest { topics: None, ..Default::default() }.into()));
    let Some(Response::Metadata(mut response)) = world.call_within(100, at, 12, request) else { panic!("not answered") };
    response.topics.remove(0).partitions.remove(0)
}

fn produce(world: &mut World, to: i32) -> Option<ErrorCode> {
    world.produce(6_000, to, "orders", 0, b"v")
}

fn alter(world: &mut World, at: i32, path: &str) -> Option<ErrorCode> {
    let topics = vec![AlterReplicaLogDirTopic { name: TopicName::from("orders"), partitions: vec![0] }];
    let request = AlterReplicaLogDirsRequest { dirs: vec![AlterReplicaLogDir { path: path.to_owned(), topics }] };
    match world.call_within(500, at, 2, Asked::Other(Box::new(request.into())))? {
        Response::AlterReplicaLogDirs(response) => Some(response.results[0].partitions[0].error_code),
        other => panic!("{other:?}"),
    }
}

/// A cluster of two directories a node, and a topic of one partition on all of them with a few records; and who leads it.
fn filled() -> (World, i32) {
    let mut world = World::with(3, &[("log.dirs", "left,right")]);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    let topic =
        CreatableTopic { name: TopicName::from("orders"), num_partitions: 1, replication_factor: 3, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..CreateTopicsRequest::default() };
    world.call_within(5_000, 1, 7, Asked::Other(Box::new(request.into()))).expect("answered");
    world.run(500);
    let leader = described(&mut world, 1).leader_id.0;
    for _ in 0..3 {
        assert_eq!(produce(&mut world, leader), Some(ErrorCode::NONE));
    }
    world.run(200);
    (world, leader)
}

/// In which directory the metadata has the replica of a node: those of the first are its number, of the second a hundred more.
fn place(world: &World, of: i32) -> u8 {
    let placed = world.node(of).placed().next().expect("there is one");
    let place = placed.replicas.iter().position(|replica| *replica == of).expect("on all");
    placed.directories[place].0[0]
}

fn end(world: &World, at: i32) -> Offset {
    world.node(at).partitions().filter(|view| !view.deleted).map(|view| view.positions.log_end).next().expect("it is hosted")
}

#[test]
fn the_controller_knows_where_leaders_and_followers_lie() {
    let (mut world, leader) = filled();
    for node in 1..=3 {
        assert_eq!(alter(&mut world, node, "right"), Some(ErrorCode::NONE));
        world.run(500);
        assert_eq!(i32::from(place(&world, node)), node + 100);
        assert_eq!(produce(&mut world, leader), Some(ErrorCode::NONE));
    }
    assert_eq!(described(&mut world, 1).isr_nodes.len(), 3);
    world.run(500);
    assert_eq!((1..=3).map(|node| end(&world, node)).collect::<Vec<_>>(), [Offset(6); 3]);
}

#[test]
fn a_replica_that_is_killed_at_any_operation_of_a_move_comes_back_into_sync() {
    for moves_leader in [false, true] {
        for operation in 1.. {
            let (mut world, leader) = filled();
            let victim = if moves_leader { leader } else { 1 + leader % 3 };
            let other = 1 + victim % 3;
            world.kill_at(victim, operation);
            alter(&mut world, victim, "right");
            let first = produce(&mut world, leader);
            world.run(1_000);
            let is_over = world.spare(victim);
            if !world.is_running(victim) {
                world.start(victim);
            }
            world.run_until("it serves", 15_000, |world| world.serves(victim));
            world.run(5_000);
            let now = described(&mut world, other);
            assert_eq!(now.isr_nodes.len(), 3, "{moves_leader} {operation}: {now:?}");
            assert_eq!(produce(&mut world, now.leader_id.0), Some(ErrorCode::NONE), "{moves_leader} {operation}");
            world.run(1_000);
            let least = if first == Some(ErrorCode::NONE) { 5 } else { 4 };
            let ends: Vec<Offset> = (1..=3).map(|node| end(&world, node)).collect();
            assert!(ends.iter().all(|end| *end == ends[0] && end.0 >= least), "{moves_leader} {operation}: {ends:?}");
            // Before the copy has a directory the wish is only in memory.
            let expected = if operation > 2 { vec![victim + 100] } else { vec![victim, victim + 100] };
            assert!(expected.contains(&place(&world, victim).into()), "{moves_leader} {operation}");
            assert_eq!(described(&mut world, other).offline_replicas, Vec::<BrokerId>::new());
            if is_over {
                break;
            }
        }
    }
}
