//! Producing: from a record to its place in a partition's log.
//!
//! ```text
//! send, enqueue -> state (place, push) -> dispatcher (pick) -> lane of a broker (encode, submit) -> answer (judge) -> delivery
//! ```
//! `queue.rs` and `verdict.rs` hold the decisions, without clock or socket; `dispatcher.rs` and `lane.rs` carry them out.
//!
//! Invariants. Records of one caller reach a partition in the order in which they were enqueued, whatever is retried.
//! An idempotent producer stores none twice. Every record gets exactly one answer.

mod batch;
mod builder;
mod delivery;
mod dispatcher;
mod error;
mod lane;
mod queue;
mod state;
mod transaction;
mod verdict;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use self::batch::Batch;
use self::builder::Settings;
use self::delivery::Waiting;
use self::queue::Joined;
use self::state::State;
use self::transaction::{Coordination, Progress};
use crate::client::Client;
use crate::connections::Connections;
use crate::locked::locked;
use crate::metadata::Missing;
use crate::record::Record;

pub use builder::{Acks, ProducerBuilder};
pub use delivery::{Delivery, RecordMeta};
pub use error::{ProduceError, SendFailed};
pub use transaction::{
    AbortCause, Outcome, Transaction, TransactionError, TransactionalProducer, TransactionalProducerBuilder,
};

/// Produces records; cheap to clone, and clones share everything.
///
/// When the last clone is dropped, what was enqueued is still sent, as long as the runtime lives; `close` waits for it.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    /// Tells the dispatcher when the last clone is gone.
    _handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
}

/// What handle, dispatcher and lanes share.
struct Shared {
    client: Client,
    settings: Settings,
    connections: Connections,
    state: Mutex<State>,
    /// Bytes that may wait for their fate.
    room: Arc<Semaphore>,
    /// Something for the dispatcher to look at.
    call: Notify,
    /// Records got their fate.
    settled: Notify,
    refreshing: Turn,
    identifying: Turn,
    telling: Turn,
    /// Of a transactional producer.
    coordination: Option<Arc<Coordination>>,
}

/// A background job of which there is one at a time.
#[derive(Debug, Default)]
struct Turn(AtomicBool);

