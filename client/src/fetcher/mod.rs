//! The task that keeps a reader or a consumer supplied with records.
//!
//! It owns the positions. To each leader one fetch is in flight, for all of its partitions that are due; what comes is
//! queued for the caller, and while too much is queued nothing new is asked for. Partitions whose leader moved wait for
//! fresh metadata. A reader's positions are fixed, and what goes wrong with one of them ends it; a consumer sets and takes
//! away positions by [`Commands`], and a partition that fails is given up alone.

mod aborted;
mod decode;
mod fetch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Offset};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use self::aborted::Aborted;
pub(crate) use self::decode::{Decoded, Wanted, decode};
use self::fetch::{Answer, Answers, Ask, fetch};
use crate::TopicPartition;
use crate::backoff::{Backoff, Dice};
use crate::client::Client;
use crate::connections::Connections;
use crate::error::{KafkaError, RequestError};
use crate::metadata::{MetadataError, Missing};
use crate::offsets::OffsetSpec;
use crate::reader::{Isolation, OutOfRange, ReadError, find};
use crate::record::ConsumerRecord;

/// Chunks between task and caller; the queue proper is the task's own.
const CHANNEL_CHUNKS: usize = 1;

/// The pause between questions for leaders.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);

/// How long a topic may be gone before the reader ends: it may have been deleted, or the servers may just not know it yet.
const MISSING_PATIENCE: Duration = Duration::from_secs(10);

/// How records are fetched.
#[derive(Clone, Debug)]
pub(crate) struct FetchSettings {
    pub(crate) isolation: Isolation,
    pub(crate) out_of_range: OutOfRange,
    pub(crate) min_bytes: i32,
    pub(crate) max_wait: Duration,
    pub(crate) partition_bytes_max: i32,
    pub(crate) fetch_bytes_max: i32,
    pub(crate) prefetch_bytes: usize,
    pub(crate) decompressed_bytes_max: usize,
}

/// Records of one partition, in order; never none.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) partition: TopicPartition,
    /// Of the position from which they were read.
    pub(crate) version: u64,
    pub(crate) records: Vec<ConsumerRecord>,
    /// Where reading goes on behind them.
    pub(crate) next: Offset,
}

/// A wish of a consumer.
#[derive(Debug)]
pub(crate) enum Command {
    /// Read this partition from here on; what was read of it under another version is dropped.
    Set {
        partition: TopicPartition,
        from: Offset,
        version: u64,
    },
    Remove {
        partition: TopicPartition,
    },
}

/// Where wishes come from.
pub(crate) struct Commands(Option<mpsc::UnboundedReceiver<Command>>);

/// How far reading has come in one partition.
#[derive(Debug)]
struct Position {
    next: Offset,
    until: Offset,
    version: u64,
    busy: bool,
    failures: u32,
    not_before: Option<Instant>,
}

/// What a background job of the task has come to.
enum Event {
    Fetched { broker: BrokerId, asks: Vec<Ask>, answers: Result<Answers, RequestError> },
    Refreshed(Result<BTreeMap<String, ErrorCode>, MetadataError>),
    Reset { partition: TopicPartition, version: u64, offset: Result<Offset, ReadError> },
}

/// What a fetch needs, shared by all jobs of a task.
#[derive(Clone)]
struct Tools {
    client: Client,
    connections: Arc<Connections>,
    settings: Arc<FetchSettings>,
}

struct Fetcher {
    tools: Tools,
    commands: Commands,
    positions: BTreeMap<TopicPartition, Position>,
    busy: BTreeSet<BrokerId>,
    jobs: JoinSet<Event>,
    /// What the caller has not taken yet.
    ready: VecDeque<Result<Chunk, ReadError>>,
    ready_bytes: usize,
    /// Topics whose leaders have to be asked for.
    stale: BTreeSet<String>,
    refreshing: bool,
    /// Since when a topic does not exist, or is not ready.
    missing_since: Option<Instant>,
    failed: bool,
    dice: Dice,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            isolation: Isolation::ReadUncommitted,
            out_of_range: OutOfRange::Fail,
            min_bytes: 1,
            max_wait: Duration::from_millis(500),
            partition_bytes_max: 1 << 20,
            fetch_bytes_max: 16 << 20,
            prefetch_bytes: 16 << 20,
            decompressed_bytes_max: 64 << 20,
        }
    }
}

