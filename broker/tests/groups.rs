//! The client library's consumers and the group commands, against a broker in a process of its own.
#![allow(clippy::unwrap_used)]

mod process;

use std::collections::BTreeSet;
use std::time::Duration;

use strandline_client::{
    Assignor, Client, Commit, CommittedOffset, ConsumeError, Consumer, ErrorCode, GroupProtocol, KafkaError, Offset, Record,
    Start,
};

use self::process::{Broker, PATIENCE, make_topic};

async fn produce(client: &Client, topic: &str, partitions: i32, values: std::ops::Range<i32>) {
    let producer = client.producer().build().unwrap();
    for value in values {
        producer.send(Record::to(topic).partition(value % partitions).value(value.to_string())).await.unwrap();
    }
    producer.close(PATIENCE).await.unwrap();
}

/// Polls until so many values have come, acknowledging all.
async fn take(consumer: &mut Consumer, count: usize) -> BTreeSet<i32> {
    let mut values = BTreeSet::new();
    while values.len() < count {
        let polled = tokio::time::timeout(PATIENCE, consumer.poll()).await.expect("records come in time");
        let batch = polled.unwrap().unwrap();
        for record in batch.records() {
            let value = std::str::from_utf8(record.value.as_deref().unwrap()).unwrap();
            assert!(values.insert(value.parse().unwrap()), "{value} came twice");
        }
        batch.ack();
    }
    values
}

/// Waits until the members have so many partitions each, polling both.
async fn settle(members: &mut [&mut Consumer], each: usize) {
    tokio::time::timeout(PATIENCE, async {
        while members.iter().any(|member| member.assignment().len() != each) {
            for member in &mut *members {
                if let Ok(polled) = tokio::time::timeout(Duration::from_millis(50), member.poll()).await {
                    polled.unwrap().unwrap().ack();
                }
            }
        }
    })
    .await
    .expect("the group settles in time");
}

async fn shares_and_goes_on(name: &str, protocol: GroupProtocol, assignor: Assignor) {
    let broker = Broker::start(name);
    let client = broker.client().await;
    make_topic(&client, "orders", 4).await;
    produce(&client, "orders", 4, 0..100).await;
    let builder = client.consumer("g").topics(["orders"]).start(Start::Beginning).protocol(protocol).assignors([assignor]);
    let builder = builder.heartbeat_interval(Duration::from_millis(200));
    let mut first = builder.clone().build().await.unwrap();
    assert_eq!(take(&mut first, 100).await.len(), 100);
    first.commit().await.unwrap();

    let mut second = builder.clone().build().await.unwrap();
    settle(&mut [&mut first, &mut second], 2).await;
    assert!(first.assignment().is_disjoint(&second.assignment()));
    produce(&client, "orders", 4, 100..200).await;
    let of_first = take(&mut first, 50).await;
    let of_second = take(&mut second, 50).await;
    assert!(of_first.is_disjoint(&of_second));

    // Whoever stays has everything, and nothing that was acknowledged comes again.
    second.close(PATIENCE).await;
    settle(&mut [&mut first], 4).await;
    produce(&client, "orders", 4, 200..240).await;
    assert_eq!(take(&mut first, 40).await, (200..240).collect());
    assert!(first.lag().await.unwrap().values().all(|lag| *lag == 0));
    first.close(PATIENCE).await;

    let offsets = client.admin().group_offsets("g").await.unwrap();
    assert_eq!(offsets.values().map(|committed| committed.offset.0).sum::<i64>(), 240);
    let described = client.admin().describe_groups(["g"]).await.remove(0).1.unwrap();
    assert_eq!((described.state.as_str(), described.members.len()), ("Empty", 0));
}

#[tokio::test]
async fn eager_members_share_a_topic_and_go_on_where_they_were() {
    shares_and_goes_on("eager", GroupProtocol::Classic, Assignor::Range).await;
}

#[tokio::test]
async fn cooperative_members_share_a_topic_and_go_on_where_they_were() {
    shares_and_goes_on("cooperative", GroupProtocol::Classic, Assignor::CooperativeSticky).await;
}

