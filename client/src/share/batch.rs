//! Records that a member has for a while, and what it says of them.

use std::fmt;
use std::sync::Arc;

use strandline_protocol::ids::Offset;

use super::session::Place;
use super::words::Words;
use crate::TopicPartition;
use crate::record::ConsumerRecord;

/// What becomes of a record. Source: AcknowledgeType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// It is done with.
    Accept = 1,
    /// Somebody else may try, if it was not given out too often yet.
    Release = 2,
    /// Nobody can do anything with it: it is not given out again.
    Reject = 3,
}

/// The number that says that an offset holds no record.
pub(super) const GAP: i8 = 0;
/// The number that begins a lock anew.
pub(super) const RENEW: i8 = 4;

/// A record, and how often it was given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareRecord {
    pub record: ConsumerRecord,
    /// This time counts.
    pub delivery_count: i16,
}

/// Records of one partition, in order and never none. Nobody else has them until something is said of them or their locks run out.
///
/// Say [`ShareBatch::accept`] when they are done with; what nothing is said of when the batch is dropped is released.
#[must_use = "records of a batch that is dropped are given out again"]
pub struct ShareBatch {
    words: Arc<Words>,
    delivered: Delivered,
    verdicts: Vec<Option<Acknowledge>>,
}

/// What a leader gave out of one partition.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) place: Place,
    pub(super) partition: TopicPartition,
    pub(super) records: Vec<ShareRecord>,
    /// What is said of the other offsets that came with them.
    pub(super) said: Vec<(Offset, i8)>,
}

impl ShareBatch {
    pub(super) fn new(words: Arc<Words>, delivered: Delivered) -> Self {
        let verdicts = vec![None; delivered.records.len()];
        Self { words, delivered, verdicts }
    }

    #[must_use]
    pub fn topic(&self) -> &str {
        &self.delivered.partition.0
    }

    #[must_use]
    pub fn partition(&self) -> i32 {
        self.delivered.partition.1
    }

    #[must_use]
    pub fn records(&self) -> &[ShareRecord] {
        &self.delivered.records
    }

    /// Says what becomes of one record, by its place in [`ShareBatch::records`]; the last word counts. It is sent with the next poll or
    /// commit after the batch is dropped.
    ///
    /// # Panics
    /// If there is no record in this place.
    pub fn acknowledge(&mut self, index: usize, what: Acknowledge) {
        self.verdicts[index] = Some(what);
    }

    /// All records that nothing was said of are done with.
    pub fn accept(mut self) {
        self.verdicts.iter_mut().for_each(|verdict| *verdict = verdict.or(Some(Acknowledge::Accept)));
    }

    pub(super) fn place(&self) -> Place {
        self.delivered.place
    }

    pub(super) fn topic_partition(&self) -> TopicPartition {
        self.delivered.partition.clone()
    }

    /// What is said of those records whose locks are to begin anew.
    pub(super) fn renewals(&self) -> std::collections::BTreeMap<i64, i8> {
        let open = self.delivered.records.iter().zip(&self.verdicts).filter(|(_, verdict)| verdict.is_none());
        open.map(|(one, _)| (one.record.offset.0, RENEW)).collect()
    }
}

impl Drop for ShareBatch {
    fn drop(&mut self) {
        let said = self.delivered.records.iter().zip(&self.verdicts);
        let word = |verdict: &Option<Acknowledge>| verdict.unwrap_or(Acknowledge::Release) as i8;
        self.words.say(self.delivered.place, said.map(|(one, verdict)| (one.record.offset, word(verdict))));
    }
}

impl fmt::Debug for ShareBatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ShareBatch")
            .field("partition", &self.delivered.partition)
            .field("records", &self.delivered.records.len())
            .finish_non_exhaustive()
    }
}
