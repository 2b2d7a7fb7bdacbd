//! Transactions: records of many partitions, and offsets of groups, that are seen together or not at all.
//!
//! ```text
//! build (init) -> begin -> send, send_offsets -> commit | abort -> begin -> ..
//! ```
//! A transactional producer is a producer whose records belong to the open transaction; `progress.rs` decides, in the
//! producer's state, `coordination.rs` asks. Source: KIP-98, KIP-360, KIP-447, KIP-890.
//!
//! Invariants. One transaction is open at a time; the borrow of the producer says so. A transaction of which anything went wrong is
//! aborted, never committed. How a transaction is to end is kept until the coordinator has said that it has.

mod builder;
mod coordination;
mod error;
mod progress;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use strandline_protocol::error::ErrorCode;

use self::error::is_fencing;
use self::progress::Phase;
use super::delivery::{Delivery, RecordMeta};
use super::error::{ProduceError, SendFailed};
use super::queue::Identity;
use super::{Producer, Shared};
use crate::TopicPartition;
use crate::consumer::Batch;
use crate::error::KafkaError;
use crate::group::{CommittedOffset, GroupMetadata};
use crate::locked::locked;
use crate::record::Record;

pub use self::builder::TransactionalProducerBuilder;
pub(super) use self::coordination::Coordination;
pub use self::error::{AbortCause, TransactionError};
pub use self::progress::Outcome;
pub(super) use self::progress::{Joining, Progress};

/// Produces in transactions, under an id that fences whoever used it before.
///
/// ```no_run
/// # async fn example(client: &strandline_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use strandline_client::{KafkaError, Record};
///
/// let mut producer = client.producer().transactional_id("billing-1").build().await?;
/// let transaction = producer.begin().await?;
/// transaction.send(Record::to("invoices").value("17")).await?;
/// transaction.send(Record::to("ledger").value("-17")).await?;
/// match transaction.commit().await {
///     Ok(()) => {}
///     Err(error) if error.is_retriable() => println!("again: {error}"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
pub struct TransactionalProducer {
    producer: Producer,
    coordination: Arc<Coordination>,
}

/// An open transaction. One that is dropped is aborted before the next one begins.
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction<'a> {
    owner: &'a TransactionalProducer,
}

impl TransactionalProducer {
    /// The id under which it produces.
    #[must_use]
    pub fn transactional_id(&self) -> &str {
        &self.coordination.id
    }

