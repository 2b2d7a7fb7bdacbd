//! Consuming as a member of a share group (KIP-932): members share records, not partitions, and say of each what became of it.
//!
//! ```text
//! member (heartbeats) -> assignment -> poll -> session of each leader (ShareFetch) -> batch -> words -> the next fetch, or commit
//! ```
//! Nothing is fetched ahead: a record that lies here unread is locked for everybody else. `session.rs` and `words.rs` hold the decisions,
//! without clock or socket.
//!
//! Invariant. A record that was handed out is said something of exactly once: by the caller, or by its batch when that is
//! dropped.

mod batch;
mod builder;
mod error;
mod fetch;
mod member;
mod session;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::BrokerId;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use self::builder::Settings;
use self::fetch::{Asked, Ended, Kind, carry_out};
use self::member::Shared;
use self::session::{Close, Place, Session};
use self::words::Words;
use crate::TopicPartition;
use crate::backoff::{Backoff, Dice};
use crate::client::Client;
use crate::connections::Connections;
use crate::error::KafkaError;
use crate::metadata::Missing;

pub use batch::{Acknowledge, ShareBatch, ShareRecord};
pub use builder::ShareConsumerBuilder;
pub use error::ShareError;

/// How long a consumer that is dropped, not closed, takes to say goodbye.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// What became of what was said of records, by partition.
pub type Acknowledged = BTreeMap<TopicPartition, Result<(), ErrorCode>>;

/// A member of a share group. Close it: what is said of records and not sent yet is lost with it, and they are given out again when
/// their locks run out.
pub struct ShareConsumer {
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    words: Arc<Words>,
    sessions: BTreeMap<BrokerId, Session>,
    jobs: JoinSet<Ended>,
    ready: VecDeque<Result<ShareBatch, ShareError>>,
    /// What was said with fetches and not told to the caller yet.
    acknowledged: Acknowledged,
    leave: Arc<watch::Sender<Option<Duration>>>,
    stop: watch::Receiver<bool>,
    stopper: Arc<watch::Sender<bool>>,
    member: Option<JoinHandle<()>>,
    dice: Dice,
}

/// Ends a share consumer's polls from elsewhere; cheap to clone.
#[derive(Clone, Debug)]
pub struct ShareStopper(Arc<watch::Sender<bool>>);

impl ShareStopper {
    /// From now on `poll` answers with `None`.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl ShareConsumer {
    fn start(client: Client, settings: Settings) -> Self {
        let connections = Arc::new(Connections::new(Arc::clone(&client.shared.settings)));
        let shared = Arc::new(Shared::new(client, settings));
        let (leave, left) = watch::channel(None);
        let (stopper, stop) = watch::channel(false);
        let member = tokio::spawn(member::live(Arc::clone(&shared), left));
        Self {
            shared,
            connections,
            words: Arc::default(),
            sessions: BTreeMap::new(),
            jobs: JoinSet::new(),
            ready: VecDeque::new(),
            acknowledged: Acknowledged::new(),
            leave: Arc::new(leave),
            stop,
            stopper: Arc::new(stopper),
            member: Some(member),
            dice: Dice::new(),
        }
    }

