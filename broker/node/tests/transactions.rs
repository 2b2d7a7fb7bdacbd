//! Transactions as their producers meet them: a single broker without sockets and files.

mod harness;

use harness::{Disk, TestBroker, transactional};
use strandline_node::io::{ConnectionId, Input, Sequence};
use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicName, TransactionalId};
use strandline_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use strandline_protocol::messages::describe_producers::{DescribeProducersRequest, ProducerState, TopicRequest};
use strandline_protocol::messages::describe_transactions::{DescribeTransactionsRequest, TransactionState};
use strandline_protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use strandline_protocol::messages::fetch::PartitionData;
use strandline_protocol::messages::find_coordinator::FindCoordinatorRequest;
use strandline_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use strandline_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use strandline_protocol::messages::list_transactions::ListTransactionsRequest;
use strandline_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use strandline_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use strandline_protocol::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest};
use strandline_protocol::records::ProducerStamp;

const ID: &str = "payments";
const GROUP: &str = "readers";
const SETTINGS: &[(&str, &str)] = &[("offsets.topic.num.partitions", "3"), ("transaction.state.log.num.partitions", "3")];

/// A producer that works by `transaction.version` 2, or the way before.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Adding,
    Raising,
}

struct Producer {
    way: Way,
    id: ProducerId,
    epoch: ProducerEpoch,
    /// Of the next record, by partition.
    sequences: [i32; 2],
}

/// A broker that has a topic `t` of two partitions, and coordinators.
fn broker() -> TestBroker {
    let mut broker = TestBroker::on(Disk::default(), SETTINGS);
    broker.create_topic("t", 2, &[]);
    for (kind, key) in [(0, GROUP), (1, ID)] {
        find(&mut broker, kind, key);
        assert_eq!(find(&mut broker, kind, key), ErrorCode::NONE);
    }
    broker
}

fn find(broker: &mut TestBroker, key_type: i8, key: &str) -> ErrorCode {
    let request = FindCoordinatorRequest { key_type, coordinator_keys: vec![key.to_owned()], ..Default::default() };
    let Response::FindCoordinator(response) = broker.call(6, request) else { panic!("another response") };
    response.coordinators[0].error_code
}

fn init_request(expected: Option<(ProducerId, ProducerEpoch)>) -> InitProducerIdRequest {
    let (producer_id, producer_epoch) = expected.unwrap_or((ProducerId::NONE, ProducerEpoch::NONE));
    let transactional_id = Some(TransactionalId::from(ID));
    InitProducerIdRequest {
        transactional_id,
        transaction_timeout_ms: 30_000,
        producer_id,
        producer_epoch,
        ..Default::default()
    }
}

fn init(broker: &mut TestBroker, request: InitProducerIdRequest) -> InitProducerIdResponse {
    loop {
        let Response::InitProducerId(response) = broker.call(5, request.clone()) else { panic!("another response") };
        if response.error_code != ErrorCode::COORDINATOR_LOAD_IN_PROGRESS {
            return response;
        }
    }
}

fn producer(broker: &mut TestBroker, way: Way) -> Producer {
    loop {
        let given = init(broker, init_request(None));
        if given.error_code != ErrorCode::CONCURRENT_TRANSACTIONS {
            assert_eq!(given.error_code, ErrorCode::NONE);
            return Producer { way, id: given.producer_id, epoch: given.producer_epoch, sequences: [0; 2] };
        }
    }
}

