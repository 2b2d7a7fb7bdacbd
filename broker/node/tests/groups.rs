//! Groups as their members meet them: a single broker without sockets and files.

mod harness;

use harness::{Disk, TestBroker};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, Offset, TopicName};
use strandline_protocol::messages::consumer_group_describe::ConsumerGroupDescribeRequest;
use strandline_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, RequestTopicPartitions,
};
use strandline_protocol::messages::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolAssignmentTopicPartition, ConsumerProtocolSubscription,
    ConsumerProtocolSubscriptionTopicPartition,
};
use strandline_protocol::messages::delete_groups::DeleteGroupsRequest;
use strandline_protocol::messages::delete_topics::DeleteTopicsRequest;
use strandline_protocol::messages::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use strandline_protocol::messages::find_coordinator::FindCoordinatorRequest;
use strandline_protocol::messages::heartbeat::HeartbeatRequest;
use strandline_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use strandline_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use strandline_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use strandline_protocol::messages::list_groups::ListGroupsRequest;
use strandline_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use strandline_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use strandline_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use strandline_protocol::wire::Message;

const GROUP: &str = "readers";
const SETTINGS: &[(&str, &str)] = &[("group.initial.rebalance.delay.ms", "100"), ("offsets.topic.num.partitions", "3")];

/// A broker that has a topic `t` of four partitions, and coordinators.
fn broker() -> TestBroker {
    broker_with(SETTINGS)
}

fn broker_with(settings: &[(&str, &str)]) -> TestBroker {
    let mut broker = TestBroker::on(Disk::default(), settings);
    broker.create_topic("t", 4, &[]);
    find(&mut broker);
    assert_eq!(find(&mut broker), ErrorCode::NONE);
    broker
}

fn find(broker: &mut TestBroker) -> ErrorCode {
    let request = FindCoordinatorRequest { coordinator_keys: vec![GROUP.to_owned()], ..Default::default() };
    let Response::FindCoordinator(response) = broker.call(6, request) else { panic!("another response") };
    response.coordinators[0].error_code
}

fn join_request(member: &str, instance: Option<&str>) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: GroupId::from(GROUP),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: member.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata: "m".into() }],
        reason: None,
    }
}

/// A member id for a newcomer.
fn new_id(broker: &mut TestBroker) -> String {
    let Response::JoinGroup(response) = broker.call(9, join_request("", None)) else { panic!("another response") };
    assert_eq!(response.error_code, ErrorCode::MEMBER_ID_REQUIRED);
    response.member_id
}

fn sync_request(joined: &JoinGroupResponse, assignments: &[(&str, &str)]) -> SyncGroupRequest {
    let assigned = |(member, part): &(&str, &str)| SyncGroupRequestAssignment {
        member_id: (*member).to_owned(),
        assignment: (*part).to_owned().into(),
    };
    SyncGroupRequest {
        group_id: GroupId::from(GROUP),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: assignments.iter().map(assigned).collect(),
        ..Default::default()
    }
}

fn sync(broker: &mut TestBroker, joined: &JoinGroupResponse, assignments: &[(&str, &str)]) -> SyncGroupResponse {
    let Response::SyncGroup(response) = broker.call(5, sync_request(joined, assignments)) else { panic!("another response") };
    response
}

/// A group of one member that is stable.
fn stable(broker: &mut TestBroker) -> JoinGroupResponse {
    let id = new_id(broker);
    let sequence = broker.send(9, join_request(&id, None));
    broker.pass(100);
    let Some(Response::JoinGroup(joined)) = broker.reply(sequence) else { panic!("not answered") };
    assert_eq!(joined.error_code, ErrorCode::NONE);
    assert_eq!(joined.leader, id);
    let synced = sync(broker, &joined, &[(&id, "all")]);
    assert_eq!(synced.assignment, "all");
    joined
}

fn heartbeat(broker: &mut TestBroker, joined: &JoinGroupResponse) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: GroupId::from(GROUP),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        group_instance_id: None,
    };
    let Response::Heartbeat(response) = broker.call(4, request) else { panic!("another response") };
    response.error_code
}

