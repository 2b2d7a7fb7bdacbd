//! The client library's share consumers and `consume --share-group`, against a broker in a process of its own.
#![allow(clippy::unwrap_used)]

mod process;

use std::collections::BTreeSet;
use std::time::Duration;

use strandline_client::{Acknowledge, Change, Client, ConfigResource, Record, ShareBatch, ShareConsumer, ShareConsumerBuilder};

use self::process::{Broker, PATIENCE, make_topic};

async fn produce(client: &Client, topic: &str, partitions: i32, values: std::ops::Range<i32>) {
    let producer = client.producer().build().unwrap();
    for value in values {
        producer.send(Record::to(topic).partition(value % partitions).value(value.to_string())).await.unwrap();
    }
    producer.close(PATIENCE).await.unwrap();
}

/// A group that begins at the beginning.
async fn members(client: &Client, group: &str) -> ShareConsumerBuilder {
    let changes = vec![("share.auto.offset.reset".to_owned(), Change::Set("earliest".to_owned()))];
    let altered = client.admin().alter_configs([(ConfigResource::Group(group.to_owned()), changes)]).await.unwrap();
    assert!(altered.iter().all(|(_, result)| result.is_ok()), "{altered:?}");
    client.share_consumer(group).topics(["jobs"]).wait_for(Duration::from_millis(100))
}

async fn poll(consumer: &mut ShareConsumer) -> ShareBatch {
    tokio::time::timeout(PATIENCE, consumer.poll()).await.expect("records come in time").unwrap().unwrap()
}

fn value(batch: &ShareBatch, index: usize) -> i32 {
    std::str::from_utf8(batch.records()[index].record.value.as_deref().unwrap()).unwrap().parse().unwrap()
}

/// Accepts until so many values have come.
async fn take(consumer: &mut ShareConsumer, count: usize) -> BTreeSet<i32> {
    let mut values = BTreeSet::new();
    while values.len() < count {
        let batch = poll(consumer).await;
        for index in 0..batch.records().len() {
            assert!(values.insert(value(&batch, index)), "{} came twice", value(&batch, index));
        }
        batch.accept();
    }
    assert!(consumer.commit().await.values().all(Result::is_ok));
    values
}

#[tokio::test]
async fn two_members_share_the_records_of_one_partition() {
    let broker = Broker::start("share-two");
    let client = broker.client().await;
    make_topic(&client, "jobs", 1).await;
    produce(&client, "jobs", 1, 0..200).await;
    let builder = members(&client, "workers").await.records_max(10);
    let (mut one, mut two) = (builder.clone().build().unwrap(), builder.build().unwrap());
    let (mut of_one, mut of_two) = (BTreeSet::new(), BTreeSet::new());
    while of_one.len() + of_two.len() < 200 {
        let (consumer, values) = if of_one.len() <= of_two.len() { (&mut one, &mut of_one) } else { (&mut two, &mut of_two) };
        let batch = poll(consumer).await;
        values.extend((0..batch.records().len()).map(|index| value(&batch, index)));
        batch.accept();
    }
    assert!(of_one.is_disjoint(&of_two) && of_one.len() >= 50 && of_two.len() >= 50);
    assert!(one.commit().await.values().chain(two.commit().await.values()).all(Result::is_ok));
    one.close(PATIENCE).await;
    // Nothing is left, and what comes next is taken by who is left.
    produce(&client, "jobs", 1, 200..205).await;
    assert_eq!(take(&mut two, 5).await, (200..205).collect());
    two.close(PATIENCE).await;
}

#[tokio::test]
async fn a_record_is_released_rejected_or_let_go_of() {
    let broker = Broker::start("share-words");
    let client = broker.client().await;
    make_topic(&client, "jobs", 1).await;
    produce(&client, "jobs", 1, 0..4).await;
    let mut consumer = members(&client, "workers").await.build().unwrap();
    let mut batch = poll(&mut consumer).await;
    assert_eq!(batch.records().len(), 4);
    assert!(batch.records().iter().all(|one| one.delivery_count == 1));
    batch.acknowledge(0, Acknowledge::Accept);
    batch.acknowledge(1, Acknowledge::Release);
    batch.acknowledge(2, Acknowledge::Reject);
    drop(batch);
    assert!(consumer.commit().await.values().all(Result::is_ok));
    let mut again = Vec::new();
    while again.len() < 2 {
        let batch = poll(&mut consumer).await;
        again.extend((0..batch.records().len()).map(|index| (value(&batch, index), batch.records()[index].delivery_count)));
        batch.accept();
    }
    again.sort_unstable();
    assert_eq!(again, [(1, 2), (3, 2)], "what was released and what was let go of");
    consumer.close(PATIENCE).await;
}

#[tokio::test]
async fn a_lock_that_is_renewed_holds_and_one_that_runs_out_does_not() {
    let settings = &["group.share.record.lock.duration.ms=1500", "group.share.min.record.lock.duration.ms=1000"];
    let broker = Broker::start_with(Broker::directory("share-locks"), settings);
    let client = broker.client().await;
    make_topic(&client, "jobs", 1).await;
    produce(&client, "jobs", 1, 0..1).await;
    let builder = members(&client, "workers").await;
    let (mut one, mut two) = (builder.clone().build().unwrap(), builder.build().unwrap());
    let held = poll(&mut one).await;
    for _ in 0..4 {
        assert!(tokio::time::timeout(Duration::from_millis(700), two.poll()).await.is_err(), "it is locked");
        one.renew(&held).await.unwrap();
    }
    let taken = poll(&mut two).await;
    assert_eq!(taken.records()[0].delivery_count, 2);
    held.accept();
    assert!(one.commit().await.values().all(Result::is_err), "its lock has run out");
    taken.accept();
    assert!(two.commit().await.values().all(Result::is_ok));
}

#[tokio::test]
async fn what_was_accepted_stays_so_when_the_broker_is_killed() {
    let mut broker = Broker::start("share-kill");
    let client = broker.client().await;
    make_topic(&client, "jobs", 2).await;
    produce(&client, "jobs", 2, 0..40).await;
    let mut consumer = members(&client, "workers").await.records_max(5).build().unwrap();
    let before = take(&mut consumer, 20).await;
    broker.kill();
    broker.start_again();
    let mut after = BTreeSet::new();
    while before.union(&after).count() < 40 {
        let batch = poll(&mut consumer).await;
        after.extend((0..batch.records().len()).map(|index| value(&batch, index)));
        batch.accept();
    }
    assert!(before.is_disjoint(&after), "what was accepted came again");
    consumer.close(PATIENCE).await;
}

#[tokio::test]
async fn a_share_group_is_consumed_from_the_command_line() {
    let broker = Broker::start("share-command");
    let client = broker.client().await;
    make_topic(&client, "jobs", 1).await;
    produce(&client, "jobs", 1, 0..10).await;
    drop(members(&client, "workers").await);
    let lines = |output: std::process::Output| {
        assert!(output.status.success(), "{output:?}");
        output.stdout.iter().filter(|byte| **byte == b'\n').count()
    };
    assert_eq!(lines(broker.run(&["consume", "jobs", "--share-group", "workers", "-n", "4"]).await), 4);
    assert_eq!(lines(broker.run(&["consume", "jobs", "--share-group", "workers"]).await), 6);
    assert_eq!(lines(broker.run(&["consume", "jobs", "--share-group", "workers"]).await), 0);
    let listed = broker.json(&["group", "list"]).await;
    assert_eq!(listed[0]["group"], "workers", "{listed}");
}