impl Producer {
    fn add_request(&self, partition: i32) -> AddPartitionsToTxnRequest {
        AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: ID.into(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![partition] }],
            ..Default::default()
        }
    }

    fn add(&self, broker: &mut TestBroker, partition: i32) -> ErrorCode {
        let sequence = broker.send(3, self.add_request(partition));
        added(broker, sequence).expect("answered at once")
    }

    fn write(&mut self, broker: &mut TestBroker, partition: i32, value: &str) -> ErrorCode {
        if self.way == Way::Adding {
            assert_eq!(self.add(broker, partition), ErrorCode::NONE);
        }
        self.write_unadded(broker, partition, value)
    }

    fn write_unadded(&mut self, broker: &mut TestBroker, partition: i32, value: &str) -> ErrorCode {
        let at = usize::try_from(partition).expect("small");
        let stamp = ProducerStamp { id: self.id.0, epoch: self.epoch.0, base_sequence: self.sequences[at] };
        let version = if self.way == Way::Raising { 12 } else { 9 };
        let sequence = broker.send_transactional(version, ID, "t", partition, transactional(&[value], stamp));
        let code = produced(broker, sequence).expect("answered");
        if code == ErrorCode::NONE {
            self.sequences[at] += 1;
        }
        code
    }

    fn end_request(&self, committed: bool) -> EndTxnRequest {
        EndTxnRequest { transactional_id: ID.into(), producer_id: self.id, producer_epoch: self.epoch, committed }
    }

    fn ask_end(&self, broker: &mut TestBroker, committed: bool) -> EndTxnResponse {
        let version = if self.way == Way::Raising { 5 } else { 4 };
        let Response::EndTxn(response) = broker.call(version, self.end_request(committed)) else { panic!("another response") };
        response
    }

    fn end(&mut self, broker: &mut TestBroker, committed: bool) {
        let response = self.ask_end(broker, committed);
        assert_eq!(response.error_code, ErrorCode::NONE);
        if self.way == Way::Raising {
            (self.id, self.epoch, self.sequences) = (response.producer_id, response.producer_epoch, [0; 2]);
        }
    }

    fn offset_request(&self, offset: i64) -> TxnOffsetCommitRequest {
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset: Offset(offset),
            committed_leader_epoch: LeaderEpoch::NONE,
            committed_metadata: None,
        };
        TxnOffsetCommitRequest {
            transactional_id: ID.into(),
            group_id: GROUP.into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            generation_id: -1,
            topics: vec![TxnOffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] }],
            ..Default::default()
        }
    }

    fn commit_offset(&self, broker: &mut TestBroker, offset: i64) -> ErrorCode {
        let Response::TxnOffsetCommit(response) = broker.call(5, self.offset_request(offset)) else {
            panic!("another response")
        };
        response.topics[0].partitions[0].error_code
    }
}

/// What is said of the first partition of a request that adds some, once it is answered.
fn added(broker: &mut TestBroker, sequence: Sequence) -> Option<ErrorCode> {
    let response = match broker.reply(sequence)? {
        Response::AddPartitionsToTxn(response) => response,
        other => panic!("another response: {other:?}"),
    };
    Some(response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code)
}

/// What is said of the first partition of records, once they are answered.
fn produced(broker: &mut TestBroker, sequence: Sequence) -> Option<ErrorCode> {
    let response = match broker.reply(sequence)? {
        Response::Produce(response) => response,
        other => panic!("another response: {other:?}"),
    };
    Some(response.responses[0].partition_responses[0].error_code)
}

fn read_committed(broker: &mut TestBroker, partition: i32) -> PartitionData {
    let request = TestBroker::fetch_request("t", partition, 0);
    let Response::Fetch(response) =
        broker.call(12, strandline_protocol::messages::fetch::FetchRequest { isolation_level: 1, max_wait_ms: 0, ..request })
    else {
        panic!("another response")
    };
    response.responses[0].partitions[0].clone()
}

fn committed_offset(broker: &mut TestBroker, require_stable: bool) -> (ErrorCode, i64) {
    let topic = OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![0], ..Default::default() };
    let group = OffsetFetchRequestGroup {
        group_id: GroupId::from(GROUP),
        member_epoch: -1,
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], require_stable, ..Default::default() };
    let Response::OffsetFetch(response) = broker.call(8, request) else { panic!("another response") };
    let partition = &response.groups[0].topics[0].partitions[0];
    (partition.error_code, partition.committed_offset.0)
}

