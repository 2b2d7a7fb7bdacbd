//! Three nodes in one room. Each believes to be its own quorum; the same records are committed in all of them, by hand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use strandline_log::cut;
use strandline_log::disk::{DiskError, Entry, FilePath, Files};
use strandline_log::memory::MemoryDisk;
use strandline_log::slice::Slice;
use strandline_protocol::api::{Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicId, TopicName, Uuid};
use strandline_protocol::messages::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, ResponsePartitionData, ResponseTopicData,
};
use strandline_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
use strandline_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use strandline_protocol::messages::share_fetch::{self, ShareFetchRequest};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::metadata::broker::{BrokerEndpoint, FenceBrokerRecord, RegisterBrokerRecord, UnfenceBrokerRecord};
use strandline_protocol::metadata::partition::{PartitionChangeRecord, PartitionRecord};
use strandline_protocol::metadata::topic::TopicRecord;
use strandline_protocol::records::{BatchBuilder, BatchHeader, BatchOptions, Batches, NewRecord, ProducerStamp, Scratch, open};
use strandline_protocol::wire::Records;

use crate::apis::SERVED;
use crate::boot::Boot;
use crate::config::BrokerConfig;
use crate::inspect::PartitionView;
use crate::io::{
    Asked, BatchOutcome, CheckedProduce, ConnectionId, Effect, Input, Job, JobResult, ListenerKind, Now, Owner, PeerAddress,
    PeerLost, Reply, RequestContext, Sequence, Tag,
};
use crate::log_dirs::LogDirs;
use crate::metadata_log::load;
use crate::node::{METADATA_SLOT, Node};
use crate::peers;
use crate::topology::Topology;

const TOPIC: TopicId = TopicId([5; 16]);
/// The node that plays the controller; it is none of the three.
const CONTROLLER: i32 = 99;

struct Machine {
    node: Node,
    disk: MemoryDisk,
    held: Option<Vec<Effect>>,
    /// Its disk failed, and it is about to end.
    failed: bool,
    /// Records committed elsewhere that it has not learned of.
    unlearned: Vec<MetadataRecord>,
    learns: bool,
}

pub(super) struct Trio {
    machines: BTreeMap<i32, Machine>,
    now: Now,
    /// Nobody reaches these and they reach nobody.
    cut: BTreeSet<i32>,
    inputs: VecDeque<(i32, Input)>,
    next_sequence: u64,
    /// Requests of peers, by who answers them: who asked.
    asked: BTreeMap<(i32, Sequence), (i32, Tag)>,
    replies: BTreeMap<Sequence, Option<Response>>,
    last_produce: Option<Response>,
    proposals: Vec<(i32, Tag, AlterPartitionRequest)>,
    epoch: i32,
    partition_epoch: i32,
}

impl Trio {
    pub(super) fn new(keys: &[(&str, &str)]) -> Self {
        let mut trio = Self {
            machines: BTreeMap::new(),
            now: Now { wall_ms: 1_800_000_000_000, monotonic_ms: 5_000 },
            cut: BTreeSet::new(),
            inputs: VecDeque::new(),
            next_sequence: 0,
            asked: BTreeMap::new(),
            replies: BTreeMap::new(),
            last_produce: None,
            proposals: Vec::new(),
            epoch: 0,
            partition_epoch: 0,
        };
        for id in 1..=3 {
            trio.start(id, keys);
        }
        for id in 1..=3 {
            trio.commit(&[registered(id)]);
        }
        trio
    }

    fn start(&mut self, id: i32, keys: &[(&str, &str)]) {
        let own = [("node.id".to_owned(), id.to_string()), ("listeners".to_owned(), format!("PLAINTEXT://host-{id}:9092"))];
        let given = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let config = BrokerConfig::from_pairs(own.into_iter().chain(given)).expect("legal keys");
        let disk = MemoryDisk::default();
        let boot = Boot {
            topology: Topology::read(&config).expect("a legal node"),
            config,
            cluster_id: "trio".to_owned(),
            log_dirs: LogDirs::single(Uuid([u8::try_from(id).expect("small"); 16]), "/data"),
            seed: u64::from(id.unsigned_abs()),
            metadata: load(&Top(&disk), self.now.wall_ms).expect("an empty directory"),
            recovered: Vec::new(),
            previous_broker_epoch: -1,
            offline: Vec::new(),
        };
        let mut outbox = Vec::new();
        let mut node = boot.node();
        node.start(self.now, &mut outbox);
        self.machines.insert(id, Machine { node, disk, held: None, failed: false, unlearned: Vec::new(), learns: true });
        self.carry_out(id, outbox);
        self.run();
    }

