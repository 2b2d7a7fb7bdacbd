//! A partition that is damaged below its recovery point: set aside alone, while everything else serves.

mod harness;

use harness::TestBroker;
use strandline_log::checkpoints;
use strandline_log::disk::{FilePath, Files};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Offset, TopicName};
use strandline_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use strandline_protocol::messages::describe_log_dirs::DescribeLogDirsRequest;
use strandline_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataResponsePartition};

const LOG: &str = "orders-0/00000000000000000000.log";

/// A broker whose orders-0 lost its second half below the recovery point; orders-1 is whole. And what the log held before.
fn damaged() -> (TestBroker, Vec<u8>) {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 2, &[]);
    for value in ["a", "b", "c"] {
        broker.produce("orders", 0, &[value]);
        broker.produce("orders", 1, &[value]);
    }
    let mut broker = broker.restart();
    let whole = contents(&broker, LOG);
    broker.disk.0.put(FilePath::top(LOG), whole[..whole.len() / 2].to_vec());
    (broker.kill(), whole)
}

fn contents(broker: &TestBroker, file: &str) -> Vec<u8> {
    broker.disk.0.contents(&FilePath::top(file)).expect("the file is there").to_vec()
}

fn partitions(broker: &mut TestBroker) -> Vec<MetadataResponsePartition> {
    let Response::Metadata(mut response) = broker.call(12, MetadataRequest { topics: None, ..Default::default() }) else {
        panic!("another response")
    };
    response.topics.remove(0).partitions
}

fn produced(broker: &mut TestBroker, partition: i32) -> ErrorCode {
    broker.produce("orders", partition, &["d"]).responses[0].partition_responses[0].error_code
}

fn fetched(broker: &mut TestBroker, partition: i32) -> ErrorCode {
    let Response::Fetch(response) = broker.call(12, TestBroker::fetch_request("orders", partition, 0)) else {
        panic!("another response")
    };
    response.responses[0].partitions[0].error_code
}

fn end_of(broker: &mut TestBroker, partition: i32) -> ErrorCode {
    let partition = ListOffsetsPartition { partition_index: partition, timestamp: -1, ..Default::default() };
    let topic = ListOffsetsTopic { name: TopicName::from("orders"), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: (-1).into(), topics: vec![topic], ..Default::default() };
    let Response::ListOffsets(response) = broker.call(7, request) else { panic!("another response") };
    response.topics[0].partitions[0].error_code
}

#[test]
fn only_the_damaged_partition_is_offline() {
    let (mut broker, _) = damaged();
    for ask in [produced, fetched, end_of] {
        assert_eq!(ask(&mut broker, 0), ErrorCode::KAFKA_STORAGE_ERROR);
        assert_eq!(ask(&mut broker, 1), ErrorCode::NONE);
    }
    let described = partitions(&mut broker);
    let [offline, online] = &described[..] else { panic!("two partitions") };
    assert_eq!((offline.error_code, offline.leader_id), (ErrorCode::LEADER_NOT_AVAILABLE, BrokerId::NONE));
    assert_eq!((&offline.offline_replicas, &offline.isr_nodes), (&offline.replica_nodes, &offline.replica_nodes));
    assert_eq!((online.error_code, online.offline_replicas.len()), (ErrorCode::NONE, 0));
    let sequence = broker.send(4, DescribeLogDirsRequest { topics: None });
    let Some(Response::DescribeLogDirs(response)) = broker.reply(sequence) else { panic!("another response") };
    let listed: Vec<i32> = response.results[0].topics[0].partitions.iter().map(|one| one.partition_index).collect();
    assert_eq!(listed, [1]);
}

#[test]
fn its_files_and_what_the_checkpoints_say_of_it_stay_as_they_are() {
    let (mut broker, whole) = damaged();
    broker.produce("orders", 1, &["d"]);
    broker.pass(3_600_000);
    let mut broker = broker.restart();
    assert_eq!(contents(&broker, LOG), whole[..whole.len() / 2]);
    assert_eq!(fetched(&mut broker, 0), ErrorCode::KAFKA_STORAGE_ERROR, "damage is not forgotten");
    let points = checkpoints::parse(&contents(&broker, "recovery-point-offset-checkpoint")).expect("well formed");
    let point = points.iter().find(|point| point.topic == "orders" && point.partition == 0).expect("still known");
    assert_eq!(point.offset, Offset(3));
}

#[test]
fn a_start_that_finds_the_files_whole_leads_the_partition_again() {
    let (broker, whole) = damaged();
    let mut broker = broker.restart();
    broker.disk.0.put(FilePath::top(LOG), whole);
    let mut broker = broker.kill();
    assert_eq!(broker.values("orders", 0, 0), ["a", "b", "c"]);
    assert_eq!(produced(&mut broker, 0), ErrorCode::NONE);
    let described = partitions(&mut broker);
    assert_eq!((described[0].error_code, described[0].offline_replicas.len()), (ErrorCode::NONE, 0));
}

#[test]
fn a_topic_with_a_damaged_partition_can_be_deleted_and_made_again() {
    let (mut broker, _) = damaged();
    let topic = DeleteTopicState { name: Some(TopicName::from("orders")), ..Default::default() };
    broker.call(6, DeleteTopicsRequest { topics: vec![topic], ..Default::default() });
    broker.pass(120_000);
    let left = broker.disk.list(&FilePath::top("")).expect("listed");
    assert!(!left.iter().any(|entry| entry.name.starts_with("orders")), "{left:?}");
    broker.create_topic("orders", 1, &[]);
    assert_eq!(produced(&mut broker, 0), ErrorCode::NONE);
    let mut broker = broker.kill();
    assert_eq!(broker.values("orders", 0, 0), ["d"]);
}