    /// Begins a transaction, after what an earlier one left undone is settled. The coordinator hears of it with its first
    /// record.
    ///
    /// # Errors
    /// `Fenced`, `Refused` or `Closed` if the producer is of no more use, `Unsettled` if the coordinator cannot be asked.
    ///
    /// Dropping the future begins nothing.
    pub async fn begin(&mut self) -> Result<Transaction<'_>, TransactionError> {
        self.settle().await?;
        self.check()?;
        let joining = self.coordination.joining().await?;
        self.progress(|progress| progress.begin(joining));
        Ok(Transaction { owner: self })
    }

    /// Ends what an earlier transaction left undone: one that was dropped is aborted, and one of which it is not known whether
    /// it was committed is committed again, which changes nothing if it was. Answers with how it ended; `None` if there
    /// was none.
    ///
    /// # Errors
    /// As `begin`.
    ///
    /// Dropping the future leaves the rest for the next call.
    pub async fn settle(&mut self) -> Result<Option<Outcome>, TransactionError> {
        match self.progress(|progress| progress.phase()) {
            Phase::Idle => Ok(None),
            Phase::Open => self.end(Outcome::Aborted).await.map(|_| Some(Outcome::Aborted)),
            Phase::Ending(outcome) => {
                let cause = self.end(outcome).await?;
                Ok(Some(if cause.is_some() { Outcome::Aborted } else { Outcome::Committed }))
            }
        }
    }

    /// Settles what is open, for at most `deadline`, and ends the producer.
    ///
    /// # Errors
    /// As `settle`; `Unsettled` too if it takes too long. The coordinator aborts what is open when its timeout is over.
    pub async fn close(mut self, deadline: Duration) -> Result<(), TransactionError> {
        let settled = tokio::time::timeout(deadline, self.settle()).await;
        // Nothing is enqueued that `settle` has not waited for, or its failure is the one that counts.
        let _ = self.producer.close(Duration::ZERO).await;
        let late = || TransactionError::Unsettled {
            after: deadline,
            last: crate::coordinator::CoordinatorError::Refused { code: ErrorCode::REQUEST_TIMED_OUT },
        };
        settled.map_err(|_| late())?.map(drop)
    }

    fn progress<T>(&self, act: impl FnOnce(&mut Progress) -> T) -> T {
        locked(&self.producer.shared.state).with_transaction(act)
    }

    fn identity(&self) -> Identity {
        let state = locked(&self.producer.shared.state);
        state.identity().expect("a transactional producer is initialised before it is handed out")
    }

    /// Whether the producer is still of use.
    fn check(&self) -> Result<(), TransactionError> {
        let fatal = locked(&self.producer.shared.state).fatal.clone();
        fatal.map_or(Ok(()), |fatal| Err(self.ending(&fatal)))
    }

    /// An error that ended the producer, as one of its transactions.
    fn ending(&self, fatal: &ProduceError) -> TransactionError {
        match fatal.code() {
            Some(code) => TransactionError::ending(&self.coordination.id, code),
            None => TransactionError::Closed,
        }
    }

    /// Ends the open transaction. It is aborted, whatever was wished, if anything of it went wrong; answers with the cause
    /// then.
    async fn end(&self, wished: Outcome) -> Result<Option<AbortCause>, TransactionError> {
        self.progress(|progress| progress.end(wished));
        self.producer.shared.call.notify_one();
        // What is in flight has to come back: what becomes of it is part of how the transaction ends.
        self.producer.flush().await;
        self.producer.shared.until(|shared| !shared.telling.is_taken()).await;
        self.check()?;
        if self.progress(|progress| progress.is_begun()) {
            let identity = self.end_begun().await?;
            locked(&self.producer.shared.state).reign(identity);
        }
        Ok(self.progress(Progress::ended))
    }

    /// Has the coordinator end it; answers with who the producer is from now on.
    async fn end_begun(&self) -> Result<Identity, TransactionError> {
        let identity = self.identity();
        let (joining, outcome) = self.progress(|progress| (progress.joining, progress.outcome()));
        let ended = match self.coordination.end(identity, joining, outcome).await? {
            // Before leaders told it, an abort of what the coordinator never heard of is an error; that the abort is what holds
            // is not.
            Err(ErrorCode::INVALID_TXN_STATE) if outcome == Outcome::Aborted && joining == Joining::Told => identity,
            Err(code @ ErrorCode::TRANSACTION_ABORTABLE) if outcome == Outcome::Committed => {
                self.progress(|progress| progress.doom(AbortCause::Coordinator { code }));
                return Box::pin(self.end_begun()).await;
            }
            // Its time was over, and the coordinator has aborted it: the producer may go on under the epoch that came with that.
            Err(code @ ErrorCode::INVALID_TXN_STATE) if joining == Joining::Implied => {
                self.progress(|progress| progress.doom(AbortCause::Coordinator { code }));
                return self.initialise_again(identity).await;
            }
            Err(code) => return Err(self.refused(code)),
            Ok(identity) => identity,
        };
        // What was aborted may have left gaps in the sequences; only a new epoch begins them anew.
        match (outcome, joining) {
            (Outcome::Aborted, Joining::Told) => self.initialise_again(ended).await,
            _ => Ok(ended),
        }
    }

    async fn initialise_again(&self, identity: Identity) -> Result<Identity, TransactionError> {
        match self.coordination.init(Some(identity)).await {
            Err(TransactionError::Fenced { code, .. } | TransactionError::Refused { code, .. }) => Err(self.refused(code)),
            initialised => initialised,
        }
    }

    /// The coordinator refuses for good: the producer has ended.
    fn refused(&self, code: ErrorCode) -> TransactionError {
        let transactional_id = Arc::clone(&self.coordination.id);
        let fatal = ProduceError::Ended { transactional_id, code };
        locked(&self.producer.shared.state).fatal.get_or_insert(fatal);
        self.producer.shared.call.notify_one();
        TransactionError::ending(&self.coordination.id, code)
    }
}