impl FetchSettings {
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let bad = self.min_bytes < 0 || self.partition_bytes_max <= 0 || self.fetch_bytes_max <= 0;
        if bad { Err("bytes to fetch are above zero") } else { Ok(()) }
    }
}

impl Commands {
    /// Of a reader: its positions are fixed.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    pub(crate) fn from(receiver: mpsc::UnboundedReceiver<Command>) -> Self {
        Self(Some(receiver))
    }

    /// The next wish; for ever if none can come.
    async fn next(&mut self) -> Command {
        match &mut self.0 {
            Some(receiver) => match receiver.recv().await {
                Some(command) => command,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

impl Position {
    fn new(next: Offset, until: Offset, version: u64) -> Self {
        Self { next, until, version, busy: false, failures: 0, not_before: None }
    }

    fn is_done(&self) -> bool {
        self.next >= self.until
    }

    fn back_off(&mut self, dice: &mut Dice) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + Backoff::RETRY.after(self.failures, dice));
    }
}

/// Starts the task and answers with the caller's end of it.
pub(crate) fn start(
    client: Client,
    settings: FetchSettings,
    positions: Vec<(TopicPartition, Offset, Offset)>,
    commands: Commands,
) -> mpsc::Receiver<Result<Chunk, ReadError>> {
    let (sender, chunks) = mpsc::channel(CHANNEL_CHUNKS);
    let connections = Arc::new(Connections::new(Arc::clone(&client.shared.settings)));
    let positions = positions.into_iter().map(|(key, next, until)| (key, Position::new(next, until, 0)));
    let fetcher = Fetcher {
        tools: Tools { client, connections, settings: Arc::new(settings) },
        commands,
        positions: positions.collect(),
        busy: BTreeSet::new(),
        jobs: JoinSet::new(),
        ready: VecDeque::new(),
        ready_bytes: 0,
        stale: BTreeSet::new(),
        refreshing: false,
        missing_since: None,
        failed: false,
        dice: Dice::new(),
    };
    tokio::spawn(fetcher.run(sender));
    chunks
}

impl Fetcher {
    async fn run(mut self, chunks: mpsc::Sender<Result<Chunk, ReadError>>) {
        loop {
            let wake_at = if self.failed { None } else { self.start_jobs(Instant::now()) };
            if self.ready.is_empty() && self.is_over() {
                return;
            }
            tokio::select! {
                Some(event) = self.jobs.join_next(), if !self.failed && !self.jobs.is_empty() => match event {
                    Ok(event) => self.absorb(event),
                    // A job that panicked has said so already.
                    Err(_) => self.fail(ReadError::Ended),
                },
                command = self.commands.next() => self.obey(command),
                permit = chunks.reserve(), if !self.ready.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(chunk) = self.ready.pop_front() {
                            self.ready_bytes -= chunk.as_ref().map_or(0, chunk_bytes);
                            permit.send(chunk);
                        }
                    }
                    Err(_) => return,
                },
                () = chunks.closed() => return,
                () = sleep_until(wake_at), if wake_at.is_some() => {}
            }
        }
    }

    fn is_over(&self) -> bool {
        self.failed || (self.commands.0.is_none() && self.positions.values().all(Position::is_done))
    }

    fn obey(&mut self, command: Command) {
        let partition = match &command {
            Command::Set { partition, .. } | Command::Remove { partition } => partition.clone(),
        };
        self.ready.retain(|chunk| match chunk {
            Ok(chunk) if chunk.partition == partition => {
                self.ready_bytes -= chunk_bytes(chunk);
                false
            }
            _ => true,
        });
        match command {
            Command::Set { from, version, .. } => {
                self.positions.insert(partition, Position::new(from, Offset::MAX, version));
            }
            Command::Remove { .. } => drop(self.positions.remove(&partition)),
        }
    }

    /// Starts what can be started; answers when something else can be.
    fn start_jobs(&mut self, now: Instant) -> Option<Instant> {
        if self.ready_bytes >= self.tools.settings.prefetch_bytes {
            return None;
        }
        let cluster = self.tools.client.cluster();
        let (mut due, mut wake_at) = (BTreeMap::<BrokerId, Vec<Ask>>::new(), None::<Instant>);
        for ((name, index), position) in self.positions.iter().filter(|(_, one)| !one.busy && !one.is_done()) {
            if let Some(at) = position.not_before.filter(|at| *at > now) {
                wake_at = Some(wake_at.map_or(at, |earlier| earlier.min(at)));
                continue;
            }
            let topic = cluster.topic(name);
            match topic.and_then(|topic| Some((topic, topic.partition(*index)?.leader?))) {
                Some((_, leader)) if self.busy.contains(&leader) => {}
                Some((topic, leader)) => due.entry(leader).or_default().push(Ask {
                    topic: Arc::clone(topic),
                    partition: *index,
                    from: position.next,
                    until: position.until,
                    version: position.version,
                }),
                None => drop(self.stale.insert(name.clone())),
            }
        }
        due.into_iter().for_each(|(leader, asks)| self.start_fetch(leader, asks));
        if !self.stale.is_empty() && !self.refreshing {
            self.start_refresh();
        }
        wake_at
    }

    fn start_fetch(&mut self, broker: BrokerId, asks: Vec<Ask>) {
        for ask in &asks {
            if let Some(position) = self.asked(ask) {
                position.busy = true;
            }
        }
        self.busy.insert(broker);
        let tools = self.tools.clone();
        self.jobs.spawn(async move {
            let answers = fetch(&tools, broker, &asks).await;
            Event::Fetched { broker, asks, answers }
        });
    }

    fn start_refresh(&mut self) {
        self.refreshing = true;
        let (tools, stale) = (self.tools.clone(), std::mem::take(&mut self.stale));
        self.jobs.spawn(async move {
            let names: Vec<&str> = stale.iter().map(String::as_str).collect();
            let refreshed = tools.client.shared.metadata.refresh(&names, Missing::Report).await;
            tokio::time::sleep(REFRESH_PAUSE).await;
            Event::Refreshed(refreshed)
        });
    }

    /// Finds out where the log begins or ends, after the position turned out to be outside of it.
    fn start_reset(&mut self, ask: &Ask, spec: OffsetSpec) {
        if let Some(position) = self.asked(ask) {
            position.busy = true;
        }
        let (tools, ask) = (self.tools.clone(), ask.clone());
        self.jobs.spawn(async move {
            let isolation = match spec {
                OffsetSpec::Latest => tools.settings.isolation,
                _ => Isolation::ReadUncommitted,
            };
            let found = find(&tools.client, &ask.topic.name, &[ask.partition], spec, isolation).await;
            let offset = found.map(|found| found.get(&ask.partition).and_then(|one| one.offset).unwrap_or(Offset::ZERO));
            Event::Reset { partition: (ask.topic.name.clone(), ask.partition), version: ask.version, offset }
        });
    }

    /// The position of a question, unless it was set anew meanwhile.
    fn asked(&mut self, ask: &Ask) -> Option<&mut Position> {
        let key = (ask.topic.name.clone(), ask.partition);
        self.positions.get_mut(&key).filter(|position| position.version == ask.version)
    }

    fn absorb(&mut self, event: Event) {
        match event {
            Event::Fetched { broker, asks, answers } => self.fetched(broker, &asks, answers),
            Event::Refreshed(refreshed) => self.refreshed(refreshed),
            Event::Reset { partition, version, offset } => {
                let Some(position) = self.positions.get_mut(&partition).filter(|one| one.version == version) else { return };
                match offset {
                    Ok(offset) => (position.next, position.busy) = (offset, false),
                    Err(error) => self.give_up(&partition, error),
                }
            }
        }
    }

    fn refreshed(&mut self, refreshed: Result<BTreeMap<String, ErrorCode>, MetadataError>) {
        self.refreshing = false;
        match refreshed {
            Ok(errors) => match errors.into_iter().next() {
                None => self.missing_since = None,
                // A consumer's group notices that a topic is gone, and takes its partitions away.
                Some(_) if self.commands.0.is_some() => {}
                Some((topic, code)) => {
                    let since = *self.missing_since.get_or_insert_with(Instant::now);
                    if !code.is_retriable() || since.elapsed() > MISSING_PATIENCE {
                        self.fail(MetadataError::Topic { topic, code }.into());
                    }
                }
            },
            Err(error) => tracing::debug!(%error, "no metadata yet"),
        }
    }

    fn fetched(&mut self, broker: BrokerId, asks: &[Ask], answers: Result<Answers, RequestError>) {
        self.busy.remove(&broker);
        for ask in asks {
            if let Some(position) = self.asked(ask) {
                position.busy = false;
            }
        }
        match answers {
            Ok(answers) => answers.into_iter().for_each(|(index, answer)| self.answered(&asks[index], answer)),
            Err(error) if error.is_retriable() => {
                tracing::debug!(%broker, %error, "fetch failed");
                asks.iter().for_each(|ask| self.ask_again(ask));
            }
            Err(error) => self.fail(error.into()),
        }
    }

    fn answered(&mut self, ask: &Ask, answer: Answer) {
        if self.asked(ask).is_none() {
            return;
        }
        match answer {
            Answer::Read(decoded) => self.read(ask, decoded),
            Answer::Refused(ErrorCode::OFFSET_OUT_OF_RANGE, log_start) => self.out_of_range(ask, log_start),
            Answer::Refused(code, _) if code.is_retriable() => self.ask_again(ask),
            Answer::Refused(code, _) => {
                let (topic, partition) = (ask.topic.name.clone(), ask.partition);
                self.give_up(&(topic.clone(), partition), ReadError::Refused { topic, partition, code });
            }
        }
    }

    fn read(&mut self, ask: &Ask, decoded: Decoded) {
        let Some(position) = self.asked(ask) else { return };
        (position.failures, position.not_before) = (0, None);
        position.next = decoded.next.unwrap_or(position.next);
        let next = position.next;
        let (topic, partition) = (ask.topic.name.clone(), ask.partition);
        if !decoded.records.is_empty() {
            let key = (topic.clone(), partition);
            let chunk = Chunk { partition: key, version: ask.version, records: decoded.records, next };
            self.ready_bytes += chunk_bytes(&chunk);
            self.ready.push_back(Ok(chunk));
        }
        if let Some((offset, what)) = decoded.damaged {
            self.give_up(&(topic.clone(), partition), ReadError::Corrupt { topic, partition, offset, what });
        }
    }

    fn out_of_range(&mut self, ask: &Ask, log_start: Offset) {
        match self.tools.settings.out_of_range {
            OutOfRange::Beginning => self.start_reset(ask, OffsetSpec::Earliest),
            OutOfRange::End => self.start_reset(ask, OffsetSpec::Latest),
            OutOfRange::Fail => {
                let (topic, partition) = (ask.topic.name.clone(), ask.partition);
                let error = ReadError::OutOfRange { topic: topic.clone(), partition, offset: ask.from, log_start };
                self.give_up(&(topic, partition), error);
            }
        }
    }

    /// After a while, of whoever leads the partition then.
    fn ask_again(&mut self, ask: &Ask) {
        self.stale.insert(ask.topic.name.clone());
        let mut dice = self.dice.clone();
        if let Some(position) = self.asked(ask) {
            position.back_off(&mut dice);
        }
        self.dice = dice;
    }

    /// A partition cannot be read on. The caller gets what is ready, then the error; a reader has ended then.
    fn give_up(&mut self, partition: &TopicPartition, error: ReadError) {
        if self.commands.0.is_none() {
            return self.fail(error);
        }
        self.positions.remove(partition);
        self.ready.push_back(Err(error));
    }

    /// The caller gets what is ready, then the error, then nothing more.
    fn fail(&mut self, error: ReadError) {
        if !self.failed {
            self.failed = true;
            self.ready.push_back(Err(error));
        }
    }
}

/// What a chunk weighs in memory, about.
fn chunk_bytes(chunk: &Chunk) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    chunk.records.iter().map(|record| size_of_val(record) + length(&record.key) + length(&record.value)).sum()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
