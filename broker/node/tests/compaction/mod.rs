//! Compaction as a broker runs it: by the clock, in steps, beside everything else.

use strandline_log::disk::{FilePath, Files};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;
use strandline_protocol::messages::delete_topics::DeleteTopicsRequest;
use strandline_protocol::records::Batches;

use crate::harness::{Disk, TestBroker, keyed, values_of};

const QUICK: (&str, &str) = ("log.cleaner.backoff.ms", "1000");
const TOPIC: &[(&str, &str)] =
    &[("cleanup.policy", "compact"), ("segment.bytes", "1048576"), ("min.cleanable.dirty.ratio", "0.01")];

const RECORDS: usize = 50;

fn filled(configs: &[(&str, &str)]) -> TestBroker {
    let mut broker = TestBroker::on(Disk::default(), configs);
    assert_eq!(broker.create_topic("table", 1, TOPIC).error_code, ErrorCode::NONE);
    for number in 0..RECORDS {
        let sent = broker.send_produce(-1, "table", 0, keyed(["a", "b", "c"][number % 3], number));
        assert!(broker.reply(sent).is_some());
    }
    broker
}

/// The numbers of all values, oldest first.
fn numbers(broker: &mut TestBroker) -> Vec<usize> {
    let (mut next, mut numbers) = (0, Vec::new());
    while next < RECORDS as i64 {
        let Response::Fetch(response) = broker.call(12, TestBroker::fetch_request("table", 0, next)) else {
            panic!("another response")
        };
        let records = response.responses[0].partitions[0].records.clone();
        let bytes = records.clone().map(|records| records.into_bytes()).unwrap_or_default();
        next = Batches::strict(&bytes).last().expect("something").expect("whole").header.next_offset();
        numbers.extend(values_of(records.as_ref()).iter().map(|value| value.parse::<usize>().expect("a number")));
    }
    numbers
}

#[test]
fn a_dirty_log_is_compacted_when_a_cleaner_looks_for_one() {
    let mut broker = filled(&[QUICK]);
    assert_eq!(broker.node.gauges(0).cleaning.rounds, 0);
    broker.pass(1_000);
    let gauges = broker.node.gauges(0);
    assert_eq!((gauges.cleaning.rounds, gauges.cleaning_set_aside), (1, 0));
    assert!(gauges.cleaning.bytes_after < gauges.cleaning.bytes_before / 3);
    let kept = numbers(&mut broker);
    assert!(kept.len() < 15, "{kept:?}");
    assert_eq!(kept[kept.len() - 3..], [47, 48, 49], "the newest are there");
    let checkpoint = broker.disk.read(&FilePath::top("cleaner-offset-checkpoint"), 0, 100).expect("it was written");
    assert_eq!(checkpoint, "0\n1\ntable 0 40\n");
    let mut broker = broker.kill();
    assert_eq!(numbers(&mut broker), kept);
    let mut broker = broker.restart();
    assert_eq!(numbers(&mut broker), kept);
    broker.pass(60_000);
    assert_eq!(broker.node.gauges(0).cleaning.rounds, 0, "the checkpoint says that nothing is dirty");
}

#[test]
fn old_files_are_gone_after_a_while() {
    let mut broker = filled(&[QUICK]);
    broker.pass(1_000);
    broker.pass(60_000);
    let names: Vec<String> =
        broker.disk.list(&FilePath::top("table-0")).expect("it is there").into_iter().map(|entry| entry.name).collect();
    assert!(names.iter().all(|name| !name.ends_with(".swap")), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.ends_with(".log")).count(), 3);
}

#[test]
fn the_bandwidth_of_the_cleaner_is_kept() {
    let mut broker = filled(&[QUICK, ("log.cleaner.io.max.bytes.per.second", "1000000")]);
    broker.pass(1_000);
    assert_eq!(broker.node.gauges(0).cleaning.rounds, 0);
    let mut waited = 0;
    while broker.node.gauges(0).cleaning.rounds == 0 {
        broker.pass(100);
        waited += 1;
    }
    // Two segments of one megabyte are read twice, and fifty kilobytes a key are written.
    assert!((38..60).contains(&waited), "{waited}");
}