impl Transaction<'_> {
    /// Produces a record and waits until it is acknowledged. It is seen once the transaction is committed.
    ///
    /// # Errors
    /// [`SendFailed`]: the transaction can only be aborted then, or the producer is of no more use.
    ///
    /// Dropping the future is as with [`Producer::send`].
    pub async fn send(&self, record: Record) -> Result<RecordMeta, SendFailed> {
        self.owner.producer.send(record).await
    }

    /// Hands a record over and answers with the promise to say what became of it. `commit` waits for all of them.
    ///
    /// # Errors
    /// As `send`.
    ///
    /// Dropping the future is as with [`Producer::enqueue`].
    pub async fn enqueue(&self, record: Record) -> Result<Delivery, SendFailed> {
        self.owner.producer.enqueue(record).await
    }

    /// Commits offsets of a group with the transaction: each is that of the next record to read. The consumer commits
    /// nothing itself then ([`crate::Commit::Manual`]).
    ///
    /// # Errors
    /// `Abortable` if the group does not take them, because the member is of an earlier generation for example, `Fenced` and
    /// `Refused` if the producer is of no more use.
    ///
    /// Dropping the future dooms the transaction: whether the offsets are part of it is not known.
    pub async fn send_offsets(
        &self,
        group: &GroupMetadata,
        offsets: impl IntoIterator<Item = (TopicPartition, CommittedOffset)>,
    ) -> Result<(), TransactionError> {
        let offsets: BTreeMap<TopicPartition, CommittedOffset> = offsets.into_iter().collect();
        if offsets.is_empty() {
            return Ok(());
        }
        let owner = self.owner;
        owner.check()?;
        if let Some(cause) = owner.progress(|progress| progress.doomed().cloned()) {
            return Err(TransactionError::Abortable { cause });
        }
        let sending = Sending { owner, done: false };
        let joining = owner.progress(|progress| {
            progress.note_begun();
            progress.joining
        });
        let sent = owner.coordination.add_offsets(owner.identity(), joining, group, &offsets).await;
        let refusal = Refusal::of(sent, |code| AbortCause::Offsets { group: group.group().to_owned(), code });
        sending.done(match refusal {
            None => Ok(()),
            Some(Refusal::Ends(code)) => Err(owner.refused(code)),
            Some(Refusal::Dooms(cause)) => Err(self.doom(cause)),
        })
    }

    /// Commits with the transaction that the records of a batch are done with.
    ///
    /// # Errors
    /// As `send_offsets`; `Abortable` too if the partition is another member's by now.
    ///
    /// Dropping the future is as with `send_offsets`.
    pub async fn send_offsets_of(&self, batch: &Batch) -> Result<(), TransactionError> {
        let (topic, partition) = batch.topic_partition().clone();
        let Some(group) = batch.group_metadata() else {
            return Err(self.doom(AbortCause::LostPartition { group: batch.group().to_owned(), topic, partition }));
        };
        self.send_offsets(&group, [((topic, partition), CommittedOffset::at(batch.next_offset()))]).await
    }

    /// Commits the transaction, once all of its records are acknowledged: then they are seen, and offsets count.
    ///
    /// # Errors
    /// `Aborted` if it could not be committed and was aborted instead. `Unsettled` if the coordinator has not said whether it was
    /// committed: `settle` finds out, and the next `begin` too. `Fenced` and `Refused` if the producer is of no more use.
    ///
    /// Dropping the future is like an `Unsettled` answer.
    pub async fn commit(self) -> Result<(), TransactionError> {
        let owner = self.let_go();
        match owner.end(Outcome::Committed).await {
            Ok(None) => Ok(()),
            Ok(Some(cause)) => Err(TransactionError::Aborted { cause }),
            Err(error) if error.is_fatal() => Err(error),
            // One that is doomed is aborted, if not by this call then by a later one.
            Err(error) => match owner.progress(|progress| progress.doomed().cloned()) {
                Some(cause) => Err(TransactionError::Aborted { cause }),
                None => Err(error),
            },
        }
    }

    /// Aborts the transaction: nothing of it is seen by those who read what is committed.
    ///
    /// # Errors
    /// `Fenced` and `Refused` if the producer is of no more use, `Unsettled` if the coordinator did not answer: the next `begin` asks
    /// it again.
    ///
    /// Dropping the future leaves the rest for the next `begin`.
    pub async fn abort(self) -> Result<(), TransactionError> {
        self.let_go().end(Outcome::Aborted).await.map(drop)
    }

    /// Something of it went wrong.
    fn doom(&self, cause: AbortCause) -> TransactionError {
        self.owner.progress(|progress| progress.doom(cause.clone()));
        self.owner.producer.shared.call.notify_one();
        TransactionError::Abortable { cause }
    }
}

