//! A single broker as its clients meet it, without sockets and files.

mod compaction;
mod harness;

use harness::{Disk, TestBroker, batch, values_of};
use strandline_log::disk::{DiskOp, FilePath};
use strandline_log::names::{HIGH_WATERMARK_CHECKPOINT, RECOVERY_POINT_CHECKPOINT};
use strandline_node::io::Input;
use strandline_node::metadata_log::load;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicName};
use strandline_protocol::messages::api_versions::ApiVersionsRequest;
use strandline_protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use strandline_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use strandline_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use strandline_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use strandline_protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use strandline_protocol::messages::describe_topic_partitions::DescribeTopicPartitionsRequest;
use strandline_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use strandline_protocol::messages::init_producer_id::InitProducerIdRequest;
use strandline_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use strandline_protocol::records::ProducerStamp;

fn metadata(broker: &mut TestBroker, topic: &str) -> strandline_protocol::messages::metadata::MetadataResponseTopic {
    let asked = MetadataRequestTopic { name: Some(TopicName::from(topic)), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    let Response::Metadata(response) = broker.call(12, request) else { panic!("another response") };
    assert_eq!(response.brokers.len(), 1);
    response.topics.into_iter().next().expect("one topic")
}

fn list_offset(broker: &mut TestBroker, topic: &str, timestamp: i64) -> (ErrorCode, i64, i64) {
    let partition = ListOffsetsPartition { partition_index: 0, timestamp, ..Default::default() };
    let request = ListOffsetsRequest {
        replica_id: (-1).into(),
        topics: vec![ListOffsetsTopic { name: TopicName::from(topic), partitions: vec![partition] }],
        ..Default::default()
    };
    let Response::ListOffsets(response) = broker.call(7, request) else { panic!("another response") };
    let partition = &response.topics[0].partitions[0];
    (partition.error_code, partition.offset.0, partition.timestamp)
}

fn delete_records(broker: &mut TestBroker, topic: &str, offset: i64) -> (ErrorCode, i64) {
    let partition = DeleteRecordsPartition { partition_index: 0, offset: Offset(offset) };
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic { name: TopicName::from(topic), partitions: vec![partition] }],
        timeout_ms: 1000,
    };
    let Response::DeleteRecords(response) = broker.call(2, request) else { panic!("another response") };
    let partition = &response.topics[0].partitions[0];
    (partition.error_code, partition.low_watermark.0)
}

#[test]
fn a_produced_record_is_read_back() {
    let mut broker = TestBroker::new();
    assert_eq!(broker.create_topic("orders", 2, &[]).error_code, ErrorCode::NONE);
    let response = broker.produce("orders", 1, &["a", "b"]);
    assert_eq!(response.responses[0].partition_responses[0].base_offset, Offset(0));
    assert_eq!(broker.produce("orders", 1, &["c"]).responses[0].partition_responses[0].base_offset, Offset(2));
    assert_eq!(broker.values("orders", 1, 0), ["a", "b", "c"]);
    assert_eq!(broker.values("orders", 1, 2), ["c"]);
}

#[test]
fn acknowledged_records_topics_and_configs_are_there_after_a_kill() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[("retention.ms", "1000000")]);
    let before = metadata(&mut broker, "orders");
    broker.produce("orders", 0, &["a", "b"]);
    let mut broker = broker.kill();
    let after = metadata(&mut broker, "orders");
    assert_eq!(after.topic_id, before.topic_id);
    assert!(after.partitions[0].leader_epoch > before.partitions[0].leader_epoch, "a start is a new epoch");
    assert_eq!(broker.values("orders", 0, 0), ["a", "b"]);
    assert_eq!(broker.produce("orders", 0, &["c"]).responses[0].partition_responses[0].base_offset, Offset(2));
    let mut broker = broker.restart();
    assert_eq!(broker.values("orders", 0, 0), ["a", "b", "c"]);
}

