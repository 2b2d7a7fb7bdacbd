//! Records in the caller's hands, and the lease on their partition that comes with them.

use std::fmt;
use std::sync::Arc;

use super::builder::Commit;
use super::shared::Shared;
use crate::TopicPartition;
use crate::record::ConsumerRecord;

/// Records of one partition, in order and never none.
///
/// While it is held its partition is not given to another member, for as long as a rebalance may take. Say
/// [`Batch::ack`] when the records are done with: what is dropped without is not committed, and nothing behind it is,
/// unless the consumer commits by itself ([`Commit::Auto`]).
#[must_use = "a batch that is dropped without ack is not committed"]
pub struct Batch {
    records: Vec<ConsumerRecord>,
    lease: Lease,
}

struct Lease {
    shared: Arc<Shared>,
    partition: TopicPartition,
    number: u64,
    acknowledged: bool,
}

impl Batch {
    pub(super) fn new(shared: Arc<Shared>, partition: TopicPartition, number: u64, records: Vec<ConsumerRecord>) -> Self {
        let acknowledged = matches!(shared.settings.commit, Commit::Auto(_));
        Self { records, lease: Lease { shared, partition, number, acknowledged } }
    }

    #[must_use]
    pub fn topic(&self) -> &str {
        &self.lease.partition.0
    }

    #[must_use]
    pub fn partition(&self) -> i32 {
        self.lease.partition.1
    }

    #[must_use]
    pub fn records(&self) -> &[ConsumerRecord] {
        &self.records
    }

    /// The records are done with: they can be committed once all before them are.
    pub fn ack(mut self) {
        self.lease.acknowledged = true;
    }

    /// The records are not done with: they come again, and everything behind them.
    pub fn rewind(mut self) {
        self.lease.acknowledged = false;
        if let Some(first) = self.records.first() {
            // A partition that was taken away meanwhile is read again by whoever has it.
            let _ = self.lease.shared.seek(&self.lease.partition, first.offset);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.finish(self.number, self.acknowledged);
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Batch")
            .field("partition", &self.lease.partition)
            .field("records", &self.records.len())
            .finish_non_exhaustive()
    }
}