    /// Commits records everywhere, except where `learns` is off.
    fn commit(&mut self, records: &[MetadataRecord]) {
        for id in 1..=3 {
            let Some(machine) = self.machines.get_mut(&id) else { continue };
            machine.unlearned.extend_from_slice(records);
            if machine.learns {
                self.learn(id);
            }
        }
    }

    /// The broker learns what was committed.
    pub(super) fn learn(&mut self, id: i32) {
        let now = self.now;
        let machine = self.machines.get_mut(&id).expect("one of three");
        let records = std::mem::take(&mut machine.unlearned);
        for record in records {
            machine.node.broker.controller.emit(now, vec![record]);
        }
        let mut outbox = Vec::new();
        machine.node.settle(now, &mut outbox);
        self.carry_out(id, outbox);
        self.run();
    }

    pub(super) fn create(&mut self, replicas: &[i32], isr: &[i32]) {
        let topic = TopicRecord { name: TopicName::from("t"), topic_id: TOPIC };
        let partition = PartitionRecord {
            partition_id: 0,
            topic_id: TOPIC,
            replicas: ids(replicas),
            isr: ids(isr),
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            ..PartitionRecord::default()
        };
        self.commit(&[topic.into(), partition.into()]);
        self.pass(1);
    }

    fn change(&mut self, change: PartitionChangeRecord) {
        self.partition_epoch += 1;
        self.commit(&[PartitionChangeRecord { partition_id: 0, topic_id: TOPIC, ..change }.into()]);
        self.pass(300);
    }

    pub(super) fn elect(&mut self, leader: i32, isr: &[i32]) {
        self.epoch += 1;
        self.change(PartitionChangeRecord { leader: BrokerId(leader), isr: Some(ids(isr)), ..Default::default() });
    }

    /// As `elect`, but these do not hear of it.
    pub(super) fn elect_without(&mut self, leader: i32, isr: &[i32], deaf: &[i32]) {
        for (id, machine) in &mut self.machines {
            machine.learns = !deaf.contains(id);
        }
        self.elect(leader, isr);
        self.machines.values_mut().for_each(|machine| machine.learns = true);
    }

    pub(super) fn change_isr(&mut self, isr: &[i32]) {
        self.change(PartitionChangeRecord { isr: Some(ids(isr)), ..Default::default() });
    }

    pub(super) fn reassign(&mut self, replicas: &[i32], isr: &[i32]) {
        self.change(PartitionChangeRecord { replicas: Some(ids(replicas)), isr: Some(ids(isr)), ..Default::default() });
    }

    pub(super) fn cut(&mut self, id: i32) {
        self.cut.insert(id);
        // What waits at the other end is lost with the connection.
        let waiting: Vec<_> =
            self.asked.iter().filter(|((to, _), (from, _))| *to == id || *from == id).map(|(key, _)| *key).collect();
        for key in waiting {
            if let Some((from, tag)) = self.asked.remove(&key) {
                self.inputs.push_back((from, Input::Response { tag, result: Err(PeerLost::Broken) }));
            }
        }
        self.run();
    }

    pub(super) fn join(&mut self, id: i32) {
        self.cut.remove(&id);
        self.pass(300);
    }

    pub(super) fn hold_disk(&mut self, id: i32) {
        self.machines.get_mut(&id).expect("one of three").held = Some(Vec::new());
    }

    pub(super) fn release_disk(&mut self, id: i32) {
        let held = self.machines.get_mut(&id).expect("one of three").held.take().unwrap_or_default();
        self.carry_out(id, held);
        self.run();
    }

    /// What was held fails.
    pub(super) fn fail_disk(&mut self, id: i32) {
        let machine = self.machines.get_mut(&id).expect("one of three");
        machine.failed = true;
        for held in machine.held.take().unwrap_or_default() {
            let Effect::Disk { owner, op } = held else { continue };
            let result = Err(DiskError::Failed { file: op.file().clone(), reason: "broken".to_owned() });
            self.inputs.push_back((id, Input::Disk { owner, result }));
        }
        self.run();
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.wall_ms += i64::try_from(ms).expect("small");
        self.inputs.extend((1..=3).map(|id| (id, Input::Tick)));
        self.run();
    }

    pub(super) fn produce(&mut self, to: i32, acks: i16, value: &str) -> Sequence {
        self.produce_as(ProducerStamp::default(), to, acks, value)
    }

