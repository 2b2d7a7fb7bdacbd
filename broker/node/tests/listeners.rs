//! Several listeners: whoever asks is told where brokers listen by the name that it uses itself.

mod harness;

use harness::{Disk, TestBroker};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicName};
use strandline_protocol::messages::describe_cluster::DescribeClusterRequest;
use strandline_protocol::messages::find_coordinator::FindCoordinatorRequest;
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};

const TWO: &[(&str, &str)] = &[
    ("listeners", "INSIDE://10.0.0.1:9092,OUTSIDE://example.org:19092"),
    ("listener.security.protocol.map", "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT"),
    ("inter.broker.listener.name", "INSIDE"),
];

fn metadata(broker: &mut TestBroker, version: i16) -> MetadataResponse {
    let topic = MetadataRequestTopic { name: Some(TopicName::from("t")), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let Response::Metadata(response) = broker.call(version, request) else { panic!("another response") };
    response
}

fn coordinator(broker: &mut TestBroker) -> (String, i32) {
    for _ in 0..5 {
        let request = FindCoordinatorRequest { coordinator_keys: vec!["g".to_owned()], ..Default::default() };
        let Response::FindCoordinator(mut response) = broker.call(4, request) else { panic!("another response") };
        let found = response.coordinators.remove(0);
        if found.error_code == ErrorCode::NONE {
            return (found.host, found.port);
        }
        broker.pass(1000);
    }
    panic!("there is no coordinator");
}

#[test]
fn everybody_is_told_of_the_listener_that_it_uses() {
    let mut broker = TestBroker::on(Disk::default(), TWO);
    assert_eq!(broker.create_topic("t", 1, &[]).error_code, ErrorCode::NONE);
    for (name, host, port) in [("OUTSIDE", "example.org", 19_092), ("INSIDE", "10.0.0.1", 9092), ("", "10.0.0.1", 9092)] {
        broker.listener_name = name;
        let told = metadata(&mut broker, 12);
        assert_eq!((told.brokers[0].host.as_str(), told.brokers[0].port), (host, port), "{name:?}");
        assert_eq!(told.topics[0].partitions[0].error_code, ErrorCode::NONE);
        let request = DescribeClusterRequest { endpoint_type: 1, ..Default::default() };
        let Response::DescribeCluster(told) = broker.call(1, request) else { panic!("another response") };
        assert_eq!((told.brokers[0].host.as_str(), told.brokers[0].port), (host, port), "{name:?}");
        assert_eq!(coordinator(&mut broker), (host.to_owned(), port), "{name:?}");
    }
}

#[test]
fn a_leader_that_does_not_listen_by_the_name_is_none() {
    let mut broker = TestBroker::on(Disk::default(), TWO);
    assert_eq!(broker.create_topic("t", 1, &[]).error_code, ErrorCode::NONE);
    broker.listener_name = "GONE";
    for (version, code) in [(12, ErrorCode::LISTENER_NOT_FOUND), (5, ErrorCode::LEADER_NOT_AVAILABLE)] {
        let told = metadata(&mut broker, version);
        assert_eq!(told.brokers, []);
        let partition = &told.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_id), (code, BrokerId::NONE), "version {version}");
    }
}