#[test]
fn a_topic_that_is_deleted_ends_its_round() {
    let mut broker = filled(&[QUICK, ("log.cleaner.io.max.bytes.per.second", "1000000")]);
    broker.pass(1_000);
    let is_writing = |broker: &TestBroker| {
        let names = broker.disk.list(&FilePath::top("table-0")).expect("it is there");
        names.iter().any(|entry| entry.name.ends_with(".cleaned"))
    };
    let waited = (0..60)
        .take_while(|_| {
            !is_writing(&broker) && {
                broker.pass(100);
                true
            }
        })
        .count();
    assert!(waited < 60, "the round gets into the middle of it");
    let topic_names = vec![TopicName::from("table")];
    let Response::DeleteTopics(response) =
        broker.call(5, DeleteTopicsRequest { topic_names, timeout_ms: 1_000, ..Default::default() })
    else {
        panic!("another response")
    };
    assert_eq!(response.responses[0].error_code, ErrorCode::NONE);
    (0..20).for_each(|_| broker.pass(5_000));
    assert!(broker.disk.list(&FilePath::top("table-0")).is_err());
    assert_eq!(broker.create_topic("table", 1, TOPIC).error_code, ErrorCode::NONE);
    assert_eq!(broker.node.gauges(0).cleaning.rounds, 0);
}

#[test]
fn the_keys_of_the_cleaner_count_at_once() {
    let mut broker = filled(&[("log.cleaner.backoff.ms", "3600000"), ("log.cleaner.io.max.bytes.per.second", "1")]);
    broker.pass(60_000);
    assert_eq!(broker.node.gauges(0).cleaning.rounds, 0, "nobody has looked yet");
    assert_eq!(broker.configure(4, "", "log.cleaner.backoff.ms", Some("1000")), ErrorCode::NONE);
    broker.pass(60_000);
    assert_eq!(broker.node.gauges(0).cleaning.rounds, 0, "it has begun, and waits for days");
    assert_eq!(broker.configure(4, "1", "log.cleaner.io.max.bytes.per.second", Some("1000000000")), ErrorCode::NONE);
    broker.pass(1_000);
    assert_eq!(broker.node.gauges(0).cleaning.rounds, 1);
    for (threads, expected) in [("3", ErrorCode::INVALID_REQUEST), ("0", ErrorCode::INVALID_REQUEST), ("2", ErrorCode::NONE)] {
        assert_eq!(broker.configure(4, "1", "log.cleaner.threads", Some(threads)), expected, "{threads}");
    }
    assert_eq!(broker.configure(4, "1", "log.cleaner.enable", Some("false")), ErrorCode::INVALID_CONFIG);
    let mut broker = broker.restart();
    broker.pass(3_000);
    assert_eq!(broker.configure(4, "1", "log.cleaner.threads", Some("4")), ErrorCode::NONE, "two are in force");
}

#[test]
fn a_record_cannot_have_to_be_compacted_before_it_may() {
    const LEAST: &str = "min.compaction.lag.ms";
    const MOST: &str = "max.compaction.lag.ms";
    let mut broker = TestBroker::new();
    let refused = [(LEAST, "10"), (MOST, "9")];
    assert_eq!(broker.create_topic("table", 1, &refused).error_code, ErrorCode::INVALID_CONFIG);
    assert_eq!(broker.create_topic("table", 1, &[(MOST, "10")]).error_code, ErrorCode::NONE);
    assert_eq!(broker.configure(2, "table", LEAST, Some("11")), ErrorCode::INVALID_CONFIG);
    assert_eq!(broker.configure(2, "table", LEAST, Some("10")), ErrorCode::NONE);
    assert_eq!(broker.configure(2, "table", MOST, Some("9")), ErrorCode::INVALID_CONFIG);
    assert_eq!(
        broker.configure(4, "", "log.cleaner.max.compaction.lag.ms", Some("5")),
        ErrorCode::NONE,
        "the topic has its own"
    );
    assert_eq!(broker.configure(2, "table", MOST, None), ErrorCode::INVALID_CONFIG, "then 5 would hold");
    assert_eq!(broker.configure(4, "", "log.cleaner.min.compaction.lag.ms", Some("6")), ErrorCode::INVALID_CONFIG);
    assert_eq!(broker.create_topic("more", 1, &[(LEAST, "6")]).error_code, ErrorCode::INVALID_CONFIG);
    assert_eq!(broker.configure(2, "table", "retention.ms", Some("6")), ErrorCode::NONE, "other keys are free");
}
