//! The fate of one record, from the producer's side and from the caller's.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use strandline_protocol::ids::Offset;
use tokio::sync::oneshot;

use super::error::{ProduceError, SendFailed};
use crate::record::Record;

/// Where a record was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMeta {
    pub topic: Arc<str>,
    pub partition: i32,
    /// -1 if the broker did not say: with acks 0, and for a batch that it had stored long before.
    pub offset: Offset,
    /// The record's time, or the broker's if the topic stores that.
    pub timestamp_ms: i64,
}

/// The promise to say what became of a record.
///
/// Dropping it does not take the record back; it is produced all the same.
#[derive(Debug)]
#[must_use = "without its delivery nobody hears whether the record was stored"]
pub struct Delivery {
    pub(super) outcome: oneshot::Receiver<Result<RecordMeta, SendFailed>>,
}

impl Future for Delivery {
    type Output = Result<RecordMeta, SendFailed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.outcome).poll(context));
        Poll::Ready(outcome.expect("a waiting record answers even when it is dropped"))
    }
}

/// A record that waits for its fate. Dropped without one, it tells the caller that the producer was closed.
#[derive(Debug)]
pub(super) struct Waiting {
    waiting: Option<(Record, oneshot::Sender<Result<RecordMeta, SendFailed>>)>,
    pub(super) timestamp_ms: i64,
    pub(super) generation: u64,
}

impl Waiting {
    pub(super) fn new(record: Record, timestamp_ms: i64, generation: u64) -> (Self, Delivery) {
        let (sender, outcome) = oneshot::channel();
        (Self { waiting: Some((record, sender)), timestamp_ms, generation }, Delivery { outcome })
    }

    pub(super) fn record(&self) -> &Record {
        let (record, _) = self.waiting.as_ref().expect("only `stored` and `failed` take the record, and they take all");
        record
    }

    /// Tells the caller, who may have gone.
    pub(super) fn stored(mut self, meta: RecordMeta) {
        if let Some((_, sender)) = self.waiting.take() {
            drop(sender.send(Ok(meta)));
        }
    }

    /// Tells the caller, who may have gone, and gives the record back.
    pub(super) fn failed(mut self, error: ProduceError) {
        self.fail(error);
    }

    fn fail(&mut self, error: ProduceError) {
        if let Some((record, sender)) = self.waiting.take() {
            drop(sender.send(Err(SendFailed { record: Box::new(record), error })));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.fail(ProduceError::Closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_record_that_is_dropped_comes_back() {
        let record = Record::to("t").value("v");
        let (waiting, delivery) = Waiting::new(record.clone(), 0, 0);
        drop(waiting);
        let failed = delivery.await.unwrap_err();
        assert_eq!(*failed.record, record);
        assert!(matches!(failed.error, ProduceError::Closed));
    }
}
