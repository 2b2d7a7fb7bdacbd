//! Nodes, their disks, and the network between them.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use strandline_log::disk::{DiskError, DiskOp, Entry, FilePath, Files, LogDir};
use strandline_log::memory::MemoryDisk;
use strandline_node::Node;
use strandline_node::apis::{SERVED, find};
use strandline_node::boot::Boot;
use strandline_node::config::BrokerConfig;
use strandline_node::io::{
    Asked, BatchOutcome, CheckedProduce, ConnectionId, Effect, Input, Job, JobResult, ListenerKind, Now, PeerAddress, PeerLost,
    Reply, RequestContext, Sequence, Tag,
};
use strandline_node::log_dirs::{LogDirectory, LogDirs};
use strandline_node::metadata_log::{load, read_snapshot};
use strandline_node::peers;
use strandline_node::recovery::{Aside, survey};
use strandline_node::topology::Topology;
use strandline_protocol::api::{ApiKey, Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicName, Uuid};
use strandline_protocol::messages::api_versions::ApiVersion;
use strandline_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use strandline_protocol::records::{BatchBuilder, BatchHeader, BatchOptions, NewRecord, Scratch};
use strandline_protocol::wire::Records;

/// A disk that also lists its top.
#[derive(Default)]
struct Disk(MemoryDisk);

impl Files for Disk {
    fn list(&self, directory: &FilePath) -> Result<Vec<Entry>, DiskError> {
        if !directory.as_str().is_empty() {
            return self.0.list(directory);
        }
        let name = |path: &FilePath| match path.as_str().split_once('/') {
            Some((directory, _)) => (directory.to_owned(), true),
            None => (path.as_str().to_owned(), false),
        };
        let here = self.0.paths().filter(|path| path.log_dir() == directory.log_dir());
        let names: BTreeSet<(String, bool)> = here.map(name).collect();
        Ok(names.into_iter().map(|(name, is_directory)| Entry { name, bytes: 0, is_directory }).collect())
    }

    fn read(&self, file: &FilePath, position: u64, bytes: usize) -> Result<Bytes, DiskError> {
        self.0.read(file, position, bytes)
    }
}

/// A directory for each word of `log.dirs`; the id of the first is the node's number, and of the others a hundred more for each.
fn log_dirs(config: &BrokerConfig, id: i32, exchanged: u8, missing: &BTreeSet<LogDir>) -> LogDirs {
    let words = config.text("log.dirs").unwrap_or_default().split(',').zip(0u8..);
    let directory = |(word, place): (&str, u8)| {
        let other = if place > 0 { 100 * place + 10 * exchanged } else { 0 };
        let id = Uuid([u8::try_from(id).expect("small") + other; 16]);
        let failed = missing.contains(&LogDir(u16::from(place))).then(|| "not there".to_owned());
        LogDirectory { id: Some(id), path: word.to_owned(), takes_partitions: true, failed }
    };
    LogDirs::new(words.map(directory).collect())
}

struct Member {
    disk: Disk,
    node: Option<Node>,
    wake_ms: u64,
    serving: bool,
    /// Its disk takes nothing any more.
    failing: bool,
    /// Directories whose device is gone.
    broken: BTreeSet<LogDir>,
    /// Directories that the node has given up.
    offline: BTreeSet<LogDir>,
    /// How often a directory was exchanged for an empty one.
    exchanged: u8,
    /// Directories that are not there when the node starts.
    missing: BTreeSet<LogDir>,
    /// Where the logs that it served ended when it died in the middle of an operation.
    last_ends: BTreeMap<TopicName, Offset>,
}

/// Who waits for the answer to a request.
#[derive(Clone, Copy)]
struct Asker {
    id: i32,
    tag: Tag,
}

/// The port of controllers; that of brokers and clients is another one.
const CONTROLLERS: u16 = 9093;

/// Who asks as a client.
const CLIENT: i32 = -1;

enum Letter {
    Request { to: i32, listener: ListenerKind, asker: Asker, request: Box<Request> },
    Answer { id: i32, tag: Tag, result: Result<Box<Response>, PeerLost> },
}