impl<'a> Transaction<'a> {
    /// The owner, which ends the transaction itself.
    fn let_go(self) -> &'a TransactionalProducer {
        let owner = self.owner;
        std::mem::forget(self);
        owner
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.owner.progress(|progress| progress.end(Outcome::Aborted));
        self.owner.producer.shared.call.notify_one();
    }
}

/// Offsets on their way. Let go before their fate is known they doom the transaction.
struct Sending<'a> {
    owner: &'a TransactionalProducer,
    done: bool,
}

impl Sending<'_> {
    fn done<T>(mut self, result: T) -> T {
        self.done = true;
        result
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.owner.progress(|progress| progress.doom(AbortCause::GivenUp));
        }
    }
}

/// What it means that a coordinator did not do as it was asked.
enum Refusal {
    /// The producer is of no more use.
    Ends(ErrorCode),
    Dooms(AbortCause),
}

impl Refusal {
    fn of(answer: Result<ErrorCode, TransactionError>, cause: impl FnOnce(ErrorCode) -> AbortCause) -> Option<Self> {
        match answer {
            Ok(ErrorCode::NONE) => None,
            Ok(code) if is_fencing(code) || code == ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => Some(Self::Ends(code)),
            Ok(code) => Some(Self::Dooms(cause(code))),
            Err(TransactionError::Fenced { code, .. } | TransactionError::Refused { code, .. }) => Some(Self::Ends(code)),
            Err(error) => Some(Self::Dooms(AbortCause::Unanswered(Arc::new(error)))),
        }
    }
}

/// Tells the coordinator of partitions that have records, before they are produced to.
pub(super) async fn tell_of_partitions(shared: Arc<Shared>, coordination: Arc<Coordination>) {
    let untold = locked(&shared.state).untold();
    if let Some((identity, partitions)) = untold {
        let (lines, named): (Vec<_>, Vec<TopicPartition>) = partitions.into_iter().unzip();
        let told = coordination.add_partitions(identity, &named).await;
        let refusal = Refusal::of(told, |code| AbortCause::Coordinator { code });
        let mut state = locked(&shared.state);
        match refusal {
            None => state.told(&lines),
            Some(Refusal::Ends(code)) => {
                let transactional_id = Arc::clone(&coordination.id);
                state.fatal.get_or_insert(ProduceError::Ended { transactional_id, code });
            }
            Some(Refusal::Dooms(cause)) => state.doom(cause),
        }
    }
    shared.telling.end();
    shared.call.notify_one();
    shared.settled.notify_waiters();
}

impl fmt::Debug for TransactionalProducer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("TransactionalProducer");
        shown.field("transactional_id", &self.coordination.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Transaction");
        shown.field("transactional_id", &self.owner.coordination.id).finish_non_exhaustive()
    }
}