impl Turn {
    fn try_begin(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    fn end(&self) {
        self.0.store(false, Ordering::Release);
    }

    fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Producer {
    fn start(client: &Client, settings: Settings, coordination: Option<Arc<Coordination>>) -> Self {
        let transaction = coordination.as_ref().map(|_| Progress::new());
        let shared = Arc::new(Shared {
            client: client.clone(),
            settings,
            connections: Connections::new(Arc::clone(&client.shared.settings)),
            state: Mutex::new(State::new(settings, transaction)),
            room: Arc::new(Semaphore::new(settings.buffer_bytes)),
            call: Notify::new(),
            settled: Notify::new(),
            refreshing: Turn::default(),
            identifying: Turn::default(),
            telling: Turn::default(),
            coordination,
        });
        tokio::spawn(dispatcher::run(Arc::clone(&shared)));
        let handle = Arc::new(Handle { shared: Arc::clone(&shared) });
        Self { shared, _handle: handle }
    }

    /// Produces a record and waits until it is acknowledged, by default until every replica in sync has it.
    ///
    /// # Errors
    /// [`SendFailed`] gives the record back with the reason.
    ///
    /// Dropping the future before it has first waited may mean that the record is not sent; after that it is sent, and
    /// only the answer is lost.
    pub async fn send(&self, record: Record) -> Result<RecordMeta, SendFailed> {
        self.enqueue(record).await?.await
    }

    /// Hands a record over and answers with the promise to say what became of it. Waits only for room in the buffer, and
    /// for the partitions of a topic that is used for the first time.
    ///
    /// # Errors
    /// [`SendFailed`] if the record cannot be sent at all: it is too large, its topic or partition does not exist, or the
    /// producer is of no more use.
    ///
    /// Dropping the future drops the record; once it has answered, the record is sent.
    pub async fn enqueue(&self, record: Record) -> Result<Delivery, SendFailed> {
        match self.admit(&record).await {
            Ok(room) => self.push(record, room),
            Err(error) => {
                let error = locked(&self.shared.state).failed(error);
                Err(SendFailed { record: Box::new(record), error })
            }
        }
    }

    async fn admit(&self, record: &Record) -> Result<OwnedSemaphorePermit, ProduceError> {
        let shared = &self.shared;
        let (bytes, limit) = (record.size_bytes(), shared.settings.request_bytes_max);
        if bytes > limit {
            return Err(ProduceError::TooLarge { bytes, limit });
        }
        if !locked(&shared.state).knows(&record.topic) {
            let topic = shared.client.shared.metadata.topic(&record.topic, Missing::Create).await?;
            locked(&shared.state).learn(&topic);
        }
        let room = Arc::clone(&shared.room).acquire_many_owned(bytes as u32).await;
        room.map_err(|_| ProduceError::Closed)
    }

    fn push(&self, record: Record, room: OwnedSemaphorePermit) -> Result<Delivery, SendFailed> {
        let mut state = locked(&self.shared.state);
        let placed = match state.stopped() {
            Some(stopped) => Err(stopped),
            None if state.ended => Err(ProduceError::Closed),
            None => state.place(&record).map_err(|error| state.failed(error)),
        };
        let partition = match placed {
            Ok(partition) => partition,
            Err(error) => return Err(SendFailed { record: Box::new(record), error }),
        };
        let timestamp_ms = record.timestamp_ms.unwrap_or_else(now_ms);
        let (waiting, delivery) = Waiting::new(record, timestamp_ms, state.generation());
        let joined = state.push(waiting, partition, room, Instant::now());
        drop(state);
        if joined == Joined::Wake {
            self.shared.call.notify_one();
        }
        Ok(delivery)
    }

    /// Sends what is enqueued without lingering, and waits until every record that was enqueued before has its fate.
    /// Whether it was stored is what its delivery says.
    ///
    /// Dropping the future only stops the waiting.
    pub async fn flush(&self) {
        let flush = Flush::begin(&self.shared);
        self.shared.until(|shared| locked(&shared.state).is_over(flush.generation)).await;
    }

    /// Flushes for at most `deadline`, then ends the producer and all its clones. What is not in flight by then comes
    /// back to its callers.
    ///
    /// # Errors
    /// `TimedOut` if records were left without a fate.
    pub async fn close(self, deadline: Duration) -> Result<(), ProduceError> {
        locked(&self.shared.state).ended = true;
        let flushed = tokio::time::timeout(deadline, self.flush()).await;
        let left = {
            let mut state = locked(&self.shared.state);
            state.fatal.get_or_insert(ProduceError::Closed);
            state.outstanding()
        };
        self.shared.call.notify_one();
        match flushed {
            Ok(()) => Ok(()),
            Err(_) => {
                tracing::warn!(records = left, "producer closed with records that were not acknowledged");
                Err(ProduceError::TimedOut { after: deadline, maybe_written: true, last: None })
            }
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Producer").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let left = {
            let mut state = locked(&self.shared.state);
            state.ended = true;
            state.outstanding()
        };
        if left > 0 {
            tracing::debug!(records = left, "producer dropped before its records were acknowledged");
        }
        self.shared.call.notify_one();
    }
}

impl Shared {
    /// Whether nobody will ask for anything any more.
    fn is_over(&self) -> bool {
        let state = locked(&self.state);
        state.fatal.is_some() || (state.ended && state.outstanding() == 0)
    }

    /// Waits for something that changes when records get their fate.
    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if holds(self) {
                return;
            }
            settled.await;
        }
    }

    /// Tells the callers of failed batches; their records are settled already.
    fn deliver_failures(&self, failed: Vec<(Batch, ProduceError)>) {
        if failed.is_empty() {
            return;
        }
        failed.into_iter().for_each(|(batch, error)| batch.failed(&error));
        self.settled.notify_waiters();
    }
}

/// A flush under way; as long as one is, nothing lingers.
struct Flush<'a> {
    shared: &'a Shared,
    generation: u64,
}

impl<'a> Flush<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let generation = locked(&shared.state).begin_flush();
        shared.call.notify_one();
        Self { shared, generation }
    }
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        locked(&self.shared.state).end_flush();
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