    pub(super) fn produce_as(&mut self, producer: ProducerStamp, to: i32, acks: i16, value: &str) -> Sequence {
        let batch = batch(producer, value);
        let header = BatchHeader::parse(&batch).expect("a batch");
        let data = TopicProduceData {
            name: TopicName::from("t"),
            partition_data: vec![PartitionProduceData { index: 0, records: None }],
            ..TopicProduceData::default()
        };
        let request = ProduceRequest { acks, timeout_ms: 30_000, topic_data: vec![data], ..ProduceRequest::default() };
        let batches = vec![BatchOutcome::Checked { bytes: batch, header, log_append_time_ms: -1 }];
        let asked = Asked::Produce(Box::new(CheckedProduce { request, batches }));
        self.ask(to, 12, ListenerKind::Broker, asked)
    }

    /// Produces with acks = all and expects that it succeeds.
    pub(super) fn produced(&mut self, to: i32, value: &str) {
        let asked = self.produce(to, -1, value);
        for _ in 0..4 {
            if self.replies.contains_key(&asked) {
                break;
            }
            self.pass(300);
        }
        assert_eq!(self.answer(asked), Some(ErrorCode::NONE), "{value} at broker {to}");
    }

    /// What a Produce was answered with, if it was.
    pub(super) fn answer(&mut self, asked: Sequence) -> Option<ErrorCode> {
        let response = self.replies.remove(&asked)??;
        let Response::Produce(produce) = &response else { panic!("another response") };
        let code = produce.responses[0].partition_responses[0].error_code;
        self.last_produce = Some(response);
        Some(code)
    }

    /// The leader that the last answer named.
    pub(super) fn hint(&self) -> Option<(i32, LeaderEpoch, String)> {
        let Some(Response::Produce(response)) = &self.last_produce else { return None };
        let leader = &response.responses[0].partition_responses[0].current_leader;
        Some((leader.leader_id.0, leader.leader_epoch, response.node_endpoints.first()?.host.clone()))
    }

    pub(super) fn delete_records(&mut self, at: i32, before: i64) {
        let machine = self.machines.get_mut(&at).expect("one of three");
        let slot = machine.node.broker.replicas.slot(TOPIC, 0).expect("hosted");
        let replica = machine.node.broker.replicas.get_mut(slot).expect("hosted");
        let high_watermark = replica.high_watermark();
        replica.log.delete_records(Offset(before), high_watermark).expect("below the high watermark");
        machine.node.broker.mark_dirty(slot);
        self.pass(1);
    }

    /// What a consumer reads at a broker.
    pub(super) fn read(&mut self, at: i32) -> Vec<String> {
        let request = fetch_request(ReplicaState { replica_id: BrokerId(-1), replica_epoch: -1 });
        let asked = self.ask(at, 12, ListenerKind::Broker, Asked::Other(Box::new(request.into())));
        let Some(Some(Response::Fetch(response))) = self.replies.remove(&asked) else { panic!("not answered") };
        values_of(response.responses[0].partitions[0].records.as_ref())
    }

    /// What a consumer's fetch at a broker ends in.
    pub(super) fn read_error(&mut self, at: i32) -> ErrorCode {
        let request = fetch_request(ReplicaState { replica_id: BrokerId(-1), replica_epoch: -1 });
        let asked = self.ask(at, 12, ListenerKind::Broker, Asked::Other(Box::new(request.into())));
        let Some(Some(Response::Fetch(response))) = self.replies.remove(&asked) else { panic!("not answered") };
        response.responses[0].partitions[0].error_code
    }

    /// Where a member of a share group that asks at this listener is sent: the code, who leads, and where that is.
    pub(super) fn share_hint(&mut self, at: i32, listener: &str) -> (ErrorCode, i32, String) {
        let partition = share_fetch::FetchPartition { partition_index: 0, ..Default::default() };
        let request = ShareFetchRequest {
            group_id: Some("workers".into()),
            member_id: Some("a".to_owned()),
            max_records: 1,
            max_bytes: 1,
            topics: vec![share_fetch::FetchTopic { topic_id: TOPIC, partitions: vec![partition] }],
            ..Default::default()
        };
        let asked = self.ask_at(listener, at, 2, ListenerKind::Client, Asked::Other(Box::new(request.into())));
        let Some(Some(Response::ShareFetch(response))) = self.replies.remove(&asked) else { panic!("not answered") };
        let told = &response.responses[0].partitions[0];
        (told.error_code, told.current_leader.leader_id.0, response.node_endpoints[0].host.clone())
    }

