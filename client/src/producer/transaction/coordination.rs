//! What a transactional producer asks of coordinators: of its own, and of those of groups.
//!
//! What may pass is asked again here, for as long as the producer's patience lasts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, ProducerEpoch, ProducerId, TopicName, TransactionalId};
use strandline_protocol::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use strandline_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnTopic,
};
use strandline_protocol::messages::end_txn::EndTxnRequest;
use strandline_protocol::messages::init_producer_id::InitProducerIdRequest;
use strandline_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse,
};
use tokio::time::Instant;

use super::error::TransactionError;
use super::progress::{Joining, Outcome};
use crate::TopicPartition;
use crate::backoff::{Backoff, Dice};
use crate::calls::Call;
use crate::client::Client;
use crate::connection::CallOptions;
use crate::coordinator::{Coordinator, CoordinatorError, KeyType, Lost};
use crate::error::KafkaError;
use crate::group::{CommittedOffset, GroupMetadata};
use crate::locked::locked;
use crate::producer::queue::Identity;

/// The cluster's feature that says which partitions the coordinator is told of by whom.
const FEATURE: &str = "transaction.version";

/// The level of the feature from which on leaders tell it, and every end gives a new epoch.
const IMPLIED_LEVEL: i16 = 2;

/// Versions from these on are between brokers, or work by the newer level.
const ADD_PARTITIONS_VERSION_MAX: i16 = 3;
const TOLD_END_VERSION_MAX: i16 = 4;
const TOLD_OFFSETS_VERSION_MAX: i16 = 4;

/// Between attempts while markers of the transaction before are still being written: they take milliseconds.
const MARKERS_BACKOFF: Backoff = Backoff { first: Duration::from_millis(20), most: Duration::from_millis(200) };

/// The way to the coordinators of a producer's transactions.
#[derive(Debug)]
pub(in crate::producer) struct Coordination {
    client: Client,
    pub(in crate::producer) id: Arc<str>,
    pub(super) transaction_timeout: Duration,
    pub(super) patience: Duration,
    coordinator: Coordinator,
    groups: Mutex<BTreeMap<String, Arc<Coordinator>>>,
}

impl Coordination {
    pub(super) fn new(client: Client, id: String, transaction_timeout: Duration, patience: Duration) -> Self {
        let coordinator = Coordinator::new(client.clone(), KeyType::Transaction, id.clone());
        Self { client, id: id.into(), transaction_timeout, patience, coordinator, groups: Mutex::default() }
    }

    /// How partitions come to take part, as the cluster has it now.
    pub(super) async fn joining(&self) -> Result<Joining, TransactionError> {
        let level = self.coordinator.finalized(FEATURE).await.map_err(|error| self.lost(error))?;
        Ok(if level >= IMPLIED_LEVEL { Joining::Implied } else { Joining::Told })
    }

    /// Initialises the producer: what an earlier one under the id has open is aborted. `current` is given by one that only
    /// wants another epoch.
    pub(super) async fn init(&self, current: Option<Identity>) -> Result<Identity, TransactionError> {
        let none = Identity { id: ProducerId::NONE, epoch: ProducerEpoch::NONE };
        let current = current.unwrap_or(none);
        let request = InitProducerIdRequest {
            transactional_id: Some(self.transactional_id()),
            transaction_timeout_ms: i32::try_from(self.transaction_timeout.as_millis()).unwrap_or(i32::MAX),
            producer_id: current.id,
            producer_epoch: current.epoch,
            ..InitProducerIdRequest::default()
        };
        let response = self.ask(&self.coordinator, &request, None, |one| one.error_code).await?;
        match response.error_code {
            ErrorCode::NONE => Ok(Identity { id: response.producer_id, epoch: response.producer_epoch }),
            code => Err(TransactionError::ending(&self.id, code)),
        }
    }