#[tokio::test]
async fn members_of_the_consumer_protocol_share_a_topic_and_go_on_where_they_were() {
    shares_and_goes_on("consumer", GroupProtocol::Consumer, Assignor::Range).await;
}

#[tokio::test]
async fn a_pattern_finds_topics_that_come_later() {
    let broker = Broker::start("pattern");
    let client = broker.client().await;
    make_topic(&client, "orders-a", 1).await;
    produce(&client, "orders-a", 1, 0..5).await;
    let mut consumer = client.consumer("g").pattern("orders-.*").start(Start::Beginning).build().await.unwrap();
    assert_eq!(take(&mut consumer, 5).await.len(), 5);
    make_topic(&client, "orders-b", 1).await;
    make_topic(&client, "others", 1).await;
    produce(&client, "orders-b", 1, 5..10).await;
    assert_eq!(take(&mut consumer, 5).await, (5..10).collect());
    assert_eq!(consumer.assignment().len(), 2);
    consumer.close(PATIENCE).await;
}

#[tokio::test]
async fn a_rebalance_waits_for_a_batch_and_what_was_acknowledged_is_committed() {
    let broker = Broker::start("lease");
    let client = broker.client().await;
    make_topic(&client, "orders", 1).await;
    produce(&client, "orders", 1, 0..10).await;
    let builder =
        client.consumer("g").topics(["orders"]).start(Start::Beginning).commit(Commit::OnAck(Duration::from_secs(3600)));
    let builder = builder.protocol(GroupProtocol::Classic).heartbeat_interval(Duration::from_millis(100));
    let mut first = builder.clone().build().await.unwrap();
    let batch = first.poll().await.unwrap().unwrap();
    let mut second = builder.build().await.unwrap();
    // Whichever of them has the partition afterwards, nobody has it while the batch is held.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(second.assignment().is_empty());
    batch.ack();
    produce(&client, "orders", 1, 10..20).await;
    let came = tokio::select! {
        came = take(&mut first, 10) => came,
        came = take(&mut second, 10) => came,
    };
    assert_eq!(came, (10..20).collect());
}

#[tokio::test]
async fn a_member_seeks_pauses_and_rewinds() {
    let broker = Broker::start("seek");
    let client = broker.client().await;
    make_topic(&client, "orders", 1).await;
    produce(&client, "orders", 1, 0..10).await;
    let partition = ("orders".to_owned(), 0);
    let mut consumer = client.consumer("g").topics(["orders"]).start(Start::Beginning).build().await.unwrap();
    assert_eq!(consumer.seek(&partition, Offset(0)).unwrap_err().kind(), strandline_client::Kind::NotFound);
    assert_eq!(take(&mut consumer, 10).await.len(), 10);
    assert_eq!(consumer.position(&partition).unwrap(), Offset(10));
    consumer.seek(&partition, Offset(7)).unwrap();
    let batch = consumer.poll().await.unwrap().unwrap();
    assert_eq!(batch.records()[0].offset, Offset(7));
    batch.rewind();
    assert_eq!(take(&mut consumer, 3).await, (7..10).collect());
    consumer.pause(&partition).unwrap();
    produce(&client, "orders", 1, 10..12).await;
    assert!(tokio::time::timeout(Duration::from_millis(700), consumer.poll()).await.is_err());
    consumer.resume(&partition).unwrap();
    assert_eq!(take(&mut consumer, 2).await, (10..12).collect());
    consumer.commit().await.unwrap();
    assert_eq!(consumer.committed([partition.clone()]).await.unwrap()[&partition].offset, Offset(12));
    let stopper = consumer.stopper();
    stopper.stop();
    assert!(consumer.poll().await.unwrap().is_none());
    consumer.close(PATIENCE).await;
}