pub(crate) struct World {
    now: Now,
    seed: u64,
    /// Nodes up to here are controllers too, and voters; those above are brokers only.
    voters: i32,
    /// Keys of every node.
    keys: Vec<(&'static str, &'static str)>,
    /// What was answered to a client, by the number of its request.
    answered: BTreeMap<u64, Response>,
    /// Operations of the disk that the node may still see carried out before it dies.
    fuses: BTreeMap<i32, usize>,
    /// Reaches nobody, and nobody reaches it.
    cut_off: Option<i32>,
    /// Requests of this kind get lost on their way.
    lost: Option<ApiKey>,
    members: BTreeMap<i32, Member>,
    letters: BTreeMap<(u64, u64), Letter>,
    next: u64,
    /// By connection, who was asked and who waits: every request has one of its own.
    askers: BTreeMap<ConnectionId, (i32, Asker)>,
}

impl World {
    pub(crate) fn new(nodes: i32) -> Self {
        Self::with(nodes, &[])
    }

    pub(crate) fn with(nodes: i32, keys: &[(&'static str, &'static str)]) -> Self {
        let mut world = Self {
            voters: nodes,
            keys: keys.to_vec(),
            answered: BTreeMap::new(),
            fuses: BTreeMap::new(),
            cut_off: None,
            lost: None,
            now: Now { wall_ms: 1_800_000_000_000, monotonic_ms: 5_000 },
            seed: 7,
            members: BTreeMap::new(),
            letters: BTreeMap::new(),
            next: 0,
            askers: BTreeMap::new(),
        };
        (1..=nodes).for_each(|id| world.add(id));
        (1..=nodes).for_each(|id| world.start(id));
        world
    }

    /// A machine with an empty disk.
    pub(crate) fn add(&mut self, id: i32) {
        self.members.insert(
            id,
            Member {
                disk: Disk::default(),
                node: None,
                wake_ms: u64::MAX,
                serving: false,
                failing: false,
                broken: BTreeSet::new(),
                offline: BTreeSet::new(),
                exchanged: 0,
                missing: BTreeSet::new(),
                last_ends: BTreeMap::new(),
            },
        );
    }