fn commit_request(member: &str, generation: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: 1,
        committed_offset: Offset(offset),
        committed_metadata: Some("note".to_owned()),
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: GroupId::from(GROUP),
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: TopicName::from("t"),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn commit(broker: &mut TestBroker, member: &str, generation: i32, offset: i64) -> ErrorCode {
    let Response::OffsetCommit(response) = broker.call(9, commit_request(member, generation, offset)) else {
        panic!("another response")
    };
    response.topics[0].partitions[0].error_code
}

fn committed(broker: &mut TestBroker) -> i64 {
    let topic = OffsetFetchRequestTopics { name: TopicName::from("t"), partition_indexes: vec![1], ..Default::default() };
    let group = OffsetFetchRequestGroup { group_id: GroupId::from(GROUP), topics: Some(vec![topic]), ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let Response::OffsetFetch(response) = broker.call(9, request) else { panic!("another response") };
    assert_eq!(response.groups[0].error_code, ErrorCode::NONE);
    response.groups[0].topics[0].partitions[0].committed_offset.0
}

fn describe(broker: &mut TestBroker) -> DescribedGroup {
    let request = DescribeGroupsRequest { groups: vec![GroupId::from(GROUP)], ..Default::default() };
    let Response::DescribeGroups(response) = broker.call(6, request) else { panic!("another response") };
    response.groups.into_iter().next().expect("one asked")
}

#[test]
fn the_first_question_for_a_coordinator_makes_its_topic() {
    let mut broker = TestBroker::on(Disk::default(), SETTINGS);
    assert_eq!(find(&mut broker), ErrorCode::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(find(&mut broker), ErrorCode::NONE);
}

#[test]
fn members_and_offsets_outlive_the_broker() {
    let mut broker = broker();
    let joined = stable(&mut broker);
    assert_eq!(commit(&mut broker, &joined.member_id, joined.generation_id, 42), ErrorCode::NONE);
    let mut broker = broker.kill();
    assert_eq!(committed(&mut broker), 42);
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::NONE);
    let described = describe(&mut broker);
    assert_eq!(described.group_state, "Stable");
    assert_eq!(described.members[0].member_assignment, "all");
    assert_eq!(described.members[0].client_host, "/127.0.0.1");
}

#[test]
fn a_newcomer_makes_everybody_join_again() {
    let mut broker = broker();
    let first = stable(&mut broker);
    let id = new_id(&mut broker);
    let second = broker.send(9, join_request(&id, None));
    assert_eq!(heartbeat(&mut broker, &first), ErrorCode::REBALANCE_IN_PROGRESS);
    let again = broker.send(9, join_request(&first.member_id, None));
    let Some(Response::JoinGroup(leads)) = broker.reply(again) else { panic!("not answered") };
    let Some(Response::JoinGroup(follows)) = broker.reply(second) else { panic!("not answered") };
    assert_eq!((leads.generation_id, follows.generation_id), (first.generation_id + 1, first.generation_id + 1));
    assert_eq!((leads.members.len(), follows.members.len()), (2, 0));
    let waits = broker.send(5, sync_request(&follows, &[]));
    assert!(broker.reply(waits).is_none(), "the leader has not assigned");
    sync(&mut broker, &leads, &[(&leads.member_id, "left"), (&follows.member_id, "right")]);
    let Some(Response::SyncGroup(synced)) = broker.reply(waits) else { panic!("not answered") };
    assert_eq!(synced.assignment, "right");
}

#[test]
fn a_silent_member_is_out_after_its_session() {
    let mut broker = broker();
    let joined = stable(&mut broker);
    broker.pass(9_000);
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::NONE);
    broker.pass(9_000);
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::NONE);
    broker.pass(10_001);
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(describe(&mut broker).group_state, "Empty");
}

