//! Transactions: those that coordinators know, and those that partitions have open.

use std::collections::BTreeMap;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, Offset, ProducerEpoch, ProducerId, TopicName, TransactionalId};
use strandline_protocol::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use strandline_protocol::messages::describe_transactions::{DescribeTransactionsRequest, TransactionState};
use strandline_protocol::messages::init_producer_id::InitProducerIdRequest;
use strandline_protocol::messages::list_transactions::ListTransactionsRequest;
use strandline_protocol::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest};
use tokio::time::Instant;

use super::{Admin, AdminError, PerItem, judged};
use crate::backoff::{Backoff, Dice};
use crate::coordinator::{self, KeyType};
use crate::metadata::Missing;

/// The timeout that a producer which only fences another one asks for; it opens no transaction.
const FENCING_TIMEOUT_MS: i32 = 60_000;

/// Which transactions are listed; what is empty or `None` filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// Kafka's names: `Empty`, `Ongoing`, `PrepareCommit`, `PrepareAbort`, `CompleteCommit`, `CompleteAbort`.
    pub states: Vec<String>,
    pub producer_ids: Vec<i64>,
    /// Only those that began longer ago than so many milliseconds; asked of servers from Kafka 3.8 on.
    pub running_longer_than_ms: Option<i64>,
    /// An expression that the whole transactional id matches; asked of servers from Kafka 4.1 on.
    pub pattern: Option<String>,
}

/// A transactional id in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTransaction {
    pub transactional_id: String,
    pub producer_id: i64,
    pub state: String,
    pub coordinator: BrokerId,
}

/// A transactional id and what its transaction has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    pub coordinator: BrokerId,
    pub state: String,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub timeout_ms: i32,
    /// Milliseconds since 1970; `None` before the first transaction.
    pub started_ms: Option<i64>,
    /// Partitions of the open transaction.
    pub partitions: Vec<(String, i32)>,
}

/// A producer that a partition knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    pub producer_id: i64,
    pub producer_epoch: i32,
    pub last_sequence: i32,
    pub last_timestamp_ms: i64,
    pub coordinator_epoch: i32,
    /// Where its open transaction begins.
    pub transaction_start: Option<Offset>,
}

impl Admin {
    /// The transactional ids that the brokers coordinate.
    ///
    /// # Errors
    /// [`AdminError`] if one of the brokers cannot be asked or refuses, or no broker knows a state.
    pub async fn list_transactions(&self, filter: &TransactionFilter) -> Result<Vec<ListedTransaction>, AdminError> {
        self.client.shared.metadata.refresh(&[], Missing::Report).await?;
        let brokers: Vec<BrokerId> = self.client.cluster().brokers.keys().copied().collect();
        let request = ListTransactionsRequest {
            state_filters: filter.states.clone(),
            producer_id_filters: filter.producer_ids.iter().copied().map(ProducerId).collect(),
            duration_filter: filter.running_longer_than_ms.unwrap_or(-1),
            transactional_id_pattern: filter.pattern.clone(),
        };
        let mut listed = Vec::new();
        for coordinator in brokers {
            let response = self.client.call(coordinator, request.clone()).await?;
            let unknown = response.unknown_state_filters.first();
            judged((), response.error_code, None)?;
            if let Some(state) = unknown {
                let message = Some(format!("there is no transaction state {state}"));
                return Err(AdminError::Refused { code: ErrorCode::INVALID_REQUEST, message });
            }
            listed.extend(response.transaction_states.into_iter().map(|state| ListedTransaction {
                transactional_id: state.transactional_id.to_string(),
                producer_id: state.producer_id.0,
                state: state.transaction_state,
                coordinator,
            }));
        }
        listed.sort_by(|left, right| left.transactional_id.cmp(&right.transactional_id));
        Ok(listed)
    }

    /// Describes transactional ids, each at its coordinator.
    pub async fn describe_transactions(&self, ids: &[String]) -> PerItem<String, TransactionDescription> {
        let mut described = PerItem::new();
        for id in ids {
            described.push((id.clone(), self.describe_transaction(id).await));
        }
        described
    }

    async fn describe_transaction(&self, id: &str) -> Result<TransactionDescription, AdminError> {
        self.at_coordinator(id, async |coordinator| {
            let request = DescribeTransactionsRequest { transactional_ids: vec![TransactionalId::from(id)] };
            let response = self.client.call(coordinator, request).await?;
            let state = response.transaction_states.into_iter().next().ok_or(AdminError::Unanswered)?;
            judged((), state.error_code, None).map(|()| described(coordinator, state))
        })
        .await
    }

    /// Aborts what is open under transactional ids, and fences whoever produces under them.
    pub async fn fence_producers(&self, ids: &[String]) -> PerItem<String, ()> {
        let mut fenced = PerItem::new();
        for id in ids {
            fenced.push((id.clone(), self.fence_producer(id).await));
        }
        fenced
    }

