//! The task that keeps a reader supplied.
//!
//! It owns the positions. To each leader one fetch is in flight, for all of its partitions that are due; what comes is
//! queued for the caller, and while too much is queued nothing new is asked for. Partitions whose leader moved wait for
//! fresh metadata.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Offset};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::builder::{Isolation, OutOfRange, Settings};
use super::decode::Decoded;
use super::error::ReadError;
use super::fetch::{Answer, Ask, Tools, fetch};
use super::open::find;
use super::{Chunk, Reader};
use crate::backoff::{Backoff, Dice};
use crate::client::Client;
use crate::connections::Connections;
use crate::error::{KafkaError, RequestError};
use crate::metadata::{MetadataError, Missing, Topic};
use crate::offsets::OffsetSpec;
use crate::record::ConsumerRecord;

/// Chunks between task and caller; the queue proper is the task's own.
const CHANNEL_CHUNKS: usize = 1;

/// The pause between questions for leaders.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);

/// How long a topic may be gone before the reader ends: it may have been deleted, or the servers may just not know it yet.
const MISSING_PATIENCE: Duration = Duration::from_secs(10);

/// How far reading has come in one partition.
#[derive(Debug)]
pub(super) struct Position {
    next: Offset,
    until: Offset,
    busy: bool,
    failures: u32,
    not_before: Option<Instant>,
}

/// What a background job of the task has come to.
enum Event {
    Fetched { broker: BrokerId, asks: Vec<Ask>, answers: Result<BTreeMap<i32, Answer>, RequestError> },
    Refreshed(Result<Option<ErrorCode>, MetadataError>),
    Reset { partition: i32, offset: Result<Offset, ReadError> },
}

struct Fetcher {
    tools: Tools,
    positions: BTreeMap<i32, Position>,
    busy: BTreeSet<BrokerId>,
    jobs: JoinSet<Event>,
    /// What the caller has not taken yet.
    ready: VecDeque<Result<Chunk, ReadError>>,
    ready_bytes: usize,
    /// Leaders have to be asked for.
    stale: bool,
    refreshing: bool,
    /// Since when the topic does not exist, or is not ready.
    missing_since: Option<Instant>,
    failed: bool,
    dice: Dice,
}