    /// Tells the coordinator of partitions; answers with the first code that is none.
    pub(in crate::producer) async fn add_partitions(
        &self,
        identity: Identity,
        partitions: &[TopicPartition],
    ) -> Result<ErrorCode, TransactionError> {
        let topic = |(name, partitions)| AddPartitionsToTxnTopic { name: TopicName::from(name), partitions };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id(),
            v3_and_below_producer_id: identity.id,
            v3_and_below_producer_epoch: identity.epoch,
            v3_and_below_topics: crate::group::by_topic(partitions).into_iter().map(topic).collect(),
            ..AddPartitionsToTxnRequest::default()
        };
        let response = self.ask(&self.coordinator, &request, Some(ADD_PARTITIONS_VERSION_MAX), first_added).await?;
        Ok(first_added(&response))
    }

    /// Makes the offsets of a group part of the transaction; answers with the first code that is none.
    pub(super) async fn add_offsets(
        &self,
        identity: Identity,
        joining: Joining,
        group: &GroupMetadata,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<ErrorCode, TransactionError> {
        if joining == Joining::Told {
            let request = AddOffsetsToTxnRequest {
                transactional_id: self.transactional_id(),
                producer_id: identity.id,
                producer_epoch: identity.epoch,
                group_id: GroupId::from(group.group()),
            };
            let response = self.ask(&self.coordinator, &request, None, |one| one.error_code).await?;
            if !response.error_code.is_none() {
                return Ok(response.error_code);
            }
        }
        let request = self.offsets_request(identity, group, offsets);
        let version_max = (joining == Joining::Told).then_some(TOLD_OFFSETS_VERSION_MAX);
        let response = self.ask(&self.of_group(group.group()), &request, version_max, first_committed).await?;
        Ok(first_committed(&response))
    }

    fn offsets_request(
        &self,
        identity: Identity,
        group: &GroupMetadata,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> TxnOffsetCommitRequest {
        let mut topics: BTreeMap<&str, Vec<TxnOffsetCommitRequestPartition>> = BTreeMap::new();
        for ((topic, partition), committed) in offsets {
            topics.entry(topic).or_default().push(TxnOffsetCommitRequestPartition {
                partition_index: *partition,
                committed_offset: committed.offset,
                committed_leader_epoch: committed.leader_epoch,
                committed_metadata: Some(committed.metadata.clone()),
            });
        }
        let topic = |(name, partitions)| TxnOffsetCommitRequestTopic { name: TopicName::from(name), partitions };
        TxnOffsetCommitRequest {
            transactional_id: self.transactional_id(),
            group_id: GroupId::from(group.group()),
            producer_id: identity.id,
            producer_epoch: identity.epoch,
            generation_id: group.generation(),
            member_id: group.member_id().to_owned(),
            group_instance_id: group.instance().map(str::to_owned),
            topics: topics.into_iter().map(topic).collect(),
        }
    }

    /// Ends the transaction; answers with who the producer is from now on, or with why it did not end.
    pub(super) async fn end(
        &self,
        identity: Identity,
        joining: Joining,
        outcome: Outcome,
    ) -> Result<Result<Identity, ErrorCode>, TransactionError> {
        let request = EndTxnRequest {
            transactional_id: self.transactional_id(),
            producer_id: identity.id,
            producer_epoch: identity.epoch,
            committed: outcome == Outcome::Committed,
        };
        let version_max = (joining == Joining::Told).then_some(TOLD_END_VERSION_MAX);
        let response = self.ask(&self.coordinator, &request, version_max, |one| one.error_code).await?;
        Ok(match response.error_code {
            ErrorCode::NONE if response.producer_id == ProducerId::NONE => Ok(identity),
            ErrorCode::NONE => Ok(Identity { id: response.producer_id, epoch: response.producer_epoch }),
            code => Err(code),
        })
    }

    fn transactional_id(&self) -> TransactionalId {
        TransactionalId::from(&*self.id)
    }

    fn of_group(&self, group: &str) -> Arc<Coordinator> {
        let mut groups = locked(&self.groups);
        let made = || Arc::new(Coordinator::new(self.client.clone(), KeyType::Group, group.to_owned()));
        Arc::clone(groups.entry(group.to_owned()).or_insert_with(made))
    }

    /// Asks until the answer is one that no further attempt would change. All of these requests may be sent twice.
    async fn ask<C: Call + Clone>(
        &self,
        coordinator: &Coordinator,
        request: &C,
        version_max: Option<i16>,
        code: impl Fn(&C::Response) -> ErrorCode + Copy,
    ) -> Result<C::Response, TransactionError> {
        let (deadline, mut dice) = (Instant::now() + self.patience, Dice::new());
        let options = CallOptions { version_max, ..CallOptions::default() };
        for failures in 1.. {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = coordinator.call(request, options, left, Lost::SendAgain, code).await;
            let last = match answer {
                Ok(response) if may_pass(code(&response)) => code(&response),
                Ok(response) => return Ok(response),
                Err(error) => return Err(self.lost(error)),
            };
            let backoff = if last == ErrorCode::CONCURRENT_TRANSACTIONS { MARKERS_BACKOFF } else { Backoff::RETRY };
            let wait = backoff.after(failures, &mut dice);
            if Instant::now() + wait > deadline {
                return Err(self.lost(CoordinatorError::Refused { code: last }));
            }
            tokio::time::sleep(wait).await;
        }
        Err(self.lost(CoordinatorError::Refused { code: ErrorCode::COORDINATOR_NOT_AVAILABLE }))
    }

    /// The coordinator has not done what it was asked for.
    fn lost(&self, error: CoordinatorError) -> TransactionError {
        match error {
            CoordinatorError::Refused { code } if !may_pass(code) => TransactionError::ending(&self.id, code),
            error if error.is_retriable() => TransactionError::Unsettled { after: self.patience, last: error },
            error => TransactionError::Coordinator(error),
        }
    }
}

fn may_pass(code: ErrorCode) -> bool {
    code.is_retriable() || code == ErrorCode::CONCURRENT_TRANSACTIONS
}

/// The code that decides: one that a new attempt cannot change before one that it may.
fn decisive(codes: impl Iterator<Item = ErrorCode> + Clone) -> ErrorCode {
    let mut failed = codes.filter(|code| !code.is_none());
    let first = failed.clone().next().unwrap_or(ErrorCode::NONE);
    failed.find(|code| !may_pass(*code)).unwrap_or(first)
}

fn first_added(response: &AddPartitionsToTxnResponse) -> ErrorCode {
    let topics = response.results_by_topic_v3_and_below.iter();
    // Partitions that are fine alone are not added when another one is not.
    let codes = topics.flat_map(|topic| &topic.results_by_partition).map(|one| one.partition_error_code);
    decisive(codes.filter(|code| *code != ErrorCode::OPERATION_NOT_ATTEMPTED))
}

fn first_committed(response: &TxnOffsetCommitResponse) -> ErrorCode {
    decisive(response.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_stays_decides_before_one_that_passes() {
        let of = |codes: &[ErrorCode]| decisive(codes.iter().copied());
        let (passes, stays) = (ErrorCode::CONCURRENT_TRANSACTIONS, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
        assert_eq!(of(&[ErrorCode::NONE, passes, stays]), stays);
        assert_eq!(of(&[ErrorCode::NONE, passes]), passes);
        assert_eq!(of(&[]), ErrorCode::NONE);
    }
}
