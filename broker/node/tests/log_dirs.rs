//! Several log directories: where partitions go, how they are found again, and what a directory that comes or goes brings about.

mod harness;

use harness::TestBroker;
use strandline_log::checkpoints;
use strandline_log::disk::{DiskOp, FilePath, LogDir};
use strandline_node::config::BrokerConfig;
use strandline_node::recovery::{SurveyError, survey};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicName};
use strandline_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use strandline_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use strandline_protocol::messages::describe_log_dirs::DescribeLogDirsRequest;

const TWO: &[(&str, &str)] = &[("log.dirs", "left0,right1")];
const LEFT: LogDir = LogDir(0);
const RIGHT: LogDir = LogDir(1);

fn two() -> TestBroker {
    TestBroker::on(harness::Disk::default(), TWO)
}

/// The partitions of `orders` in each directory, or its error.
fn described(broker: &mut TestBroker) -> Vec<(String, Result<Vec<i32>, ErrorCode>)> {
    let sequence = broker.send(4, DescribeLogDirsRequest { topics: None });
    let Some(Response::DescribeLogDirs(response)) = broker.reply(sequence) else { panic!("another response") };
    let results = response.results.into_iter().map(|result| {
        let topics = result.topics.iter().filter(|topic| topic.name.as_str() == "orders");
        let mut partitions: Vec<i32> =
            topics.flat_map(|topic| topic.partitions.iter().map(|partition| partition.partition_index)).collect();
        partitions.sort_unstable();
        let told = if result.error_code == ErrorCode::NONE { Ok(partitions) } else { Err(result.error_code) };
        (result.log_dir, told)
    });
    results.collect()
}

fn everywhere(left: &[i32], right: &[i32]) -> Vec<(String, Result<Vec<i32>, ErrorCode>)> {
    vec![("left0".to_owned(), Ok(left.to_vec())), ("right1".to_owned(), Ok(right.to_vec()))]
}

fn produced(broker: &mut TestBroker, partition: i32, value: &str) -> ErrorCode {
    broker.produce("orders", partition, &[value]).responses[0].partition_responses[0].error_code
}

/// A topic of four partitions over two directories, with a record in each.
fn filled() -> TestBroker {
    let mut broker = two();
    broker.create_topic("orders", 4, &[]);
    for partition in 0..4 {
        assert_eq!(produced(&mut broker, partition, &format!("p{partition}")), ErrorCode::NONE);
    }
    broker
}

fn checkpoint(broker: &TestBroker, log_dir: LogDir, name: &str) -> Vec<(i32, Offset)> {
    let contents = broker.disk.0.contents(&FilePath::of(log_dir, name)).expect("it was written");
    let entries = checkpoints::parse(contents).expect("well formed").into_iter().filter(|entry| entry.topic == "orders");
    entries.map(|entry| (entry.partition, entry.offset)).collect()
}

#[test]
fn new_partitions_go_where_fewest_are_and_stay_there() {
    let mut broker = filled();
    assert_eq!(described(&mut broker), everywhere(&[0, 2], &[1, 3]));
    for mut broker in [filled().restart(), filled().kill()] {
        assert_eq!(described(&mut broker), everywhere(&[0, 2], &[1, 3]));
        for partition in 0..4 {
            assert_eq!(broker.values("orders", partition, 0), [format!("p{partition}")]);
        }
        broker.create_topic("more", 1, &[]);
        assert_eq!(produced(&mut broker, 3, "again"), ErrorCode::NONE);
    }
}

#[test]
fn the_metadata_says_where_replicas_lie() {
    let broker = filled();
    let ids: Vec<u8> = broker.node.placed().map(|placed| placed.directories[0].0[0]).collect();
    assert_eq!(ids, [7, 8, 7, 8]);
}

#[test]
fn every_directory_has_the_checkpoints_of_its_own_partitions() {
    let mut broker = filled();
    let partition = |partition_index| DeleteRecordsPartition { partition_index, offset: Offset(1) };
    let topic = DeleteRecordsTopic { name: TopicName::from("orders"), partitions: vec![partition(1), partition(2)] };
    let sequence = broker.send(2, DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000 });
    assert!(broker.reply(sequence).is_some(), "both directories answered");
    let broker = broker.restart();
    for (log_dir, partitions, start) in [(LEFT, [0, 2], 2), (RIGHT, [1, 3], 1)] {
        let ends = partitions.map(|partition| (partition, Offset(1))).to_vec();
        assert_eq!(checkpoint(&broker, log_dir, "recovery-point-offset-checkpoint"), ends);
        assert_eq!(checkpoint(&broker, log_dir, "replication-offset-checkpoint"), ends);
        assert_eq!(checkpoint(&broker, log_dir, "log-start-offset-checkpoint"), [(start, Offset(1))]);
    }
}

#[test]
fn a_directory_that_is_added_takes_new_partitions() {
    let mut broker = TestBroker::on(harness::Disk::default(), &[("log.dirs", "left0")]);
    broker.create_topic("orders", 2, &[]);
    assert_eq!(produced(&mut broker, 0, "a"), ErrorCode::NONE);
    let mut broker = broker.restart_with(TWO);
    assert_eq!(described(&mut broker), everywhere(&[0, 1], &[]));
    let topic = DeleteTopicState { name: Some(TopicName::from("orders")), ..Default::default() };
    broker.call(6, DeleteTopicsRequest { topics: vec![topic], ..Default::default() });
    broker.create_topic("keep", 2, &[]);
    broker.create_topic("orders", 2, &[]);
    assert_eq!(described(&mut broker), everywhere(&[0], &[1]));
}

