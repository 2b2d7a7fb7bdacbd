//! A broker on a disk in memory, where every operation is carried out at once: enough to ask and be answered.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use strandline_log::disk::{DiskError, DiskOp, Entry, FilePath, Files, LogDir};
use strandline_log::memory::MemoryDisk;
use strandline_log::recover::RecoverError;
use strandline_node::Node;
use strandline_node::boot::Boot;
use strandline_node::config::BrokerConfig;
use strandline_node::io::{
    Asked, BatchOutcome, CheckedProduce, ConnectionId, Effect, Input, Job, JobResult, ListenerKind, Now, PeerAddress, Reply,
    RequestContext, Sequence, Tag,
};
use strandline_node::log_dirs::{LogDirectory, LogDirs};
use strandline_node::metadata_log::load;
use strandline_node::recovery::{Aside, survey};
use strandline_node::topology::Topology;
use strandline_protocol::api::{Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{TopicName, TransactionalId, Uuid};
use strandline_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use strandline_protocol::messages::fetch::{AbortedTransaction, FetchPartition, FetchRequest, FetchTopic};
use strandline_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use strandline_protocol::messages::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use strandline_protocol::records::{BatchBuilder, BatchHeader, BatchOptions, NewRecord, ProducerStamp, Scratch};
use strandline_protocol::wire::Records;

/// A disk that also lists its top.
#[derive(Default)]
pub(crate) struct Disk(pub(crate) MemoryDisk);

impl Files for Disk {
    fn list(&self, directory: &FilePath) -> Result<Vec<Entry>, DiskError> {
        if !directory.as_str().is_empty() {
            return self.0.list(directory);
        }
        let names: BTreeSet<(String, bool)> = self
            .0
            .paths()
            .filter(|path| path.log_dir() == directory.log_dir())
            .map(|path| match path.as_str().split_once('/') {
                Some((directory, _)) => (directory.to_owned(), true),
                None => (path.as_str().to_owned(), false),
            })
            .collect();
        Ok(names.into_iter().map(|(name, is_directory)| Entry { name, bytes: 0, is_directory }).collect())
    }

    fn read(&self, file: &FilePath, position: u64, bytes: usize) -> Result<Bytes, DiskError> {
        self.0.read(file, position, bytes)
    }
}

/// A directory for each word of `log.dirs`; its last digit is part of its id, and a word that ends with ! does not work.
pub(crate) fn log_dirs(config: &BrokerConfig) -> LogDirs {
    let directory = |word: &str| {
        let digit = word.trim_end_matches('!').bytes().last().filter(u8::is_ascii_digit).unwrap_or(b'0') - b'0';
        let failed = word.ends_with('!').then(|| "broken".to_owned());
        LogDirectory { id: Some(Uuid([7 + digit; 16])), path: word.to_owned(), takes_partitions: true, failed }
    };
    LogDirs::new(config.text("log.dirs").unwrap_or_default().split(',').map(directory).collect())
}

pub(crate) struct TestBroker {
    pub(crate) node: Node,
    pub(crate) disk: Disk,
    pub(crate) now: Now,
    sequence: u64,
    replies: BTreeMap<Sequence, Option<Response>>,
    pub(crate) closed: BTreeSet<Sequence>,
    pub(crate) serving: bool,
    pub(crate) stopped: bool,
    /// The last wake-up that was asked for.
    pub(crate) wake_ms: u64,
    /// Operations are kept here instead of carried out while `hold` is set.
    pub(crate) hold: bool,
    /// Only renames are kept.
    pub(crate) hold_renames: bool,
    held: Vec<Effect>,
    configs: Vec<(String, String)>,
    /// So many operations are still carried out; then the process is dead.
    pub(crate) fuse: Option<u64>,
    /// After so many operations the device of this directory is gone.
    pub(crate) break_after: Option<(u64, LogDir)>,
    /// Directories whose device is gone.
    pub(crate) broken: BTreeSet<LogDir>,
    /// The process was told to end.
    pub(crate) failed: bool,
    /// Requests to other nodes; nobody answers by itself.
    pub(crate) asked: Vec<(PeerAddress, Tag)>,
    /// The listener at which requests come.
    pub(crate) listener_name: &'static str,
}

const CONNECTION: ConnectionId = ConnectionId(1);

impl TestBroker {
    pub(crate) fn new() -> Self {
        Self::on(Disk::default(), &[])
    }

    /// Starts from what lies on a disk, as the rim does.
    pub(crate) fn on(mut disk: Disk, configs: &[(&str, &str)]) -> Self {
        let now = Now { wall_ms: 1_800_000_000_000, monotonic_ms: 5_000 };
        let config = BrokerConfig::from_pairs(configs.iter().map(|(key, value)| (*key, *value))).expect("legal configuration");
        let metadata = load(&disk, now.wall_ms).expect("metadata loads");
        let log_dirs = log_dirs(&config);
        let places: Vec<LogDir> = log_dirs.working().collect();
        let mut survey = survey(&disk, &places).expect("the directories can be read");
        let doubles = survey.settle_doubles(&disk, &metadata.image, &config, &log_dirs).expect("one of them is the partition");
        let (mut recovered, mut offline) = (Vec::new(), Vec::new());
        let mut repairs: Vec<DiskOp> = metadata.repairs.iter().cloned().chain(doubles).collect();
        for found in &survey.partitions {
            let open = |disk: &Disk| survey.open(disk, found, &config, &metadata.image, now.wall_ms);
            let opened = match open(&disk) {
                Err(RecoverError::Unfinished { repairs }) => {
                    repairs.iter().for_each(|op| drop(disk.0.perform(op).expect("repairs succeed")));
                    open(&disk)
                }
                opened => opened,
            };
            match opened {
                Ok(opened) => {
                    repairs.extend(opened.repairs);
                    recovered.push(opened.recovered);
                }
                Err(reason) if reason.is_damage() => match survey.set_aside(&disk, found, &metadata.image) {
                    Aside::Offline(partition) => offline.push(partition),
                    Aside::Stray(op) => repairs.push(op),
                },
                Err(reason) => panic!("the partition cannot be opened: {reason}"),
            }
        }
        repairs.extend(places.iter().map(|place| DiskOp::Delete { file: FilePath::of(*place, ".kafka_cleanshutdown") }));
        for op in repairs {
            disk.0.perform(&op).expect("repairs succeed");
        }
        let boot = Boot {
            topology: Topology::read(&config).expect("a legal node"),
            config,
            cluster_id: "test-cluster".to_owned(),
            log_dirs: log_dirs.clone(),
            // Of its own in every life, or topics of two lives would have the same id.
            seed: 42 + u64::try_from(metadata.epoch.0).expect("never negative"),
            metadata,
            recovered,
            previous_broker_epoch: survey.previous_broker_epoch,
            offline,
        };
        let mut broker = Self {
            node: boot.node(),
            disk,
            now,
            sequence: 0,
            replies: BTreeMap::new(),
            closed: BTreeSet::new(),
            serving: false,
            stopped: false,
            wake_ms: u64::MAX,
            hold: false,
            hold_renames: false,
            held: Vec::new(),
            configs: configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            fuse: None,
            break_after: None,
            broken: BTreeSet::new(),
            failed: false,
            asked: Vec::new(),
            listener_name: "",
        };
        let mut outbox = Vec::new();
        broker.node.start(now, &mut outbox);
        broker.carry_out(outbox);
        assert!(broker.serving, "a broker on a good disk serves");
        broker
    }

    /// Ends without a word, as kill -9 does, and starts again.
    pub(crate) fn kill(mut self) -> Self {
        self.disk.0.kill();
        self.start_again()
    }

    fn start_again(self) -> Self {
        let configs: Vec<(&str, &str)> = self.configs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Self::on(self.disk, &configs)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.fuse == Some(0)
    }

    /// Ends in order.
    pub(crate) fn stop(&mut self) {
        self.input(Input::Shutdown);
        assert!(self.stopped, "a shutdown ends");
    }

    /// Ends in order and starts again.
    pub(crate) fn restart(mut self) -> Self {
        self.stop();
        self.start_again()
    }

    /// Starts again what has ended.
    pub(crate) fn carry_on(self, configs: &[(&str, &str)]) -> Self {
        assert!(self.stopped, "it has ended");
        Self::on(self.disk, configs)
    }

    /// Ends in order and starts again with other keys.
    pub(crate) fn restart_with(mut self, configs: &[(&str, &str)]) -> Self {
        self.stop();
        Self::on(self.disk, configs)
    }

    /// Ends in order and starts again; meanwhile somebody is at its disk.
    pub(crate) fn carry(mut self, carry: impl FnOnce(&mut Disk)) -> Self {
        self.stop();
        carry(&mut self.disk);
        self.start_again()
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        self.now.wall_ms += i64::try_from(ms).expect("small");
        self.input(Input::Tick);
    }

    /// The device of a directory is gone.
    pub(crate) fn break_dir(&mut self, log_dir: LogDir) {
        self.broken.insert(log_dir);
    }

    /// Carries out what was held.
    pub(crate) fn release(&mut self) {
        self.hold = false;
        let held = std::mem::take(&mut self.held);
        self.carry_out(held);
    }

    /// Sends a request; its reply is taken with `reply`.
    pub(crate) fn send(&mut self, version: i16, request: impl Into<Request>) -> Sequence {
        self.ask(version, Asked::Other(Box::new(request.into())))
    }

    /// The reply, if it came.
    pub(crate) fn reply(&mut self, sequence: Sequence) -> Option<Response> {
        self.replies.remove(&sequence).flatten()
    }

    /// Sends a request that is answered at once.
    pub(crate) fn call(&mut self, version: i16, request: impl Into<Request>) -> Response {
        let sequence = self.send(version, request);
        self.reply(sequence).expect("answered at once")
    }

    /// Sets a key of a topic (2) or a broker (4); without a value it is not set there any more.
    pub(crate) fn configure(&mut self, kind: i8, resource: &str, key: &str, value: Option<&str>) -> ErrorCode {
        let config_operation = i8::from(value.is_none());
        let config = AlterableConfig { name: key.to_owned(), config_operation, value: value.map(str::to_owned) };
        let resource = AlterConfigsResource { resource_type: kind, resource_name: resource.to_owned(), configs: vec![config] };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let Response::IncrementalAlterConfigs(response) = self.call(1, request) else { panic!("another response") };
        response.responses[0].error_code
    }

    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> strandline_protocol::messages::create_topics::CreatableTopicResult {
        let configs = configs
            .iter()
            .map(|(key, value)| CreatableTopicConfig { name: (*key).to_owned(), value: Some((*value).to_owned()) });
        let topic = CreatableTopic {
            name: TopicName::from(name),
            num_partitions: partitions,
            replication_factor: -1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let Response::CreateTopics(response) = self.call(7, request) else { panic!("another response") };
        response.topics.into_iter().next().expect("one topic asked, one answered")
    }

    pub(crate) fn send_produce(&mut self, acks: i16, topic: &str, partition: i32, batch: Bytes) -> Sequence {
        self.send_checked(9, None, acks, topic, partition, batch)
    }

    /// Sends records of a transaction, with all replicas to acknowledge them.
    pub(crate) fn send_transactional(&mut self, version: i16, id: &str, topic: &str, partition: i32, batch: Bytes) -> Sequence {
        self.send_checked(version, Some(TransactionalId::from(id)), -1, topic, partition, batch)
    }

    fn send_checked(
        &mut self,
        version: i16,
        transactional_id: Option<TransactionalId>,
        acks: i16,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> Sequence {
        let header = BatchHeader::parse(&batch).expect("a batch");
        let data = TopicProduceData {
            name: TopicName::from(topic),
            partition_data: vec![PartitionProduceData { index: partition, records: None }],
            ..Default::default()
        };
        let request = ProduceRequest { transactional_id, acks, timeout_ms: 1000, topic_data: vec![data] };
        let batches = vec![BatchOutcome::Checked { bytes: batch, header, log_append_time_ms: -1 }];
        self.ask(version, Asked::Produce(Box::new(CheckedProduce { request, batches })))
    }

    pub(crate) fn produce(&mut self, topic: &str, partition: i32, values: &[&str]) -> ProduceResponse {
        let sequence = self.send_produce(-1, topic, partition, batch(values, ProducerStamp::default()));
        let Some(Response::Produce(response)) = self.reply(sequence) else { panic!("not answered") };
        response
    }

    pub(crate) fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
        let partition =
            FetchPartition { partition, fetch_offset: offset.into(), partition_max_bytes: 1 << 20, ..Default::default() };
        FetchRequest {
            max_wait_ms: 500,
            min_bytes: 1,
            topics: vec![FetchTopic { topic: TopicName::from(topic), partitions: vec![partition], ..Default::default() }],
            ..Default::default()
        }
    }

    /// Reads values from an offset on.
    pub(crate) fn values(&mut self, topic: &str, partition: i32, offset: i64) -> Vec<String> {
        let Response::Fetch(response) = self.call(12, Self::fetch_request(topic, partition, offset)) else {
            panic!("another response")
        };
        values_of(response.responses[0].partitions[0].records.as_ref())
    }

    /// Another node asks at the controllers' listener, over a connection of its own.
    pub(crate) fn call_inside(&mut self, connection: u64, version: i16, request: impl Into<Request>) -> Response {
        self.call_over(ConnectionId(connection), ListenerKind::Controller, version, request)
    }

    /// Another client asks, over a connection of its own.
    pub(crate) fn call_beside(&mut self, connection: u64, version: i16, request: impl Into<Request>) -> Response {
        self.call_over(ConnectionId(connection), ListenerKind::Client, version, request)
    }

    fn call_over(
        &mut self,
        connection: ConnectionId,
        listener: ListenerKind,
        version: i16,
        request: impl Into<Request>,
    ) -> Response {
        let sequence = self.ask_over(connection, listener, version, Asked::Other(Box::new(request.into())));
        self.reply(sequence).expect("answered at once")
    }

    fn ask(&mut self, api_version: i16, request: Asked) -> Sequence {
        self.ask_over(CONNECTION, ListenerKind::Client, api_version, request)
    }

    fn ask_over(&mut self, connection: ConnectionId, listener: ListenerKind, api_version: i16, request: Asked) -> Sequence {
        let sequence = Sequence(self.sequence);
        self.sequence += 1;
        let context = RequestContext {
            connection,
            sequence,
            listener,
            listener_name: self.listener_name.into(),
            api_version,
            client_id: Arc::from("test"),
            client_host: Arc::from("/127.0.0.1"),
        };
        self.input(Input::Request { context, request });
        sequence
    }

    pub(crate) fn input(&mut self, input: Input) {
        if self.is_dead() {
            return;
        }
        let mut outbox = Vec::new();
        self.node.step(self.now, input, &mut outbox);
        self.node.settle(self.now, &mut outbox);
        self.carry_out(outbox);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if self.is_dead() {
                return;
            }
            match effect {
                Effect::Reply { sequence, reply, .. } => self.replied(sequence, reply),
                Effect::Disk { .. } if self.hold => self.held.push(effect),
                Effect::Disk { op: DiskOp::Rename { .. }, .. } if self.hold_renames => self.held.push(effect),
                Effect::Disk { owner, op } => {
                    self.fuse = self.fuse.map(|left| left - 1);
                    if self.is_dead() {
                        return;
                    }
                    if let Some((left, log_dir)) = &mut self.break_after {
                        *left = left.saturating_sub(1);
                        if *left == 0 {
                            self.broken.insert(*log_dir);
                        }
                    }
                    let broken = self.broken.contains(&op.file().log_dir());
                    let error = || DiskError::Failed { file: op.file().clone(), reason: "input/output error".to_owned() };
                    let result = if broken { Err(error()) } else { self.disk.0.perform(&op) };
                    self.input(Input::Disk { owner, result });
                }
                Effect::Start { job, what } => {
                    let result = match what {
                        Job::FindTimestamp(lookup) => {
                            JobResult::FoundTimestamp(strandline_log::lookup::find(&self.disk, &lookup))
                        }
                        Job::Truncate { log, end, now_ms } => {
                            JobResult::Truncated(strandline_log::recover::truncate(&self.disk, *log, end, now_ms).map(Box::new))
                        }
                        Job::LoadCoordinator(piece) => {
                            JobResult::CoordinatorLoaded(strandline_node::coordinator::loading::load(&self.disk, &piece))
                        }
                        Job::ReadShare(wanted) => {
                            JobResult::ShareRead(strandline_node::share::spans::read(&self.disk, &wanted))
                        }
                        Job::Clean(mut round) => {
                            let result = round.step(&self.disk);
                            JobResult::Cleaned { round, result }
                        }
                        Job::ReadCopy(piece) => JobResult::CopyRead(strandline_node::copying::read(&self.disk, &piece)),
                        Job::MeasureDirectory { .. } => JobResult::DirectoryMeasured { total_bytes: 100, usable_bytes: 50 },
                        Job::MakeSnapshotPiece(piece) => JobResult::SnapshotPiece(piece.make()),
                        Job::ReadSnapshot { id, file } => JobResult::SnapshotRead(
                            strandline_node::metadata_log::read_snapshot(&self.disk, id, &file).map(Box::new),
                        ),
                        Job::ReadPiece { file, position, bytes } => {
                            JobResult::PieceRead(self.disk.read(&file, position, bytes))
                        }
                    };
                    self.input(Input::Job { job, result });
                }
                Effect::Close { sequence, .. } => {
                    self.closed.insert(sequence);
                }
                Effect::Serving => self.serving = true,
                Effect::Stopped => self.stopped = true,
                Effect::Fail { file, .. } if self.broken.contains(&file.log_dir()) => self.failed = true,
                Effect::Fail { file, reason } => panic!("the directory failed: {file}: {reason}"),
                Effect::Offline { file, .. } => assert!(self.broken.contains(&file.log_dir()), "{file} failed for no reason"),
                Effect::WakeAt { monotonic_ms } => self.wake_ms = monotonic_ms,
                Effect::Publish(_) | Effect::Unlisten { .. } => {}
                Effect::Send { to, tag, .. } => self.asked.push((to, tag)),
            }
        }
    }

    fn replied(&mut self, sequence: Sequence, reply: Reply) {
        let response = match reply {
            Reply::Body(response) => Some(*response),
            Reply::Silence => None,
            Reply::Fetch(fetch) => {
                let mut response = fetch.response;
                for mut filled in fetch.slices {
                    if let Some(query) = filled.aborted.take() {
                        let found = strandline_log::transactions::aborted(&self.disk, &query).expect("readable");
                        let entry = |found: strandline_log::transactions::AbortedTransaction| AbortedTransaction {
                            producer_id: found.producer_id,
                            first_offset: found.first,
                        };
                        response.responses[filled.topic].partitions[filled.partition].aborted_transactions =
                            Some(found.into_iter().map(entry).collect());
                    }
                    let mut records = Vec::new();
                    for slice in &filled.slices {
                        records.extend_from_slice(&match slice {
                            strandline_log::slice::Slice::Memory(bytes) => bytes.clone(),
                            strandline_log::slice::Slice::File(slice) => {
                                strandline_log::cut::read(&self.disk, slice).expect("readable")
                            }
                        });
                    }
                    response.responses[filled.topic].partitions[filled.partition].records =
                        Some(Records::from(Bytes::from(records)));
                }
                Some(Response::Fetch(response))
            }
        };
        assert!(self.replies.insert(sequence, response).is_none(), "one reply a request");
    }
}

pub(crate) fn batch(values: &[&str], producer: ProducerStamp) -> Bytes {
    batch_of(values, BatchOptions { producer, ..Default::default() })
}

/// A batch of a transaction.
pub(crate) fn transactional(values: &[&str], producer: ProducerStamp) -> Bytes {
    batch_of(values, BatchOptions { producer, transactional: true, ..Default::default() })
}

fn batch_of(values: &[&str], options: BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder
            .append(&NewRecord { timestamp: 1_800_000_000_000, key: None, value: Some(value.as_bytes()), headers: &[] })
            .expect("fits");
    }
    builder.build(&mut Scratch::default()).expect("builds")
}

/// A record with a key and a value of 50 kB that begins with its number.
pub(crate) fn keyed(key: &str, number: usize) -> Bytes {
    let value = format!("{number:050000}");
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let record =
        NewRecord { timestamp: 1_800_000_000_000, key: Some(key.as_bytes()), value: Some(value.as_bytes()), headers: &[] };
    builder.append(&record).expect("fits");
    builder.build(&mut Scratch::default()).expect("builds")
}

pub(crate) fn values_of(records: Option<&Records>) -> Vec<String> {
    let Some(records) = records else { return Vec::new() };
    let bytes = records.clone().into_bytes();
    let mut values = Vec::new();
    for batch in strandline_protocol::records::Batches::new(&bytes) {
        let batch = batch.expect("whole batches");
        let mut scratch = Scratch::default();
        let (_, records) = strandline_protocol::records::open(batch.bytes, 1 << 20, &mut scratch).expect("opens");
        for record in records {
            values.push(String::from_utf8(record.expect("good").value.expect("a value").to_vec()).expect("text"));
        }
    }
    values
}
