//! Replicas move between the log directories of a broker: nothing is lost, whatever happens meanwhile.

mod harness;

use harness::{Disk, TestBroker, batch, keyed, transactional, values_of};
use strandline_log::disk::{FilePath, Files, LogDir};
use strandline_node::io::Input;
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, ProducerEpoch, ProducerId, TopicName};
use strandline_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use strandline_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use strandline_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use strandline_protocol::messages::describe_log_dirs::DescribeLogDirsRequest;
use strandline_protocol::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest};
use strandline_protocol::records::{Batches, ProducerStamp};

const THREE: &[(&str, &str)] = &[("log.dirs", "left0,right1,third2")];
/// The first piece is read at once, and the second in twelve days.
const SLOW: &[(&str, &str)] = &[("log.dirs", "left0,right1,third2"), (RATE, "1")];
const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const RIGHT: LogDir = LogDir(1);
const THIRD: LogDir = LogDir(2);
/// Lies in the second directory: new partitions go into the directories by turns.
const MOVING: i32 = 1;

fn alter(broker: &mut TestBroker, topic: &str, partition: i32, path: &str) -> ErrorCode {
    let topics = vec![AlterReplicaLogDirTopic { name: TopicName::from(topic), partitions: vec![partition] }];
    let request = AlterReplicaLogDirsRequest { dirs: vec![AlterReplicaLogDir { path: path.to_owned(), topics }] };
    let sequence = broker.send(2, request);
    match broker.reply(sequence) {
        Some(Response::AlterReplicaLogDirs(response)) => response.results[0].partitions[0].error_code,
        None if broker.is_dead() => ErrorCode::NONE,
        other => panic!("{other:?}"),
    }
}

/// Where replicas of the partition lie, by the names of the directories, and how far copies are behind.
fn places(broker: &mut TestBroker) -> (Vec<String>, Vec<(String, i64)>) {
    let sequence = broker.send(4, DescribeLogDirsRequest { topics: None });
    let Some(Response::DescribeLogDirs(response)) = broker.reply(sequence) else { panic!("another response") };
    let (mut present, mut copies) = (Vec::new(), Vec::new());
    for result in response.results {
        let topics = result.topics.iter().filter(|topic| topic.name.as_str() == "orders");
        for partition in topics.flat_map(|topic| &topic.partitions).filter(|partition| partition.partition_index == MOVING) {
            match partition.is_future_key {
                true => copies.push((result.log_dir.clone(), partition.offset_lag)),
                false => present.push(result.log_dir.clone()),
            }
        }
    }
    (present, copies)
}

/// The last byte of the directory that the metadata names.
fn named(broker: &TestBroker) -> u8 {
    let placed = broker.node.placed().find(|placed| placed.name.as_str() == "orders" && placed.partition == MOVING);
    placed.expect("it is there").directories[0].0[0]
}

fn produced(broker: &mut TestBroker, value: &str) -> ErrorCode {
    let sequence = broker.send_produce(-1, "orders", MOVING, batch(&[value], ProducerStamp::default()));
    match broker.reply(sequence) {
        Some(Response::Produce(response)) => response.responses[0].partition_responses[0].error_code,
        None if broker.is_dead() => ErrorCode::UNKNOWN_SERVER_ERROR,
        other => panic!("{other:?}"),
    }
}

/// Small segments, and a few records in the partition that is going to move.
fn filled(configs: &[(&str, &str)]) -> TestBroker {
    let mut broker = TestBroker::on(Disk::default(), configs);
    broker.create_topic("orders", 2, &[]);
    for value in ["a", "b", "c"] {
        assert_eq!(produced(&mut broker, value), ErrorCode::NONE);
    }
    broker
}

/// More than is copied at once.
fn fill_up(broker: &mut TestBroker) {
    for _ in 0..40 {
        assert_eq!(produced(broker, &"x".repeat(60_000)), ErrorCode::NONE);
    }
}

fn short(values: Vec<String>) -> Vec<String> {
    values.into_iter().filter(|value| value.len() < 100).collect()
}

/// All values of the partition.
fn values(broker: &mut TestBroker) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let Response::Fetch(response) = broker.call(12, read_request("orders", all.len() as i64)) else {
            panic!("another response")
        };
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, ErrorCode::NONE);
        let mut read = values_of(data.records.as_ref());
        if read.is_empty() {
            return all;
        }
        all.append(&mut read);
    }
}

