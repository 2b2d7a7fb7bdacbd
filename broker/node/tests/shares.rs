//! Share groups as their members meet them: a single broker without sockets and files.

mod harness;

use harness::{Disk, TestBroker, values_of};
use strandline_node::io::{ConnectionId, Input};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, Offset, TopicId, TopicName};
use strandline_protocol::messages::alter_share_group_offsets::{
    AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use strandline_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use strandline_protocol::messages::delete_groups::DeleteGroupsRequest;
use strandline_protocol::messages::delete_share_group_offsets::{
    DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequestTopic,
};
use strandline_protocol::messages::describe_share_group_offsets::{
    DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequestGroup, DescribeShareGroupOffsetsResponsePartition,
};
use strandline_protocol::messages::find_coordinator::FindCoordinatorRequest;
use strandline_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use strandline_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use strandline_protocol::messages::list_groups::ListGroupsRequest;
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use strandline_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use strandline_protocol::messages::share_acknowledge::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch, ShareAcknowledgeRequest,
};
use strandline_protocol::messages::share_fetch::{
    AcknowledgementBatch as FetchAcknowledgementBatch, FetchPartition, FetchTopic, PartitionData, ShareFetchRequest,
    ShareFetchResponse,
};
use strandline_protocol::messages::share_group_describe::ShareGroupDescribeRequest;
use strandline_protocol::messages::share_group_heartbeat::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use strandline_protocol::messages::update_features::{FeatureUpdateKey, UpdateFeaturesRequest};

const GROUP: &str = "workers";
const SETTINGS: &[(&str, &str)] = &[
    ("offsets.topic.num.partitions", "3"),
    ("share.coordinator.state.topic.num.partitions", "3"),
    ("share.coordinator.snapshot.update.records.per.snapshot", "3"),
];

const ACCEPT: i8 = 1;
const RELEASE: i8 = 2;
const REJECT: i8 = 3;
const RENEW: i8 = 4;

/// A broker with a topic `t`, coordinators, and a group that begins at the earliest record.
fn broker(partitions: i32) -> TestBroker {
    let mut broker = TestBroker::on(Disk::default(), SETTINGS);
    broker.create_topic("t", partitions, &[]);
    let request = || FindCoordinatorRequest { coordinator_keys: vec![GROUP.to_owned()], ..Default::default() };
    broker.call(6, request());
    broker.call(6, request());
    assert_eq!(configure(&mut broker, "share.auto.offset.reset", "earliest"), ErrorCode::NONE);
    broker
}