fn described(broker: &mut TestBroker) -> TransactionState {
    let request = DescribeTransactionsRequest { transactional_ids: vec![ID.into()] };
    let Response::DescribeTransactions(mut response) = broker.call(0, request) else { panic!("another response") };
    response.transaction_states.remove(0)
}

fn producers(broker: &mut TestBroker, partition: i32) -> Vec<ProducerState> {
    let topic = TopicRequest { name: "t".into(), partition_indexes: vec![partition] };
    let Response::DescribeProducers(mut response) = broker.call(0, DescribeProducersRequest { topics: vec![topic] }) else {
        panic!("another response")
    };
    std::mem::take(&mut response.topics[0].partitions[0].active_producers)
}

#[test]
fn a_commit_and_an_abort_are_seen_by_readers_of_committed_records() {
    for way in [Way::Adding, Way::Raising] {
        let mut broker = broker();
        let mut producer = producer(&mut broker, way);
        assert_eq!(producer.write(&mut broker, 0, "a"), ErrorCode::NONE);
        assert_eq!(producer.write(&mut broker, 1, "b"), ErrorCode::NONE);
        let open = read_committed(&mut broker, 0);
        assert_eq!((open.high_watermark, open.last_stable_offset), (Offset(1), Offset(0)));
        assert_eq!(described(&mut broker).transaction_state, "Ongoing");
        let epoch = producer.epoch;
        producer.end(&mut broker, true);
        assert_eq!(described(&mut broker).transaction_state, "CompleteCommit");
        assert_eq!(producer.epoch.0 - epoch.0, i16::from(way == Way::Raising));
        for partition in 0..2 {
            let decided = read_committed(&mut broker, partition);
            assert_eq!((decided.last_stable_offset, decided.aborted_transactions), (Offset(2), Some(Vec::new())));
        }
        assert_eq!(producer.write(&mut broker, 0, "c"), ErrorCode::NONE);
        producer.end(&mut broker, false);
        assert_eq!(described(&mut broker).transaction_state, "CompleteAbort");
        let aborted = read_committed(&mut broker, 0);
        assert_eq!(aborted.last_stable_offset, Offset(4));
        let aborted = aborted.aborted_transactions.expect("a list");
        assert_eq!((aborted.len(), aborted[0].first_offset), (1, Offset(2)));
    }
}

#[test]
fn a_record_of_no_transaction_is_refused_and_leaves_nothing_open() {
    let mut broker = broker();
    let mut producer = producer(&mut broker, Way::Adding);
    assert_eq!(producer.write_unadded(&mut broker, 0, "a"), ErrorCode::INVALID_TXN_STATE);
    assert_eq!(producers(&mut broker, 0), []);
    assert_eq!(producer.write(&mut broker, 0, "b"), ErrorCode::NONE);
    producer.end(&mut broker, true);
    assert_eq!(producer.write_unadded(&mut broker, 0, "late"), ErrorCode::INVALID_TXN_STATE);
    let stamp = ProducerStamp { id: producer.id.0, epoch: producer.epoch.0, base_sequence: 1 };
    let sequence = broker.send_produce(-1, "t", 0, transactional(&["x"], stamp));
    let code = produced(&mut broker, sequence).expect("answered");
    assert_eq!(code, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "without a transactional id");
}