    /// What a broker says to a fetch in the name of a replica.
    pub(super) fn fetch_as(&mut self, replica: i32, epoch: i64) -> ErrorCode {
        self.replica_fetch(replica, epoch, ListenerKind::Broker)
    }

    pub(super) fn fetch_at_client_listener(&mut self, replica: i32) -> ErrorCode {
        self.replica_fetch(replica, 100, ListenerKind::Client)
    }

    fn replica_fetch(&mut self, replica: i32, epoch: i64, listener: ListenerKind) -> ErrorCode {
        let request = fetch_request(ReplicaState { replica_id: BrokerId(replica), replica_epoch: epoch });
        let asked = self.ask(1, 17, listener, Asked::Other(Box::new(request.into())));
        let Some(Some(Response::Fetch(response))) = self.replies.remove(&asked) else { panic!("not answered") };
        response.error_code
    }

    /// From now on the leader's proposals are kept here.
    pub(super) fn play_controller(&mut self) {
        for machine in self.machines.values_mut() {
            let at = PeerAddress { node: CONTROLLER, host: Arc::from("controller"), port: 1 };
            machine.node.broker.active_controller = Some(at);
        }
    }

    pub(super) fn fence(&mut self, id: i32) {
        self.commit(&[FenceBrokerRecord { id: BrokerId(id), epoch: 100 }.into()]);
    }

    pub(super) fn let_in(&mut self, id: i32) {
        self.commit(&[UnfenceBrokerRecord { id: BrokerId(id), epoch: 100 }.into()]);
    }

    /// The controller refuses the oldest proposal.
    pub(super) fn refuse_proposal(&mut self, error_code: ErrorCode) {
        let (from, tag, _) = self.proposals.remove(0);
        let partition = ResponsePartitionData { error_code, ..ResponsePartitionData::default() };
        let topics = vec![ResponseTopicData { topic_id: TOPIC, partitions: vec![partition] }];
        let response = AlterPartitionResponse { topics, ..AlterPartitionResponse::default() };
        self.inputs.push_back((from, Input::Response { tag, result: Ok(Box::new(response.into())) }));
        self.run();
    }

    pub(super) fn proposals(&self) -> Vec<AlterPartitionRequest> {
        self.proposals.iter().map(|(.., request)| request.clone()).collect()
    }

    /// Commits the oldest proposal, and answers it before the leader learns of it otherwise.
    pub(super) fn commit_proposal(&mut self, leader_epoch_of: i32) {
        let (from, tag, request) = self.proposals.remove(0);
        assert_eq!(from, leader_epoch_of, "the leader proposes");
        let asked = &request.topics[0].partitions[0];
        self.partition_epoch += 1;
        let partition = ResponsePartitionData {
            leader_id: BrokerId(from),
            leader_epoch: asked.leader_epoch,
            isr: asked.new_isr_with_epochs.iter().map(|state| state.broker_id).collect(),
            partition_epoch: self.partition_epoch,
            ..ResponsePartitionData::default()
        };
        let topics = vec![ResponseTopicData { topic_id: TOPIC, partitions: vec![partition] }];
        let response = AlterPartitionResponse { topics, ..AlterPartitionResponse::default() };
        self.inputs.push_back((from, Input::Response { tag, result: Ok(Box::new(response.into())) }));
        self.run();
    }