fn configure(broker: &mut TestBroker, key: &str, value: &str) -> ErrorCode {
    let config = AlterableConfig { name: key.to_owned(), config_operation: 0, value: Some(value.to_owned()) };
    let resource = AlterConfigsResource { resource_type: 32, resource_name: GROUP.to_owned(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let Response::IncrementalAlterConfigs(response) = broker.call(1, request) else { panic!("another response") };
    response.responses[0].error_code
}

fn topic_id(broker: &mut TestBroker) -> TopicId {
    let topic = MetadataRequestTopic { name: Some(TopicName::from("t")), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    let Response::Metadata(response) = broker.call(12, request) else { panic!("another response") };
    response.topics[0].topic_id
}

fn beat(broker: &mut TestBroker, member: &str, epoch: i32) -> ShareGroupHeartbeatResponse {
    let request = ShareGroupHeartbeatRequest {
        group_id: GroupId::from(GROUP),
        member_id: member.to_owned(),
        member_epoch: epoch,
        rack_id: None,
        subscribed_topic_names: (epoch == 0).then(|| vec![TopicName::from("t")]),
    };
    let Response::ShareGroupHeartbeat(response) = broker.call(1, request) else { panic!("another response") };
    response
}

/// A member that has joined and knows its partitions; the state topic is made meanwhile.
fn join(broker: &mut TestBroker, member: &str) -> Vec<i32> {
    let joined = beat(broker, member, 0);
    assert_eq!(joined.error_code, ErrorCode::NONE);
    broker.pass(100);
    broker.pass(100);
    let known = beat(broker, member, joined.member_epoch);
    assert_eq!(known.error_code, ErrorCode::NONE);
    let assignment = known.assignment.or(joined.assignment).expect("told");
    assignment.topic_partitions.into_iter().flat_map(|topic| topic.partitions).collect()
}

fn fetch_request(topic_id: TopicId, member: &str, epoch: i32, partitions: &[i32]) -> ShareFetchRequest {
    let partition = |index: &i32| FetchPartition { partition_index: *index, ..Default::default() };
    let topic = FetchTopic { topic_id, partitions: partitions.iter().map(partition).collect() };
    ShareFetchRequest {
        group_id: Some(GroupId::from(GROUP)),
        member_id: Some(member.to_owned()),
        share_session_epoch: epoch,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        max_records: 500,
        batch_size: 500,
        topics: if partitions.is_empty() { Vec::new() } else { vec![topic] },
        ..Default::default()
    }
}

/// One member at partition 0.
struct Consumer {
    topic: TopicId,
    member: &'static str,
    epoch: i32,
}

impl Consumer {
    fn new(broker: &mut TestBroker, member: &'static str) -> Self {
        Self { topic: topic_id(broker), member, epoch: 0 }
    }

    fn request(&mut self) -> ShareFetchRequest {
        let partitions: &[i32] = if self.epoch == 0 { &[0] } else { &[] };
        let request = fetch_request(self.topic, self.member, self.epoch, partitions);
        self.epoch += 1;
        request
    }

    /// What it gets, at once or when its time is over.
    fn poll(&mut self, broker: &mut TestBroker) -> Vec<(i64, i64, i16, Vec<String>)> {
        let request = self.request();
        let sequence = broker.send(2, request);
        if let Some(Response::ShareFetch(response)) = broker.reply(sequence) {
            return given(&response);
        }
        broker.pass(500);
        let Some(Response::ShareFetch(response)) = broker.reply(sequence) else { panic!("not answered") };
        given(&response)
    }

    fn say(&mut self, broker: &mut TestBroker, first: i64, last: i64, verdict: i8) -> ErrorCode {
        let batch =
            AcknowledgementBatch { first_offset: Offset(first), last_offset: Offset(last), acknowledge_types: vec![verdict] };
        let partition = AcknowledgePartition { partition_index: 0, acknowledgement_batches: vec![batch] };
        let request = ShareAcknowledgeRequest {
            group_id: Some(GroupId::from(GROUP)),
            member_id: Some(self.member.to_owned()),
            share_session_epoch: self.epoch,
            is_renew_ack: verdict == RENEW,
            topics: vec![AcknowledgeTopic { topic_id: self.topic, partitions: vec![partition] }],
        };
        self.epoch += 1;
        let Response::ShareAcknowledge(response) = broker.call(2, request) else { panic!("another response") };
        assert_eq!(response.error_code, ErrorCode::NONE);
        response.responses[0].partitions[0].error_code
    }
}

fn given(response: &ShareFetchResponse) -> Vec<(i64, i64, i16, Vec<String>)> {
    assert_eq!(response.error_code, ErrorCode::NONE);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let acquired = |partition: &PartitionData| {
        assert_eq!(partition.error_code, ErrorCode::NONE);
        let values = values_of(Some(&partition.records));
        partition
            .acquired_records
            .iter()
            .map(|one| (one.first_offset.0, one.last_offset.0, one.delivery_count, values.clone()))
            .collect::<Vec<_>>()
    };
    partitions.flat_map(acquired).collect()
}

fn ranges(given: &[(i64, i64, i16, Vec<String>)]) -> Vec<(i64, i64, i16)> {
    given.iter().map(|one| (one.0, one.1, one.2)).collect()
}

fn offsets(broker: &mut TestBroker) -> Vec<DescribeShareGroupOffsetsResponsePartition> {
    let group = DescribeShareGroupOffsetsRequestGroup { group_id: GroupId::from(GROUP), topics: None };
    let request = DescribeShareGroupOffsetsRequest { groups: vec![group] };
    let Response::DescribeShareGroupOffsets(response) = broker.call(1, request) else { panic!("another response") };
    assert_eq!(response.groups[0].error_code, ErrorCode::NONE);
    response.groups.into_iter().flat_map(|group| group.topics).flat_map(|topic| topic.partitions).collect()
}

fn start_of(broker: &mut TestBroker) -> (i64, i64) {
    let partition = offsets(broker).into_iter().find(|partition| partition.partition_index == 0).expect("described");
    assert_eq!(partition.error_code, ErrorCode::NONE);
    (partition.start_offset.0, partition.lag)
}

#[test]
fn members_share_partitions_and_every_partition_is_read() {
    let mut broker = broker(3);
    let first = join(&mut broker, "a");
    assert_eq!(first, [0, 1, 2]);
    let second = join(&mut broker, "b");
    assert!(!second.is_empty());
    let described = broker.call(1, ShareGroupDescribeRequest { group_ids: vec![GroupId::from(GROUP)], ..Default::default() });
    let Response::ShareGroupDescribe(described) = described else { panic!("another response") };
    assert_eq!((described.groups[0].error_code, described.groups[0].members.len()), (ErrorCode::NONE, 2));
    assert_eq!(described.groups[0].group_state, "Stable");
    let Response::ListGroups(listed) = broker.call(5, ListGroupsRequest::default()) else { panic!("another response") };
    assert_eq!((listed.groups[0].group_type.as_str(), listed.groups[0].protocol_type.as_str()), ("share", "share"));
    assert_eq!(beat(&mut broker, "a", -1).member_epoch, -1);
    broker.pass(45_001);
    let left = beat(&mut broker, "b", 2);
    assert_eq!(left.error_code, ErrorCode::UNKNOWN_MEMBER_ID, "it was silent for too long");
}

#[test]
fn records_go_to_one_member_each_and_what_is_accepted_never_comes_again() {
    let mut broker = broker(1);
    join(&mut broker, "a");
    join(&mut broker, "b");
    broker.produce("t", 0, &["one", "two", "three"]);
    let (mut a, mut b) = (Consumer::new(&mut broker, "a"), Consumer::new(&mut broker, "b"));
    let got = a.poll(&mut broker);
    assert_eq!(ranges(&got), [(0, 2, 1)]);
    assert_eq!(got[0].3, ["one", "two", "three"]);
    assert_eq!(ranges(&b.poll(&mut broker)), [], "somebody has them");
    assert_eq!(a.say(&mut broker, 0, 0, ACCEPT), ErrorCode::NONE);
    assert_eq!(a.say(&mut broker, 1, 1, RELEASE), ErrorCode::NONE);
    assert_eq!(a.say(&mut broker, 2, 2, REJECT), ErrorCode::NONE);
    assert_eq!(ranges(&b.poll(&mut broker)), [(1, 1, 2)]);
    assert_eq!(a.say(&mut broker, 1, 1, ACCEPT), ErrorCode::INVALID_RECORD_STATE, "it is another's now");
    assert_eq!(start_of(&mut broker), (1, 1));
    assert_eq!(b.say(&mut broker, 1, 1, ACCEPT), ErrorCode::NONE);
    assert_eq!(start_of(&mut broker), (3, 0));
}

#[test]
fn what_members_have_and_what_they_said_is_counted() {
    let mut broker = broker(1);
    join(&mut broker, "a");
    broker.produce("t", 0, &["one", "two", "three", "four"]);
    let mut a = Consumer::new(&mut broker, "a");
    assert_eq!(ranges(&a.poll(&mut broker)), [(0, 3, 1)]);
    let gauges = |broker: &TestBroker| broker.node.gauges(broker.now.wall_ms).shares;
    let key = (GroupId::from(GROUP), TopicName::from("t"));
    assert_eq!((gauges(&broker).in_flight[&key], gauges(&broker).sessions, gauges(&broker).partitions), (4, 1, 1));
    a.say(&mut broker, 0, 0, ACCEPT);
    a.say(&mut broker, 1, 1, REJECT);
    a.say(&mut broker, 2, 2, RENEW);
    a.say(&mut broker, 3, 3, RELEASE);
    let said = gauges(&broker).acknowledgements;
    assert_eq!((said.accepted, said.rejected, said.renewed, said.released), (1, 1, 1, 1));
    assert_eq!(gauges(&broker).in_flight[&key], 1, "the one whose lock was renewed");
}

#[test]
fn a_fetch_waits_for_records_and_acknowledges_on_the_way() {
    let mut broker = broker(1);
    join(&mut broker, "a");
    let mut a = Consumer::new(&mut broker, "a");
    let request = a.request();
    let waits = broker.send(2, request);
    broker.pass(50);
    assert!(broker.reply(waits).is_none(), "there is nothing yet");
    broker.produce("t", 0, &["one"]);
    let Some(Response::ShareFetch(response)) = broker.reply(waits) else { panic!("not answered") };
    assert_eq!(ranges(&given(&response)), [(0, 0, 1)]);
    assert_eq!(response.acquisition_lock_timeout_ms, 30_000);
    broker.produce("t", 0, &["two"]);
    let mut request = a.request();
    let batch = FetchAcknowledgementBatch { first_offset: Offset(0), last_offset: Offset(0), acknowledge_types: vec![ACCEPT] };
    let partition = FetchPartition { partition_index: 0, acknowledgement_batches: vec![batch], ..Default::default() };
    request.topics = vec![FetchTopic { topic_id: a.topic, partitions: vec![partition] }];
    let Response::ShareFetch(response) = broker.call(2, request) else { panic!("another response") };
    assert_eq!(ranges(&given(&response)), [(1, 1, 1)]);
    assert_eq!(response.responses[0].partitions[0].acknowledge_error_code, ErrorCode::NONE);
    assert_eq!(start_of(&mut broker).0, 1);
}

#[test]
fn a_lock_that_runs_out_and_a_connection_that_is_lost_give_records_to_others() {
    let mut broker = broker(1);
    join(&mut broker, "a");
    join(&mut broker, "b");
    broker.produce("t", 0, &["one", "two"]);
    let (mut a, mut b) = (Consumer::new(&mut broker, "a"), Consumer::new(&mut broker, "b"));
    assert_eq!(ranges(&a.poll(&mut broker)), [(0, 1, 1)]);
    broker.pass(20_000);
    assert_eq!(a.say(&mut broker, 1, 1, RENEW), ErrorCode::NONE);
    broker.pass(10_000);
    assert_eq!(ranges(&b.poll(&mut broker)), [(0, 0, 2)]);
    broker.input(Input::Disconnected { connection: ConnectionId(1) });
    let mut c = Consumer::new(&mut broker, "c");
    assert_eq!(ranges(&c.poll(&mut broker)), [(0, 0, 3), (1, 1, 2)]);
}

#[test]
fn a_record_is_given_out_as_often_as_the_group_says() {
    let mut broker = broker(1);
    assert_eq!(configure(&mut broker, "share.delivery.count.limit", "2"), ErrorCode::NONE);
    assert_eq!(configure(&mut broker, "share.delivery.count.limit", "11"), ErrorCode::INVALID_CONFIG);
    assert_eq!(configure(&mut broker, "share.no.such.key", "1"), ErrorCode::INVALID_CONFIG);
    join(&mut broker, "a");
    broker.produce("t", 0, &["poison", "good"]);
    let mut a = Consumer::new(&mut broker, "a");
    for delivery in 1..=2 {
        assert_eq!(a.poll(&mut broker)[0].2, delivery);
        assert_eq!(a.say(&mut broker, 0, 0, RELEASE), ErrorCode::NONE);
    }
    assert_eq!(ranges(&a.poll(&mut broker)), []);
    assert_eq!(start_of(&mut broker).0, 1);
}

#[test]
fn what_was_accepted_outlives_the_broker_and_what_was_not_comes_again() {
    let mut broker = broker(1);
    join(&mut broker, "a");
    let mut a = Consumer::new(&mut broker, "a");
    for round in 0..5 {
        broker.produce("t", 0, &["x", "y", "z"]);
        assert_eq!(ranges(&a.poll(&mut broker)), [(round * 3, round * 3 + 2, 1)]);
        // The middle one of each three is done with: more updates than between two snapshots.
        assert_eq!(a.say(&mut broker, round * 3 + 1, round * 3 + 1, ACCEPT), ErrorCode::NONE);
    }
    assert_eq!(a.say(&mut broker, 0, 0, ACCEPT), ErrorCode::NONE);
    let mut broker = broker.kill();
    assert_eq!(start_of(&mut broker), (2, 9));
    let mut a = Consumer::new(&mut broker, "a");
    let again = a.poll(&mut broker);
    let single: Vec<(i64, i64)> = again.iter().map(|one| (one.0, one.1)).collect();
    assert_eq!(single, [(2, 3), (5, 6), (8, 9), (11, 12), (14, 14)]);
}

#[test]
fn a_group_that_begins_at_the_latest_record_begins_there_also_after_a_restart() {
    let mut broker = broker(1);
    configure(&mut broker, "share.auto.offset.reset", "latest");
    broker.produce("t", 0, &["before"]);
    join(&mut broker, "a");
    let mut a = Consumer::new(&mut broker, "a");
    assert_eq!(ranges(&a.poll(&mut broker)), []);
    let mut broker = broker.kill();
    broker.produce("t", 0, &["after"]);
    let mut a = Consumer::new(&mut broker, "a");
    assert_eq!(ranges(&a.poll(&mut broker)), [(1, 1, 1)]);
}

#[test]
fn a_name_is_of_one_kind_of_group() {
    let mut broker = broker(1);
    join(&mut broker, "a");
    let beat_as_consumer = ConsumerGroupHeartbeatRequest {
        group_id: GroupId::from(GROUP),
        member_id: "c".to_owned(),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec![TopicName::from("t")]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let Response::ConsumerGroupHeartbeat(refused) = broker.call(1, beat_as_consumer) else { panic!("another response") };
    assert_eq!(refused.error_code, ErrorCode::GROUP_ID_NOT_FOUND);
    let join_classic = JoinGroupRequest {
        group_id: GroupId::from(GROUP),
        session_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata: "m".into() }],
        ..Default::default()
    };
    let Response::JoinGroup(refused) = broker.call(9, join_classic) else { panic!("another response") };
    assert_eq!(refused.error_code, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let commit = |group: &str| OffsetCommitRequest {
        group_id: GroupId::from(group),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: TopicName::from("t"),
            partitions: vec![OffsetCommitRequestPartition::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let Response::OffsetCommit(refused) = broker.call(9, commit(GROUP)) else { panic!("another response") };
    assert_eq!(refused.topics[0].partitions[0].error_code, ErrorCode::GROUP_ID_NOT_FOUND);
    broker.call(9, commit("readers"));
    let request = ShareGroupHeartbeatRequest {
        group_id: GroupId::from("readers"),
        member_id: "a".to_owned(),
        subscribed_topic_names: Some(vec![TopicName::from("t")]),
        ..Default::default()
    };
    let Response::ShareGroupHeartbeat(refused) = broker.call(1, request) else { panic!("another response") };
    assert_eq!(refused.error_code, ErrorCode::GROUP_ID_NOT_FOUND);
}

#[test]
fn share_groups_are_switched_off_and_on_by_their_feature() {
    let mut broker = broker(1);
    let level = |broker: &mut TestBroker, level: i16, upgrade_type: i8| {
        let update = FeatureUpdateKey {
            feature: "share.version".to_owned(),
            max_version_level: level,
            upgrade_type,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
        let Response::UpdateFeatures(response) = broker.call(2, request) else { panic!("another response") };
        response.error_code
    };
    assert_eq!(level(&mut broker, 0, 2), ErrorCode::NONE);
    assert_eq!(beat(&mut broker, "a", 0).error_code, ErrorCode::UNSUPPORTED_VERSION);
    let request = fetch_request(topic_id(&mut broker), "a", 0, &[0]);
    let Response::ShareFetch(refused) = broker.call(2, request) else { panic!("another response") };
    assert_eq!(refused.error_code, ErrorCode::UNSUPPORTED_VERSION);
    assert_eq!(level(&mut broker, 1, 1), ErrorCode::NONE);
    assert_eq!(join(&mut broker, "a"), [0]);
}

#[test]
fn a_group_may_begin_so_long_ago() {
    let mut broker = broker(1);
    assert_eq!(configure(&mut broker, "share.auto.offset.reset", "by_duration:soon"), ErrorCode::INVALID_CONFIG);
    assert_eq!(configure(&mut broker, "share.auto.offset.reset", "by_duration:PT0S"), ErrorCode::NONE);
    broker.produce("t", 0, &["old"]);
    join(&mut broker, "a");
    // Records of the harness are as old as its start: none is from now on.
    let mut a = Consumer::new(&mut broker, "a");
    assert_eq!(ranges(&a.poll(&mut broker)), []);
    assert_eq!(start_of(&mut broker).0, 1);
    let mut broker = self::broker(1);
    assert_eq!(configure(&mut broker, "share.auto.offset.reset", "by_duration:PT1H"), ErrorCode::NONE);
    broker.produce("t", 0, &["old"]);
    join(&mut broker, "a");
    let mut a = Consumer::new(&mut broker, "a");
    assert_eq!(ranges(&a.poll(&mut broker)), [(0, 0, 1)]);
}

#[test]
fn who_closes_its_session_gets_nothing_more_and_others_get_what_it_had() {
    let mut broker = broker(1);
    join(&mut broker, "a");
    let mut a = Consumer::new(&mut broker, "a");
    let request = a.request();
    let waits = broker.send(2, request);
    let close = fetch_request(a.topic, "a", -1, &[]);
    broker.call(2, close);
    let Some(Response::ShareFetch(response)) = broker.reply(waits) else { panic!("not answered") };
    assert_eq!(given(&response), []);
    broker.produce("t", 0, &["one"]);
    let mut b = Consumer::new(&mut broker, "b");
    assert_eq!(ranges(&b.poll(&mut broker)), [(0, 0, 1)]);
    let close = fetch_request(b.topic, "b", -1, &[]);
    broker.call(2, close);
    let mut c = Consumer::new(&mut broker, "c");
    assert_eq!(ranges(&c.poll(&mut broker)), [(0, 0, 2)]);
}

#[test]
fn what_snapshots_replaced_is_cut_off_and_a_restart_needs_none_of_it() {
    let mut broker = broker(1);
    join(&mut broker, "a");
    let mut a = Consumer::new(&mut broker, "a");
    for offset in 0..40 {
        broker.produce("t", 0, &["x"]);
        assert_eq!(ranges(&a.poll(&mut broker)), [(offset, offset, 1)]);
        assert_eq!(a.say(&mut broker, offset, offset, ACCEPT), ErrorCode::NONE);
    }
    let log_starts = |broker: &TestBroker| -> Vec<i64> {
        let states = broker.node.partitions().filter(|partition| partition.name.as_str() == "__share_group_state");
        states.map(|partition| partition.positions.log_start.0).collect()
    };
    assert_eq!(log_starts(&broker), [0, 0, 0]);
    broker.pass(300_001);
    assert!(log_starts(&broker).iter().any(|start| *start > 30), "{:?}", log_starts(&broker));
    let mut broker = broker.restart();
    assert_eq!(start_of(&mut broker), (40, 0));
}

#[test]
fn sessions_and_odd_requests_are_refused_as_kafka_does() {
    let mut broker = broker(1);
    join(&mut broker, "a");
    let topic = topic_id(&mut broker);
    let refused = |broker: &mut TestBroker, request: ShareFetchRequest| {
        let Response::ShareFetch(response) = broker.call(2, request) else { panic!("another response") };
        response.error_code
    };
    assert_eq!(refused(&mut broker, fetch_request(topic, "a", 1, &[])), ErrorCode::SHARE_SESSION_NOT_FOUND);
    assert_eq!(refused(&mut broker, fetch_request(topic, "a", -1, &[])), ErrorCode::SHARE_SESSION_NOT_FOUND);
    let mut a = Consumer::new(&mut broker, "a");
    a.poll(&mut broker);
    assert_eq!(refused(&mut broker, fetch_request(topic, "a", 7, &[])), ErrorCode::INVALID_SHARE_SESSION_EPOCH);
    assert_eq!(a.say(&mut broker, 5, 5, ACCEPT), ErrorCode::INVALID_REQUEST, "never given out");
    assert_eq!(a.say(&mut broker, 0, 0, 9), ErrorCode::INVALID_REQUEST);
    let nobody = ShareFetchRequest { member_id: None, ..fetch_request(topic, "a", 0, &[]) };
    assert_eq!(refused(&mut broker, nobody), ErrorCode::INVALID_REQUEST);
    let lost = fetch_request(TopicId([9; 16]), "b", 0, &[0]);
    let Response::ShareFetch(response) = broker.call(2, lost) else { panic!("another response") };
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID);
}

#[test]
fn operators_set_where_a_group_begins_and_forget_it() {
    let mut broker = broker(1);
    join(&mut broker, "a");
    broker.produce("t", 0, &["one", "two", "three"]);
    let mut a = Consumer::new(&mut broker, "a");
    a.poll(&mut broker);
    assert_eq!(a.say(&mut broker, 0, 2, ACCEPT), ErrorCode::NONE);
    let alter = |broker: &mut TestBroker, start: i64| {
        let partition = AlterShareGroupOffsetsRequestPartition { partition_index: 0, start_offset: Offset(start) };
        let topic = AlterShareGroupOffsetsRequestTopic { topic_name: TopicName::from("t"), partitions: vec![partition] };
        let request = AlterShareGroupOffsetsRequest { group_id: GroupId::from(GROUP), topics: vec![topic] };
        let Response::AlterShareGroupOffsets(response) = broker.call(0, request) else { panic!("another response") };
        let partition = response.responses.first().map(|topic| topic.partitions[0].error_code);
        (response.error_code, partition)
    };
    assert_eq!(alter(&mut broker, 1).0, ErrorCode::NON_EMPTY_GROUP);
    let close = fetch_request(a.topic, "a", -1, &[]);
    broker.call(2, close);
    beat(&mut broker, "a", -1);
    assert_eq!(alter(&mut broker, 1), (ErrorCode::NONE, Some(ErrorCode::NONE)));
    assert_eq!(start_of(&mut broker), (1, 2));
    join(&mut broker, "a");
    let mut a = Consumer::new(&mut broker, "a");
    assert_eq!(ranges(&a.poll(&mut broker)), [(1, 2, 1)]);
    let close = fetch_request(a.topic, "a", -1, &[]);
    broker.call(2, close);
    beat(&mut broker, "a", -1);
    let forget = |broker: &mut TestBroker, topic: &str| {
        let topic = DeleteShareGroupOffsetsRequestTopic { topic_name: TopicName::from(topic) };
        let request = DeleteShareGroupOffsetsRequest { group_id: GroupId::from(GROUP), topics: vec![topic] };
        let Response::DeleteShareGroupOffsets(response) = broker.call(0, request) else { panic!("another response") };
        response.responses[0].error_code
    };
    assert_eq!(forget(&mut broker, "t"), ErrorCode::NONE);
    assert_eq!(forget(&mut broker, "t"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(offsets(&mut broker), []);
    join(&mut broker, "a");
    beat(&mut broker, "a", -1);
    let delete = |broker: &mut TestBroker| {
        let request = DeleteGroupsRequest { groups_names: vec![GroupId::from(GROUP)] };
        let Response::DeleteGroups(response) = broker.call(2, request) else { panic!("another response") };
        response.results[0].error_code
    };
    assert_eq!(delete(&mut broker), ErrorCode::NONE);
    assert_eq!(delete(&mut broker), ErrorCode::GROUP_ID_NOT_FOUND);
    let mut broker = broker.kill();
    assert_eq!(delete(&mut broker), ErrorCode::GROUP_ID_NOT_FOUND, "also after a restart");
}