#[test]
fn a_second_producer_fences_the_first_and_aborts_its_transaction() {
    for way in [Way::Adding, Way::Raising] {
        let mut broker = broker();
        let mut first = producer(&mut broker, way);
        assert_eq!(first.write(&mut broker, 0, "a"), ErrorCode::NONE);
        // The answer waits until the transaction is aborted.
        broker.hold = true;
        let second = broker.send(5, init_request(None));
        assert!(broker.reply(second).is_none());
        assert_eq!(first.ask_end(&mut broker, true).error_code, ErrorCode::PRODUCER_FENCED);
        assert_eq!(first.ask_end(&mut broker, false).error_code, ErrorCode::PRODUCER_FENCED);
        broker.release();
        let Some(Response::InitProducerId(given)) = broker.reply(second) else { panic!("not answered") };
        assert_eq!((given.error_code, given.producer_id), (ErrorCode::NONE, first.id));
        let mut second = Producer { way, id: given.producer_id, epoch: given.producer_epoch, sequences: [0; 2] };
        assert!(second.epoch > first.epoch);
        assert_eq!(first.write_unadded(&mut broker, 0, "z"), ErrorCode::INVALID_PRODUCER_EPOCH);
        assert_eq!(first.write_unadded(&mut broker, 1, "z"), ErrorCode::INVALID_PRODUCER_EPOCH);
        let expected = Some((first.id, first.epoch));
        assert_eq!(init(&mut broker, init_request(expected)).error_code, ErrorCode::PRODUCER_FENCED);
        assert_eq!(second.write(&mut broker, 0, "b"), ErrorCode::NONE);
        second.end(&mut broker, true);
        assert_eq!(read_committed(&mut broker, 0).aborted_transactions.expect("a list").len(), 1);
    }
}

#[test]
fn the_next_transaction_waits_for_the_markers_of_the_one_before() {
    let mut broker = broker();
    let mut adding = producer(&mut broker, Way::Adding);
    adding.write(&mut broker, 0, "a");
    broker.hold = true;
    let ending = broker.send(4, adding.end_request(true));
    let next = broker.send(3, adding.add_request(1));
    let again = broker.send(4, adding.end_request(true));
    assert!(added(&mut broker, next).is_none());
    broker.release();
    for ended in [ending, again] {
        let Some(Response::EndTxn(ended)) = broker.reply(ended) else { panic!("not answered") };
        assert_eq!(ended.error_code, ErrorCode::NONE);
    }
    assert_eq!(added(&mut broker, next), Some(ErrorCode::NONE));
}

#[test]
fn records_of_the_next_transaction_keep_their_guard_past_the_marker_of_the_one_before() {
    let mut broker = broker();
    let mut first = producer(&mut broker, Way::Raising);
    first.write(&mut broker, 0, "a");
    first.commit_offset(&mut broker, 5);
    broker.hold = true;
    broker.send(5, first.end_request(true));
    // The client knows its next epoch once the decision is on the disk; the markers are not.
    let next = Producer { epoch: ProducerEpoch(first.epoch.0 + 1), ..first };
    let stamp = ProducerStamp { id: next.id.0, epoch: next.epoch.0, base_sequence: 0 };
    let records = broker.send_transactional(12, ID, "t", 0, transactional(&["b"], stamp));
    let offsets = broker.send(5, next.offset_request(9));
    assert_eq!((produced(&mut broker, records), broker.reply(offsets).is_none()), (None, true));
    broker.release();
    assert_eq!(produced(&mut broker, records), Some(ErrorCode::NONE));
    let Some(Response::TxnOffsetCommit(committed)) = broker.reply(offsets) else { panic!("not answered") };
    assert_eq!(committed.topics[0].partitions[0].error_code, ErrorCode::NONE);
    let read = read_committed(&mut broker, 0);
    assert_eq!((read.last_stable_offset, read.high_watermark), (Offset(2), Offset(3)), "the marker stands between them");
    assert_eq!(committed_offset(&mut broker, false), (ErrorCode::NONE, 5));
    let mut next = next;
    next.end(&mut broker, true);
    assert_eq!(committed_offset(&mut broker, true), (ErrorCode::NONE, 9));
}