#[test]
fn a_broker_without_partitions_stops_too_and_asks_for_no_wake_up_afterwards() {
    let mut broker = TestBroker::new().restart();
    broker.input(Input::Shutdown);
    assert!(broker.stopped);
    broker.wake_ms = u64::MAX;
    broker.pass(3_600_000);
    assert_eq!(broker.wake_ms, u64::MAX, "a wake-up that is due already would come again and again");
}

#[test]
fn an_acknowledgement_waits_for_the_disk() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    broker.hold = true;
    let first = broker.send_produce(-1, "orders", 0, batch(&["a"], ProducerStamp::default()));
    let second = broker.send_produce(1, "orders", 0, batch(&["b"], ProducerStamp::default()));
    assert_eq!(broker.reply(first), None);
    assert_eq!(list_offset(&mut broker, "orders", -1).1, 0, "nothing is readable before it is on disk");
    broker.release();
    assert!(broker.reply(first).is_some());
    assert!(broker.reply(second).is_some());
    assert_eq!(list_offset(&mut broker, "orders", -1).1, 2);
}

#[test]
fn a_produce_that_the_disk_keeps_waiting_times_out() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    broker.hold = true;
    let waiting = broker.send_produce(-1, "orders", 0, batch(&["a"], ProducerStamp::default()));
    broker.pass(1001);
    let Some(Response::Produce(response)) = broker.reply(waiting) else { panic!("not answered") };
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::REQUEST_TIMED_OUT);
    broker.release();
    assert_eq!(broker.values("orders", 0, 0), ["a"], "what was appended stays");
}

#[test]
fn a_retry_gets_the_first_answer_and_a_gap_is_refused() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    let Response::InitProducerId(id) = broker.call(4, InitProducerIdRequest { transactional_id: None, ..Default::default() })
    else {
        panic!()
    };
    assert_eq!(id.error_code, ErrorCode::NONE);
    let stamp = |base_sequence| ProducerStamp { id: id.producer_id.0, epoch: id.producer_epoch.0, base_sequence };
    let answer = |broker: &mut TestBroker, sequence, values: &[&str]| {
        let sent = broker.send_produce(-1, "orders", 0, batch(values, stamp(sequence)));
        let Some(Response::Produce(response)) = broker.reply(sent) else { panic!("not answered") };
        let partition = &response.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset.0)
    };
    assert_eq!(answer(&mut broker, 0, &["a", "b"]), (ErrorCode::NONE, 0));
    assert_eq!(answer(&mut broker, 2, &["c"]), (ErrorCode::NONE, 2));
    assert_eq!(answer(&mut broker, 0, &["a", "b"]), (ErrorCode::NONE, 0));
    assert_eq!(answer(&mut broker, 9, &["z"]), (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    let mut broker = broker.kill();
    assert_eq!(answer(&mut broker, 2, &["c"]), (ErrorCode::NONE, 2), "a retry over a crash is recognised");
    assert_eq!(broker.values("orders", 0, 0), ["a", "b", "c"]);
}

#[test]
fn producer_ids_are_never_given_twice_not_even_after_a_kill() {
    let mut broker = TestBroker::new();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        for _ in 0..5 {
            let Response::InitProducerId(id) =
                broker.call(4, InitProducerIdRequest { transactional_id: None, ..Default::default() })
            else {
                panic!()
            };
            assert!(seen.insert(id.producer_id), "{} was given before", id.producer_id);
        }
        broker = broker.kill();
    }
}

