//! Replication quotas: who is not in sync is given no more than the rate, and nobody else is held up.

mod cluster {
    pub(crate) mod world;
}

use cluster::world::World;
use strandline_node::io::Asked;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicName};
use strandline_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use strandline_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataResponsePartition};

const RECORDS: usize = 40;
const RECORD_BYTES: usize = 50_000;

fn create(world: &mut World, name: &str, configs: &[(&str, &str)]) {
    let config =
        |(name, value): &(&str, &str)| CreatableTopicConfig { name: (*name).to_owned(), value: Some((*value).to_owned()) };
    let topic = CreatableTopic {
        name: TopicName::from(name),
        num_partitions: 1,
        replication_factor: 3,
        configs: configs.iter().map(config).collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..CreateTopicsRequest::default() };
    world.call_within(5_000, 1, 7, Asked::Other(Box::new(request.into()))).expect("answered");
    world.run(300);
}

/// The only partition of a topic, as this node sees it.
fn described(world: &mut World, at: i32, name: &str) -> MetadataResponsePartition {
    let request = Asked::Other(Box::new(MetadataRequest { topics: None, ..Default::default() }.into()));
    let Some(Response::Metadata(response)) = world.call_within(100, at, 12, request) else { panic!("not answered") };
    let topic = response.topics.into_iter().find(|topic| topic.name.as_ref().is_some_and(|known| known.as_str() == name));
    topic.expect("it is there").partitions.remove(0)
}

fn fill(world: &mut World, name: &str) {
    let leader = described(world, 1, name).leader_id.0;
    for _ in 0..RECORDS {
        assert_eq!(world.produce(20_000, leader, name, 0, &[b'v'; RECORD_BYTES]), Some(ErrorCode::NONE));
    }
}

fn set(world: &mut World, resource_type: i8, resource_name: &str, key: &str, value: Option<&str>) {
    let config_operation = i8::from(value.is_none());
    let config = AlterableConfig { name: key.to_owned(), config_operation, value: value.map(str::to_owned) };
    let resource = AlterConfigsResource { resource_type, resource_name: resource_name.to_owned(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer = world.call_within(5_000, 1, 1, Asked::Other(Box::new(request.into())));
    let Some(Response::IncrementalAlterConfigs(response)) = answer else { panic!("not answered") };
    assert_eq!(response.responses[0].error_code, ErrorCode::NONE, "{key}");
}

fn is_in_sync(world: &mut World, replica: i32, name: &str) -> bool {
    described(world, 1, name).isr_nodes.contains(&BrokerId(replica))
}

/// A cluster in which `replica` comes back and lacks everything of `slow`, which is throttled at `side`, and of `quick`. It is none that leads
/// one of them, nor the one that is asked.
fn lacking(side: &str, rate: &'static str) -> (World, i32) {
    let key = if side == "leader" { "leader.replication.throttled.rate" } else { "follower.replication.throttled.rate" };
    let mut world = World::with(3, &[(key, rate)]);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    create(&mut world, "slow", &[(&format!("{side}.replication.throttled.replicas"), "*")]);
    create(&mut world, "quick", &[]);
    let leaders = ["slow", "quick"].map(|name| described(&mut world, 1, name).leader_id.0);
    let replica = (2..=3).find(|node| !leaders.contains(node)).unwrap_or(3);
    world.kill(replica);
    world.run(5_000);
    fill(&mut world, "slow");
    fill(&mut world, "quick");
    world.start(replica);
    world.run_until("it serves", 10_000, |world| world.serves(replica));
    (world, replica)
}

#[test]
fn a_throttled_replica_comes_into_sync_at_the_rate_and_the_others_at_once() {
    for side in ["leader", "follower"] {
        let (mut world, replica) = lacking(side, "200000");
        world.run(3_000);
        assert!(is_in_sync(&mut world, replica, "quick"), "{side}");
        let mut seconds = 3;
        while !is_in_sync(&mut world, replica, "slow") {
            world.run(1_000);
            seconds += 1;
            assert!(seconds < 30, "{side}");
        }
        // Two megabytes, of which the last fetch is not waited for: a fetch brings one megabyte at most.
        assert!((5..20).contains(&seconds), "{side}: {seconds}");
        fill(&mut world, "slow");
        assert!(is_in_sync(&mut world, replica, "slow"), "who is in sync is not held up");
    }
}

#[test]
fn a_throttle_that_is_taken_away_holds_nobody_any_more() {
    for side in ["leader", "follower"] {
        for is_rate in [false, true] {
            let (mut world, replica) = lacking(side, "10");
            world.run(3_000);
            assert!(!is_in_sync(&mut world, replica, "slow"), "{side}");
            if is_rate {
                for node in ["1", "2", "3"] {
                    set(&mut world, 4, node, &format!("{side}.replication.throttled.rate"), Some("1000000000"));
                }
            } else {
                set(&mut world, 2, "slow", &format!("{side}.replication.throttled.replicas"), None);
            }
            world.run(3_000);
            assert!(is_in_sync(&mut world, replica, "slow"), "{side} {is_rate}");
        }
    }
}
