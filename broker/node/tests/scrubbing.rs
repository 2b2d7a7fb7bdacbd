//! Finished segments are read through slowly: what is damaged is found without a reader, and everything else is left alone.

mod cluster {
    pub(crate) mod world;
}
mod harness;

use cluster::world::World;
use harness::{Disk, TestBroker, keyed};
use strandline_log::disk::FilePath;
use strandline_node::io::Asked;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicName};
use strandline_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};

const RATE: &str = "log.scrub.max.bytes.per.second";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const FIRST: &str = "orders-0/00000000000000000000.log";

/// Two finished segments of about a megabyte, and records in a third.
fn filled(rate: &str) -> TestBroker {
    let mut broker = TestBroker::on(Disk::default(), &[(RATE, rate)]);
    broker.create_topic("empty", 3, &[]);
    broker.create_topic("orders", 2, &[("segment.bytes", "1048576")]);
    for number in 0..50 {
        let sent = broker.send_produce(-1, "orders", 0, keyed("k", number));
        assert!(broker.reply(sent).is_some());
    }
    broker
}

fn size(broker: &TestBroker, segment: &str) -> u64 {
    broker.disk.0.contents(&FilePath::top(segment)).map_or(0, |contents| contents.len() as u64)
}

#[test]
fn a_pass_reads_every_finished_segment_once_at_its_rate_and_another_begins_a_day_later() {
    let mut broker = filled("100000").kill();
    let finished: u64 = broker
        .disk
        .0
        .paths()
        .map(|path| path.as_str().to_owned())
        .filter(|path| path.starts_with("orders-0/") && path.ends_with(".log"))
        .collect::<Vec<_>>()
        .iter()
        .map(|path| size(&broker, path))
        .filter(|bytes| *bytes > 900_000)
        .sum();
    assert!(finished > 1_800_000, "{finished}");
    let mut waited = 0;
    while broker.node.gauges(0).scrubbing.passes == 0 {
        broker.pass(1_000);
        waited += 1;
        assert!(waited < 100);
    }
    assert!((19..60).contains(&waited), "two megabytes at a tenth of one a second: {waited}");
    assert_eq!((broker.node.gauges(0).scrubbing.bytes, broker.node.gauges(0).scrubbing.damaged_segments), (finished, 0));
    (0..60).for_each(|_| broker.pass(60_000));
    assert_eq!(broker.node.gauges(0).scrubbing.bytes, finished);
    broker.pass(DAY_MS);
    (0..60).for_each(|_| broker.pass(1_000));
    assert_eq!((broker.node.gauges(0).scrubbing.passes, broker.node.gauges(0).scrubbing.bytes), (2, 2 * finished));
}

#[test]
fn a_rate_that_changes_counts_at_once_and_none_reads_nothing() {
    let mut broker = filled("0").kill();
    broker.pass(3_600_000);
    assert_eq!(broker.node.gauges(0).scrubbing.bytes, 0);
    assert_eq!(broker.configure(4, "1", RATE, Some("1")), ErrorCode::NONE);
    broker.pass(1);
    let begun = broker.node.gauges(0).scrubbing.bytes;
    assert!(begun > 0);
    broker.pass(60_000);
    assert_eq!(broker.node.gauges(0).scrubbing.bytes, begun, "that is paid for in days");
    assert_eq!(broker.configure(4, "1", RATE, Some("1000000000")), ErrorCode::NONE);
    (0..10).for_each(|_| broker.pass(10));
    assert!(broker.node.gauges(0).scrubbing.bytes > begun);
}

#[test]
fn what_is_damaged_is_counted_where_nobody_else_has_it_and_the_rest_is_read_on() {
    let mut broker = filled("1000000000").restart();
    let mut contents = broker.disk.0.contents(&FilePath::top(FIRST)).expect("it is there").to_vec();
    contents[500_000] ^= 1;
    broker.disk.0.put(FilePath::top(FIRST), contents);
    let mut broker = broker.kill();
    (0..20).for_each(|_| broker.pass(100));
    let found = broker.node.gauges(0).scrubbing;
    assert_eq!((found.damaged_segments, found.passes), (1, 1));
    assert!(found.bytes >= 900_000, "the other segment");
    assert_eq!(broker.produce("orders", 0, &["more"]).responses[0].partition_responses[0].error_code, ErrorCode::NONE);
}

#[test]
fn a_follower_that_nobody_reads_from_is_made_anew() {
    let mut world = World::with(3, &[(RATE, "1000000000")]);
    world.run_until("all serve", 10_000, |world| (1..=3).all(|node| world.serves(node)));
    let topic = CreatableTopic {
        name: TopicName::from("orders"),
        num_partitions: 1,
        replication_factor: 3,
        configs: vec![CreatableTopicConfig { name: "segment.bytes".to_owned(), value: Some("1048576".to_owned()) }],
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..CreateTopicsRequest::default() };
    world.call_within(5_000, 1, 7, Asked::Other(Box::new(request.into()))).expect("answered");
    world.run(100);
    let leader = world.node(1).placed().next().expect("it is there").leader;
    for _ in 0..3 {
        assert_eq!(world.produce(5_000, leader, "orders", 0, &[7; 600_000]), Some(ErrorCode::NONE));
    }
    world.run(1_000);
    let victim = 1 + leader % 3;
    let whole = world.contents(victim, FIRST);
    world.stop(victim);
    world.run_until("it is gone", 8_000, |world| !world.is_running(victim));
    let mut damaged = whole.clone();
    damaged[300_000] ^= 1;
    world.put(victim, FIRST, damaged);
    world.start(victim);
    world.run_until("it serves again", 10_000, |world| world.serves(victim));
    world.run(3_000);
    assert!(world.contents(victim, FIRST)[..600_000] == whole[..600_000]);
    let found = world.node(victim).gauges(0);
    assert_eq!(found.scrubbing.damaged_segments, 1);
    let placed: Vec<i32> = world.node(leader).placed().next().expect("it is there").isr.to_vec();
    assert_eq!(placed.len(), 3);
    let end = world.node(victim).partitions().find(|view| !view.deleted && view.name.as_str() == "orders");
    assert_eq!(end.map(|view| view.positions.log_end), Some(Offset(3)));
}