/// Found by the simulator: a damaged batch was taken for the end of the metadata log, and the topics behind it were gone.
#[test]
fn damage_in_the_metadata_log_is_refused_and_not_cut() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 3, &[]);
    broker.create_topic("letters", 3, &[]);
    broker.input(Input::Shutdown);
    assert!(broker.stopped, "everything is below the recovery point");
    let file = FilePath::inside("__cluster_metadata-0", "00000000000000000000.log");
    let sound = broker.disk.0.contents(&file).expect("it is there").to_vec();
    for byte in (0..sound.len()).step_by(7) {
        let mut disk = Disk(broker.disk.0.clone());
        let mut flipped = sound.clone();
        flipped[byte] ^= 0x10;
        disk.0.put(file.clone(), flipped);
        match load(&disk, broker.now.wall_ms) {
            Err(_) => {}
            Ok(loaded) => assert_eq!(loaded.image.topics.topic_count(), 2, "byte {byte}"),
        }
    }
}

/// With the recovery point of the one before, a kill in the first minute would make damage of its end.
#[test]
fn a_metadata_log_that_begins_anew_does_not_take_the_recovery_point_of_one_that_was_taken_away() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    broker.stop();
    let points = FilePath::top(RECOVERY_POINT_CHECKPOINT);
    let known = |disk: &Disk| String::from_utf8(disk.0.contents(&points).expect("it was written").to_vec()).expect("text");
    let mut disk = Disk(broker.disk.0.clone());
    assert!(known(&disk).contains("__cluster_metadata"));
    disk.0.perform(&DiskOp::DeleteDirectory { directory: FilePath::top("__cluster_metadata-0") }).expect("it is there");
    for repair in load(&disk, broker.now.wall_ms).expect("nothing is there").repairs {
        disk.0.perform(&repair).expect("it can be carried out");
    }
    assert_eq!(known(&disk), "0\n1\norders 0 0\n");
}

#[test]
fn acks_0_is_never_answered_and_a_failure_closes_the_connection() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    let good = broker.send_produce(0, "orders", 0, batch(&["a"], ProducerStamp::default()));
    assert_eq!(broker.reply(good), None);
    assert!(broker.closed.is_empty());
    let bad = broker.send_produce(0, "nothing", 0, batch(&["a"], ProducerStamp::default()));
    assert!(broker.closed.contains(&bad));
    assert_eq!(broker.values("orders", 0, 0), ["a"]);
}

#[test]
fn produce_never_creates_a_topic_and_metadata_does_so_in_the_background() {
    let mut broker = TestBroker::new();
    let response = broker.produce("orders", 0, &["a"]);
    assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(metadata(&mut broker, "orders").error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(metadata(&mut broker, "orders").error_code, ErrorCode::NONE);
    assert_eq!(metadata(&mut broker, "bad name").error_code, ErrorCode::INVALID_TOPIC_EXCEPTION);
}

#[test]
fn a_fetch_waits_for_records_and_no_longer_than_asked() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    let waiting = broker.send(12, TestBroker::fetch_request("orders", 0, 0));
    assert_eq!(broker.reply(waiting), None);
    broker.produce("orders", 0, &["a"]);
    let Some(Response::Fetch(response)) = broker.reply(waiting) else { panic!("not answered") };
    assert_eq!(values_of(response.responses[0].partitions[0].records.as_ref()), ["a"]);
    let waiting = broker.send(12, TestBroker::fetch_request("orders", 0, 1));
    broker.pass(499);
    assert_eq!(broker.reply(waiting), None);
    broker.pass(1);
    let Some(Response::Fetch(response)) = broker.reply(waiting) else { panic!("not answered") };
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.high_watermark, Offset(1));
    assert!(partition.records.is_some(), "librdkafka reads null records as a protocol error");
}

#[test]
fn a_fetch_out_of_range_says_so_at_once() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    broker.produce("orders", 0, &["a"]);
    let Response::Fetch(response) = broker.call(12, TestBroker::fetch_request("orders", 0, 5)) else { panic!() };
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(response.responses[0].partitions[0].high_watermark, Offset(1));
}

