//! The tasks of a consumer: one that is a member of the group until it is to leave, one that commits.

use std::sync::Arc;
use std::time::Duration;

use strandline_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::builder::{Commit, GroupProtocol};
use super::classic::Classic;
use super::error::ConsumeError;
use super::modern::Modern;
use super::shared::Shared;
use crate::backoff::{Backoff, Dice};
use crate::error::KafkaError;

/// Whether the consumer is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    No,
    /// Polls end; the group is left when the consumer is closed or dropped.
    Polling,
    /// Batches are waited for this long.
    Within(Duration),
}

/// Why a member is to begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The group rebalances, or has put the member out.
    Join,
    /// The caller has not polled for too long.
    Overdue,
}

enum Member {
    Classic(Classic),
    Modern(Modern),
}

/// Chooses the protocol and starts the tasks.
pub(super) async fn start(shared: Arc<Shared>, leave: watch::Receiver<Leave>) -> Result<JoinHandle<()>, ConsumeError> {
    let modern = match shared.settings.protocol {
        GroupProtocol::Classic => false,
        GroupProtocol::Consumer => true,
        GroupProtocol::Auto => {
            let serves = shared.member.serves::<ConsumerGroupHeartbeatRequest>().await;
            serves.map_err(|error| ConsumeError::of(&shared.settings.group, error))?
        }
    };
    if !modern && shared.settings.pattern.is_some() {
        return Err(ConsumeError::InvalidSetting { what: "the classic protocol has no patterns" });
    }
    let member = match modern {
        true => Member::Modern(Modern::new(Arc::clone(&shared))),
        false => Member::Classic(Classic::new(Arc::clone(&shared))),
    };
    tokio::spawn(commit_until(Arc::clone(&shared), leave.clone()));
    Ok(tokio::spawn(live(member, shared, leave)))
}

/// A member's life.
async fn live(mut member: Member, shared: Arc<Shared>, mut leave: watch::Receiver<Leave>) {
    let patience = tokio::select! {
        biased;
        patience = left(&mut leave) => patience,
        never = be_member(&mut member, &shared) => match never {},
    };
    // Its epoch may have moved on meanwhile, and what is done is committed in the newest one only.
    member.while_beating(shared.give_up(shared.assignment(), patience)).await;
    member.leave().await;
    shared.set_identity(None);
}

async fn be_member(member: &mut Member, shared: &Shared) -> std::convert::Infallible {
    let (mut failures, mut dice) = (0, Dice::new());
    loop {
        match member.session().await {
            Ok(Again::Join) => failures = 0,
            Ok(Again::Overdue) => {
                shared.lose_all();
                member.leave().await;
                shared.trouble(ConsumeError::PollIntervalExceeded { after: shared.settings.poll_interval_max });
                shared.polled_again().await;
            }
            Err(error) if error.is_retriable() => {
                tracing::debug!(group = %shared.settings.group, %error, "the group cannot be joined yet");
                failures += 1;
                tokio::time::sleep(Backoff::RETRY.after(failures, &mut dice)).await;
            }
            Err(error) => {
                shared.lose_all();
                shared.trouble(error);
                // Whoever polls on after this wants it tried again.
                shared.polled.notified().await;
                failures += 1;
                tokio::time::sleep(Backoff::RETRY.after(failures, &mut dice)).await;
            }
        }
    }
}

/// Waits until the group is to be left, and answers with how long batches may take.
async fn left(leave: &mut watch::Receiver<Leave>) -> Duration {
    loop {
        if let Leave::Within(patience) = *leave.borrow_and_update() {
            return patience;
        }
        if leave.changed().await.is_err() {
            return Duration::ZERO;
        }
    }
}

/// Commits what is done, at an interval or when somebody wishes it.
async fn commit_until(shared: Arc<Shared>, mut leave: watch::Receiver<Leave>) {
    let interval = match shared.settings.commit {
        Commit::OnAck(interval) | Commit::Auto(interval) => Some(interval),
        Commit::Manual => None,
    };
    loop {
        tokio::select! {
            biased;
            _ = left(&mut leave) => return,
            () = sleep(interval) => {}
            () = shared.commit_soon.notified() => {}
        }
        if let Err(error) = shared.commit_done(shared.patience()).await {
            tracing::debug!(group = %shared.settings.group, %error, "offsets are not committed yet");
        }
    }
}

async fn sleep(interval: Option<Duration>) {
    match interval {
        Some(interval) => tokio::time::sleep(interval).await,
        None => std::future::pending().await,
    }
}

impl Member {
    async fn session(&mut self) -> Result<Again, ConsumeError> {
        match self {
            Self::Classic(member) => member.session().await,
            Self::Modern(member) => member.session().await,
        }
    }

    async fn while_beating<T>(&mut self, work: impl Future<Output = T>) -> T {
        match self {
            Self::Classic(member) => member.while_beating(work).await,
            Self::Modern(member) => member.while_beating(work).await,
        }
    }

    async fn leave(&mut self) {
        match self {
            Self::Classic(member) => member.leave().await,
            Self::Modern(member) => member.leave().await,
        }
    }
}