impl Position {
    pub(super) fn new(next: Offset, until: Offset) -> Self {
        Self { next, until, busy: false, failures: 0, not_before: None }
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
pub(super) fn start(client: Client, settings: Settings, positions: BTreeMap<i32, Position>) -> Reader {
    let (sender, chunks) = mpsc::channel(CHANNEL_CHUNKS);
    let connections = Arc::new(Connections::new(Arc::clone(&client.shared.settings)));
    let fetcher = Fetcher {
        tools: Tools { client, connections, settings: Arc::new(settings) },
        positions,
        busy: BTreeSet::new(),
        jobs: JoinSet::new(),
        ready: VecDeque::new(),
        ready_bytes: 0,
        stale: false,
        refreshing: false,
        missing_since: None,
        failed: false,
        dice: Dice::new(),
    };
    tokio::spawn(fetcher.run(sender));
    Reader::new(chunks)
}

impl Fetcher {
    async fn run(mut self, chunks: mpsc::Sender<Result<Chunk, ReadError>>) {
        loop {
            let wake_at = if self.failed { None } else { self.start_jobs(Instant::now()) };
            if self.ready.is_empty() && (self.failed || self.positions.values().all(Position::is_done)) {
                return;
            }
            tokio::select! {
                Some(event) = self.jobs.join_next(), if !self.failed && !self.jobs.is_empty() => match event {
                    Ok(event) => self.absorb(event),
                    // A job that panicked has said so already.
                    Err(_) => self.fail(ReadError::Ended),
                },
                permit = chunks.reserve(), if !self.ready.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(chunk) = self.ready.pop_front() {
                            self.ready_bytes -= chunk.as_ref().map_or(0, |chunk| chunk_bytes(chunk));
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

    /// Starts what can be started; answers when something else can be.
    fn start_jobs(&mut self, now: Instant) -> Option<Instant> {
        if self.ready_bytes >= self.tools.settings.prefetch_bytes {
            return None;
        }
        let cluster = self.tools.client.cluster();
        let topic = cluster.topic(&self.tools.settings.topic).map(Arc::clone);
        let (mut due, mut wake_at) = (BTreeMap::<BrokerId, Vec<Ask>>::new(), None::<Instant>);
        for (index, position) in self.positions.iter().filter(|(_, one)| !one.busy && !one.is_done()) {
            if let Some(at) = position.not_before.filter(|at| *at > now) {
                wake_at = Some(wake_at.map_or(at, |earlier| earlier.min(at)));
                continue;
            }
            match topic.as_ref().and_then(|topic| topic.partition(*index)?.leader) {
                Some(leader) if self.busy.contains(&leader) => {}
                Some(leader) => {
                    let ask = Ask { partition: *index, from: position.next, until: position.until };
                    due.entry(leader).or_default().push(ask);
                }
                None => self.stale = true,
            }
        }
        if let Some(topic) = topic {
            due.into_iter().for_each(|(leader, asks)| self.start_fetch(leader, asks, &topic));
        }
        if self.stale && !self.refreshing {
            self.start_refresh();
        }
        wake_at
    }

    fn start_fetch(&mut self, broker: BrokerId, asks: Vec<Ask>, topic: &Arc<Topic>) {
        for ask in &asks {
            if let Some(position) = self.positions.get_mut(&ask.partition) {
                position.busy = true;
            }
        }
        self.busy.insert(broker);
        let (tools, topic) = (self.tools.clone(), Arc::clone(topic));
        self.jobs.spawn(async move {
            let answers = fetch(&tools.client, &tools.connections, &tools.settings, &topic, broker, &asks).await;
            Event::Fetched { broker, asks, answers }
        });
    }

    fn start_refresh(&mut self) {
        (self.stale, self.refreshing) = (false, true);
        let tools = self.tools.clone();
        self.jobs.spawn(async move {
            let refreshed = tools.client.shared.metadata.refresh(&[&tools.settings.topic], Missing::Report).await;
            tokio::time::sleep(REFRESH_PAUSE).await;
            Event::Refreshed(refreshed.map(|errors| errors.into_values().next()))
        });
    }

    /// Finds out where the log begins or ends, after the position turned out to be outside of it.
    fn start_reset(&mut self, partition: i32, spec: OffsetSpec) {
        if let Some(position) = self.positions.get_mut(&partition) {
            position.busy = true;
        }
        let tools = self.tools.clone();
        self.jobs.spawn(async move {
            let isolation = match spec {
                OffsetSpec::Latest => tools.settings.isolation,
                _ => Isolation::ReadUncommitted,
            };
            let found = find(&tools.client, &tools.settings, &[partition], spec, isolation).await;
            let offset = found.map(|found| found.get(&partition).and_then(|one| one.offset).unwrap_or(Offset::ZERO));
            Event::Reset { partition, offset }
        });
    }

    fn absorb(&mut self, event: Event) {
        match event {
            Event::Fetched { broker, asks, answers } => self.fetched(broker, &asks, answers),
            Event::Refreshed(refreshed) => self.refreshed(refreshed),
            Event::Reset { partition, offset } => match (offset, self.positions.get_mut(&partition)) {
                (Ok(offset), Some(position)) => (position.next, position.busy) = (offset, false),
                (Err(error), _) => self.fail(error),
                (Ok(_), None) => {}
            },
        }
    }

    fn refreshed(&mut self, refreshed: Result<Option<ErrorCode>, MetadataError>) {
        self.refreshing = false;
        match refreshed {
            Ok(None) => self.missing_since = None,
            Ok(Some(code)) => {
                let since = *self.missing_since.get_or_insert_with(Instant::now);
                if !code.is_retriable() || since.elapsed() > MISSING_PATIENCE {
                    let topic = self.tools.settings.topic.clone();
                    self.fail(MetadataError::Topic { topic, code }.into());
                }
            }
            Err(error) => tracing::debug!(%error, "no metadata yet"),
        }
    }

    fn fetched(&mut self, broker: BrokerId, asks: &[Ask], answers: Result<BTreeMap<i32, Answer>, RequestError>) {
        self.busy.remove(&broker);
        for ask in asks {
            if let Some(position) = self.positions.get_mut(&ask.partition) {
                position.busy = false;
            }
        }
        match answers {
            Ok(answers) => answers.into_iter().for_each(|(partition, answer)| self.answered(partition, answer)),
            Err(error) if error.is_retriable() => {
                tracing::debug!(%broker, %error, "fetch failed");
                self.stale = true;
                for ask in asks {
                    self.back_off(ask.partition);
                }
            }
            Err(error) => self.fail(error.into()),
        }
    }

    fn answered(&mut self, partition: i32, answer: Answer) {
        match answer {
            Answer::Read(decoded) => self.read(partition, decoded),
            Answer::Refused(ErrorCode::OFFSET_OUT_OF_RANGE, log_start) => self.out_of_range(partition, log_start),
            Answer::Refused(code, _) if code.is_retriable() => {
                self.stale = true;
                self.back_off(partition);
            }
            Answer::Refused(code, _) => {
                let topic = self.tools.settings.topic.clone();
                self.fail(ReadError::Refused { topic, partition, code });
            }
        }
    }

    fn read(&mut self, partition: i32, decoded: Decoded) {
        let Some(position) = self.positions.get_mut(&partition) else { return };
        (position.failures, position.not_before) = (0, None);
        position.next = decoded.next.unwrap_or(position.next);
        if !decoded.records.is_empty() {
            self.ready_bytes += chunk_bytes(&decoded.records);
            self.ready.push_back(Ok(decoded.records));
        }
        if let Some((offset, what)) = decoded.damaged {
            let topic = self.tools.settings.topic.clone();
            self.fail(ReadError::Corrupt { topic, partition, offset, what });
        }
    }

    fn out_of_range(&mut self, partition: i32, log_start: Offset) {
        match self.tools.settings.out_of_range {
            OutOfRange::Beginning => self.start_reset(partition, OffsetSpec::Earliest),
            OutOfRange::End => self.start_reset(partition, OffsetSpec::Latest),
            OutOfRange::Fail => {
                let topic = self.tools.settings.topic.clone();
                let offset = self.positions.get(&partition).map_or(Offset::NONE, |position| position.next);
                self.fail(ReadError::OutOfRange { topic, partition, offset, log_start });
            }
        }
    }

    fn back_off(&mut self, partition: i32) {
        if let Some(position) = self.positions.get_mut(&partition) {
            position.back_off(&mut self.dice);
        }
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
fn chunk_bytes(chunk: &[ConsumerRecord]) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    chunk.iter().map(|record| size_of_val(record) + length(&record.key) + length(&record.value)).sum()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