#[test]
fn what_lies_in_a_directory_that_is_taken_away_is_offline_until_it_comes_back() {
    for failed in ["left0", "left0,right1!"] {
        let mut broker = filled().restart_with(&[("log.dirs", failed)]);
        for partition in 0..4 {
            let expected = if partition % 2 == 0 { ErrorCode::NONE } else { ErrorCode::KAFKA_STORAGE_ERROR };
            assert_eq!(produced(&mut broker, partition, "more"), expected, "{failed} {partition}");
        }
        broker.create_topic("new", 3, &[]);
        let mut broker = broker.restart_with(TWO);
        assert_eq!(described(&mut broker), everywhere(&[0, 2], &[1, 3]));
        assert_eq!(broker.values("orders", 1, 0), ["p1"]);
        assert_eq!(broker.values("orders", 2, 0), ["p2", "more"]);
        assert_eq!(produced(&mut broker, 3, "again"), ErrorCode::NONE);
    }
}

#[test]
fn a_directory_that_does_not_work_is_told_as_such() {
    let mut broker = filled().restart_with(&[("log.dirs", "left0,right1!")]);
    let expected = [("left0".to_owned(), Ok(vec![0, 2])), ("right1!".to_owned(), Err(ErrorCode::KAFKA_STORAGE_ERROR))];
    assert_eq!(described(&mut broker), expected);
    assert_eq!(broker.node.gauges(0).offline_log_dirs, 1);
}

#[test]
fn a_partition_that_was_carried_over_by_hand_is_found_where_it_is() {
    let mut broker = filled().carry(|disk| {
        let (from, to) = (FilePath::of(RIGHT, "orders-1"), FilePath::of(LEFT, "orders-1"));
        disk.0.perform(&DiskOp::Rename { from, to }).expect("it is there");
    });
    assert_eq!(described(&mut broker), everywhere(&[0, 1, 2], &[3]));
    assert_eq!(broker.values("orders", 1, 0), ["p1"]);
    let ids: Vec<u8> = broker.node.placed().map(|placed| placed.directories[0].0[0]).collect();
    assert_eq!(ids, [7, 7, 7, 8]);
}

/// A second directory of a partition, as somebody who copies it makes one.
fn copy_to(broker: &mut TestBroker, from: LogDir, to: LogDir) {
    let is_in = |path: &&FilePath| path.log_dir() == from && path.directory().as_str() == "orders-1";
    let files: Vec<FilePath> = broker.disk.0.paths().filter(is_in).cloned().collect();
    for file in files {
        let contents = broker.disk.0.contents(&file).expect("listed").to_vec();
        broker.disk.0.put(FilePath::of(to, file.as_str()), contents);
    }
}

#[test]
fn of_a_partition_in_two_directories_the_one_counts_that_the_metadata_names() {
    let mut broker = filled();
    copy_to(&mut broker, RIGHT, LEFT);
    let mut broker = broker.restart();
    assert_eq!(described(&mut broker), everywhere(&[0, 2], &[1, 3]));
    assert_eq!(broker.values("orders", 1, 0), ["p1"]);
    let is_aside = |path: &FilePath| path.log_dir() == LEFT && path.as_str().starts_with("orders-1.");
    assert!(broker.disk.0.paths().any(|path| is_aside(path) && path.as_str().contains("-stray/")), "nothing of it is removed");
}

#[test]
fn a_partition_in_two_directories_of_which_the_metadata_names_none_refuses_the_start() {
    const THREE: &[(&str, &str)] = &[("log.dirs", "left0,right1,third2")];
    let mut broker = filled();
    copy_to(&mut broker, RIGHT, LEFT);
    copy_to(&mut broker, RIGHT, LogDir(2));
    broker.stop();
    broker.disk.0.perform(&DiskOp::DeleteDirectory { directory: FilePath::of(RIGHT, "orders-1") }).expect("it is there");
    let image = strandline_node::metadata_log::load(&broker.disk, 0).expect("the metadata loads").image;
    let config = BrokerConfig::from_pairs(THREE.iter().copied()).expect("legal");
    let mut survey = survey(&broker.disk, &[LEFT, RIGHT, LogDir(2)]).expect("readable");
    match survey.settle_doubles(&broker.disk, &image, &config, &harness::log_dirs(&config)) {
        Err(SurveyError::Twice { partition: 1, log_dirs: [LEFT, LogDir(2)], .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_clean_directory_of_two_is_no_clean_shutdown() {
    let mut broker = filled();
    broker.stop();
    let shutdown = |broker: &TestBroker| survey(&broker.disk, &[LEFT, RIGHT]).expect("readable").shutdown;
    assert_eq!(shutdown(&broker), strandline_log::recover::Shutdown::Clean);
    broker.disk.0.perform(&DiskOp::Delete { file: FilePath::of(RIGHT, ".kafka_cleanshutdown") }).expect("deleted");
    assert_eq!(shutdown(&broker), strandline_log::recover::Shutdown::Unclean);
    assert_eq!(survey(&broker.disk, &[LEFT, RIGHT]).expect("readable").previous_broker_epoch, -1);
}