fn read_request(topic: &str, offset: i64) -> strandline_protocol::messages::fetch::FetchRequest {
    strandline_protocol::messages::fetch::FetchRequest { max_wait_ms: 0, ..TestBroker::fetch_request(topic, MOVING, offset) }
}

fn set_rate(broker: &mut TestBroker, rate: &str) {
    assert_eq!(broker.configure(4, "1", RATE, Some(rate)), ErrorCode::NONE);
}

fn directories(broker: &TestBroker, log_dir: LogDir) -> Vec<String> {
    let entries = broker.disk.list(&FilePath::of(log_dir, "")).expect("listed").into_iter();
    entries.filter(|entry| entry.is_directory).map(|entry| entry.name).collect()
}

#[test]
fn a_replica_lies_where_it_was_moved_to_and_its_old_files_go() {
    let mut broker = filled(THREE);
    assert_eq!(places(&mut broker).0, ["right1"]);
    assert_eq!(alter(&mut broker, "orders", MOVING, "third2"), ErrorCode::NONE);
    assert_eq!(places(&mut broker), (vec!["third2".to_owned()], vec![]));
    assert_eq!(named(&broker), 9);
    assert_eq!(produced(&mut broker, "d"), ErrorCode::NONE);
    assert_eq!(values(&mut broker), ["a", "b", "c", "d"]);
    broker.pass(61_000);
    assert_eq!(directories(&broker, RIGHT), Vec::<String>::new());
    let mut broker = broker.kill();
    assert_eq!(places(&mut broker).0, ["third2"]);
    assert_eq!(values(&mut broker), ["a", "b", "c", "d"]);
    let mut broker = broker.restart();
    assert_eq!(alter(&mut broker, "orders", MOVING, "right1"), ErrorCode::NONE);
    assert_eq!(places(&mut broker), (vec!["right1".to_owned()], vec![]));
    let mut broker = broker.restart();
    assert_eq!(values(&mut broker), ["a", "b", "c", "d"]);
}

#[test]
fn what_is_larger_than_a_segment_may_be_now_moves_too() {
    let mut broker = filled(THREE);
    assert_eq!(produced(&mut broker, &"x".repeat(1_500_000)), ErrorCode::NONE);
    assert_eq!(broker.configure(2, "orders", "segment.bytes", Some("1048576")), ErrorCode::NONE);
    assert_eq!(alter(&mut broker, "orders", MOVING, "third2"), ErrorCode::NONE);
    assert_eq!(places(&mut broker), (vec!["third2".to_owned()], vec![]));
    let mut broker = broker.kill();
    assert_eq!(short(values(&mut broker)), ["a", "b", "c"]);
    assert_eq!(values(&mut broker).len(), 4);
}