#[test]
fn a_member_that_never_syncs_does_not_hold_the_group() {
    let mut broker = broker();
    let id = new_id(&mut broker);
    let sequence = broker.send(9, join_request(&id, None));
    broker.pass(100);
    let Some(Response::JoinGroup(joined)) = broker.reply(sequence) else { panic!("not answered") };
    broker.pass(9_000);
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::NONE);
    broker.pass(9_000);
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::NONE);
    broker.pass(3_000);
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_static_member_that_comes_back_keeps_its_part_without_a_rebalance() {
    let mut broker = broker();
    let sequence = broker.send(9, join_request("", Some("one")));
    broker.pass(100);
    let Some(Response::JoinGroup(first)) = broker.reply(sequence) else { panic!("not answered") };
    let mut request = sync_request(&first, &[(&first.member_id, "all")]);
    request.group_instance_id = Some("one".to_owned());
    broker.call(5, request);
    let Response::JoinGroup(again) = broker.call(9, join_request("", Some("one"))) else { panic!("not answered") };
    assert_eq!(again.generation_id, first.generation_id);
    assert!(again.skip_assignment);
    assert_ne!(again.member_id, first.member_id);
    let mut old = commit_request(&first.member_id, first.generation_id, 1);
    old.group_instance_id = Some("one".to_owned());
    let Response::OffsetCommit(refused) = broker.call(9, old) else { panic!("another response") };
    assert_eq!(refused.topics[0].partitions[0].error_code, ErrorCode::FENCED_INSTANCE_ID);
    let Response::SyncGroup(synced) = broker.call(5, sync_request(&again, &[])) else { panic!("another response") };
    assert_eq!(synced.assignment, "all");
}

