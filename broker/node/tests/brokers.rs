//! A controller with other brokers: they register, fall silent, come back, and their partitions move.

mod harness;

use harness::{Disk, TestBroker};
use strandline_node::io::{Asker, ConnectionId, Input, PeerLost};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicId, TopicName, Uuid};
use strandline_protocol::messages::allocate_producer_ids::AllocateProducerIdsRequest;
use strandline_protocol::messages::alter_partition::{
    AlterPartitionRequest, BrokerState, RequestPartitionData, RequestTopicData, ResponsePartitionData,
};
use strandline_protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use strandline_protocol::messages::api_versions::ApiVersionsRequest;
use strandline_protocol::messages::broker_heartbeat::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};
use strandline_protocol::messages::broker_registration::{BrokerRegistrationRequest, Feature, Listener};
use strandline_protocol::messages::create_topics::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use strandline_protocol::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use strandline_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use strandline_protocol::messages::list_partition_reassignments::ListPartitionReassignmentsRequest;
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponsePartition};
use strandline_protocol::messages::unregister_broker::UnregisterBrokerRequest;
use strandline_protocol::messages::update_features::{FeatureUpdateKey, UpdateFeaturesRequest};

/// The node under test is broker 1 and the controller; others are played by hand.
struct Cluster {
    node: TestBroker,
    /// Epochs of the brokers' registrations.
    epochs: [i64; 4],
}

impl Cluster {
    fn new() -> Self {
        // These followers never fetch; that they lag is nothing of what is tested here.
        const LAG: (&str, &str) = ("replica.lag.time.max.ms", "1000000");
        let mut cluster = Self { node: TestBroker::on(Disk::default(), &[LAG]), epochs: [-1; 4] };
        for broker in [2, 3] {
            cluster.start(broker, 1).expect("a new broker");
        }
        cluster
    }

    /// Registers and is unfenced.
    fn start(&mut self, broker: i32, life: u8) -> Result<(), ErrorCode> {
        self.register(broker, life)?;
        assert!(!self.heartbeat(broker, false).is_fenced);
        Ok(())
    }

    fn register(&mut self, broker: i32, life: u8) -> Result<(), ErrorCode> {
        self.register_on(broker, life, broker as u8 + 100)
    }

    fn register_on(&mut self, broker: i32, life: u8, disk: u8) -> Result<(), ErrorCode> {
        let feature =
            |name: &str, most| Feature { name: name.to_owned(), min_supported_version: 0, max_supported_version: most };
        let request = BrokerRegistrationRequest {
            broker_id: BrokerId(broker),
            cluster_id: "test-cluster".to_owned(),
            incarnation_id: Uuid([life; 16]),
            listeners: vec![Listener {
                name: "PLAINTEXT".to_owned(),
                host: "10.0.0.9".to_owned(),
                port: 9092 + broker as u16,
                security_protocol: 0,
            }],
            features: vec![
                feature("eligible.leader.replicas.version", 1),
                feature("group.version", 1),
                feature("share.version", 1),
                feature("metadata.version", 99),
                feature("transaction.version", 2),
            ],
            rack: Some("r".to_owned()),
            log_dirs: vec![Uuid([disk; 16])],
            ..Default::default()
        };
        let Response::BrokerRegistration(response) = self.node.call_inside(broker as u64, 4, request) else {
            panic!("another")
        };
        if response.error_code != ErrorCode::NONE {
            return Err(response.error_code);
        }
        self.epochs[broker as usize] = response.broker_epoch;
        Ok(())
    }

    fn heartbeat(&mut self, broker: i32, want_shut_down: bool) -> BrokerHeartbeatResponse {
        let request = BrokerHeartbeatRequest {
            broker_id: BrokerId(broker),
            broker_epoch: self.epochs[broker as usize],
            current_metadata_offset: Offset(1_000_000),
            want_shut_down,
            ..Default::default()
        };
        let Response::BrokerHeartbeat(response) = self.node.call_inside(broker as u64, 2, request) else { panic!("another") };
        response
    }

    /// Time passes, and these brokers go on with their heartbeats.
    fn pass(&mut self, ms: u64, alive: &[i32]) {
        for _ in 0..ms / 500 {
            self.node.pass(500);
            alive.iter().for_each(|broker| assert_eq!(self.heartbeat(*broker, false).error_code, ErrorCode::NONE));
        }
    }