    async fn fence_producer(&self, id: &str) -> Result<(), AdminError> {
        self.at_coordinator(id, async |coordinator| {
            let request = InitProducerIdRequest {
                transactional_id: Some(TransactionalId::from(id)),
                transaction_timeout_ms: FENCING_TIMEOUT_MS,
                producer_id: ProducerId::NONE,
                producer_epoch: ProducerEpoch::NONE,
                ..InitProducerIdRequest::default()
            };
            let response = self.client.call(coordinator, request).await?;
            judged((), response.error_code, None)
        })
        .await
    }

    /// The producers that a partition's leader knows.
    ///
    /// # Errors
    /// [`AdminError`] if the leader cannot be asked, or refuses.
    pub async fn describe_producers(&self, topic: &str, partition: i32) -> Result<Vec<ActiveProducer>, AdminError> {
        let leader = self.leader(topic, partition).await?;
        let asked = TopicRequest { name: TopicName::from(topic), partition_indexes: vec![partition] };
        let response = self.client.call(leader, DescribeProducersRequest { topics: vec![asked] }).await?;
        let answers = response.topics.into_iter().flat_map(|topic| topic.partitions);
        let answer = answers.into_iter().next().ok_or(AdminError::Unanswered)?;
        let producers = answer.active_producers.into_iter().map(|producer| ActiveProducer {
            producer_id: producer.producer_id.0,
            producer_epoch: producer.producer_epoch,
            last_sequence: producer.last_sequence,
            last_timestamp_ms: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start: Some(producer.current_txn_start_offset).filter(|start| start.0 >= 0),
        });
        judged(producers.collect(), answer.error_code, answer.error_message)
    }

    /// Writes the marker that aborts a producer's open transaction in one partition, past its coordinator: for transactions
    /// that no coordinator knows.
    ///
    /// # Errors
    /// [`AdminError`] if the leader cannot be asked, or refuses.
    pub async fn abort_hanging(&self, topic: &str, partition: i32, producer: &ActiveProducer) -> Result<(), AdminError> {
        let leader = self.leader(topic, partition).await?;
        let marker = WritableTxnMarker {
            producer_id: ProducerId(producer.producer_id),
            producer_epoch: ProducerEpoch(i16::try_from(producer.producer_epoch).unwrap_or(i16::MAX)),
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic { name: TopicName::from(topic), partition_indexes: vec![partition] }],
            coordinator_epoch: producer.coordinator_epoch.max(0),
            transaction_version: 0,
        };
        let response = self.client.call(leader, WriteTxnMarkersRequest { markers: vec![marker] }).await?;
        let topics = response.markers.into_iter().flat_map(|marker| marker.topics);
        let answer = topics.flat_map(|topic| topic.partitions).next().ok_or(AdminError::Unanswered)?;
        judged((), answer.error_code, None)
    }

    async fn leader(&self, topic: &str, partition: i32) -> Result<BrokerId, AdminError> {
        let known = self.client.shared.metadata.topic(topic, Missing::Report).await?;
        let refused = |code| AdminError::Refused { code, message: None };
        let found = known.partition(partition).ok_or_else(|| refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?;
        found.leader.ok_or_else(|| refused(ErrorCode::LEADER_NOT_AVAILABLE))
    }

    /// Asks a transactional id's coordinator, and again while it is busy, loads, or moves.
    async fn at_coordinator<T>(&self, id: &str, ask: impl AsyncFn(BrokerId) -> Result<T, AdminError>) -> Result<T, AdminError> {
        let (deadline, mut dice) = (Instant::now() + self.timeout, Dice::new());
        for failures in 1.. {
            let answer = match self.coordinator_of(id).await {
                Ok(coordinator) => ask(coordinator).await,
                Err(error) => Err(error),
            };
            let wait = Backoff::RETRY.after(failures, &mut dice);
            let Err(AdminError::Refused { code, .. }) = &answer else { return answer };
            if !is_passing(*code) || Instant::now() + wait > deadline {
                return answer;
            }
            tokio::time::sleep(wait).await;
        }
        Err(AdminError::Unanswered)
    }

    async fn coordinator_of(&self, id: &str) -> Result<BrokerId, AdminError> {
        let found = coordinator::find(&self.client, KeyType::Transaction, id).await?;
        judged(found.node_id, found.error_code, found.error_message)
    }
}

fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CONCURRENT_TRANSACTIONS
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_COORDINATOR
    )
}

fn described(coordinator: BrokerId, state: TransactionState) -> TransactionDescription {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for topic in state.topics {
        topics.entry(topic.topic.to_string()).or_default().extend(topic.partitions);
    }
    let partitions = topics
        .into_iter()
        .flat_map(|(topic, partitions)| partitions.into_iter().map(move |partition| (topic.clone(), partition)));
    TransactionDescription {
        coordinator,
        state: state.transaction_state,
        producer_id: state.producer_id.0,
        producer_epoch: state.producer_epoch.0,
        timeout_ms: state.transaction_timeout_ms,
        started_ms: Some(state.transaction_start_time_ms).filter(|started| *started >= 0),
        partitions: partitions.collect(),
    }
}