#[test]
fn markers_that_take_too_long_are_waited_for_once() {
    let mut broker = broker();
    let mut producer = producer(&mut broker, Way::Adding);
    producer.write(&mut broker, 0, "a");
    broker.hold = true;
    broker.send(4, producer.end_request(true));
    broker.pass(40);
    let next = broker.send(3, producer.add_request(1));
    broker.pass(59);
    assert!(added(&mut broker, next).is_none());
    broker.pass(1);
    assert_eq!(added(&mut broker, next), Some(ErrorCode::CONCURRENT_TRANSACTIONS));
    assert_eq!(producer.add(&mut broker, 1), ErrorCode::CONCURRENT_TRANSACTIONS, "the time counts from the decision");
    let held = broker.node.held_requests();
    assert_eq!((held.carried_out, held.refused), (0, 1));
    broker.release();
    assert_eq!(described(&mut broker).transaction_state, "CompleteCommit", "the request was not carried out afterwards");
    assert_eq!(producer.add(&mut broker, 1), ErrorCode::NONE);
}

#[test]
fn a_request_whose_client_is_gone_begins_nothing() {
    let mut broker = broker();
    let mut producer = producer(&mut broker, Way::Adding);
    producer.write(&mut broker, 0, "a");
    broker.hold = true;
    broker.send(4, producer.end_request(true));
    broker.send(3, producer.add_request(1));
    let held = |broker: &TestBroker| broker.node.gauges(0).transactions.held_requests;
    assert_eq!(held(&broker), 1);
    broker.input(Input::Disconnected { connection: ConnectionId(1) });
    assert_eq!(held(&broker), 0);
    broker.release();
    assert_eq!(described(&mut broker).transaction_state, "CompleteCommit");
}

#[test]
fn a_producer_that_gets_another_id_with_the_end_of_a_transaction_may_begin_the_next_at_once() {
    let mut broker = broker();
    let mut producer = producer(&mut broker, Way::Raising);
    // An abort of nothing raises the epoch too; the last one is the coordinator's.
    while producer.epoch.0 < i16::MAX - 1 {
        producer.end(&mut broker, false);
    }
    let before = producer.id;
    producer.write(&mut broker, 0, "a");
    broker.hold = true;
    let ending = broker.send(5, producer.end_request(true));
    let stamp = ProducerStamp { id: before.0 + 1, epoch: 0, base_sequence: 0 };
    let next = broker.send_transactional(12, ID, "t", 0, transactional(&["b"], stamp));
    assert_eq!(produced(&mut broker, next), None);
    broker.release();
    let Some(Response::EndTxn(ended)) = broker.reply(ending) else { panic!("not answered") };
    assert_eq!((ended.producer_id.0, ended.producer_epoch), (before.0 + 1, ProducerEpoch(0)));
    assert_eq!(produced(&mut broker, next), Some(ErrorCode::NONE));
}

#[test]
fn a_late_end_and_a_late_record_cannot_touch_the_next_transaction() {
    let mut broker = broker();
    let mut producer = producer(&mut broker, Way::Raising);
    producer.write(&mut broker, 0, "a");
    let late = Producer { ..producer };
    producer.end(&mut broker, true);
    assert_eq!(late.ask_end(&mut broker, true).producer_epoch, producer.epoch, "a retry is told what it missed");
    assert_eq!(late.ask_end(&mut broker, false).error_code, ErrorCode::INVALID_TXN_STATE);
    producer.write(&mut broker, 0, "b");
    assert_eq!(late.ask_end(&mut broker, true).error_code, ErrorCode::PRODUCER_FENCED);
    let mut late = late;
    assert_eq!(late.write(&mut broker, 0, "late"), ErrorCode::INVALID_PRODUCER_EPOCH);
    assert_eq!(late.write(&mut broker, 1, "late"), ErrorCode::INVALID_PRODUCER_EPOCH, "where the transaction never was");
    producer.end(&mut broker, false);
    assert_eq!(producers(&mut broker, 1), []);
    assert_eq!(read_committed(&mut broker, 0).last_stable_offset, Offset(4));
}