#[test]
fn offsets_are_committed_by_members_of_the_generation_or_into_an_empty_group() {
    let mut broker = broker();
    assert_eq!(commit(&mut broker, "", -1, 7), ErrorCode::NONE);
    assert_eq!(committed(&mut broker), 7);
    let joined = stable(&mut broker);
    assert_eq!(commit(&mut broker, "", -1, 8), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(commit(&mut broker, "stranger", joined.generation_id, 8), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(commit(&mut broker, &joined.member_id, joined.generation_id - 1, 8), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(committed(&mut broker), 7);
}

#[test]
fn a_commit_is_acknowledged_only_when_it_is_on_disk() {
    let mut broker = broker();
    broker.hold = true;
    let commit = broker.send(9, commit_request("", -1, 7));
    assert!(broker.reply(commit).is_none());
    broker.release();
    assert!(broker.reply(commit).is_some());
}

#[test]
fn a_group_with_members_is_not_deleted_and_an_empty_one_is_with_its_offsets() {
    let mut broker = broker();
    let joined = stable(&mut broker);
    commit(&mut broker, &joined.member_id, joined.generation_id, 42);
    let delete = DeleteGroupsRequest { groups_names: vec![GroupId::from(GROUP)] };
    let Response::DeleteGroups(refused) = broker.call(2, delete.clone()) else { panic!("another response") };
    assert_eq!(refused.results[0].error_code, ErrorCode::NON_EMPTY_GROUP);
    let member = MemberIdentity { member_id: joined.member_id.clone(), ..Default::default() };
    broker.call(5, LeaveGroupRequest { group_id: GroupId::from(GROUP), members: vec![member], ..Default::default() });
    let Response::DeleteGroups(deleted) = broker.call(2, delete) else { panic!("another response") };
    assert_eq!(deleted.results[0].error_code, ErrorCode::NONE);
    let mut broker = broker.kill();
    assert_eq!(committed(&mut broker), -1);
    assert_eq!(describe(&mut broker).error_code, ErrorCode::GROUP_ID_NOT_FOUND);
    let Response::ListGroups(listed) = broker.call(5, ListGroupsRequest::default()) else { panic!("another response") };
    assert_eq!(listed.groups, []);
}

#[test]
fn offsets_of_a_deleted_topic_go_with_it() {
    let mut broker = broker();
    commit(&mut broker, "", -1, 7);
    broker.call(5, DeleteTopicsRequest { topic_names: vec![TopicName::from("t")], ..Default::default() });
    broker.create_topic("t", 4, &[]);
    assert_eq!(committed(&mut broker), -1);
}

#[test]
fn offsets_expire_once_their_group_was_empty_for_long_enough() {
    let mut broker = broker();
    let joined = stable(&mut broker);
    commit(&mut broker, &joined.member_id, joined.generation_id, 42);
    let week_ms = 7 * 24 * 3_600_000;
    broker.pass(11_000);
    assert_eq!(describe(&mut broker).group_state, "Empty");
    broker.pass(week_ms - 60_000);
    assert_eq!(committed(&mut broker), 42);
    broker.pass(700_000);
    assert_eq!(committed(&mut broker), -1);
    assert_eq!(describe(&mut broker).error_code, ErrorCode::GROUP_ID_NOT_FOUND);
}

/// A member of a consumer group, as a client keeps it.
#[derive(Clone, Debug, Default)]
struct Consumer {
    id: String,
    instance: Option<String>,
    epoch: i32,
    owned: Vec<i32>,
}

impl Consumer {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    fn request(&self, topic: strandline_protocol::ids::TopicId) -> ConsumerGroupHeartbeatRequest {
        let owned = RequestTopicPartitions { topic_id: topic, partitions: self.owned.clone() };
        ConsumerGroupHeartbeatRequest {
            group_id: GroupId::from(GROUP),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            rebalance_timeout_ms: 20_000,
            subscribed_topic_names: Some(vec![TopicName::from("t")]),
            topic_partitions: Some(if self.owned.is_empty() { Vec::new() } else { vec![owned] }),
            ..Default::default()
        }
    }

    /// Sends a heartbeat and takes over what it is told.
    fn beat(&mut self, broker: &mut TestBroker) -> ErrorCode {
        let request = self.request(topic_id(broker));
        let response = consumer_call(broker, request);
        if response.error_code == ErrorCode::NONE {
            self.epoch = response.member_epoch;
            if let Some(assignment) = response.assignment {
                self.owned = assignment.topic_partitions.into_iter().flat_map(|topic| topic.partitions).collect();
            }
        }
        response.error_code
    }
}

fn consumer_call(broker: &mut TestBroker, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    let Response::ConsumerGroupHeartbeat(response) = broker.call(1, request) else { panic!("another response") };
    response
}

fn topic_id(broker: &mut TestBroker) -> strandline_protocol::ids::TopicId {
    let asked = strandline_protocol::messages::metadata::MetadataRequestTopic {
        name: Some(TopicName::from("t")),
        ..Default::default()
    };
    let request = strandline_protocol::messages::metadata::MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    let Response::Metadata(response) = broker.call(12, request) else { panic!("another response") };
    response.topics[0].topic_id
}

/// Lets everybody send heartbeats until all of them have come to rest, and checks that nothing is owned twice meanwhile.
fn settle(broker: &mut TestBroker, consumers: &mut [Consumer]) {
    for _ in 0..6 {
        for place in 0..consumers.len() {
            assert_eq!(consumers[place].beat(broker), ErrorCode::NONE);
            let mut owned: Vec<i32> = consumers.iter().flat_map(|consumer| consumer.owned.clone()).collect();
            let count = owned.len();
            owned.sort_unstable();
            owned.dedup();
            assert_eq!(owned.len(), count, "a partition is owned twice: {consumers:?}");
        }
    }
    assert_eq!(consumers.iter().map(|consumer| consumer.owned.len()).sum::<usize>(), 4, "{consumers:?}");
}

fn describe_consumer(broker: &mut TestBroker) -> strandline_protocol::messages::consumer_group_describe::DescribedGroup {
    let request = ConsumerGroupDescribeRequest { group_ids: vec![GroupId::from(GROUP)], ..Default::default() };
    let Response::ConsumerGroupDescribe(response) = broker.call(1, request) else { panic!("another response") };
    response.groups.into_iter().next().expect("one asked")
}

#[test]
fn consumers_share_partitions_and_none_is_owned_twice_on_the_way() {
    let mut broker = broker();
    let mut consumers = vec![Consumer::new("a")];
    settle(&mut broker, &mut consumers);
    consumers.push(Consumer::new("b"));
    settle(&mut broker, &mut consumers);
    assert_eq!((consumers[0].owned.len(), consumers[1].owned.len()), (2, 2));
    let described = describe_consumer(&mut broker);
    assert_eq!((described.group_state.as_str(), described.members.len()), ("Stable", 2));
    assert_eq!(described.assignor_name, "uniform");
    let mut leaves = consumers[1].request(topic_id(&mut broker));
    leaves.member_epoch = -1;
    assert_eq!(consumer_call(&mut broker, leaves).error_code, ErrorCode::NONE);
    consumers.pop();
    settle(&mut broker, &mut consumers);
}

#[test]
fn a_consumer_group_outlives_the_broker() {
    let mut broker = broker();
    let mut consumers = vec![Consumer::new("a"), Consumer::new("b")];
    settle(&mut broker, &mut consumers);
    assert_eq!(commit(&mut broker, "a", consumers[0].epoch, 42), ErrorCode::NONE);
    let before = describe_consumer(&mut broker);
    let mut broker = broker.kill();
    assert_eq!(describe_consumer(&mut broker), before);
    assert_eq!(committed(&mut broker), 42);
    settle(&mut broker, &mut consumers);
}

#[test]
fn a_consumer_of_an_old_epoch_is_fenced_and_its_commits_are_stale() {
    let mut broker = broker();
    let mut consumers = vec![Consumer::new("a")];
    settle(&mut broker, &mut consumers);
    let mut old = consumers[0].clone();
    old.epoch += 1;
    assert_eq!(old.beat(&mut broker), ErrorCode::FENCED_MEMBER_EPOCH);
    assert_eq!(commit(&mut broker, "a", old.epoch, 1), ErrorCode::STALE_MEMBER_EPOCH);
    assert_eq!(commit(&mut broker, "b", 1, 1), ErrorCode::UNKNOWN_MEMBER_ID);
    let mut stranger = Consumer { epoch: 3, ..Consumer::new("b") };
    assert_eq!(stranger.beat(&mut broker), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_consumer_that_does_not_give_back_in_time_is_out() {
    let mut broker = broker();
    let mut consumers = vec![Consumer::new("a")];
    settle(&mut broker, &mut consumers);
    let mut second = Consumer::new("b");
    assert_eq!(second.beat(&mut broker), ErrorCode::NONE);
    let held = consumers[0].owned.clone();
    for _ in 0..5 {
        broker.pass(5_000);
        let mut says_it_keeps = consumers[0].clone();
        says_it_keeps.owned = held.clone();
        says_it_keeps.beat(&mut broker);
        second.beat(&mut broker);
    }
    assert_eq!(consumers[0].beat(&mut broker), ErrorCode::UNKNOWN_MEMBER_ID);
    second.beat(&mut broker);
    assert_eq!(second.owned.len(), 4);
}

#[test]
fn a_silent_consumer_is_out_after_its_session() {
    let mut broker = broker();
    let mut consumers = vec![Consumer::new("a")];
    settle(&mut broker, &mut consumers);
    broker.pass(44_000);
    assert_eq!(consumers[0].beat(&mut broker), ErrorCode::NONE);
    broker.pass(45_001);
    assert_eq!(consumers[0].beat(&mut broker), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(describe_consumer(&mut broker).group_state, "Empty");
}

#[test]
fn a_static_consumer_that_left_for_a_while_finds_its_partitions_again() {
    let mut broker = broker();
    let member = |id: &str, instance: &str| Consumer { instance: Some(instance.to_owned()), ..Consumer::new(id) };
    let mut consumers = vec![member("a", "one"), member("b", "two")];
    settle(&mut broker, &mut consumers);
    let before = consumers[1].owned.clone();
    let mut early = member("c", "two");
    assert_eq!(early.beat(&mut broker), ErrorCode::UNRELEASED_INSTANCE_ID);
    let mut leaves = consumers[1].request(topic_id(&mut broker));
    leaves.member_epoch = -2;
    assert_eq!(consumer_call(&mut broker, leaves).member_epoch, -2);
    consumers[1] = member("c", "two");
    settle(&mut broker, &mut consumers);
    assert_eq!(consumers[1].owned, before);
}

#[test]
fn an_expression_finds_topics_that_are_made_later() {
    let mut broker = broker();
    let mut request = Consumer::new("a").request(topic_id(&mut broker));
    request.subscribed_topic_names = None;
    request.subscribed_topic_regex = Some("t|later-.*".to_owned());
    let first = consumer_call(&mut broker, request.clone());
    assert_eq!(first.assignment.expect("told").topic_partitions.len(), 1);
    broker.create_topic("later-1", 2, &[]);
    let quiet = ConsumerGroupHeartbeatRequest {
        group_id: GroupId::from(GROUP),
        member_id: "a".to_owned(),
        member_epoch: first.member_epoch,
        ..Default::default()
    };
    let second = consumer_call(&mut broker, quiet);
    assert_eq!(second.assignment.expect("changed").topic_partitions.len(), 2);
    request.subscribed_topic_regex = Some("(".to_owned());
    assert_eq!(consumer_call(&mut broker, request).error_code, ErrorCode::INVALID_REGULAR_EXPRESSION);
}

/// A heartbeat comes late, over a connection that its member has given up, and is the one that a free partition is told to.
#[test]
fn what_was_told_to_a_connection_that_nobody_reads_is_told_again() {
    let mut broker = broker();
    let topic = topic_id(&mut broker);
    let mut consumers = [Consumer::new("a"), Consumer::new("b")];
    for consumer in &mut consumers {
        assert_eq!(consumer.beat(&mut broker), ErrorCode::NONE);
    }
    let [a, b] = &mut consumers;
    assert!(b.owned.is_empty(), "what is its own is not given back yet");
    a.beat(&mut broker);
    a.beat(&mut broker);
    let late = broker.call_beside(77, 1, b.request(topic));
    let Response::ConsumerGroupHeartbeat(late) = late else { panic!("another response") };
    assert!(late.assignment.is_some_and(|told| !told.topic_partitions.is_empty()), "the free partitions");
    let quiet = |member_epoch| ConsumerGroupHeartbeatRequest {
        group_id: GroupId::from(GROUP),
        member_id: "b".to_owned(),
        member_epoch,
        rebalance_timeout_ms: -1,
        ..Default::default()
    };
    let again = consumer_call(&mut broker, quiet(b.epoch));
    assert!(again.assignment.is_some_and(|told| !told.topic_partitions.is_empty()), "told once more");
    assert_eq!(consumer_call(&mut broker, quiet(again.member_epoch)).assignment, None, "and then no more");
}

#[test]
fn a_group_changes_its_protocol_only_while_it_is_empty() {
    let mut broker = broker();
    let joined = stable(&mut broker);
    let mut consumer = Consumer::new("a");
    assert_eq!(consumer.beat(&mut broker), ErrorCode::GROUP_ID_NOT_FOUND);
    commit(&mut broker, &joined.member_id, joined.generation_id, 42);
    let member = MemberIdentity { member_id: joined.member_id.clone(), ..Default::default() };
    broker.call(5, LeaveGroupRequest { group_id: GroupId::from(GROUP), members: vec![member], ..Default::default() });
    assert_eq!(consumer.beat(&mut broker), ErrorCode::NONE);
    assert_eq!(committed(&mut broker), 42);
    let Response::JoinGroup(refused) = broker.call(9, join_request("", None)) else { panic!("another response") };
    assert_eq!(refused.error_code, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let mut leaves = consumer.request(topic_id(&mut broker));
    leaves.member_epoch = -1;
    consumer_call(&mut broker, leaves);
    let mut broker = broker.kill();
    stable(&mut broker);
    assert_eq!(committed(&mut broker), 42);
}

/// A JoinGroup of a member that subscribes to `t`, and says what it has of it.
fn reader_request(member: &str, owned: &[i32]) -> JoinGroupRequest {
    let topic = TopicName::from("t");
    let owned = ConsumerProtocolSubscriptionTopicPartition { topic: topic.clone(), partitions: owned.to_vec() };
    let wishes = ConsumerProtocolSubscription { topics: vec![topic], owned_partitions: vec![owned], ..Default::default() };
    let metadata = [&1_i16.to_be_bytes()[..], &wishes.to_bytes(1)].concat();
    let protocols = vec![JoinGroupRequestProtocol { name: "cooperative-sticky".to_owned(), metadata: metadata.into() }];
    JoinGroupRequest { protocols, ..join_request(member, None) }
}

/// A classic group with one member that has all of `t`.
fn one_reader(broker: &mut TestBroker) -> JoinGroupResponse {
    let id = new_id(broker);
    let sequence = broker.send(9, reader_request(&id, &[]));
    broker.pass(100);
    let Some(Response::JoinGroup(joined)) = broker.reply(sequence) else { panic!("not answered") };
    let all = ConsumerProtocolAssignmentTopicPartition { topic: TopicName::from("t"), partitions: vec![0, 1, 2, 3] };
    let assignment = ConsumerProtocolAssignment { assigned_partitions: vec![all], user_data: None };
    let bytes = [&1_i16.to_be_bytes()[..], &assignment.to_bytes(1)].concat();
    let mut request = sync_request(&joined, &[]);
    request.assignments = vec![SyncGroupRequestAssignment { member_id: id, assignment: bytes.into() }];
    let Response::SyncGroup(synced) = broker.call(5, request) else { panic!("another response") };
    assert_eq!(synced.error_code, ErrorCode::NONE);
    joined
}

/// What a classic member is told that it has.
fn told(synced: &SyncGroupResponse) -> Vec<i32> {
    let assignment = ConsumerProtocolAssignment::from_bytes(synced.assignment.slice(2..), 1).expect("an assignment");
    assignment.assigned_partitions.into_iter().flat_map(|list| list.partitions).collect()
}

#[test]
fn a_classic_member_gives_up_what_a_member_of_the_consumer_protocol_is_to_have_and_has_it_back_afterwards() {
    let mut broker = broker();
    let joined = one_reader(&mut broker);
    let mut newcomer = Consumer::new("new");
    assert_eq!(newcomer.beat(&mut broker), ErrorCode::NONE);
    assert!(newcomer.owned.is_empty(), "the classic member has everything still");
    assert_eq!(commit(&mut broker, &joined.member_id, joined.generation_id, 5), ErrorCode::NONE);
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::REBALANCE_IN_PROGRESS);

    // It is told what it keeps, gives the rest back, and joins once more.
    let Response::JoinGroup(first) = broker.call(9, reader_request(&joined.member_id, &[0, 1, 2, 3])) else { panic!() };
    assert_eq!((first.error_code, first.generation_id), (ErrorCode::NONE, joined.generation_id));
    let kept = told(&sync(&mut broker, &first, &[]));
    assert_eq!(kept.len(), 2);
    assert_eq!(heartbeat(&mut broker, &first), ErrorCode::REBALANCE_IN_PROGRESS);
    let Response::JoinGroup(second) = broker.call(9, reader_request(&joined.member_id, &kept)) else { panic!() };
    assert!(second.generation_id > joined.generation_id);
    assert_eq!(told(&sync(&mut broker, &second, &[])), kept);
    assert_eq!(heartbeat(&mut broker, &second), ErrorCode::NONE);
    assert_eq!(newcomer.beat(&mut broker), ErrorCode::NONE);
    assert_eq!(newcomer.owned.len(), 2);
    assert!(newcomer.owned.iter().all(|partition| !kept.contains(partition)));
    assert_eq!(commit(&mut broker, &joined.member_id, joined.generation_id, 6), ErrorCode::ILLEGAL_GENERATION);
    let types: Vec<i8> = describe_consumer(&mut broker).members.iter().map(|member| member.member_type).collect();
    assert_eq!(types.iter().sum::<i8>(), 1, "one of each");

    // The last of them leaves, and the classic member is told to join: a classic group again.
    newcomer.epoch = -1;
    newcomer.owned.clear();
    let leaving = ConsumerGroupHeartbeatRequest { topic_partitions: None, ..newcomer.request(topic_id(&mut broker)) };
    assert_eq!(consumer_call(&mut broker, leaving).error_code, ErrorCode::NONE);
    assert_eq!(heartbeat(&mut broker, &second), ErrorCode::REBALANCE_IN_PROGRESS);
    let Response::JoinGroup(third) = broker.call(9, reader_request(&joined.member_id, &kept)) else { panic!() };
    assert_eq!((third.error_code, &third.leader), (ErrorCode::NONE, &joined.member_id));
    assert_eq!(describe_consumer(&mut broker).error_code, ErrorCode::GROUP_ID_NOT_FOUND);
}

#[test]
fn a_classic_member_that_does_not_join_in_time_is_out() {
    let mut broker = broker();
    let joined = one_reader(&mut broker);
    let mut newcomer = Consumer::new("new");
    assert_eq!(newcomer.beat(&mut broker), ErrorCode::NONE);
    for _ in 0..5 {
        assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::REBALANCE_IN_PROGRESS);
        broker.pass(4_500);
        assert_eq!(newcomer.beat(&mut broker), ErrorCode::NONE);
    }
    assert_eq!(heartbeat(&mut broker, &joined), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(newcomer.beat(&mut broker), ErrorCode::NONE);
    assert_eq!(newcomer.owned.len(), 4);
}

#[test]
fn a_group_keeps_its_protocol_if_the_policy_says_so_or_if_it_is_not_of_consumers() {
    let disabled: Vec<(&str, &str)> = [SETTINGS, &[("group.consumer.migration.policy", "disabled")]].concat();
    let mut broker = broker_with(&disabled);
    one_reader(&mut broker);
    assert_eq!(Consumer::new("new").beat(&mut broker), ErrorCode::GROUP_ID_NOT_FOUND);

    let mut broker = self::broker();
    stable(&mut broker);
    assert_eq!(Consumer::new("new").beat(&mut broker), ErrorCode::GROUP_ID_NOT_FOUND, "its members say what nobody can read");
}

fn configure(broker: &mut TestBroker, key: &str, value: &str) -> ErrorCode {
    let config = AlterableConfig { name: key.to_owned(), config_operation: 0, value: Some(value.to_owned()) };
    let resource = AlterConfigsResource { resource_type: 32, resource_name: GROUP.to_owned(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let Response::IncrementalAlterConfigs(response) = broker.call(1, request) else { panic!("another response") };
    response.responses[0].error_code
}

#[test]
fn a_groups_own_configuration_holds_from_the_next_heartbeat_on() {
    let mut broker = broker();
    let mut consumer = Consumer::new("a");
    let request = consumer.request(topic_id(&mut broker));
    assert_eq!(consumer_call(&mut broker, request).heartbeat_interval_ms, 5000);
    assert_eq!(configure(&mut broker, "consumer.heartbeat.interval.ms", "6000"), ErrorCode::NONE);
    assert_eq!(configure(&mut broker, "consumer.session.timeout.ms", "60000"), ErrorCode::NONE);
    assert_eq!(configure(&mut broker, "consumer.session.timeout.ms", "60001"), ErrorCode::INVALID_CONFIG);
    assert_eq!(consumer.beat(&mut broker), ErrorCode::NONE);
    let request = consumer.request(topic_id(&mut broker));
    assert_eq!(consumer_call(&mut broker, request).heartbeat_interval_ms, 6000);
    broker.pass(50_000);
    assert_eq!(consumer.beat(&mut broker), ErrorCode::NONE, "the broker's own timeout would have been over");
    broker.pass(61_000);
    assert_eq!(consumer.beat(&mut broker), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn members_ask_for_an_assignor_that_is_configured_and_the_first_is_the_default() {
    let configured = [SETTINGS, &[("group.consumer.assignors", "range")]].concat();
    let mut broker = broker_with(&configured);
    let mut consumer = Consumer::new("a");
    assert_eq!(consumer.beat(&mut broker), ErrorCode::NONE);
    assert_eq!(describe_consumer(&mut broker).assignor_name, "range");
    let mut asking = |name: &str| {
        let mut request = consumer.request(topic_id(&mut broker));
        request.server_assignor = Some(name.to_owned());
        consumer_call(&mut broker, request).error_code
    };
    assert_eq!((asking("uniform"), asking("range")), (ErrorCode::UNSUPPORTED_ASSIGNOR, ErrorCode::NONE));
}

#[test]
fn who_joins_soon_after_an_assignment_waits_for_the_next_one_and_is_told_when_that_is() {
    let mut broker = broker();
    assert_eq!(configure(&mut broker, "consumer.assignment.interval.ms", "15001"), ErrorCode::INVALID_CONFIG);
    assert_eq!(configure(&mut broker, "consumer.assignment.interval.ms", "1000"), ErrorCode::NONE);
    let (mut first, mut second) = (Consumer::new("a"), Consumer::new("b"));
    assert_eq!(first.beat(&mut broker), ErrorCode::NONE);
    assert_eq!(first.owned.len(), 4, "nobody waits for the first assignment");
    broker.pass(100);
    let request = second.request(topic_id(&mut broker));
    let joined = consumer_call(&mut broker, request);
    let told = |response: &ConsumerGroupHeartbeatResponse| {
        response.assignment.as_ref().map(|assignment| assignment.topic_partitions.len())
    };
    assert_eq!((joined.member_epoch, told(&joined)), (first.epoch, Some(0)), "it belongs to the group and has nothing");
    assert!((1..=900).contains(&joined.heartbeat_interval_ms), "{}", joined.heartbeat_interval_ms);
    assert_eq!(describe_consumer(&mut broker).group_state, "Assigning");
    second.epoch = joined.member_epoch;
    broker = broker.restart();
    assert_eq!(find(&mut broker), ErrorCode::NONE);
    assert_eq!(second.beat(&mut broker), ErrorCode::NONE);
    assert_eq!(second.epoch, first.epoch, "the next owner of the group knows when it was assigned");
    broker.pass(1000);
    settle(&mut broker, &mut [second, first]);
    assert_eq!(describe_consumer(&mut broker).group_state, "Stable");
}