    /// The next records, all of one partition; `None` once the consumer was stopped. What was said of earlier ones goes with the
    /// request.
    ///
    /// # Errors
    /// [`ShareError`]. After an error that is not fatal the next poll goes on.
    ///
    /// Dropping the future loses nothing.
    pub async fn poll(&mut self) -> Result<Option<ShareBatch>, ShareError> {
        loop {
            if *self.stop.borrow() {
                return Ok(None);
            }
            if let Some(error) = self.shared.take_trouble() {
                return Err(error);
            }
            if let Some(ready) = self.ready.pop_front() {
                return ready.map(Some);
            }
            let wake_at = self.start_fetches().await;
            tokio::select! {
                Some(ended) = self.jobs.join_next(), if !self.jobs.is_empty() => self.absorb(ended),
                () = self.shared.changed.notified() => {}
                _ = self.stop.changed() => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// A handle that ends `poll` from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> ShareStopper {
        ShareStopper(Arc::clone(&self.stopper))
    }

    /// The partitions that this member reads at the moment; other members may read them too.
    #[must_use]
    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.shared.assignment().into_iter().map(|(_, partition)| partition).collect()
    }

    /// Sends what was said of records and not sent yet, and waits until it is written. Answers with what became of it, and of what
    /// went with polls since the last call: an error means that the records are given out again, or were already.
    ///
    /// Dropping the future loses the answers.
    pub async fn commit(&mut self) -> Acknowledged {
        self.settle().await;
        let words = self.words.take();
        let asked = self.by_session(words);
        for (broker, words) in asked {
            self.begin(broker, Kind::Acknowledge { words, close: Close::No });
        }
        self.settle().await;
        std::mem::take(&mut self.acknowledged)
    }

    /// Holds on to those records of a batch of which nothing was said: their locks begin anew (KIP-1222).
    ///
    /// # Errors
    /// [`ShareError::Acknowledge`] if they are another member's already, or the group does not allow it, and
    /// [`ShareError::NotMember`] if their leader has not heard of this member.
    ///
    /// Dropping the future loses the answer.
    pub async fn renew(&mut self, batch: &ShareBatch) -> Result<(), ShareError> {
        self.settle().await;
        let (place, partition) = (batch.place(), batch.topic_partition());
        let Some(broker) = self.session_of(place) else { return Err(ShareError::NotMember) };
        let words = BTreeMap::from([(place, batch.renewals())]);
        let before = self.acknowledged.remove(&partition);
        self.begin(broker, Kind::Renew { words });
        self.settle().await;
        let renewed = self.acknowledged.remove(&partition);
        if let Some(before) = before {
            self.acknowledged.insert(partition.clone(), before);
        }
        match renewed {
            Some(Ok(())) => Ok(()),
            Some(Err(code)) => Err(ShareError::Acknowledge { topic: partition.0, partition: partition.1, code }),
            None => Err(ShareError::NotMember),
        }
    }

    /// Sends what was said of records, gives back what nothing was said of, and leaves the group, for at most `deadline`.
    pub async fn close(mut self, deadline: Duration) {
        if tokio::time::timeout(deadline, self.say_goodbye()).await.is_err() {
            tracing::warn!(group = %self.shared.settings.group, "the share group was left before all was said");
        }
        self.leave.send_replace(Some(deadline));
        if let Some(member) = self.member.take() {
            // A task that panicked has said so.
            let _ = member.await;
        }
    }

    async fn say_goodbye(&mut self) {
        self.settle().await;
        // What nobody has polled goes back with its batches.
        self.ready.clear();
        let words = self.words.take();
        let mut words = self.by_session(words);
        for broker in self.sessions.keys().copied().collect::<Vec<_>>() {
            let words = words.remove(&broker).unwrap_or_default();
            self.begin(broker, Kind::Acknowledge { words, close: Close::Yes });
        }
        self.settle().await;
    }

    /// Waits until no request is under way.
    async fn settle(&mut self) {
        while let Some(ended) = self.jobs.join_next().await {
            self.absorb(ended);
        }
    }

    /// Words by the leader that gave the records out. Those of a leader that is another by now are refused there, so they count as
    /// that here.
    fn by_session(&mut self, words: words::Said) -> BTreeMap<BrokerId, words::Said> {
        let mut sorted: BTreeMap<BrokerId, words::Said> = BTreeMap::new();
        for (place, said) in words {
            match self.session_of(place) {
                Some(broker) => drop(sorted.entry(broker).or_default().insert(place, said)),
                None => self.note(place, Err(ErrorCode::INVALID_RECORD_STATE)),
            }
        }
        sorted
    }

    fn session_of(&self, place: Place) -> Option<BrokerId> {
        self.sessions.iter().find(|(_, session)| session.has(place)).map(|(broker, _)| *broker)
    }

    fn note(&mut self, place: Place, result: Result<(), ErrorCode>) {
        let Some(partition) = self.shared.named(place) else { return };
        let noted = self.acknowledged.entry(partition).or_insert(Ok(()));
        if noted.is_ok() {
            *noted = result;
        }
    }

    /// Asks every leader that is not asked already; answers with when to look again.
    async fn start_fetches(&mut self) -> Option<Instant> {
        let assignment = self.shared.assignment();
        let names: BTreeSet<String> = assignment.iter().map(|(_, (topic, _))| topic.clone()).collect();
        let mut unknown = Vec::new();
        let mut wanted: BTreeMap<BrokerId, BTreeSet<Place>> = BTreeMap::new();
        let cluster = self.shared.client.cluster();
        for ((id, index), (name, _)) in &assignment {
            let leader = cluster.topic(name).and_then(|topic| topic.partition(*index)?.leader);
            match leader {
                Some(leader) => drop(wanted.entry(leader).or_default().insert((*id, *index))),
                None => unknown.push(name.as_str()),
            }
        }
        if !unknown.is_empty() || self.shared.is_stale() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            match self.shared.client.shared.metadata.refresh(&names, Missing::Report).await {
                Ok(_) => self.shared.set_fresh(),
                Err(error) => tracing::debug!(%error, "no metadata yet"),
            }
        }
        let leaders: BTreeSet<BrokerId> = wanted.keys().chain(self.sessions.keys()).copied().collect();
        let (now, mut wake_at) = (Instant::now(), (!unknown.is_empty()).then(|| Instant::now() + Backoff::RETRY.first));
        for broker in leaders {
            let places = wanted.remove(&broker).unwrap_or_default();
            let session = self.sessions.entry(broker).or_default();
            match session.ready_at(now) {
                None => {}
                Some(at) if at > now => wake_at = Some(wake_at.map_or(at, |earlier: Instant| earlier.min(at))),
                Some(_) if places.is_empty() && session.is_empty() => {}
                Some(_) => {
                    let words = self.words.take_of(|place| session.has(place));
                    self.begin(broker, Kind::Fetch { words, places });
                }
            }
        }
        wake_at
    }