    pub(super) fn view(&self, at: i32) -> PartitionView<'_> {
        self.machines[&at].node.partitions().find(|view| !view.deleted).expect("hosted")
    }

    /// Every value in a broker's log, committed or not.
    pub(super) fn log(&self, at: i32) -> Vec<String> {
        let machine = &self.machines[&at];
        let slot = machine.node.broker.replicas.slot(TOPIC, 0).expect("hosted");
        let log = &machine.node.broker.replicas.get(slot).expect("hosted").log;
        let first = strandline_log::slice::FirstBatch::Whole;
        let read = log.read(log.positions().log_start, Offset::MAX, 1 << 20, first).expect("in range");
        values_of(Some(&Records::from(bytes_of(&machine.disk, &read.slices))))
    }

    pub(super) fn epochs(&self, at: i32) -> Vec<(LeaderEpoch, Offset)> {
        let machine = &self.machines[&at];
        let slot = machine.node.broker.replicas.slot(TOPIC, 0).expect("hosted");
        let log = &machine.node.broker.replicas.get(slot).expect("hosted").log;
        log.epochs().entries().iter().map(|entry| (entry.epoch, entry.start)).collect()
    }

    /// Files of the partition on a broker's disk.
    pub(super) fn files(&self, at: i32) -> Vec<String> {
        let all = self.machines[&at].disk.paths().map(|path| path.as_str().to_owned());
        all.filter(|path| path.starts_with("t-0")).collect()
    }

    fn ask(&mut self, to: i32, api_version: i16, listener: ListenerKind, request: Asked) -> Sequence {
        self.ask_at("", to, api_version, listener, request)
    }

    fn ask_at(&mut self, name: &str, to: i32, api_version: i16, listener: ListenerKind, request: Asked) -> Sequence {
        let sequence = self.sequence();
        let connection = ConnectionId(1);
        let context = RequestContext {
            connection,
            sequence,
            listener,
            listener_name: name.into(),
            api_version,
            client_id: Arc::from("test"),
            client_host: Arc::from("/127.0.0.1"),
        };
        self.inputs.push_back((to, Input::Request { context, request }));
        self.run();
        sequence
    }

    fn sequence(&mut self) -> Sequence {
        self.next_sequence += 1;
        Sequence(self.next_sequence)
    }

    /// Until nothing happens any more.
    fn run(&mut self) {
        let mut steps = 0;
        while let Some((id, input)) = self.inputs.pop_front() {
            steps += 1;
            assert!(steps < 20_000, "the brokers do not come to rest");
            let Some(machine) = self.machines.get_mut(&id) else { continue };
            let mut outbox = Vec::new();
            machine.node.step(self.now, input, &mut outbox);
            machine.node.settle(self.now, &mut outbox);
            self.carry_out(id, outbox);
        }
    }

    fn carry_out(&mut self, id: i32, effects: Vec<Effect>) {
        for effect in effects {
            self.effect(id, effect);
        }
    }

    fn effect(&mut self, id: i32, effect: Effect) {
        match effect {
            Effect::Send { to, tag, request, .. } => self.send(id, &to, tag, *request),
            Effect::Reply { sequence, reply, .. } => self.replied(id, sequence, reply),
            Effect::Disk { owner, op } => {
                let machine = self.machines.get_mut(&id).expect("it acts");
                let of_partition = !matches!(owner, Owner::Partition(METADATA_SLOT) | Owner::Directory { .. });
                if let Some(held) = machine.held.as_mut().filter(|_| of_partition) {
                    return held.push(Effect::Disk { owner, op });
                }
                let result = machine.disk.perform(&op);
                self.inputs.push_back((id, Input::Disk { owner, result }));
            }
            Effect::Start { job, what } => {
                let disk = &self.machines[&id].disk;
                let result = match what {
                    Job::LoadCoordinator(piece) => {
                        JobResult::CoordinatorLoaded(crate::coordinator::loading::load(disk, &piece))
                    }
                    Job::ReadShare(wanted) => JobResult::ShareRead(crate::share::spans::read(disk, &wanted)),
                    Job::FindTimestamp(lookup) => JobResult::FoundTimestamp(strandline_log::lookup::find(disk, &lookup)),
                    Job::ReadCopy(piece) => JobResult::CopyRead(crate::copying::read(disk, &piece)),
                    Job::MeasureDirectory { .. } => JobResult::DirectoryMeasured { total_bytes: 2, usable_bytes: 1 },
                    Job::MakeSnapshotPiece(piece) => JobResult::SnapshotPiece(piece.make()),
                    Job::ReadSnapshot { id, file } => {
                        JobResult::SnapshotRead(crate::metadata_log::read_snapshot(disk, id, &file).map(Box::new))
                    }
                    Job::ReadPiece { file, position, bytes } => JobResult::PieceRead(disk.read(&file, position, bytes)),
                    Job::Clean(mut round) => {
                        let result = round.step(disk);
                        JobResult::Cleaned { round, result }
                    }
                    Job::Truncate { log, end, now_ms } => {
                        JobResult::Truncated(strandline_log::recover::truncate(disk, *log, end, now_ms).map(Box::new))
                    }
                };
                self.inputs.push_back((id, Input::Job { job, result }));
            }
            Effect::Fail { .. } if self.machines[&id].failed => {}
            Effect::Fail { file, reason } => panic!("broker {id} failed: {file}: {reason}"),
            _ => {}
        }
    }

    fn send(&mut self, from: i32, to: &PeerAddress, tag: Tag, request: Request) {
        if to.node == CONTROLLER {
            if let Request::AlterPartition(request) = request {
                self.proposals.push((from, tag, request));
            }
            return;
        }
        if self.cut.contains(&from) || self.cut.contains(&to.node) {
            return self.inputs.push_back((from, Input::Response { tag, result: Err(PeerLost::Refused) }));
        }
        assert_eq!(*to.host, *format!("host-{}", to.node), "peers are asked where they registered");
        let api = SERVED.iter().find(|api| api.api == request.key()).expect("served");
        let sequence = self.sequence();
        self.asked.insert((to.node, sequence), (from, tag));
        let context = RequestContext {
            connection: ConnectionId(1000 + u64::from(from.unsigned_abs())),
            sequence,
            listener: ListenerKind::Broker,
            listener_name: "".into(),
            api_version: api.versions.last,
            client_id: Arc::from("peer"),
            client_host: Arc::from("/127.0.0.1"),
        };
        self.inputs.push_back((to.node, Input::Request { context, request: Asked::Other(Box::new(request)) }));
    }

    fn replied(&mut self, id: i32, sequence: Sequence, reply: Reply) {
        let response = match reply {
            Reply::Silence => None,
            Reply::Body(response) => Some(*response),
            Reply::Fetch(fetch) => {
                let mut response = fetch.response;
                for filled in fetch.slices {
                    let bytes = bytes_of(&self.machines[&id].disk, &filled.slices);
                    response.responses[filled.topic].partitions[filled.partition].records = Some(bytes.into());
                }
                Some(Response::Fetch(response))
            }
        };
        match (self.asked.remove(&(id, sequence)), response) {
            (Some((from, tag)), Some(mut response)) => {
                peers::check(&mut response);
                self.inputs.push_back((from, Input::Response { tag, result: Ok(Box::new(response)) }));
            }
            (Some(_), None) => panic!("peers are always answered"),
            (None, response) => {
                self.replies.insert(sequence, response);
            }
        }
    }
}