    /// Starts a node from what lies on its disk.
    pub(crate) fn start(&mut self, id: i32) {
        let voters: Vec<String> = (1..=self.voters).map(|id| format!("{id}@node-{id}:9093")).collect();
        let member = self.members.get_mut(&id).expect("known");
        let is_voter = id <= self.voters;
        let controllers = if is_voter { format!(",CONTROLLER://node-{id}:9093") } else { String::new() };
        let mut pairs = vec![
            ("node.id", id.to_string()),
            ("broker.rack", format!("rack-{id}")),
            ("process.roles", if is_voter { "broker,controller" } else { "broker" }.to_owned()),
            ("listeners", format!("PLAINTEXT://node-{id}:9092{controllers}")),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            ("controller.quorum.voters", voters.join(",")),
        ];
        pairs.extend(self.keys.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let config = BrokerConfig::from_pairs(pairs.iter().map(|(key, value)| (*key, value.as_str()))).expect("legal");
        let metadata = load(&member.disk, self.now.wall_ms).expect("the metadata loads");
        let log_dirs = log_dirs(&config, id, member.exchanged, &member.missing);
        let places: Vec<LogDir> = log_dirs.working().collect();
        let mut survey = survey(&member.disk, &places).expect("the directory can be read");
        let doubles = survey.settle_doubles(&member.disk, &metadata.image, &config, &log_dirs);
        let mut repairs = metadata.repairs.clone();
        repairs.extend(doubles.expect("one of them is the partition"));
        let (mut recovered, mut offline) = (Vec::new(), Vec::new());
        for found in &survey.partitions {
            match survey.open(&member.disk, found, &config, &metadata.image, self.now.wall_ms) {
                Ok(opened) => {
                    repairs.extend(opened.repairs);
                    recovered.push(opened.recovered);
                }
                Err(reason) => {
                    assert!(reason.is_damage(), "{reason}");
                    match survey.set_aside(&member.disk, found, &metadata.image) {
                        Aside::Offline(partition) => offline.push(partition),
                        Aside::Stray(op) => repairs.push(op),
                    }
                }
            }
        }
        repairs.extend(places.iter().map(|place| DiskOp::Delete { file: FilePath::of(*place, ".kafka_cleanshutdown") }));
        repairs.iter().for_each(|op| {
            member.disk.0.perform(op).expect("repairs succeed");
        });
        self.seed += 1;
        let boot = Boot {
            topology: Topology::read(&config).expect("keys that fit together"),
            config,
            cluster_id: "test-cluster".to_owned(),
            log_dirs,
            seed: self.seed,
            metadata,
            recovered,
            offline,
            previous_broker_epoch: survey.previous_broker_epoch,
        };
        let mut node = boot.node();
        let mut outbox = Vec::new();
        node.start(self.now, &mut outbox);
        (member.node, member.serving) = (Some(node), false);
        self.carry_out(id, outbox);
    }

    /// Ends a node without a word, as kill -9 does.
    pub(crate) fn kill(&mut self, id: i32) {
        self.members.get_mut(&id).expect("known").disk.0.kill();
        self.end(id);
    }

    /// The node dies in the middle of this operation of its disk, counted from now.
    pub(crate) fn kill_at(&mut self, id: i32, operation: usize) {
        self.fuses.insert(id, operation);
    }

    /// Whether it is still to die; it will not then.
    pub(crate) fn spare(&mut self, id: i32) -> bool {
        self.fuses.remove(&id).is_some()
    }

    /// Where the log of a topic ended when the node died as `kill_at` says, if it was served.
    pub(crate) fn last_end(&self, id: i32, topic: &str) -> Option<Offset> {
        self.members[&id].last_ends.get(&TopicName::from(topic)).copied()
    }

    pub(crate) fn cut_off(&mut self, id: i32) {
        self.cut_off = Some(id);
    }

    pub(crate) fn reconnect(&mut self) {
        self.cut_off = None;
    }

    pub(crate) fn hosted_partitions(&self, id: i32) -> usize {
        self.members[&id].node.as_ref().map_or(0, |node| node.gauges(0).hosted_partitions)
    }

    /// The names in the directory of a log.
    pub(crate) fn files(&self, id: i32, log: &str) -> Vec<String> {
        let entries = self.members[&id].disk.list(&FilePath::top(log)).expect("it is there");
        entries.into_iter().map(|entry| entry.name).collect()
    }

    /// What the node would know if it started now, all of it.
    pub(crate) fn topics_on_disk(&self, id: i32) -> Vec<String> {
        let image = load(&self.members[&id].disk, 0).expect("the metadata loads").image;
        image.topics.iter().map(|topic| topic.name.to_string()).collect()
    }

    /// Asks a node to end, as SIGTERM does.
    pub(crate) fn stop(&mut self, id: i32) {
        self.input(id, Input::Shutdown);
    }

    /// From now on every operation of the node's disk fails.
    pub(crate) fn fail_disk(&mut self, id: i32) {
        self.members.get_mut(&id).expect("known").failing = true;
    }

    /// The device of one of a node's directories is gone.
    pub(crate) fn break_dir(&mut self, id: i32, log_dir: LogDir) {
        self.members.get_mut(&id).expect("known").broken.insert(log_dir);
    }

    pub(crate) fn mend_dir(&mut self, id: i32, log_dir: LogDir) {
        self.members.get_mut(&id).expect("known").broken.remove(&log_dir);
    }

    /// The next starts do not find a directory, or do again.
    pub(crate) fn take_dir_away(&mut self, id: i32, log_dir: LogDir) {
        self.members.get_mut(&id).expect("known").missing.insert(log_dir);
    }

    pub(crate) fn bring_dir_back(&mut self, id: i32, log_dir: LogDir) {
        self.members.get_mut(&id).expect("known").missing.remove(&log_dir);
    }

    /// Requests of this kind between nodes are lost, from now on.
    pub(crate) fn lose_requests(&mut self, of: Option<ApiKey>) {
        self.lost = of;
    }

    /// Somebody puts an empty disk in the place of the one that holds a directory.
    pub(crate) fn exchange_dir(&mut self, id: i32, log_dir: LogDir) {
        let member = self.members.get_mut(&id).expect("known");
        let lost: Vec<FilePath> = member.disk.0.paths().filter(|path| path.log_dir() == log_dir).cloned().collect();
        for file in lost {
            member.disk.0.perform(&DiskOp::Delete { file }).expect("deleted");
        }
        member.exchanged += 1;
    }

    pub(crate) fn is_running(&self, id: i32) -> bool {
        self.members[&id].node.is_some()
    }

    fn end(&mut self, id: i32) {
        let member = self.members.get_mut(&id).expect("known");
        member.node = None;
        member.wake_ms = u64::MAX;
        member.serving = false;
        // Whoever waits for an answer of it sees the connection break.
        let broken: Vec<ConnectionId> = self.askers.iter().filter(|(_, (asked, _))| *asked == id).map(|(c, _)| *c).collect();
        for connection in broken {
            if let Some((_, asker)) = self.askers.remove(&connection) {
                self.answer(asker, Err(PeerLost::Broken));
            }
        }
    }

    pub(crate) fn run(&mut self, ms: u64) {
        let until_ms = self.now.monotonic_ms + ms;
        while self.now.monotonic_ms < until_ms {
            self.pass();
        }
    }

    pub(crate) fn run_until(&mut self, what: &str, most_ms: u64, is_so: impl Fn(&Self) -> bool) {
        let until_ms = self.now.monotonic_ms + most_ms;
        while !is_so(self) {
            assert!(self.now.monotonic_ms < until_ms, "{what} did not come within {most_ms} ms");
            self.pass();
        }
    }

    /// A millisecond.
    fn pass(&mut self) {
        self.now.monotonic_ms += 1;
        self.now.wall_ms += 1;
        while let Some(entry) = self.letters.first_entry().filter(|entry| entry.key().0 <= self.now.monotonic_ms) {
            let letter = entry.remove();
            self.deliver(letter);
        }
        let ids: Vec<i32> = self.members.keys().copied().collect();
        for id in ids {
            if self.members[&id].wake_ms <= self.now.monotonic_ms {
                self.members.get_mut(&id).expect("known").wake_ms = u64::MAX;
                self.input(id, Input::Tick);
            }
        }
    }

    /// What a client is answered; nothing if it had to wait for longer than `most_ms`.
    pub(crate) fn call_within(&mut self, most_ms: u64, to: i32, api_version: i16, request: Asked) -> Option<Response> {
        let asker = self.client();
        self.hand(to, ListenerKind::Broker, api_version, asker, request);
        let until_ms = self.now.monotonic_ms + most_ms;
        while !self.answered.contains_key(&asker.tag.number) && self.now.monotonic_ms < until_ms {
            self.pass();
        }
        self.answered.remove(&asker.tag.number)
    }

    /// Asks without waiting; what it is answered is found under the number.
    pub(crate) fn send(&mut self, to: i32, api_version: i16, request: Asked) -> u64 {
        let asker = self.client();
        self.hand(to, ListenerKind::Broker, api_version, asker, request);
        asker.tag.number
    }

    pub(crate) fn take_answer(&mut self, number: u64) -> Option<Response> {
        self.answered.remove(&number)
    }

    /// What a node says to a record with this value, which all replicas are to acknowledge; nothing if it does not answer within `most_ms`.
    pub(crate) fn produce(&mut self, most_ms: u64, to: i32, topic: &str, partition: i32, value: &[u8]) -> Option<ErrorCode> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(&NewRecord { value: Some(value), ..NewRecord::default() }).expect("small");
        let bytes = builder.build(&mut Scratch::default()).expect("it fits");
        let header = BatchHeader::parse(&bytes).expect("a batch");
        let data = TopicProduceData {
            name: TopicName::from(topic),
            partition_data: vec![PartitionProduceData { index: partition, records: None }],
            ..TopicProduceData::default()
        };
        let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![data], ..ProduceRequest::default() };
        let batches = vec![BatchOutcome::Checked { bytes, header, log_append_time_ms: -1 }];
        let asked = Asked::Produce(Box::new(CheckedProduce { request, batches }));
        match self.call_within(most_ms, to, 12, asked)? {
            Response::Produce(response) => Some(response.responses[0].partition_responses[0].error_code),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn node(&self, id: i32) -> &Node {
        self.members[&id].node.as_ref().expect("it runs")
    }

    pub(crate) fn contents(&self, id: i32, file: &str) -> Vec<u8> {
        self.members[&id].disk.0.contents(&FilePath::top(file)).map(<[u8]>::to_vec).unwrap_or_default()
    }

    pub(crate) fn put(&mut self, id: i32, file: &str, contents: Vec<u8>) {
        self.members.get_mut(&id).expect("known").disk.0.put(FilePath::top(file), contents);
    }

    fn post(&mut self, letter: Letter) {
        self.next += 1;
        self.letters.insert((self.now.monotonic_ms + 1, self.next), letter);
    }

    fn deliver(&mut self, letter: Letter) {
        match letter {
            // As when a machine does not answer: the asker's time is over.
            Letter::Request { to, asker, .. } if self.cut_off.is_some_and(|cut| cut == to || cut == asker.id) => {
                self.answer(asker, Err(PeerLost::TimedOut));
            }
            Letter::Request { asker, request, .. } if self.lost == Some(request.key()) => {
                self.answer(asker, Err(PeerLost::TimedOut));
            }
            Letter::Answer { id, tag, .. } if self.cut_off == Some(id) => {
                self.input(id, Input::Response { tag, result: Err(PeerLost::TimedOut) });
            }
            Letter::Request { to, listener, asker, request } => self.ask(to, listener, asker, *request),
            Letter::Answer { id, tag, mut result } => {
                if let Ok(response) = &mut result {
                    peers::check(response);
                }
                self.input(id, Input::Response { tag, result });
            }
        }
    }

    /// A client asks a node and gets its answer.
    pub(crate) fn call(&mut self, to: i32, request: impl Into<Request>) -> Response {
        let asker = self.client();
        self.ask(to, ListenerKind::Broker, asker, request.into());
        self.run_until("an answer", 10_000, |world| world.answered.contains_key(&asker.tag.number));
        self.answered.remove(&asker.tag.number).expect("it came")
    }

    fn client(&mut self) -> Asker {
        self.next += 1;
        Asker { id: CLIENT, tag: Tag { asker: strandline_node::io::Asker::Forwarding, number: self.next } }
    }

    fn ask(&mut self, to: i32, listener: ListenerKind, asker: Asker, request: Request) {
        if self.members[&to].node.is_none() {
            return self.answer(asker, Err(PeerLost::Refused));
        }
        let served: Vec<ApiVersion> = SERVED
            .iter()
            .filter(|row| row.is_on(listener))
            .map(|row| ApiVersion { api_key: row.key, min_version: row.versions.first, max_version: row.versions.last })
            .collect();
        let key = request.key();
        let Some(api_version) = peers::version(&served, key).filter(|version| find(key as i16, *version, listener).is_some())
        else {
            return self.answer(asker, Err(PeerLost::Unsupported));
        };
        self.hand(to, listener, api_version, asker, Asked::Other(Box::new(request)));
    }

    fn hand(&mut self, to: i32, listener: ListenerKind, api_version: i16, asker: Asker, request: Asked) {
        self.next += 1;
        let connection = ConnectionId(self.next);
        self.askers.insert(connection, (to, asker));
        let context = RequestContext {
            connection,
            sequence: Sequence(0),
            listener,
            listener_name: "".into(),
            api_version,
            client_id: Arc::from("test"),
            client_host: Arc::from("/127.0.0.1"),
        };
        self.input(to, Input::Request { context, request });
    }

    fn answer(&mut self, asker: Asker, result: Result<Box<Response>, PeerLost>) {
        let Asker { id, tag } = asker;
        if id == CLIENT {
            if let Ok(response) = result {
                self.answered.insert(tag.number, *response);
            }
            return;
        }
        self.post(Letter::Answer { id, tag, result });
    }

    pub(crate) fn input(&mut self, id: i32, input: Input) {
        let Some(node) = &mut self.members.get_mut(&id).expect("known").node else { return };
        let mut outbox = Vec::new();
        node.step(self.now, input, &mut outbox);
        node.settle(self.now, &mut outbox);
        self.carry_out(id, outbox);
    }

    fn carry_out(&mut self, id: i32, effects: Vec<Effect>) {
        for effect in effects {
            let member = self.members.get_mut(&id).expect("known");
            match effect {
                Effect::Reply { connection, reply, .. } => {
                    let response = body(&member.disk, reply);
                    if let Some((_, asker)) = self.askers.remove(&connection) {
                        self.answer(asker, response.ok_or(PeerLost::Broken));
                    }
                }
                Effect::Close { connection, .. } => {
                    if let Some((_, asker)) = self.askers.remove(&connection) {
                        self.answer(asker, Err(PeerLost::Broken));
                    }
                }
                Effect::Send { to, tag, request, .. } => {
                    let listener = if to.port == CONTROLLERS { ListenerKind::Controller } else { ListenerKind::Broker };
                    let to = node_of(&to);
                    self.post(Letter::Request { to, listener, asker: Asker { id, tag }, request });
                }
                Effect::Disk { owner, op } => {
                    if let Some(left) = self.fuses.get_mut(&id) {
                        *left = left.saturating_sub(1);
                        if *left == 0 {
                            self.fuses.remove(&id);
                            let ends = member.node.iter().flat_map(|node| node.partitions());
                            let ends = ends.filter(|view| !view.deleted && !view.is_cut);
                            member.last_ends = ends.map(|view| (view.name.clone(), view.positions.log_end)).collect();
                            return self.kill(id);
                        }
                    }
                    let full = || Err(DiskError::Full { file: FilePath::top("data") });
                    let broken = || Err(DiskError::Failed { file: op.file().clone(), reason: "input/output error".to_owned() });
                    let result = match () {
                        () if member.failing => full(),
                        () if member.broken.contains(&op.file().log_dir()) => broken(),
                        () => member.disk.0.perform(&op),
                    };
                    self.input(id, Input::Disk { owner, result });
                }
                Effect::Start { job, what } => {
                    let result = match what {
                        Job::Truncate { log, end, now_ms } => JobResult::Truncated(
                            strandline_log::recover::truncate(&member.disk, *log, end, now_ms).map(Box::new),
                        ),
                        Job::MakeSnapshotPiece(piece) => JobResult::SnapshotPiece(piece.make()),
                        Job::ReadSnapshot { id, file } => {
                            JobResult::SnapshotRead(read_snapshot(&member.disk, id, &file).map(Box::new))
                        }
                        Job::ReadPiece { file, position, bytes } => {
                            JobResult::PieceRead(member.disk.read(&file, position, bytes))
                        }
                        Job::ReadCopy(piece) => JobResult::CopyRead(strandline_node::copying::read(&member.disk, &piece)),
                        other => panic!("no test asks for {other:?}"),
                    };
                    self.input(id, Input::Job { job, result });
                }
                Effect::WakeAt { monotonic_ms } => member.wake_ms = monotonic_ms,
                Effect::Serving => member.serving = true,
                Effect::Stopped => self.end(id),
                Effect::Publish(_) | Effect::Unlisten { .. } => {}
                // The process ends, but not before what is under way has come in.
                Effect::Offline { file, .. } => drop(member.offline.insert(file.log_dir())),
                Effect::Fail { .. } if member.failing => {}
                Effect::Fail { file, reason } => panic!("the directory of {id} failed: {file}: {reason}"),
            }
        }
    }

    /// Whether a broker takes requests of clients.
    pub(crate) fn serves(&self, id: i32) -> bool {
        self.members[&id].serving
    }

    /// Who leads, if a majority agrees on it.
    pub(crate) fn leader(&self) -> Option<i32> {
        let nodes = self.members.values().filter_map(|member| member.node.as_ref());
        let told: Vec<(LeaderEpoch, i32)> = nodes
            .filter_map(|node| {
                let (epoch, leader) = node.metadata_leader();
                Some((epoch, leader?))
            })
            .collect();
        let newest = told.iter().max()?;
        let agree = told.iter().filter(|one| *one == newest).count();
        (agree > self.members.len() / 2).then_some(newest.1)
    }

    pub(crate) fn epoch(&self) -> LeaderEpoch {
        let nodes = self.members.values().filter_map(|member| member.node.as_ref());
        nodes.map(|node| node.metadata_leader().0).max().expect("somebody runs")
    }

    pub(crate) fn committed(&self, id: i32) -> Offset {
        self.members[&id].node.as_ref().map_or(Offset::ZERO, |node| node.gauges(0).metadata_committed)
    }

    /// Whether all that run have the same log, and know all of it to be committed.
    pub(crate) fn is_level(&self) -> bool {
        let nodes = self.members.values().filter_map(|member| member.node.as_ref());
        let ends: BTreeSet<(Offset, Offset)> =
            nodes.map(|node| (node.gauges(0).metadata_committed, node.metadata_positions().log_end)).collect();
        ends.len() == 1 && ends.iter().all(|(committed, end)| committed == end)
    }
}

/// Nodes are called by their number.
fn node_of(address: &PeerAddress) -> i32 {
    address.host.strip_prefix("node-").and_then(|id| id.parse().ok()).expect("a node's name")
}

/// The response with its records filled in.
fn body(disk: &Disk, reply: Reply) -> Option<Box<Response>> {
    match reply {
        Reply::Body(response) => Some(response),
        Reply::Silence => None,
        Reply::Fetch(fetch) => {
            let mut response = fetch.response;
            for filled in fetch.slices {
                let mut records = Vec::new();
                for slice in &filled.slices {
                    records.extend_from_slice(&match slice {
                        strandline_log::slice::Slice::Memory(bytes) => bytes.clone(),
                        strandline_log::slice::Slice::File(slice) => strandline_log::cut::read(disk, slice).expect("readable"),
                    });
                }
                response.responses[filled.topic].partitions[filled.partition].records =
                    Some(Records::from(Bytes::from(records)));
            }
            Some(Box::new(Response::Fetch(response)))
        }
    }
}
