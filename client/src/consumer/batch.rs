//! Records in the caller's hands, and the lease on their partition that comes with them.

use std::fmt;
use std::sync::Arc;

use strandline_protocol::ids::Offset;

use super::builder::Commit;
use super::shared::Shared;
use crate::TopicPartition;
use crate::fetcher::Chunk;
use crate::group::GroupMetadata;
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
    /// Of the record behind the last one.
    next: Offset,
    acknowledged: bool,
}

impl Batch {
    pub(super) fn new(shared: Arc<Shared>, number: u64, chunk: Chunk) -> Self {
        let acknowledged = matches!(shared.settings.commit, Commit::Auto(_));
        let Chunk { partition, records, next, .. } = chunk;
        Self { records, lease: Lease { shared, partition, number, next, acknowledged } }
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

    /// Where the group is once the records are done with: the offset to commit.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.lease.next
    }

    /// The group, and the member that the records were given to; `None` if the partition is not its own any more.
    #[must_use]
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        // In this order: whoever is still leased the partition after it was asked who it is was leased it as that.
        let identity = self.lease.shared.identity()?;
        let is_leased = self.lease.shared.is_leased(self.lease.number);
        is_leased.then(|| GroupMetadata::of_member(&self.lease.shared.settings.group, identity))
    }

    pub(crate) fn group(&self) -> &str {
        &self.lease.shared.settings.group
    }

    pub(crate) fn topic_partition(&self) -> &TopicPartition {
        &self.lease.partition
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