#[tokio::test]
async fn a_member_that_does_not_poll_is_out_is_told_so_once_and_comes_back() {
    let broker = Broker::start("overdue");
    let client = broker.client().await;
    make_topic(&client, "orders", 1).await;
    produce(&client, "orders", 1, 0..10).await;
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let builder = client.consumer(format!("{protocol:?}")).topics(["orders"]).start(Start::Beginning).protocol(protocol);
        let builder = builder.heartbeat_interval(Duration::from_millis(100)).poll_interval_max(Duration::from_secs(1));
        let mut consumer = builder.build().await.unwrap();
        let batch = consumer.poll().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(consumer.assignment().is_empty());
        let error = consumer.poll().await.unwrap_err();
        assert!(matches!(error, ConsumeError::PollIntervalExceeded { .. }), "{error}");
        batch.ack();
        assert_eq!(take(&mut consumer, 10).await, (0..10).collect(), "what was acknowledged too late is not committed");
        consumer.close(PATIENCE).await;
    }
}

#[tokio::test]
async fn members_of_both_protocols_survive_a_broker_that_is_killed() {
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let mut broker = Broker::start(&format!("kill-{protocol:?}"));
        let client = broker.client().await;
        make_topic(&client, "orders", 2).await;
        produce(&client, "orders", 2, 0..20).await;
        let builder = client.consumer("g").topics(["orders"]).start(Start::Beginning).protocol(protocol);
        let mut consumer = builder.heartbeat_interval(Duration::from_millis(200)).build().await.unwrap();
        take(&mut consumer, 20).await;
        consumer.commit().await.unwrap();
        broker.kill();
        broker.start_again();
        produce(&client, "orders", 2, 20..40).await;
        assert_eq!(take(&mut consumer, 20).await, (20..40).collect());
        consumer.close(PATIENCE).await;
        let offsets = client.admin().group_offsets("g").await.unwrap();
        assert_eq!(offsets.values().map(|committed| committed.offset.0).sum::<i64>(), 40);
    }
}

#[tokio::test]
async fn groups_are_listed_described_reset_and_deleted_from_the_command_line() {
    let broker = Broker::start("commands");
    let client = broker.client().await;
    make_topic(&client, "orders", 2).await;
    produce(&client, "orders", 2, 0..20).await;
    let consumed = broker.run(&["consume", "orders", "--group", "billing", "-n", "7"]).await;
    assert_eq!(consumed.stdout.iter().filter(|byte| **byte == b'\n').count(), 7);

    // To look without a trace.
    let looked = broker.run(&["consume", "orders", "--group", "billing", "--commit", "false"]).await;
    assert_eq!(looked.stdout.iter().filter(|byte| **byte == b'\n').count(), 13);

    let mut consumer = client.consumer("billing").topics(["orders"]).start(Start::Beginning).build().await.unwrap();
    take(&mut consumer, 13).await;
    let listed = broker.json(&["group", "list"]).await;
    assert_eq!((listed[0]["group"].as_str(), listed[0]["state"].as_str()), (Some("billing"), Some("Stable")));
    for refused in [&["group", "reset", "billing", "--to", "beginning", "--execute"][..], &["group", "delete", "billing"]] {
        let output = broker.run(refused).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("first"), "{output:?}");
    }
    consumer.close(PATIENCE).await;

    let preview = broker.json(&["group", "reset", "billing", "--shift-by", "-4", "--topic", "orders:1"]).await;
    assert_eq!((preview[0]["before"].as_i64(), preview[0]["after"].as_i64()), (Some(10), Some(6)));
    assert_eq!(broker.json(&["group", "describe", "billing"]).await[0]["lag"], 0);
    broker.json(&["group", "reset", "billing", "--shift-by", "-4", "--topic", "orders:1", "--execute"]).await;
    let described = broker.json(&["group", "describe", "billing"]).await;
    assert_eq!(described[0]["lag"], 4);
    assert!(described[0]["lag_ms"].as_i64().is_some_and(|millis| (1..60_000).contains(&millis)), "{described}");
    broker.json(&["group", "reset", "billing", "--by-duration", "1h", "--execute"]).await;
    assert_eq!(broker.json(&["group", "describe", "billing"]).await[0]["lag"], 20);

    broker.json(&["group", "delete", "billing", "--topic", "orders:0"]).await;
    assert_eq!(client.admin().group_offsets("billing").await.unwrap().len(), 1);
    broker.json(&["group", "delete", "billing"]).await;
    assert_eq!(broker.run(&["group", "describe", "billing"]).await.status.code(), Some(1));
    broker.json(&["group", "delete", "billing", "--if-exists"]).await;
}

