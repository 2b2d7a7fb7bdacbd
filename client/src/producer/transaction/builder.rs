//! How a transactional producer behaves.

use std::sync::Arc;
use std::time::Duration;

use super::TransactionalProducer;
use super::coordination::Coordination;
use super::error::TransactionError;
use crate::client::Client;
use crate::locked::locked;
use crate::producer::Producer;
use crate::producer::builder::Settings;

/// How a transactional producer behaves: a producer's settings, and what transactions add; see the defaults at each setting.
#[derive(Clone, Debug)]
pub struct TransactionalProducerBuilder {
    client: Client,
    settings: Result<Settings, &'static str>,
    transactional_id: String,
    transaction_timeout: Duration,
    patience: Duration,
}

impl TransactionalProducerBuilder {
    pub(in crate::producer) fn new(client: Client, settings: Result<Settings, &'static str>, transactional_id: String) -> Self {
        let (transaction_timeout, patience) = (Duration::from_secs(60), Duration::from_secs(60));
        Self { client, settings, transactional_id, transaction_timeout, patience }
    }

    /// After which time the coordinator aborts a transaction that its producer has not ended; default 60 s. The cluster has a
    /// limit, by default 15 min.
    #[must_use]
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.transaction_timeout = timeout;
        self
    }

    /// How long a request to a coordinator is tried again; default 60 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Initialises the producer: an earlier one with the same transactional id is fenced, and what it has open is aborted
    /// first.
    ///
    /// # Errors
    /// `InvalidSetting`, `Refused` if the cluster has another limit for the timeout or does not permit the id, `Unsettled` if
    /// there is no coordinator.
    ///
    /// Dropping the future drops the attempt.
    pub async fn build(self) -> Result<TransactionalProducer, TransactionError> {
        let invalid = |what| TransactionError::InvalidSetting { what };
        let mut settings = self.settings.map_err(invalid)?;
        if self.transactional_id.is_empty() {
            return Err(invalid("a transactional id has at least one character"));
        }
        if !settings.rules.idempotent {
            return Err(invalid("a transactional producer is idempotent"));
        }
        if self.transaction_timeout.is_zero() {
            return Err(invalid("the transaction timeout is zero"));
        }
        // A record that is late for its transaction is too late.
        settings.rules.delivery_timeout = settings.rules.delivery_timeout.min(self.transaction_timeout);
        let id = self.transactional_id;
        let coordination = Coordination::new(self.client.clone(), id, self.transaction_timeout, self.patience);
        let identity = coordination.init(None).await?;
        let coordination = Arc::new(coordination);
        let producer = Producer::start(&self.client, settings, Some(Arc::clone(&coordination)));
        locked(&producer.shared.state).reign(identity);
        Ok(TransactionalProducer { producer, coordination })
    }
}