#[test]
fn requests_are_judged_each_on_its_own() {
    let mut broker = filled(SLOW);
    let judged = |broker: &mut TestBroker, topic: &str, path: &str| alter(broker, topic, MOVING, path);
    assert_eq!(judged(&mut broker, "orders", "nowhere"), ErrorCode::LOG_DIR_NOT_FOUND);
    assert_eq!(judged(&mut broker, "nothing", "right1"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(judged(&mut broker, &"t".repeat(249), "right1"), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(judged(&mut broker, "orders", "right1"), ErrorCode::NONE, "it lies there");
    assert_eq!(places(&mut broker), (vec!["right1".to_owned()], vec![]));
    broker.break_dir(THIRD);
    broker.input(Input::Unreadable { log: FilePath::of(THIRD, "x-0/0.log"), base_offset: Offset(0) });
    assert_eq!(judged(&mut broker, "orders", "third2"), ErrorCode::KAFKA_STORAGE_ERROR);
    assert_eq!(judged(&mut broker, "orders", "left0"), ErrorCode::KAFKA_STORAGE_ERROR, "a copy may lie in the one that failed");
}

#[test]
fn a_partition_that_is_not_here_yet_goes_where_it_is_wished() {
    let mut broker = TestBroker::on(Disk::default(), THREE);
    assert_eq!(alter(&mut broker, "orders", MOVING, "third2"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    broker.create_topic("orders", 2, &[]);
    assert_eq!(places(&mut broker).0, ["third2"]);
}

#[test]
fn a_move_that_is_asked_for_again_goes_on_to_elsewhere_begins_again_and_back_ends() {
    let mut broker = filled(SLOW);
    fill_up(&mut broker);
    assert_eq!(alter(&mut broker, "orders", MOVING, "third2"), ErrorCode::NONE);
    let (present, copies) = places(&mut broker);
    assert_eq!((present.as_slice(), copies[0].0.as_str()), (["right1".to_owned()].as_slice(), "third2"));
    assert!((1..43).contains(&copies[0].1), "{copies:?}");
    assert_eq!(broker.node.gauges(0).moving_replicas, 1);
    assert_eq!(alter(&mut broker, "orders", MOVING, "third2"), ErrorCode::NONE);
    assert_eq!(places(&mut broker).1, copies);
    assert_eq!(alter(&mut broker, "orders", MOVING, "left0"), ErrorCode::NONE);
    assert_eq!(places(&mut broker).1[0].0, "left0");
    assert_eq!(alter(&mut broker, "orders", MOVING, "right1"), ErrorCode::NONE);
    assert_eq!(places(&mut broker), (vec!["right1".to_owned()], vec![]));
    broker.pass(61_000);
    assert_eq!(directories(&broker, THIRD), Vec::<String>::new());
    assert_eq!(values(&mut broker).len(), 43);
}

#[test]
fn the_bandwidth_is_kept_and_another_one_counts_at_once() {
    let mut broker = filled(&[("log.dirs", "left0,right1,third2"), (RATE, "1000000")]);
    fill_up(&mut broker);
    alter(&mut broker, "orders", MOVING, "third2");
    let mut waited = 0;
    while places(&mut broker).0 != ["third2"] {
        broker.pass(100);
        waited += 1;
        assert!(waited < 100);
    }
    assert!((10..30).contains(&waited), "2.4 megabytes, of which the last is not waited for: {waited}");
    set_rate(&mut broker, "1");
    alter(&mut broker, "orders", MOVING, "right1");
    broker.pass(3_600_000);
    assert_eq!(places(&mut broker).1.len(), 1);
    set_rate(&mut broker, "1000000000");
    broker.pass(1);
    assert_eq!(places(&mut broker), (vec!["right1".to_owned()], vec![]));
}

#[test]
fn a_move_goes_on_after_a_restart_and_after_a_kill() {
    for is_killed in [false, true] {
        let mut broker = filled(SLOW);
        fill_up(&mut broker);
        alter(&mut broker, "orders", MOVING, "third2");
        let lag = places(&mut broker).1[0].1;
        let mut broker = if is_killed { broker.kill() } else { broker.restart() };
        let after = places(&mut broker).1[0].1;
        assert!(after <= lag, "what was copied is not copied again: {lag}, then {after}");
        assert_eq!(produced(&mut broker, "more"), ErrorCode::NONE);
        set_rate(&mut broker, "1000000000");
        broker.pass(1);
        assert_eq!(places(&mut broker), (vec!["third2".to_owned()], vec![]));
        assert_eq!(short(values(&mut broker)), ["a", "b", "c", "more"]);
    }
}

/// Kills the process before every operation of a disk from the request to the end of the move.
#[test]
fn nothing_is_lost_by_a_kill_at_any_operation() {
    for fuse in 1.. {
        let mut broker = filled(THREE);
        broker.fuse = Some(fuse);
        alter(&mut broker, "orders", MOVING, "third2");
        let mut acknowledged = vec!["a", "b", "c"];
        if produced(&mut broker, "d") == ErrorCode::NONE {
            acknowledged.push("d");
        }
        let is_over = !broker.is_dead();
        let mut broker = broker.kill();
        let there = values(&mut broker);
        assert!(there.len() >= acknowledged.len(), "killed at {fuse}: {there:?}");
        assert_eq!(there[..acknowledged.len()], acknowledged, "killed at {fuse}");
        assert_eq!(produced(&mut broker, "e"), ErrorCode::NONE, "killed at {fuse}");
        broker.pass(61_000);
        let (present, copies) = places(&mut broker);
        assert_eq!((present.len(), copies.len()), (1, 0), "killed at {fuse}: {present:?} {copies:?}");
        let place = if present == ["third2"] { 9 } else { 8 };
        assert_eq!(named(&broker), place, "killed at {fuse}");
        let mut broker = broker.restart();
        assert_eq!(values(&mut broker).last().map(String::as_str), Some("e"), "killed at {fuse}");
        assert_eq!(places(&mut broker).0, present, "killed at {fuse}");
        if is_over {
            assert!(fuse > 8, "a move takes several operations: {fuse}");
            return;
        }
    }
}

/// One of the two directories fails at every operation.
#[test]
fn a_directory_that_fails_meanwhile_costs_nothing_that_lies_in_the_other_one() {
    for (broken, other) in [(THIRD, 8), (RIGHT, 9)] {
        for operations in 1..40 {
            let mut broker = filled(THREE);
            broker.break_after = Some((operations, broken));
            alter(&mut broker, "orders", MOVING, "third2");
            let outcome = produced(&mut broker, "d");
            broker.break_after = None;
            broker.break_dir(broken);
            // Whoever touches it finds out.
            broker.input(Input::Unreadable { log: FilePath::of(broken, "x-0/0.log"), base_offset: Offset(0) });
            let place = named(&broker);
            let then = produced(&mut broker, "e");
            if place == other {
                assert_eq!(then, ErrorCode::NONE, "{broken:?} failed at {operations}, after {outcome:?}");
            } else {
                assert_eq!(then, ErrorCode::KAFKA_STORAGE_ERROR, "{broken:?} failed at {operations}");
            }
            let acknowledged = ["d", "e"].into_iter().zip([outcome, then]).filter(|(_, code)| *code == ErrorCode::NONE);
            let acknowledged: Vec<&str> = ["a", "b", "c"].into_iter().chain(acknowledged.map(|(value, _)| value)).collect();
            let name = if broken == THIRD { "left0,right1,third2!" } else { "left0,right1!,third2" };
            let mut without = broker.restart_with(&[("log.dirs", name)]);
            let then = produced(&mut without, "f");
            let expected = if place == other { ErrorCode::NONE } else { ErrorCode::KAFKA_STORAGE_ERROR };
            assert_eq!(then, expected, "{broken:?} failed at {operations}; an empty log is not the partition");
            let mut again = without.restart_with(THREE);
            let there = values(&mut again);
            let kept: Vec<&String> = there.iter().filter(|value| acknowledged.contains(&value.as_str())).collect();
            assert_eq!(kept, acknowledged, "{broken:?} failed at {operations}: {there:?}");
            assert_eq!(produced(&mut again, "g"), ErrorCode::NONE, "{broken:?} failed at {operations}");
            again.pass(61_000);
            assert_eq!(places(&mut again).0.len(), 1, "{broken:?} failed at {operations}");
        }
    }
}

#[test]
fn what_comes_while_the_directory_gets_its_name_is_written_to_the_new_one_and_a_shutdown_waits_for_it() {
    let mut broker = filled(THREE);
    broker.hold_renames = true;
    alter(&mut broker, "orders", MOVING, "third2");
    let waiting = broker.send_produce(-1, "orders", MOVING, batch(&["d"], ProducerStamp::default()));
    assert_eq!(broker.reply(waiting), None);
    assert_eq!(alter(&mut broker, "orders", MOVING, "left0"), ErrorCode::REPLICA_NOT_AVAILABLE, "it is as good as there");
    broker.input(Input::Shutdown);
    assert!(!broker.stopped);
    broker.hold_renames = false;
    broker.release();
    assert!(broker.reply(waiting).is_some());
    assert!(broker.stopped);
    let mut broker = broker.carry_on(THREE);
    assert_eq!(places(&mut broker), (vec!["third2".to_owned()], vec![]));
    assert_eq!(values(&mut broker), ["a", "b", "c", "d"]);
}

#[test]
fn a_topic_that_is_deleted_takes_its_copy_with_it() {
    for is_renaming in [false, true] {
        let mut broker = filled(if is_renaming { THREE } else { SLOW });
        if !is_renaming {
            fill_up(&mut broker);
        }
        broker.hold_renames = is_renaming;
        alter(&mut broker, "orders", MOVING, "third2");
        let topic = DeleteTopicState { name: Some(TopicName::from("orders")), ..Default::default() };
        broker.call(6, DeleteTopicsRequest { topics: vec![topic], ..Default::default() });
        broker.create_topic("orders", 2, &[]);
        let sequence = broker.send_produce(-1, "orders", MOVING, batch(&["new"], ProducerStamp::default()));
        broker.hold_renames = false;
        broker.release();
        assert!(broker.reply(sequence).is_some());
        broker.pass(61_000);
        assert_eq!(values(&mut broker), ["new"]);
        let mut broker = broker.kill();
        assert_eq!(values(&mut broker), ["new"]);
        assert_eq!(places(&mut broker).1, vec![]);
        let left: usize = [LogDir(0), RIGHT, THIRD].map(|log_dir| directories(&broker, log_dir).len()).iter().sum();
        assert_eq!(left, 2, "the partition that has a record and the metadata log");
    }
}

fn delete_records(broker: &mut TestBroker, offset: i64) -> ErrorCode {
    let partition = DeleteRecordsPartition { partition_index: MOVING, offset: Offset(offset) };
    let topics = vec![DeleteRecordsTopic { name: TopicName::from("orders"), partitions: vec![partition] }];
    let sequence = broker.send(2, DeleteRecordsRequest { topics, timeout_ms: 1000 });
    let Some(Response::DeleteRecords(response)) = broker.reply(sequence) else { panic!("another response") };
    response.topics[0].partitions[0].error_code
}

/// What the partition begins with.
fn first(broker: &mut TestBroker, offset: i64) -> (ErrorCode, Vec<String>) {
    let Response::Fetch(response) = broker.call(12, read_request("orders", offset)) else { panic!("another response") };
    let data = &response.responses[0].partitions[0];
    (data.error_code, values_of(data.records.as_ref()))
}

#[test]
fn a_log_that_begins_inside_a_batch_moves_and_deleted_records_stay_deleted() {
    let mut broker = filled(THREE);
    broker.produce("orders", MOVING, &["d", "e", "f"]);
    assert_eq!(delete_records(&mut broker, 4), ErrorCode::NONE);
    alter(&mut broker, "orders", MOVING, "third2");
    assert_eq!(places(&mut broker), (vec!["third2".to_owned()], vec![]));
    let mut broker = broker.kill();
    assert_eq!(first(&mut broker, 3).0, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(first(&mut broker, 4).1, ["d", "e", "f"], "the batch is whole");
    // All of it.
    assert_eq!(delete_records(&mut broker, -1), ErrorCode::NONE);
    alter(&mut broker, "orders", MOVING, "right1");
    let mut broker = broker.kill();
    assert_eq!(first(&mut broker, 5).0, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(produced(&mut broker, "g"), ErrorCode::NONE);
    assert_eq!(first(&mut broker, 6).1, ["g"]);
}

#[test]
fn records_that_are_deleted_while_they_are_copied_are_gone_in_the_copy_too() {
    let mut broker = filled(SLOW);
    fill_up(&mut broker);
    alter(&mut broker, "orders", MOVING, "third2");
    // Within what was copied, then behind it.
    for start in [2, 41] {
        assert_eq!(delete_records(&mut broker, start), ErrorCode::NONE);
    }
    set_rate(&mut broker, "1000000000");
    broker.pass(1);
    assert_eq!(places(&mut broker), (vec!["third2".to_owned()], vec![]));
    let mut broker = broker.kill();
    assert_eq!(first(&mut broker, 40).0, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(first(&mut broker, 41).1.len(), 2);
}

#[test]
fn while_the_logs_change_places_nothing_is_deleted() {
    let mut broker = filled(THREE);
    broker.hold_renames = true;
    alter(&mut broker, "orders", MOVING, "third2");
    assert_eq!(delete_records(&mut broker, 2), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    broker.hold_renames = false;
    broker.release();
    assert_eq!(delete_records(&mut broker, 2), ErrorCode::NONE);
}

fn marker(broker: &mut TestBroker, producer: i64, is_commit: bool) {
    let topics = vec![WritableTxnMarkerTopic { name: TopicName::from("orders"), partition_indexes: vec![MOVING] }];
    let marker = WritableTxnMarker {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        transaction_result: is_commit,
        topics,
        ..Default::default()
    };
    let sequence = broker.send(1, WriteTxnMarkersRequest { markers: vec![marker] });
    let Some(Response::WriteTxnMarkers(response)) = broker.reply(sequence) else { panic!("not answered") };
    assert_eq!(response.markers[0].topics[0].partitions[0].error_code, ErrorCode::NONE);
}

#[test]
fn a_moved_replica_knows_its_producers_and_what_was_aborted() {
    let mut broker = filled(&[("log.dirs", "left0,right1,third2"), ("transaction.partition.verification.enable", "false")]);
    let stamp = |id, base_sequence| ProducerStamp { id, epoch: 0, base_sequence };
    let retried = |broker: &mut TestBroker| {
        let sent = broker.send_produce(-1, "orders", MOVING, batch(&["once"], stamp(70, 0)));
        let Some(Response::Produce(response)) = broker.reply(sent) else { panic!("not answered") };
        response.responses[0].partition_responses[0].base_offset
    };
    let first_time = retried(&mut broker);
    // Its records go before the move: only what is known of it moves.
    delete_records(&mut broker, -1);
    for (id, is_commit) in [(71, false), (72, true)] {
        let sent = broker.send_transactional(9, "t", "orders", MOVING, transactional(&["t"], stamp(id, 0)));
        let Some(Response::Produce(response)) = broker.reply(sent) else { panic!("not answered") };
        assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::NONE);
        marker(&mut broker, id, is_commit);
    }
    alter(&mut broker, "orders", MOVING, "third2");
    assert_eq!(places(&mut broker).0, ["third2"]);
    for round in 0..2 {
        assert_eq!(retried(&mut broker), first_time, "in round {round}");
        let request = strandline_protocol::messages::fetch::FetchRequest {
            isolation_level: 1,
            ..read_request("orders", first_time.0 + 1)
        };
        let Response::Fetch(response) = broker.call(12, request) else { panic!("another response") };
        let aborted = response.responses[0].partitions[0].aborted_transactions.clone().unwrap_or_default();
        assert_eq!(aborted.iter().map(|one| one.producer_id.0).collect::<Vec<_>>(), [71], "in round {round}");
        broker = broker.kill();
    }
}

#[test]
fn a_compacted_log_moves_as_it_is_and_is_compacted_on() {
    const KEYS: &[(&str, &str)] =
        &[("log.dirs", "left0,right1,third2"), ("log.cleaner.backoff.ms", "1000"), (RATE, "1000000000")];
    let mut broker = TestBroker::on(Disk::default(), KEYS);
    let topic: &[(&str, &str)] =
        &[("cleanup.policy", "compact"), ("segment.bytes", "1048576"), ("min.cleanable.dirty.ratio", "0.01")];
    broker.create_topic("orders", 2, topic);
    let fill = |broker: &mut TestBroker, numbers: std::ops::Range<usize>| {
        for number in numbers {
            let sent = broker.send_produce(-1, "orders", MOVING, keyed(["a", "b", "c"][number % 3], number));
            assert!(broker.reply(sent).is_some());
        }
    };
    let newest = |broker: &mut TestBroker| {
        let (mut next, mut numbers) = (0, Vec::new());
        loop {
            let Response::Fetch(response) = broker.call(12, read_request("orders", next)) else { panic!("another response") };
            let records = response.responses[0].partitions[0].records.clone();
            let bytes = records.clone().map(|records| records.into_bytes()).unwrap_or_default();
            let Some(last) = Batches::strict(&bytes).last() else { return numbers };
            next = last.expect("whole").header.next_offset();
            numbers.extend(values_of(records.as_ref()).iter().map(|value| value.parse::<usize>().expect("a number")));
        }
    };
    fill(&mut broker, 0..50);
    broker.pass(1_000);
    let rounds = broker.node.gauges(0).cleaning.rounds;
    assert!(rounds > 0);
    let kept = newest(&mut broker);
    assert!(!kept.is_empty());
    set_rate(&mut broker, "1");
    alter(&mut broker, "orders", MOVING, "third2");
    fill(&mut broker, 50..80);
    broker.pass(60_000);
    assert_eq!(broker.node.gauges(0).cleaning.rounds, rounds, "a log that moves is not compacted");
    set_rate(&mut broker, "1000000000");
    broker.pass(1);
    assert_eq!(places(&mut broker), (vec!["third2".to_owned()], vec![]));
    let moved = newest(&mut broker);
    assert_eq!(moved, kept.iter().copied().chain(50..80).collect::<Vec<_>>());
    broker.pass(60_000);
    assert!(broker.node.gauges(0).cleaning.rounds > rounds, "it is compacted on");
    let after = newest(&mut broker);
    assert!(after.len() < moved.len());
    assert_eq!(after[after.len() - 3..], [77, 78, 79]);
    let mut broker = broker.kill();
    assert_eq!(newest(&mut broker), after);
}