    fn topic(&mut self, replicas: &[i32]) -> TopicId {
        let assignment =
            CreatableReplicaAssignment { partition_index: 0, broker_ids: replicas.iter().copied().map(BrokerId).collect() };
        let topic = CreatableTopic {
            name: TopicName::from("orders"),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let Response::CreateTopics(response) = self.node.call(7, request) else { panic!("another") };
        assert_eq!(response.topics[0].error_code, ErrorCode::NONE, "{:?}", response.topics[0].error_message);
        response.topics[0].topic_id
    }

    fn partition(&mut self) -> MetadataResponsePartition {
        let topics = Some(vec![MetadataRequestTopic { name: Some(TopicName::from("orders")), ..Default::default() }]);
        let Response::Metadata(response) = self.node.call(12, MetadataRequest { topics, ..Default::default() }) else {
            panic!("another")
        };
        response.topics[0].partitions[0].clone()
    }

    /// Leader and in-sync set, as clients are told.
    fn sets(&mut self) -> (i32, Vec<i32>) {
        let partition = self.partition();
        (partition.leader_id.0, partition.isr_nodes.iter().map(|id| id.0).collect())
    }

    fn propose(&mut self, topic: TopicId, isr: &[i32]) -> ResponsePartitionData {
        let leader = self.partition();
        self.propose_at(topic, isr, leader.leader_epoch, -1)
    }

    /// A negative partition epoch is found by trying: Metadata does not tell it.
    fn propose_at(&mut self, topic: TopicId, isr: &[i32], leader_epoch: LeaderEpoch, epoch: i32) -> ResponsePartitionData {
        let leader = self.partition().leader_id;
        let own_epoch = self.own_epoch();
        let tries = if epoch < 0 { (0..50).collect() } else { vec![epoch] };
        let mut last = ResponsePartitionData::default();
        for partition_epoch in tries {
            let state = |broker: &i32| BrokerState {
                broker_id: BrokerId(*broker),
                broker_epoch: if *broker == 1 { own_epoch } else { self.epochs[*broker as usize] },
            };
            let data = RequestPartitionData {
                partition_index: 0,
                leader_epoch,
                new_isr_with_epochs: isr.iter().map(state).collect(),
                partition_epoch,
                ..Default::default()
            };
            let request = AlterPartitionRequest {
                broker_id: leader,
                broker_epoch: if leader.0 == 1 { own_epoch } else { self.epochs[leader.0 as usize] },
                topics: vec![RequestTopicData { topic_id: topic, partitions: vec![data] }],
            };
            let Response::AlterPartition(response) = self.node.call_inside(9, 3, request) else { panic!("another") };
            assert_eq!(response.error_code, ErrorCode::NONE);
            last = response.topics[0].partitions[0].clone();
            if last.error_code != ErrorCode::INVALID_UPDATE_VERSION {
                return last;
            }
        }
        last
    }

    /// The epoch of broker 1, found the way an operator would not: the block of ids is given to nobody else.
    fn own_epoch(&mut self) -> i64 {
        (0..100).find(|epoch| self.allocate(1, *epoch) == ErrorCode::NONE).expect("registered early in the log")
    }

    fn allocate(&mut self, broker: i32, broker_epoch: i64) -> ErrorCode {
        let request = AllocateProducerIdsRequest { broker_id: BrokerId(broker), broker_epoch };
        let Response::AllocateProducerIds(response) = self.node.call_inside(9, 0, request) else { panic!("another") };
        response.error_code
    }
}

#[test]
fn silence_for_a_session_costs_a_broker_its_leaderships_and_heartbeats_keep_them() {
    let mut cluster = Cluster::new();
    cluster.topic(&[2, 3, 1]);
    cluster.pass(10_000, &[2, 3]);
    assert_eq!(cluster.sets(), (2, vec![2, 3, 1]));
    cluster.pass(2500, &[3]);
    assert_eq!(cluster.sets().0, 2);
    cluster.pass(1000, &[3]);
    assert_eq!(cluster.sets(), (3, vec![3, 1]));
    assert!(!cluster.heartbeat(2, false).is_fenced, "it comes back by itself");
    assert_eq!(cluster.sets(), (3, vec![3, 1]));
}

#[test]
fn a_broker_whose_port_refuses_is_fenced_at_once_and_one_that_answers_is_not() {
    let mut cluster = Cluster::new();
    cluster.topic(&[2, 3, 1]);
    for (lost, leader) in [(PeerLost::TimedOut, 2), (PeerLost::Refused, 3)] {
        cluster.heartbeat(2, false);
        cluster.node.input(Input::Disconnected { connection: ConnectionId(2) });
        let (to, tag) = cluster.node.asked.pop().expect("its port is asked");
        assert_eq!((to.node, to.port), (2, 9094));
        cluster.node.input(Input::Response { tag, result: Err(lost) });
        assert_eq!(cluster.sets().0, leader, "{lost:?}");
    }
    cluster.start(2, 2).expect("another process may take the id at once");
}

#[test]
fn a_new_controller_asks_every_port_once_and_fences_those_where_nobody_listens() {
    let mut cluster = Cluster::new();
    cluster.topic(&[2, 3, 1]);
    let mut cluster = Cluster { node: cluster.node.kill(), epochs: cluster.epochs };
    cluster.node.pass(1);
    // The broker in the same process asks for records at the same time.
    let mut asked = std::mem::take(&mut cluster.node.asked);
    asked.retain(|(_, tag)| tag.asker == Asker::Liveness);
    assert_eq!(asked.iter().map(|(to, _)| to.node).collect::<Vec<_>>(), [2, 3]);
    let (_, tag) = asked[0].clone();
    cluster.node.input(Input::Response { tag, result: Err(PeerLost::Refused) });
    assert_eq!(cluster.sets().0, 3);
    cluster.node.pass(500);
    assert!(cluster.node.asked.iter().all(|(_, tag)| tag.asker != Asker::Liveness));
}

#[test]
fn a_second_process_with_the_same_id_waits_for_the_end_of_the_session() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.register(2, 2), Err(ErrorCode::DUPLICATE_BROKER_REGISTRATION));
    assert_eq!(cluster.register(2, 1), Ok(()), "the same one may amend what it said");
    assert_eq!(cluster.register(1, 9), Err(ErrorCode::DUPLICATE_BROKER_REGISTRATION), "the controller's own broker lives");
    cluster.node.input(Input::Disconnected { connection: ConnectionId(2) });
    assert_eq!(cluster.register_on(2, 2, 177), Err(ErrorCode::DUPLICATE_BROKER_REGISTRATION), "on other disks");
    cluster.pass(3500, &[3]);
    let before = cluster.epochs[2];
    cluster.start(2, 2).expect("its session is over");
    assert!(cluster.epochs[2] > before);
    cluster.epochs[2] = before;
    assert_eq!(cluster.heartbeat(2, false).error_code, ErrorCode::STALE_BROKER_EPOCH);
}

