//! The client library's transactions and `produce --transactional-id`, against a broker in a process of its own.
#![allow(clippy::unwrap_used)]

mod process;

use std::process::Command;
use std::time::Duration;

use strandline_client::{
    AbortCause, Client, Commit, Consumer, End, GroupMetadata, Isolation, KafkaError, Offset, Outcome, Record, Start,
    TransactionError, TransactionalProducer,
};

use self::process::{Broker, PATIENCE, make_topic};

/// What is in a topic now.
async fn read(client: &Client, topic: &str, isolation: Isolation) -> Vec<String> {
    let mut reader = client.reader(topic).isolation(isolation).until(End::Now).open().await.unwrap();
    let mut values = Vec::new();
    while let Some(record) = reader.next().await.unwrap() {
        values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
    }
    values
}

async fn committed(client: &Client, topic: &str) -> Vec<String> {
    read(client, topic, Isolation::ReadCommitted).await
}

/// Reads again until markers are written.
async fn becomes(client: &Client, topic: &str, expected: &[&str]) {
    let mut values = Vec::new();
    tokio::time::timeout(PATIENCE, async {
        while {
            values = committed(client, topic).await;
            values != expected
        } {}
    })
    .await
    .unwrap_or_else(|_| panic!("{topic} has {values:?} instead of {expected:?}"));
}

async fn producer(client: &Client, id: &str) -> TransactionalProducer {
    client.producer().transactional_id(id).build().await.unwrap()
}

/// A broker whose cluster has this `transaction.version`.
fn start_at_level(name: &str, level: i16) -> Broker {
    let directory = Broker::directory(name);
    let formatted = Command::new(env!("CARGO_BIN_EXE_strandline"))
        .args(["format", "--feature", &format!("transaction.version={level}"), "--data"])
        .arg(&directory)
        .output()
        .unwrap();
    assert!(formatted.status.success(), "{formatted:?}");
    Broker::start_in(directory)
}

async fn ends_as_it_is_told(level: i16) {
    let broker = start_at_level(&format!("ends-{level}"), level);
    let client = broker.client().await;
    make_topic(&client, "a", 3).await;
    make_topic(&client, "b", 1).await;
    let mut producer = producer(&client, "t").await;
    for round in 0..6 {
        let transaction = producer.begin().await.unwrap();
        let mut deliveries = Vec::new();
        for number in 0..10 {
            deliveries.push(transaction.enqueue(Record::to("a").value(format!("{round}:{number}"))).await.unwrap());
        }
        transaction.send(Record::to("b").value(round.to_string())).await.unwrap();
        assert!(!committed(&client, "b").await.contains(&round.to_string()), "it is not committed yet");
        if round % 2 == 0 {
            transaction.commit().await.unwrap()
        } else {
            transaction.abort().await.unwrap()
        }
        for delivery in deliveries {
            assert!(round % 2 == 1 || delivery.await.is_ok(), "only an abort keeps records from being sent");
        }
    }
    becomes(&client, "b", &["0", "2", "4"]).await;
    // Markers of the partitions of the other topic may be written a moment later.
    while committed(&client, "a").await.len() < 30 {}
    assert_eq!(committed(&client, "a").await.len(), 30);
    assert_eq!(read(&client, "b", Isolation::ReadUncommitted).await.len(), 6);
    producer.begin().await.unwrap().commit().await.unwrap();
    producer.close(PATIENCE).await.unwrap();
    let listed = client.admin().list_transactions(&strandline_client::TransactionFilter::default()).await.unwrap();
    assert_eq!((listed[0].transactional_id.as_str(), listed.len()), ("t", 1));
}

#[tokio::test]
async fn transactions_end_as_they_are_told_where_leaders_tell_the_coordinator() {
    ends_as_it_is_told(2).await;
}

#[tokio::test]
async fn transactions_end_as_they_are_told_where_clients_tell_the_coordinator() {
    ends_as_it_is_told(1).await;
    ends_as_it_is_told(0).await;
}

