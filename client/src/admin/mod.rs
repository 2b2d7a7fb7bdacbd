//! Topics, partitions, configuration, groups, offsets and the cluster itself: asked for and changed.
//!
//! Calls that take several items answer item by item, in the order of the items; the call as a whole fails only if no
//! server could be asked. What changes the cluster goes to the controller and is not sent twice: after a connection that
//! broke in the middle the caller has to look what became of it.

mod cluster;
mod configs;
mod error;
mod groups;
mod log_dirs;
mod partitions;
mod quorum;
mod records;
mod topics;
mod transactions;

use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::BrokerId;
use tokio::time::Instant;

use crate::backoff::{Backoff, Dice};
use crate::calls::Call;
use crate::client::Client;
use crate::error::RequestError;
use crate::metadata::Missing;

pub use crate::group::CommittedOffset;
pub use cluster::{BrokerDescription, ClusterDescription};
pub use configs::{Change, ConfigEntry, ConfigResource, ConfigSource};
pub use error::AdminError;
pub use groups::{GroupDescription, GroupListing, GroupMember};
pub use log_dirs::{LogDirectory, PlacedReplica};
pub use partitions::{Election, Reassignment};
pub use quorum::{NewVoter, QuorumDescription, QuorumReplica, VoterEndpoint};
pub use topics::{CreatedTopic, NewTopic};
pub use transactions::{ActiveProducer, ListedTransaction, TransactionDescription, TransactionFilter};

/// What became of each item.
pub type PerItem<K, T> = Vec<(K, Result<T, AdminError>)>;

/// Administers a cluster; cheap to clone.
///
/// Dropping the future of a call drops its answer; what was asked may be carried out all the same.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
    timeout: Duration,
}

impl Admin {
    pub(crate) fn new(client: Client) -> Self {
        let timeout = client.shared.settings.request_timeout;
        Self { client, timeout }
    }

    /// How long the cluster may take for a change; default the client's request timeout.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX)
    }

    /// Asks the controller, or the broker that stands for it. Tries again if nothing can have been done: the connection
    /// was not made, or the answer is that the controller is elsewhere.
    async fn call_controller<C: Call + Clone>(
        &self,
        request: C,
        not_controller: impl Fn(&C::Response) -> bool,
    ) -> Result<C::Response, AdminError> {
        let (deadline, mut dice) = (Instant::now() + self.timeout, Dice::new());
        for failures in 1.. {
            let answer = self.client.call(self.controller()?, request.clone()).await;
            let again = match &answer {
                Ok(response) => not_controller(response),
                Err(error) => matches!(error, RequestError::Unreachable { .. } | RequestError::UnknownBroker(_)),
            };
            let wait = Backoff::RETRY.after(failures, &mut dice);
            if !again || Instant::now() + wait > deadline {
                return Ok(answer?);
            }
            tokio::time::sleep(wait).await;
            self.client.shared.metadata.refresh(&[], Missing::Report).await?;
        }
        Err(AdminError::Unanswered)
    }

    fn controller(&self) -> Result<BrokerId, AdminError> {
        let cluster = self.client.cluster();
        let known = cluster.controller.filter(|id| cluster.brokers.contains_key(id));
        let any = || cluster.brokers.keys().next().copied();
        known.or_else(any).ok_or(AdminError::Request(RequestError::UnknownBroker(BrokerId::NONE.0)))
    }
}

/// Yes or no, as a server answers for one item.
fn judged<T>(value: T, code: ErrorCode, message: Option<String>) -> Result<T, AdminError> {
    if code.is_none() { Ok(value) } else { Err(AdminError::Refused { code, message }) }
}

/// Puts answers into the order of the questions; a question without an answer is told so.
fn in_order<K: PartialEq, T>(keys: Vec<K>, mut answers: PerItem<K, T>) -> PerItem<K, T> {
    let answer = |key: K| match answers.iter().position(|(other, _)| *other == key) {
        Some(index) => answers.swap_remove(index),
        None => (key, Err(AdminError::Unanswered)),
    };
    keys.into_iter().map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_questions_and_none_is_missing() {
        let answers = vec![("c", Ok(3)), ("a", Ok(1))];
        let ordered = in_order(vec!["a", "b", "c"], answers);
        let shown: Vec<_> = ordered.iter().map(|(key, answer)| (*key, answer.as_ref().ok())).collect();
        assert_eq!(shown, [("a", Some(&1)), ("b", None), ("c", Some(&3))]);
    }
}