#[test]
fn a_process_that_is_started_again_at_once_takes_the_place_of_the_one_that_was_killed() {
    let mut cluster = Cluster::new();
    cluster.topic(&[2, 3, 1]);
    assert_eq!(cluster.register(2, 2), Err(ErrorCode::DUPLICATE_BROKER_REGISTRATION), "its heartbeats have a connection");
    cluster.node.input(Input::Disconnected { connection: ConnectionId(2) });
    let before = cluster.epochs[2];
    assert_eq!(cluster.register(2, 2), Ok(()));
    assert!(cluster.epochs[2] > before);
    assert_eq!(cluster.sets().0, 3, "another leads until it is back");
}

#[test]
fn a_broker_in_controlled_shutdown_ends_once_its_partitions_moved_and_others_know() {
    let mut cluster = Cluster::new();
    cluster.topic(&[2, 3, 1]);
    let first = cluster.heartbeat(2, true);
    assert_eq!((first.should_shut_down, first.is_fenced), (false, false));
    assert_eq!(cluster.sets(), (3, vec![3, 1]));
    cluster.heartbeat(3, false);
    let second = cluster.heartbeat(2, true);
    assert_eq!((second.should_shut_down, second.is_fenced), (true, true));
    cluster.start(2, 2).expect("no session stands in the way of a restart");
}

#[test]
fn a_leader_changes_its_in_sync_set_only_with_the_epochs_that_are_in_force() {
    let mut cluster = Cluster::new();
    let topic = cluster.topic(&[1, 2, 3]);
    let epoch = cluster.partition().leader_epoch;
    let shrunk = cluster.propose(topic, &[1, 2]);
    assert_eq!((shrunk.error_code, shrunk.partition_epoch), (ErrorCode::NONE, 1));
    assert_eq!(cluster.sets(), (1, vec![1, 2]));
    assert_eq!(cluster.propose_at(topic, &[1], epoch, 0).error_code, ErrorCode::INVALID_UPDATE_VERSION);
    assert_eq!(cluster.propose_at(topic, &[1], epoch, 7).error_code, ErrorCode::NOT_CONTROLLER);
    cluster.epochs[3] -= 1;
    assert_eq!(cluster.propose(topic, &[1, 2, 3]).error_code, ErrorCode::INELIGIBLE_REPLICA);
}