#[tokio::test]
async fn an_administrator_makes_a_group_by_its_offsets() {
    let broker = Broker::start("admin");
    let client = broker.client().await;
    make_topic(&client, "orders", 1).await;
    let admin = client.admin();
    let (partition, missing) = (("orders".to_owned(), 0), ("nowhere".to_owned(), 3));
    let offsets = [(partition.clone(), CommittedOffset::at(Offset(0))), (missing.clone(), CommittedOffset::at(Offset(1)))];
    let answers = admin.alter_group_offsets("g", offsets).await.unwrap();
    let refused = answers.iter().find(|(key, _)| *key == missing).unwrap().1.as_ref().unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert!(admin.group_offsets("g").await.unwrap().contains_key(&partition));
    assert!(admin.delete_groups(["g"]).await.remove(0).1.is_ok());
    let again = admin.delete_groups(["g"]).await.remove(0).1.unwrap_err();
    assert_eq!(again.code(), Some(ErrorCode::GROUP_ID_NOT_FOUND));
}

#[tokio::test]
async fn a_group_changes_its_protocol_both_ways_with_its_members_in_it() {
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        let mut broker = Broker::start(&format!("migration-{}", assignor.name()));
        let client = broker.client().await;
        make_topic(&client, "orders", 4).await;
        produce(&client, "orders", 4, 0..100).await;
        let builder = client.consumer("g").topics(["orders"]).start(Start::Beginning).assignors([assignor]);
        let builder = builder.heartbeat_interval(Duration::from_millis(200));
        let mut classic = builder.clone().protocol(GroupProtocol::Classic).build().await.unwrap();
        assert_eq!(take(&mut classic, 100).await.len(), 100);
        classic.commit().await.unwrap();

        let mut modern = builder.clone().protocol(GroupProtocol::Consumer).build().await.unwrap();
        settle(&mut [&mut classic, &mut modern], 2).await;
        assert!(classic.assignment().is_disjoint(&modern.assignment()));
        assert_eq!(group_type(&client).await, ("consumer".to_owned(), 2));
        produce(&client, "orders", 4, 100..200).await;
        let (of_classic, of_modern) = (take(&mut classic, 50).await, take(&mut modern, 50).await);
        assert!(of_classic.is_disjoint(&of_modern));
        classic.commit().await.unwrap();
        modern.commit().await.unwrap();

        // What the log says of such a group is all of it.
        broker.kill();
        broker.start_again();
        let mut second = builder.clone().protocol(GroupProtocol::Classic).build().await.unwrap();
        tokio::time::timeout(PATIENCE, async {
            while [&classic, &modern, &second].iter().map(|member| member.assignment().len()).collect::<BTreeSet<_>>()
                != BTreeSet::from([1, 2])
            {
                for member in [&mut classic, &mut modern, &mut second] {
                    let polled = tokio::time::timeout(Duration::from_millis(50), member.poll()).await;
                    assert!(polled.is_err(), "everything was acknowledged and committed: {polled:?}");
                }
            }
        })
        .await
        .expect("the group settles in time");
        assert_eq!(group_type(&client).await, ("consumer".to_owned(), 3));

        modern.close(PATIENCE).await;
        settle(&mut [&mut classic, &mut second], 2).await;
        assert_eq!(group_type(&client).await, ("classic".to_owned(), 2));
        produce(&client, "orders", 4, 200..240).await;
        let all: BTreeSet<i32> = take(&mut classic, 20).await.union(&take(&mut second, 20).await).copied().collect();
        assert_eq!(all, (200..240).collect());
        classic.close(PATIENCE).await;
        second.close(PATIENCE).await;
    }
}

async fn group_type(client: &Client) -> (String, usize) {
    let described = client.admin().describe_groups(["g"]).await.remove(0).1.unwrap();
    (described.group_type.to_owned(), described.members.len())
}
