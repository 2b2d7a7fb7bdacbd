//! Changes of in-sync sets on their way to the controller: one request under way, with everything that came up meanwhile
//! in the next one.
//!
//! What an answer means for a partition (rule 7 of KIP-497 and its bugs): committed, it is taken over; refused because a
//! replica may not join, it is withdrawn and tried again later; refused because the leader is behind, the proposal stays
//! open until the metadata says more, because it may have been committed. A request without an answer is sent again as it was.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicId};
use strandline_protocol::messages::alter_partition::{
    AlterPartitionRequest, BrokerState, RequestPartitionData, RequestTopicData,
};

use crate::replica::leader::{Leader, Proposal};

/// A proposal on its way, by its partition.
pub(crate) type Slots = BTreeMap<(TopicId, i32), u32>;

#[derive(Debug, Default)]
pub(crate) struct InSync {
    /// Slots whose proposal the controller has not been told of.
    pending: BTreeSet<u32>,
    asked: Option<(u64, Slots)>,
    not_before_ms: u64,
    /// Slots with followers that have come far enough and may not join yet.
    reconsidered: BTreeSet<u32>,
    /// When they are looked at even if the metadata has not moved.
    reconsider_at_ms: Option<u64>,
}

/// What the leader does after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Take over what was committed.
    Committed,
    /// Nothing of it is or will be committed.
    Withdraw,
    /// It may have been committed: the committed metadata will say.
    Wait,
    /// Ask again.
    Again,
}

/// Source: Partition.handleAlterPartitionError, AlterPartitionManager.
pub(crate) fn verdict(code: ErrorCode) -> Verdict {
    match code {
        ErrorCode::NONE => Verdict::Committed,
        ErrorCode::INELIGIBLE_REPLICA | ErrorCode::OPERATION_NOT_ATTEMPTED => Verdict::Withdraw,
        ErrorCode::NEW_LEADER_ELECTED
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::INVALID_UPDATE_VERSION
        | ErrorCode::INVALID_REQUEST
        | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::UNKNOWN_TOPIC_ID => Verdict::Wait,
        _ => Verdict::Again,
    }
}

impl InSync {
    /// The partition has a proposal.
    pub(crate) fn want(&mut self, slot: u32) {
        self.pending.insert(slot);
    }

    /// The partition is to be looked at again when the metadata has moved.
    pub(crate) fn reconsider(&mut self, slot: u32) {
        self.reconsidered.insert(slot);
    }

    /// The slot's proposal was refused: it is looked at again when the metadata has moved, or at this time.
    pub(crate) fn withdrew(&mut self, slot: u32, again_ms: u64) {
        self.reconsider(slot);
        self.reconsider_at_ms = Some(again_ms);
    }

    /// Whether it is time to look again at what was refused.
    pub(crate) fn is_time_to_reconsider(&mut self, now_ms: u64) -> bool {
        self.reconsider_at_ms.take_if(|at| *at <= now_ms).is_some()
    }

    pub(crate) fn take_reconsidered(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.reconsidered)
    }

    /// The slots to ask for now, if a request may leave.
    pub(crate) fn take_pending(&mut self, now_ms: u64) -> Option<BTreeSet<u32>> {
        let may = self.asked.is_none() && !self.pending.is_empty() && self.not_before_ms <= now_ms;
        may.then(|| std::mem::take(&mut self.pending))
    }

    pub(crate) fn asked(&mut self, number: u64, slots: Slots) {
        self.asked = Some((number, slots));
    }

    /// The slots of the request that was answered or lost; nothing if it is not the one under way.
    pub(crate) fn ended(&mut self, number: u64) -> Option<Slots> {
        if self.asked.as_ref().is_none_or(|(asked, _)| *asked != number) {
            return None;
        }
        self.asked.take().map(|(_, slots)| slots)
    }

    /// Asks again, but not before.
    pub(crate) fn again(&mut self, slots: impl IntoIterator<Item = u32>, not_before_ms: u64) {
        self.pending.extend(slots);
        self.not_before_ms = not_before_ms;
    }

    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let pending = (self.asked.is_none() && !self.pending.is_empty()).then_some(self.not_before_ms);
        pending.into_iter().chain(self.reconsider_at_ms).min()
    }
}

/// One partition's part of the request.
pub(crate) fn add(request: &mut AlterPartitionRequest, topic: TopicId, index: i32, leader: &Leader, proposal: &Proposal) {
    let state = |(id, epoch): &(i32, i64)| BrokerState { broker_id: BrokerId(*id), broker_epoch: *epoch };
    let partition = RequestPartitionData {
        partition_index: index,
        leader_epoch: leader.epoch,
        new_isr: proposal.isr.iter().map(|(id, _)| BrokerId(*id)).collect(),
        new_isr_with_epochs: proposal.isr.iter().map(state).collect(),
        leader_recovery_state: 0,
        partition_epoch: leader.partition_epoch,
    };
    match request.topics.iter_mut().find(|known| known.topic_id == topic) {
        Some(known) => known.partitions.push(partition),
        None => request.topics.push(RequestTopicData { topic_id: topic, partitions: vec![partition] }),
    }
}