/// A disk whose top has nothing that matters here.
struct Top<'a>(&'a MemoryDisk);

impl Files for Top<'_> {
    fn list(&self, directory: &FilePath) -> Result<Vec<Entry>, DiskError> {
        self.0.list(directory)
    }

    fn read(&self, file: &FilePath, position: u64, bytes: usize) -> Result<Bytes, DiskError> {
        self.0.read(file, position, bytes)
    }
}

fn registered(id: i32) -> MetadataRecord {
    let endpoint = |name: &str, host| BrokerEndpoint { name: name.to_owned(), host, port: 9092, security_protocol: 0 };
    RegisterBrokerRecord {
        broker_id: BrokerId(id),
        broker_epoch: 1,
        end_points: vec![endpoint("PLAINTEXT", format!("host-{id}")), endpoint("OUTSIDE", format!("outside-{id}"))],
        fenced: false,
        ..RegisterBrokerRecord::default()
    }
    .into()
}

fn fetch_request(replica_state: ReplicaState) -> FetchRequest {
    let partition = FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    FetchRequest {
        max_wait_ms: 0,
        session_epoch: -1,
        replica_state,
        topics: vec![FetchTopic { topic: TopicName::from("t"), topic_id: TOPIC, partitions: vec![partition] }],
        ..FetchRequest::default()
    }
}

fn bytes_of(disk: &MemoryDisk, slices: &[Slice]) -> Bytes {
    let mut bytes = Vec::new();
    for slice in slices {
        match slice {
            Slice::Memory(memory) => bytes.extend_from_slice(memory),
            Slice::File(file) => bytes.extend_from_slice(&cut::read(disk, file).expect("readable")),
        }
    }
    bytes.into()
}

fn batch(producer: ProducerStamp, value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions { producer, ..BatchOptions::default() });
    let record = NewRecord { timestamp: 1_800_000_000_000, key: None, value: Some(value.as_bytes()), headers: &[] };
    builder.append(&record).expect("fits");
    builder.build(&mut Scratch::default()).expect("builds")
}

fn values_of(records: Option<&Records>) -> Vec<String> {
    let bytes = records.cloned().unwrap_or_default().into_bytes();
    let mut values = Vec::new();
    for batch in Batches::new(&bytes) {
        let mut scratch = Scratch::default();
        let (_, records) = open(batch.expect("whole").bytes, 1 << 20, &mut scratch).expect("opens");
        for record in records {
            values.push(String::from_utf8(record.expect("good").value.expect("a value").to_vec()).expect("text"));
        }
    }
    values
}

pub(super) fn values(values: &[String]) -> String {
    values.join(" ")
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}