#[test]
fn offsets_are_found_by_their_special_names_and_by_time() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    broker.produce("orders", 0, &["a", "b"]);
    assert_eq!(list_offset(&mut broker, "orders", -2), (ErrorCode::NONE, 0, -1));
    assert_eq!(list_offset(&mut broker, "orders", -1), (ErrorCode::NONE, 2, -1));
    assert_eq!(list_offset(&mut broker, "orders", -3), (ErrorCode::NONE, 0, 1_800_000_000_000));
    assert_eq!(list_offset(&mut broker, "orders", 1_700_000_000_000), (ErrorCode::NONE, 0, 1_800_000_000_000));
    assert_eq!(list_offset(&mut broker, "orders", 1_900_000_000_000), (ErrorCode::NONE, -1, -1));
    assert_eq!(list_offset(&mut broker, "orders", -5).0, ErrorCode::UNSUPPORTED_VERSION);
}

#[test]
fn deleted_records_stay_deleted_after_a_kill() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    broker.produce("orders", 0, &["a"]);
    broker.produce("orders", 0, &["b"]);
    assert_eq!(delete_records(&mut broker, "orders", 3), (ErrorCode::OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(delete_records(&mut broker, "orders", 1), (ErrorCode::NONE, 1));
    let mut broker = broker.kill();
    assert_eq!(list_offset(&mut broker, "orders", -2).1, 1);
    assert_eq!(delete_records(&mut broker, "orders", -1), (ErrorCode::NONE, 2));
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_free() {
    let mut broker = TestBroker::new();
    let first = broker.create_topic("orders", 3, &[]);
    broker.produce("orders", 0, &["a"]);
    let Response::DeleteTopics(response) = broker
        .call(4, DeleteTopicsRequest { topic_names: vec![TopicName::from("orders")], timeout_ms: 1, ..Default::default() })
    else {
        panic!()
    };
    assert_eq!(response.responses[0].error_code, ErrorCode::NONE);
    let second = broker.create_topic("orders", 1, &[]);
    assert_ne!(second.topic_id, first.topic_id);
    assert_eq!(list_offset(&mut broker, "orders", -1).1, 0);
    broker.pass(120_000);
    let mut broker = broker.kill();
    assert_eq!(metadata(&mut broker, "orders").topic_id, second.topic_id);
    assert!(broker.disk.0.paths().all(|path| !path.as_str().contains("-delete")));
}

#[test]
fn whoever_waits_for_records_is_told_that_the_topic_is_gone() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    broker.produce("orders", 0, &["a"]);
    let waiting = broker.send(12, TestBroker::fetch_request("orders", 0, 1));
    assert_eq!(broker.reply(waiting), None, "there is nothing to read yet");
    let request = DeleteTopicsRequest { topic_names: vec![TopicName::from("orders")], timeout_ms: 1, ..Default::default() };
    let deletion = broker.send(4, request);
    broker.release();
    let Some(Response::Fetch(response)) = broker.reply(waiting) else { panic!("not answered") };
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert!(broker.reply(deletion).is_some());
}

#[test]
fn a_topic_made_again_writes_only_when_the_old_directory_has_another_name() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    broker.produce("orders", 0, &["old"]);
    broker.produce("orders", 0, &["older"]);
    assert_eq!(delete_records(&mut broker, "orders", 1), (ErrorCode::NONE, 1));
    // The rename of the old directory and the checkpoint without its log start are kept back.
    broker.hold_renames = true;
    broker.call(4, DeleteTopicsRequest { topic_names: vec![TopicName::from("orders")], timeout_ms: 1, ..Default::default() });
    broker.create_topic("orders", 1, &[]);
    let waiting = broker.send_produce(-1, "orders", 0, batch(&["new"], ProducerStamp::default()));
    assert_eq!(broker.reply(waiting), None, "an append would land in the old directory");
    broker.hold_renames = false;
    broker.release();
    assert!(broker.reply(waiting).is_some());
    let mut broker = broker.kill();
    assert_eq!(broker.values("orders", 0, 0), ["new"]);
}