/// Copies what the consumer is given into another topic, each batch in a transaction of its own.
async fn copy(consumer: &mut Consumer, producer: &mut TransactionalProducer, records: usize) {
    let mut copied = 0;
    while copied < records {
        let batch = tokio::time::timeout(PATIENCE, consumer.poll()).await.expect("records come in time").unwrap().unwrap();
        let transaction = producer.begin().await.unwrap();
        for record in batch.records() {
            drop(transaction.enqueue(Record::to("sink").value(record.value.clone().unwrap())).await.unwrap());
        }
        transaction.send_offsets_of(&batch).await.unwrap();
        transaction.commit().await.unwrap();
        copied += batch.records().len();
        batch.ack();
    }
}

async fn commits_offsets_with_its_records(level: i16) {
    let broker = start_at_level(&format!("offsets-{level}"), level);
    let client = broker.client().await;
    make_topic(&client, "source", 1).await;
    make_topic(&client, "sink", 1).await;
    let plain = client.producer().build().unwrap();
    for number in 0..20 {
        plain.send(Record::to("source").value(number.to_string())).await.unwrap();
    }
    let builder = client.consumer("g").topics(["source"]).start(Start::Beginning).commit(Commit::Manual);
    let mut consumer = builder.clone().build().await.unwrap();
    let mut producer = producer(&client, "t").await;

    // What is aborted has not moved the group, and comes again.
    let batch = consumer.poll().await.unwrap().unwrap();
    let transaction = producer.begin().await.unwrap();
    transaction.send(Record::to("sink").value("aborted")).await.unwrap();
    transaction.send_offsets_of(&batch).await.unwrap();
    transaction.abort().await.unwrap();
    batch.rewind();
    let partition = ("source".to_owned(), 0);
    assert!(consumer.committed([partition.clone()]).await.unwrap().is_empty());

    copy(&mut consumer, &mut producer, 20).await;
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    becomes(&client, "sink", &expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(consumer.committed([partition.clone()]).await.unwrap()[&partition].offset, Offset(20));
    consumer.close(PATIENCE).await;

    // Whoever has no member commits too, while the group has none.
    let transaction = producer.begin().await.unwrap();
    let offset = strandline_client::CommittedOffset::at(Offset(7));
    transaction.send_offsets(&GroupMetadata::of_group("g"), [(partition.clone(), offset)]).await.unwrap();
    transaction.commit().await.unwrap();
    let mut again = builder.build().await.unwrap();
    let batch = again.poll().await.unwrap().unwrap();
    assert_eq!(batch.records()[0].offset, Offset(7));
}

#[tokio::test]
async fn offsets_are_committed_with_the_records_or_not_at_all() {
    commits_offsets_with_its_records(2).await;
    commits_offsets_with_its_records(1).await;
}

#[tokio::test]
async fn a_member_that_is_out_of_its_group_commits_no_offsets() {
    let broker = Broker::start("stale");
    let client = broker.client().await;
    make_topic(&client, "source", 1).await;
    make_topic(&client, "sink", 1).await;
    client.producer().build().unwrap().send(Record::to("source").value("1")).await.unwrap();
    let builder = client.consumer("g").topics(["source"]).start(Start::Beginning).commit(Commit::Manual);
    let mut consumer = builder.poll_interval_max(Duration::from_secs(1)).build().await.unwrap();
    let mut producer = producer(&client, "t").await;
    let batch = consumer.poll().await.unwrap().unwrap();
    let metadata = consumer.group_metadata().unwrap();
    while !consumer.assignment().is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let transaction = producer.begin().await.unwrap();
    transaction.send(Record::to("sink").value("late")).await.unwrap();
    let error = transaction.send_offsets_of(&batch).await.unwrap_err();
    assert!(matches!(error, TransactionError::Abortable { cause: AbortCause::LostPartition { .. } }), "{error}");
    let error = transaction.commit().await.unwrap_err();
    assert!(matches!(error, TransactionError::Aborted { .. }) && error.is_retriable(), "{error}");

    // Its word alone does not count either.
    let transaction = producer.begin().await.unwrap();
    let offset = strandline_client::CommittedOffset::at(batch.next_offset());
    let error = transaction.send_offsets(&metadata, [(("source".to_owned(), 0), offset)]).await.unwrap_err();
    assert!(matches!(error, TransactionError::Abortable { cause: AbortCause::Offsets { .. } }), "{error}");
    assert!(error.requires_abort() && !error.is_fatal());
    transaction.abort().await.unwrap();
    assert!(committed(&client, "sink").await.is_empty());
    assert!(client.admin().group_offsets("g").await.unwrap().is_empty());
}

async fn fences_the_one_before(level: i16) {
    let broker = start_at_level(&format!("fenced-{level}"), level);
    let client = broker.client().await;
    make_topic(&client, "a", 1).await;
    let mut first = producer(&client, "t").await;
    let transaction = first.begin().await.unwrap();
    transaction.send(Record::to("a").value("fenced")).await.unwrap();
    let mut second = producer(&client, "t").await;
    let error = transaction.commit().await.unwrap_err();
    assert!(matches!(error, TransactionError::Fenced { .. }), "{error}");
    assert!(error.is_fatal() && !error.is_retriable() && !error.requires_abort());
    assert!(matches!(first.begin().await.unwrap_err(), TransactionError::Fenced { .. }));
    let transaction = second.begin().await.unwrap();
    transaction.send(Record::to("a").value("after")).await.unwrap();
    transaction.commit().await.unwrap();
    becomes(&client, "a", &["after"]).await;

    // A producer that is fenced while it has nothing open hears of it with its next record.
    let mut third = producer(&client, "t").await;
    let transaction = second.begin().await.unwrap();
    let failed = transaction.send(Record::to("a").value("late")).await.unwrap_err();
    let error = transaction.commit().await.unwrap_err();
    assert!(failed.is_fatal() || failed.requires_abort(), "{failed}");
    assert!(matches!(error, TransactionError::Fenced { .. }), "{error}");
    third.begin().await.unwrap().commit().await.unwrap();
    becomes(&client, "a", &["after"]).await;
}

#[tokio::test]
async fn a_newer_producer_fences_the_one_before() {
    fences_the_one_before(2).await;
    fences_the_one_before(1).await;
}

#[tokio::test]
async fn one_record_that_cannot_be_produced_dooms_the_transaction_and_not_the_producer() {
    for level in [2, 1] {
        let broker = start_at_level(&format!("doomed-{level}"), level);
        let client = broker.client().await;
        make_topic(&client, "a", 1).await;
        let mut producer = producer(&client, "t").await;
        let transaction = producer.begin().await.unwrap();
        transaction.send(Record::to("a").value("before")).await.unwrap();
        let failed = transaction.send(Record::to("a").value("x".repeat(2 << 20))).await.unwrap_err();
        assert!(failed.requires_abort() && !failed.is_fatal(), "{failed}");
        let after = transaction.send(Record::to("a").value("after")).await.unwrap_err();
        assert!(after.requires_abort(), "{after}");
        let error = transaction.commit().await.unwrap_err();
        assert!(matches!(error, TransactionError::Aborted { cause: AbortCause::Record(_) }), "{error}");
        let transaction = producer.begin().await.unwrap();
        transaction.send(Record::to("a").value("again")).await.unwrap();
        transaction.commit().await.unwrap();
        becomes(&client, "a", &["again"]).await;
    }
}

#[tokio::test]
async fn a_transaction_that_is_let_go_is_aborted() {
    let broker = Broker::start("let-go");
    let client = broker.client().await;
    make_topic(&client, "a", 1).await;
    let mut dropping = producer(&client, "t").await;
    let transaction = dropping.begin().await.unwrap();
    transaction.send(Record::to("a").value("dropped")).await.unwrap();
    drop(transaction);
    assert_eq!(dropping.settle().await.unwrap(), Some(Outcome::Aborted));
    assert_eq!(dropping.settle().await.unwrap(), None);
    let transaction = dropping.begin().await.unwrap();
    transaction.send(Record::to("a").value("kept")).await.unwrap();
    transaction.commit().await.unwrap();
    becomes(&client, "a", &["kept"]).await;
}

async fn is_aborted_when_its_time_is_over(level: i16) {
    let broker = start_at_level(&format!("slow-{level}"), level);
    let client = broker.client().await;
    make_topic(&client, "a", 1).await;
    let slow = client.producer().transactional_id("slow").transaction_timeout(Duration::from_millis(500));
    let mut slow = slow.build().await.unwrap();
    let transaction = slow.begin().await.unwrap();
    transaction.send(Record::to("a").value("slow")).await.unwrap();
    while client.admin().describe_transactions(&["slow".to_owned()]).await.remove(0).1.unwrap().state != "CompleteAbort" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = transaction.commit().await.unwrap_err();
    if level < 2 {
        // The epoch before cannot be told from that of a producer that was fenced.
        assert!(matches!(error, TransactionError::Fenced { .. }), "{error}");
        return assert!(committed(&client, "a").await.is_empty());
    }
    assert!(matches!(error, TransactionError::Aborted { .. }), "{error}");
    let transaction = slow.begin().await.unwrap();
    transaction.send(Record::to("a").value("quick")).await.unwrap();
    transaction.commit().await.unwrap();
    becomes(&client, "a", &["quick"]).await;
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_aborted() {
    is_aborted_when_its_time_is_over(2).await;
    is_aborted_when_its_time_is_over(1).await;
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let broker = Broker::start("refused");
    let client = broker.client().await;
    let refused = |error: TransactionError| matches!(error, TransactionError::InvalidSetting { .. });
    assert!(refused(client.producer().transactional_id("").build().await.unwrap_err()));
    assert!(refused(client.producer().idempotent(false).transactional_id("t").build().await.unwrap_err()));
    let hours = client.producer().transactional_id("t").transaction_timeout(Duration::from_secs(3600 * 24));
    let error = hours.build().await.unwrap_err();
    assert!(matches!(error, TransactionError::Refused { .. }) && error.is_fatal(), "{error}");
}

/// The broker dies again and again, at any point of a transaction.
#[tokio::test]
async fn transactions_survive_a_broker_that_is_killed() {
    for level in [2, 1] {
        let mut broker = start_at_level(&format!("killed-{level}"), level);
        let client = broker.client().await;
        make_topic(&client, "a", 2).await;
        let mut producer = producer(&client, "t").await;
        let mut expected = Vec::new();
        let working = tokio::spawn(async move {
            for number in 0..40 {
                loop {
                    let transaction = producer.begin().await.unwrap();
                    for half in 0..2 {
                        // One that is lost dooms the transaction, and `commit` says so.
                        drop(transaction.enqueue(Record::to("a").partition(half).value(number.to_string())).await);
                    }
                    match transaction.commit().await {
                        Ok(()) => break,
                        Err(TransactionError::Aborted { .. }) => {}
                        Err(TransactionError::Unsettled { .. }) => {
                            if producer.settle().await.unwrap() == Some(Outcome::Committed) {
                                break;
                            }
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        while !working.is_finished() {
            tokio::time::sleep(Duration::from_millis(150)).await;
            broker.kill();
            broker.start_again();
        }
        working.await.unwrap();
        for number in 0..40 {
            expected.extend([number.to_string(), number.to_string()]);
        }
        let mut values = Vec::new();
        tokio::time::timeout(PATIENCE, async {
            while values.len() < expected.len() {
                values = committed(&client, "a").await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{values:?}"));
        values.sort_by_key(|value| value.parse::<i32>().unwrap());
        assert_eq!(values, expected);
    }
}

#[tokio::test]
async fn a_file_is_produced_in_one_transaction_from_the_command_line() {
    let broker = Broker::start("command");
    let client = broker.client().await;
    make_topic(&client, "a", 2).await;
    let file = std::env::temp_dir().join(format!("strandline-lines-{}", std::process::id()));
    std::fs::write(&file, "1\n2\n3\n").unwrap();
    let path = file.to_str().unwrap();
    let produced = broker.json(&["produce", "a", "--file", path, "--transactional-id", "files"]).await;
    assert_eq!(produced["records"], 3);
    let mut values = Vec::new();
    tokio::time::timeout(PATIENCE, async {
        while values != ["1", "2", "3"] {
            values = committed(&client, "a").await;
            values.sort();
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{values:?}"));

    // A line without the separator is no record, and without it the others are not there.
    std::fs::write(&file, "a:4\n5\n").unwrap();
    let refused = broker.run(&["produce", "a", "--file", path, "--transactional-id", "files", "-k", ":"]).await;
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert_eq!(committed(&client, "a").await.len(), 3);
    let acks = broker.run(&["produce", "a", "--file", path, "--transactional-id", "files", "--acks", "1"]).await;
    assert_eq!(acks.status.code(), Some(2));
    std::fs::remove_file(file).unwrap();
}