    fn begin(&mut self, broker: BrokerId, kind: Kind) {
        let session = self.sessions.entry(broker).or_default();
        let opening = session.begin(&kind);
        let asked = Asked { broker, opening, kind };
        let (shared, connections) = (Arc::clone(&self.shared), Arc::clone(&self.connections));
        self.jobs.spawn(carry_out(shared, connections, asked));
    }

    fn absorb(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let Ok(Ended { asked, answer }) = ended else {
            // A job that panicked has said so.
            return self.ready.push_back(Err(ShareError::Closed));
        };
        let closes = matches!(&asked.kind, Kind::Acknowledge { close: Close::Yes, .. });
        let said: Vec<Place> = asked.kind.words().keys().copied().collect();
        let session = self.sessions.entry(asked.broker).or_default();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                session.lost(Instant::now(), &mut self.dice);
                self.shared.set_stale();
                let code = error.code().unwrap_or(ErrorCode::NETWORK_EXCEPTION);
                said.into_iter().for_each(|place| self.note(place, Err(code)));
                if !error.is_retriable() {
                    self.ready.push_back(Err(error));
                }
                return;
            }
        };
        session.heard();
        if closes {
            self.sessions.remove(&asked.broker);
        }
        for (place, code) in answer.acknowledged {
            self.note(place, if code.is_none() { Ok(()) } else { Err(code) });
        }
        if answer.moved {
            self.shared.set_stale();
            self.sessions.entry(asked.broker).or_default().pause(Instant::now(), &mut self.dice);
        }
        for delivered in answer.delivered {
            match delivered {
                Ok(delivered) => {
                    self.words.say(delivered.place, delivered.said.iter().copied());
                    if !delivered.records.is_empty() {
                        self.ready.push_back(Ok(ShareBatch::new(Arc::clone(&self.words), delivered)));
                    }
                }
                Err(error) => self.ready.push_back(Err(error)),
            }
        }
    }
}

impl Drop for ShareConsumer {
    fn drop(&mut self) {
        self.leave.send_if_modified(|leave| {
            let stays = leave.is_none();
            if stays {
                *leave = Some(DROP_PATIENCE);
            }
            stays
        });
    }
}

impl fmt::Debug for ShareConsumer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ShareConsumer").field("group", &self.shared.settings.group).finish_non_exhaustive()
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