#[test]
fn names_counts_and_configs_of_topics_are_checked() {
    let mut broker = TestBroker::new();
    assert_eq!(broker.create_topic("a.b", 1, &[]).error_code, ErrorCode::NONE);
    assert_eq!(broker.create_topic("a.b", 1, &[]).error_code, ErrorCode::TOPIC_ALREADY_EXISTS);
    assert_eq!(broker.create_topic("a_b", 1, &[]).error_code, ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(broker.create_topic("b", 0, &[]).error_code, ErrorCode::INVALID_PARTITIONS);
    assert_eq!(broker.create_topic("b", 1, &[("nonsense", "1")]).error_code, ErrorCode::INVALID_CONFIG);
    assert_eq!(broker.create_topic("b", 1, &[("segment.bytes", "1")]).error_code, ErrorCode::INVALID_CONFIG);
    assert_eq!(broker.create_topic("b", 20_000, &[]).error_code, ErrorCode::POLICY_VIOLATION);
}

#[test]
fn partitions_are_added_and_the_new_ones_take_records() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    let more = |count| CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic { name: TopicName::from("orders"), count, assignments: None }],
        ..Default::default()
    };
    let Response::CreatePartitions(response) = broker.call(3, more(3)) else { panic!() };
    assert_eq!(response.results[0].error_code, ErrorCode::NONE);
    broker.produce("orders", 2, &["a"]);
    assert_eq!(broker.values("orders", 2, 0), ["a"]);
    let Response::CreatePartitions(response) = broker.call(3, more(2)) else { panic!() };
    assert_eq!(response.results[0].error_code, ErrorCode::INVALID_PARTITIONS);
}

#[test]
fn a_changed_config_is_described_and_kept() {
    let mut broker = TestBroker::new();
    broker.create_topic("orders", 1, &[]);
    let set = AlterableConfig { name: "retention.ms".to_owned(), config_operation: 0, value: Some("77".to_owned()) };
    let resource = AlterConfigsResource { resource_type: 2, resource_name: "orders".to_owned(), configs: vec![set] };
    let Response::IncrementalAlterConfigs(response) =
        broker.call(1, IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() })
    else {
        panic!()
    };
    assert_eq!(response.responses[0].error_code, ErrorCode::NONE);
    let mut broker = broker.kill();
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: "orders".to_owned(),
        configuration_keys: Some(vec!["retention.ms".to_owned()]),
    };
    let Response::DescribeConfigs(response) =
        broker.call(4, DescribeConfigsRequest { resources: vec![resource], ..Default::default() })
    else {
        panic!()
    };
    let config = &response.results[0].configs[0];
    assert_eq!((config.value.as_deref(), config.config_source), (Some("77"), 1));
}

#[test]
fn a_description_comes_page_by_page() {
    let mut broker = TestBroker::new();
    broker.create_topic("a", 3, &[]);
    broker.create_topic("b", 3, &[]);
    let mut request = DescribeTopicPartitionsRequest { response_partition_limit: 2, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let Response::DescribeTopicPartitions(page) = broker.call(0, request.clone()) else { panic!() };
        for topic in &page.topics {
            seen.extend(
                topic.partitions.iter().map(|partition| (topic.name.clone().expect("named").0, partition.partition_index)),
            );
        }
        let Some(next) = page.next_cursor else { break };
        request.cursor = Some(strandline_protocol::messages::describe_topic_partitions::RequestCursor {
            topic_name: next.topic_name,
            partition_index: next.partition_index,
        });
    }
    let expected: Vec<_> = ["a", "b"].into_iter().flat_map(|name| (0..3).map(move |index| (name.to_owned(), index))).collect();
    assert_eq!(seen, expected);
}