#[test]
fn a_reassignment_is_listed_until_its_replicas_are_in_sync() {
    let mut cluster = Cluster::new();
    let topic = cluster.topic(&[1, 2]);
    let replicas = Some(vec![BrokerId(3), BrokerId(1)]);
    let moved = ReassignableTopic {
        name: TopicName::from("orders"),
        partitions: vec![ReassignablePartition { partition_index: 0, replicas }],
    };
    let request = AlterPartitionReassignmentsRequest { topics: vec![moved], ..Default::default() };
    let Response::AlterPartitionReassignments(response) = cluster.node.call(1, request) else { panic!("another") };
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::NONE);
    let mut listed = || {
        let request = ListPartitionReassignmentsRequest::default();
        let Response::ListPartitionReassignments(response) = cluster.node.call(0, request) else { panic!("another") };
        response.topics
    };
    let under_way = &listed()[0].partitions[0];
    assert_eq!(
        (under_way.adding_replicas.clone(), under_way.removing_replicas.clone()),
        (vec![BrokerId(3)], vec![BrokerId(2)])
    );
    let done = cluster.propose(topic, &[1, 2, 3]);
    assert_eq!(done.error_code, ErrorCode::NONE);
    assert_eq!(cluster.sets(), (1, vec![1, 3]));
    let Response::ListPartitionReassignments(response) = cluster.node.call(0, ListPartitionReassignmentsRequest::default())
    else {
        panic!("another")
    };
    assert!(response.topics.is_empty());
    let asked = TopicPartitions { topic: TopicName::from("orders"), partitions: vec![0] };
    let request = ElectLeadersRequest { topic_partitions: Some(vec![asked]), ..Default::default() };
    let Response::ElectLeaders(response) = cluster.node.call(2, request) else { panic!("another") };
    assert_eq!(response.replica_election_results[0].partition_result[0].error_code, ErrorCode::NONE);
    assert_eq!(cluster.sets().0, 3, "the first of the new replicas is the preferred leader");
}

#[test]
fn the_clock_gives_partitions_back_to_their_preferred_leaders() {
    let mut cluster = Cluster::new();
    let topic = cluster.topic(&[2, 1]);
    cluster.pass(3500, &[3]);
    assert_eq!(cluster.sets(), (1, vec![1]));
    cluster.start(2, 2).expect("its session is over");
    assert_eq!(cluster.propose(topic, &[1, 2]).error_code, ErrorCode::NONE);
    cluster.pass(300_000, &[2, 3]);
    assert_eq!(cluster.sets().0, 2);
}

#[test]
fn an_unregistered_broker_is_not_told_of_any_more() {
    let mut cluster = Cluster::new();
    cluster.topic(&[3, 1]);
    let unregister = |cluster: &mut Cluster| {
        let Response::UnregisterBroker(response) = cluster.node.call(0, UnregisterBrokerRequest { broker_id: BrokerId(3) })
        else {
            panic!("another")
        };
        response.error_code
    };
    assert_eq!(unregister(&mut cluster), ErrorCode::NONE);
    assert_eq!(unregister(&mut cluster), ErrorCode::BROKER_ID_NOT_REGISTERED);
    assert_eq!(cluster.sets(), (1, vec![1]));
    assert_eq!(cluster.partition().offline_replicas, [BrokerId(3)]);
    assert_eq!(cluster.allocate(3, cluster.epochs[3]), ErrorCode::STALE_BROKER_EPOCH);
}

#[test]
fn one_broker_has_configs_of_its_own_but_no_minimum_of_in_sync_replicas() {
    let mut cluster = Cluster::new();
    let mut set = |resource: &str, name: &str, value: &str| {
        let config = AlterableConfig { name: name.to_owned(), config_operation: 0, value: Some(value.to_owned()) };
        let resource = AlterConfigsResource { resource_type: 4, resource_name: resource.to_owned(), configs: vec![config] };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let Response::IncrementalAlterConfigs(response) = cluster.node.call(1, request) else { panic!("another") };
        response.responses[0].error_code
    };
    assert_eq!(set("2", "log.retention.ms", "1000"), ErrorCode::NONE);
    assert_eq!(set("7", "log.retention.ms", "1000"), ErrorCode::INVALID_REQUEST);
    assert_eq!(set("2", "min.insync.replicas", "2"), ErrorCode::INVALID_CONFIG);
    assert_eq!(set("", "min.insync.replicas", "2"), ErrorCode::NONE);
}

#[test]
fn a_level_that_is_finalized_is_told_and_lowered_only_on_demand() {
    let mut cluster = Cluster::new();
    let mut lower = |upgrade_type: i8| {
        let update = FeatureUpdateKey {
            feature: "eligible.leader.replicas.version".to_owned(),
            max_version_level: 0,
            upgrade_type,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
        let Response::UpdateFeatures(response) = cluster.node.call(2, request) else { panic!("another") };
        response.error_code
    };
    assert_eq!(lower(1), ErrorCode::INVALID_UPDATE_VERSION);
    assert_eq!(lower(2), ErrorCode::NONE);
    let asked = ApiVersionsRequest { client_software_name: "t".to_owned(), client_software_version: "1".to_owned() };
    let Response::ApiVersions(told) = cluster.node.call(4, asked) else { panic!("another") };
    let names: Vec<_> = told.finalized_features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["group.version", "metadata.version", "share.version", "transaction.version"]);
}