#[test]
fn offsets_count_once_their_transaction_is_committed() {
    for way in [Way::Adding, Way::Raising] {
        let mut broker = broker();
        let mut producer = producer(&mut broker, Way::Raising);
        producer.way = way;
        let done = producer.commit_offset(&mut broker, 5);
        assert_eq!(done, ErrorCode::NONE);
        assert_eq!(committed_offset(&mut broker, false), (ErrorCode::NONE, -1));
        assert_eq!(committed_offset(&mut broker, true).0, ErrorCode::UNSTABLE_OFFSET_COMMIT);
        producer.end(&mut broker, true);
        assert_eq!(committed_offset(&mut broker, true), (ErrorCode::NONE, 5));
        assert_eq!(producer.commit_offset(&mut broker, 9), ErrorCode::NONE);
        producer.end(&mut broker, false);
        assert_eq!(committed_offset(&mut broker, true), (ErrorCode::NONE, 5));
        let mut broker = broker.kill();
        assert_eq!(committed_offset(&mut broker, true), (ErrorCode::NONE, 5));
    }
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_may_go_on() {
    let mut broker = broker();
    let mut producer = producer(&mut broker, Way::Raising);
    producer.write(&mut broker, 0, "a");
    (0..5).for_each(|_| broker.pass(10_000));
    assert_eq!(described(&mut broker).transaction_state, "CompleteAbort");
    assert_eq!(read_committed(&mut broker, 0).last_stable_offset, Offset(2));
    assert_eq!(producer.ask_end(&mut broker, true).error_code, ErrorCode::INVALID_TXN_STATE);
    producer.end(&mut broker, false);
    assert_eq!(producer.write(&mut broker, 0, "b"), ErrorCode::NONE);
    producer.end(&mut broker, true);
}

#[test]
fn what_was_decided_is_carried_out_after_a_crash_and_what_was_not_goes_on() {
    for way in [Way::Adding, Way::Raising] {
        let mut broker = broker();
        let mut producer = producer(&mut broker, way);
        producer.write(&mut broker, 0, "a");
        producer.write(&mut broker, 1, "b");
        let mut broker = broker.kill();
        assert_eq!(described(&mut broker).transaction_state, "Ongoing");
        assert_eq!(producer.write(&mut broker, 0, "c"), ErrorCode::NONE);
        // Counts the disk operations of an end, then dies after each of them.
        for fuse in 1.. {
            broker.fuse = Some(fuse);
            let version = if way == Way::Raising { 5 } else { 4 };
            broker.send(version, producer.end_request(true));
            let finished = !broker.is_dead();
            broker = broker.kill();
            broker.fuse = None;
            let state = described(&mut broker).transaction_state;
            if state != "Ongoing" {
                assert_eq!(state, "CompleteCommit", "whatever is decided is carried out");
                for partition in 0..2 {
                    let read = read_committed(&mut broker, partition);
                    assert_eq!(read.last_stable_offset, read.high_watermark);
                    assert_eq!(read.aborted_transactions, Some(Vec::new()));
                }
            }
            if finished {
                break;
            }
        }
    }
}

#[test]
fn an_operator_can_end_a_transaction_that_hangs() {
    let mut broker = broker();
    let mut producer = producer(&mut broker, Way::Adding);
    producer.write(&mut broker, 0, "a");
    let hanging = producers(&mut broker, 0);
    assert_eq!(hanging[0].current_txn_start_offset, Offset(0));
    let marker = WritableTxnMarker {
        producer_id: hanging[0].producer_id,
        producer_epoch: ProducerEpoch(i16::try_from(hanging[0].producer_epoch).expect("small")),
        transaction_result: false,
        topics: vec![WritableTxnMarkerTopic { name: TopicName::from("t"), partition_indexes: vec![0, 7] }],
        coordinator_epoch: hanging[0].coordinator_epoch,
        transaction_version: 0,
    };
    let request = WriteTxnMarkersRequest { markers: vec![marker] };
    let Response::WriteTxnMarkers(response) = broker.call(1, request) else { panic!("another response") };
    let codes: Vec<ErrorCode> = response.markers[0].topics[0].partitions.iter().map(|done| done.error_code).collect();
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
    assert_eq!(producers(&mut broker, 0)[0].current_txn_start_offset, Offset::NONE);
    assert_eq!(read_committed(&mut broker, 0).last_stable_offset, Offset(2));
}

#[test]
fn transactions_are_listed_by_state_producer_time_and_name() {
    let mut broker = broker();
    let mut producer = producer(&mut broker, Way::Raising);
    producer.write(&mut broker, 0, "a");
    broker.pass(5_000);
    let mut list = |request: ListTransactionsRequest| {
        let Response::ListTransactions(response) = broker.call(2, request) else { panic!("another response") };
        (response.error_code, response.transaction_states.len(), response.unknown_state_filters)
    };
    let all = || ListTransactionsRequest { duration_filter: -1, ..Default::default() };
    let states = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let some = |count| (ErrorCode::NONE, count, Vec::new());
    assert_eq!(list(all()), some(1));
    assert_eq!(list(ListTransactionsRequest { state_filters: states(&["Ongoing", "Dead"]), ..all() }), some(1));
    assert_eq!(list(ListTransactionsRequest { state_filters: states(&["Empty"]), ..all() }), some(0));
    let unknown = (ErrorCode::NONE, 0, states(&["Sleeping"]));
    assert_eq!(list(ListTransactionsRequest { state_filters: states(&["Sleeping"]), ..all() }), unknown);
    assert_eq!(list(ListTransactionsRequest { producer_id_filters: vec![ProducerId(99)], ..all() }), some(0));
    assert_eq!(list(ListTransactionsRequest { duration_filter: 4_000, ..all() }), some(1));
    assert_eq!(list(ListTransactionsRequest { duration_filter: 9_000, ..all() }), some(0));
    let pattern = |text: &str| ListTransactionsRequest { transactional_id_pattern: Some(text.to_owned()), ..all() };
    assert_eq!(list(pattern("pay.*")), some(1));
    assert_eq!(list(pattern("pay")), some(0), "the whole name has to match");
    assert_eq!(list(pattern(")(")).0, ErrorCode::INVALID_REGULAR_EXPRESSION);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut broker = broker();
    let timeout = |ms| InitProducerIdRequest { transaction_timeout_ms: ms, ..init_request(None) };
    assert_eq!(init(&mut broker, timeout(0)).error_code, ErrorCode::INVALID_TRANSACTION_TIMEOUT);
    assert_eq!(init(&mut broker, timeout(900_001)).error_code, ErrorCode::INVALID_TRANSACTION_TIMEOUT);
    let nameless = InitProducerIdRequest { transactional_id: Some("".into()), ..init_request(None) };
    assert_eq!(init(&mut broker, nameless).error_code, ErrorCode::INVALID_REQUEST);
    let half = InitProducerIdRequest { producer_epoch: ProducerEpoch(3), ..init_request(None) };
    assert_eq!(init(&mut broker, half).error_code, ErrorCode::INVALID_REQUEST);
    let mut producer = producer(&mut broker, Way::Adding);
    assert_eq!(producer.add(&mut broker, 9), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(producer.ask_end(&mut broker, true).error_code, ErrorCode::INVALID_TXN_STATE, "nothing is open");
    producer.id = ProducerId(producer.id.0 + 1);
    assert_eq!(producer.add(&mut broker, 0), ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    assert_eq!(producer.ask_end(&mut broker, true).error_code, ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    let asked = AddPartitionsToTxnTransaction {
        transactional_id: ID.into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        verify_only: true,
        topics: Vec::new(),
    };
    let request = AddPartitionsToTxnRequest { transactions: vec![asked], ..Default::default() };
    let Response::AddPartitionsToTxn(response) = broker.call(5, request) else { panic!("another response") };
    assert_eq!(response.error_code, ErrorCode::CLUSTER_AUTHORIZATION_FAILED, "for brokers only");
}

#[test]
fn an_id_that_nobody_used_for_long_is_forgotten() {
    let settings: Vec<_> = SETTINGS.iter().copied().chain([("transactional.id.expiration.ms", "60000")]).collect();
    let mut broker = TestBroker::on(Disk::default(), &settings);
    broker.create_topic("t", 1, &[]);
    find(&mut broker, 1, ID);
    producer(&mut broker, Way::Raising);
    broker.pass(3_600_000);
    assert_eq!(described(&mut broker).error_code, ErrorCode::TRANSACTIONAL_ID_NOT_FOUND);
    let mut broker = broker.kill();
    assert_eq!(described(&mut broker).error_code, ErrorCode::TRANSACTIONAL_ID_NOT_FOUND);
}

#[test]
fn what_becomes_of_transactions_is_counted() {
    let mut broker = broker();
    let mut first = producer(&mut broker, Way::Raising);
    let gauges = |broker: &TestBroker| broker.node.gauges(broker.now.wall_ms).transactions;
    first.write(&mut broker, 0, "a");
    let open = gauges(&broker);
    assert_eq!((open.ids["Ongoing"], open.ids["CompleteCommit"], open.producer_ids), (1, 0, 1));
    first.end(&mut broker, true);
    first.write(&mut broker, 0, "b");
    first.end(&mut broker, false);
    first.write(&mut broker, 0, "c");
    (0..5).for_each(|_| broker.pass(10_000));
    let over = gauges(&broker);
    assert_eq!((over.totals.committed, over.totals.aborted, over.totals.timed_out), (1, 2, 1));
    assert_eq!((over.ids["Ongoing"], over.ids["CompleteAbort"], over.markers_pending), (0, 1, 0));
    let mut second = producer(&mut broker, Way::Adding);
    assert_eq!(second.write_unadded(&mut broker, 0, "d"), ErrorCode::INVALID_TXN_STATE);
    assert_eq!((gauges(&broker).verification_failures, gauges(&broker).late_partitions), (1, 0));
}

#[test]
fn a_transaction_that_nobody_will_end_is_counted_as_late() {
    let unverified = ("transaction.partition.verification.enable", "false");
    let settings: Vec<_> = SETTINGS.iter().copied().chain([unverified]).collect();
    let mut broker = TestBroker::on(Disk::default(), &settings);
    broker.create_topic("t", 2, &[]);
    find(&mut broker, 1, ID);
    let mut producer = producer(&mut broker, Way::Adding);
    assert_eq!(producer.write_unadded(&mut broker, 0, "of no transaction"), ErrorCode::NONE);
    let late = |broker: &TestBroker| broker.node.gauges(broker.now.wall_ms).transactions.late_partitions;
    broker.pass(20 * 60 * 1000);
    assert_eq!(late(&broker), 0);
    broker.pass(1);
    assert_eq!(late(&broker), 1);
}

#[test]
fn list_offsets_gives_readers_of_committed_records_the_last_stable_offset() {
    let mut broker = broker();
    let mut producer = producer(&mut broker, Way::Raising);
    producer.write(&mut broker, 0, "a");
    let mut latest = |isolation_level| {
        let partition = ListOffsetsPartition { partition_index: 0, current_leader_epoch: LeaderEpoch::NONE, timestamp: -1 };
        let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: vec![partition] }];
        let request = ListOffsetsRequest { isolation_level, topics, ..Default::default() };
        let Response::ListOffsets(response) = broker.call(7, request) else { panic!("another response") };
        response.topics[0].partitions[0].offset
    };
    assert_eq!((latest(0), latest(1)), (Offset(1), Offset(0)));
}