#[test]
fn what_is_advertised_is_unique_and_holds_produce_0_for_old_librdkafka() {
    let mut broker = TestBroker::new();
    let Response::ApiVersions(response) = broker.call(0, ApiVersionsRequest::default()) else { panic!() };
    let produce = response.api_keys.iter().find(|api| api.api_key == 0).expect("served");
    assert_eq!((produce.min_version, produce.max_version), (0, 13));
    assert!(response.api_keys.is_sorted_by(|left, right| left.api_key < right.api_key));
    let named = ApiVersionsRequest { client_software_name: "kcat".to_owned(), client_software_version: "1.7".to_owned() };
    let Response::ApiVersions(response) = broker.call(3, named) else { panic!() };
    assert!(response.finalized_features.iter().any(|feature| feature.name == "metadata.version"));
    let Response::ApiVersions(response) = broker.call(3, ApiVersionsRequest::default()) else { panic!() };
    assert_eq!(response.error_code, ErrorCode::INVALID_REQUEST);
}

#[test]
fn one_request_makes_at_most_ten_thousand_partitions_over_all_its_topics() {
    let mut broker = TestBroker::new();
    let ask = |broker: &mut TestBroker, counts: &[i32]| -> Vec<ErrorCode> {
        let topic = |(index, count): (usize, &i32)| CreatableTopic {
            name: TopicName::from(format!("many-{index}")),
            num_partitions: *count,
            replication_factor: 1,
            ..Default::default()
        };
        let topics = counts.iter().enumerate().map(topic).collect();
        let request = CreateTopicsRequest { topics, validate_only: true, ..Default::default() };
        let Response::CreateTopics(response) = broker.call(7, request) else { panic!("another response") };
        response.topics.iter().map(|topic| topic.error_code).collect()
    };
    assert_eq!(ask(&mut broker, &[5000, 5000]), [ErrorCode::NONE; 2]);
    assert_eq!(ask(&mut broker, &[1, 5000, 5000]), [ErrorCode::POLICY_VIOLATION; 3]);
    for name in ["a", "b"] {
        broker.create_topic(name, 1, &[]);
    }
    let grow = |broker: &mut TestBroker, counts: [i32; 2]| -> Vec<ErrorCode> {
        let topic =
            |(name, count): (&str, i32)| CreatePartitionsTopic { name: TopicName::from(name), count, assignments: None };
        let topics = ["a", "b"].into_iter().zip(counts).map(topic).collect();
        let request = CreatePartitionsRequest { topics, validate_only: true, ..Default::default() };
        let Response::CreatePartitions(response) = broker.call(3, request) else { panic!("another response") };
        response.results.iter().map(|topic| topic.error_code).collect()
    };
    assert_eq!(grow(&mut broker, [5001, 5001]), [ErrorCode::NONE; 2]);
    assert_eq!(grow(&mut broker, [5001, 5002]), [ErrorCode::POLICY_VIOLATION; 2]);
}

#[test]
fn a_topic_that_is_made_again_does_not_take_the_checkpoints_of_the_one_before() {
    let mut broker = TestBroker::new();
    let marks = |broker: &TestBroker| {
        [HIGH_WATERMARK_CHECKPOINT, RECOVERY_POINT_CHECKPOINT].map(|name| {
            let contents = broker.disk.0.contents(&FilePath::top(name)).expect("it was written");
            String::from_utf8(contents.to_vec()).expect("text")
        })
    };
    broker.create_topic("orders", 1, &[]);
    broker.produce("orders", 0, &["first", "second"]);
    let mut broker = broker.restart();
    assert!(marks(&broker).iter().all(|marks| marks.contains("orders 0 2")), "{:?}", marks(&broker));
    let topic = DeleteTopicState { name: Some(TopicName::from("orders")), ..Default::default() };
    broker.call(6, DeleteTopicsRequest { topics: vec![topic], ..Default::default() });
    broker.create_topic("orders", 1, &[]);
    broker.produce("orders", 0, &["third"]);
    assert!(
        !marks(&broker).iter().any(|marks| marks.contains("orders 0 2")),
        "a crash now must not find it: {:?}",
        marks(&broker)
    );
}
