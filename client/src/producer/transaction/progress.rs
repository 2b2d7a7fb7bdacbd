//! How far a producer's transaction is: a value without clock or socket.
//!
//! Legal moves: idle -> open -> ending -> idle. What is to be committed may turn out to have to be aborted on the way, never
//! the other way round.
//!
//! Invariant: once something of an open transaction went wrong it is doomed, and only an abort ends it: a transaction that was
//! committed has all that was sent in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::AbortCause;
use crate::producer::error::ProduceError;
use crate::producer::state::QueueIndex;

/// Which partitions a coordinator is told of by whom. Source: KIP-98, KIP-890.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::producer) enum Joining {
    /// The client says which partitions take part, before it produces to them.
    Told,
    /// The leaders of the partitions do (`transaction.version` 2), and every end gives the producer a new epoch.
    Implied,
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed,
    Aborted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::producer) enum Phase {
    Idle,
    Open,
    Ending(Outcome),
}

#[derive(Debug)]
pub(in crate::producer) struct Progress {
    pub(in crate::producer) joining: Joining,
    phase: Phase,
    joined: BTreeSet<QueueIndex>,
    /// Partitions that have records and that the coordinator has not been told of.
    untold: BTreeSet<QueueIndex>,
    /// The coordinator may know of the transaction.
    begun: bool,
    doomed: Option<AbortCause>,
}

impl Progress {
    pub(in crate::producer) fn new() -> Self {
        let (joined, untold) = (BTreeSet::new(), BTreeSet::new());
        Self { joining: Joining::Told, phase: Phase::Idle, joined, untold, begun: false, doomed: None }
    }

    pub(in crate::producer) fn phase(&self) -> Phase {
        self.phase
    }

    pub(in crate::producer) fn begin(&mut self, joining: Joining) {
        *self = Self { joining, phase: Phase::Open, ..Self::new() };
    }

    /// Whether a partition may be produced to now. One that may not is among those that the coordinator is to be told of.
    pub(in crate::producer) fn admits(&mut self, partition: QueueIndex) -> bool {
        self.begun = true;
        let told = self.joining == Joining::Implied || self.joined.contains(&partition);
        if !told {
            self.untold.insert(partition);
        }
        told
    }

    /// Partitions that the coordinator is to be told of.
    pub(in crate::producer) fn untold(&self) -> &BTreeSet<QueueIndex> {
        &self.untold
    }

    pub(in crate::producer) fn told(&mut self, partitions: &[QueueIndex]) {
        for partition in partitions {
            self.untold.remove(partition);
            self.joined.insert(*partition);
        }
    }

    /// The coordinator will know of the transaction, if what is sent next arrives.
    pub(in crate::producer) fn note_begun(&mut self) {
        self.begun = true;
    }

    pub(in crate::producer) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Why it can only be aborted.
    pub(in crate::producer) fn doomed(&self) -> Option<&AbortCause> {
        self.doomed.as_ref()
    }

    /// From now on it can only be aborted; the first cause is kept.
    pub(in crate::producer) fn doom(&mut self, cause: AbortCause) {
        if self.phase != Phase::Idle {
            self.doomed.get_or_insert(cause);
            self.untold.clear();
        }
    }

    /// A record was not produced; answers with what its caller is told.
    pub(in crate::producer) fn lose(&mut self, error: ProduceError) -> ProduceError {
        if matches!(error, ProduceError::Abortable { .. }) {
            return error;
        }
        let cause = AbortCause::Record(Arc::new(error));
        self.doom(cause.clone());
        ProduceError::Abortable { cause }
    }

    /// It is to end so, from now on. Whoever wants to abort it has it doomed.
    pub(in crate::producer) fn end(&mut self, outcome: Outcome) {
        if outcome == Outcome::Aborted {
            self.doom(AbortCause::GivenUp);
        }
        if self.phase != Phase::Idle {
            self.phase = Phase::Ending(outcome);
        }
    }

    /// How it ends if it ends now.
    pub(in crate::producer) fn outcome(&self) -> Outcome {
        if self.doomed.is_some() { Outcome::Aborted } else { Outcome::Committed }
    }

    /// It is over; answers with why it was aborted, if it was.
    pub(in crate::producer) fn ended(&mut self) -> Option<AbortCause> {
        let doomed = self.doomed.take();
        *self = Self { joining: self.joining, ..Self::new() };
        doomed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(joining: Joining) -> Progress {
        let mut progress = Progress::new();
        progress.begin(joining);
        progress
    }

    #[test]
    fn a_partition_is_produced_to_once_the_coordinator_knows_it() {
        let mut progress = begun(Joining::Told);
        assert!(!progress.admits(3) && progress.is_begun());
        assert_eq!(progress.untold(), &BTreeSet::from([3]));
        progress.told(&[3]);
        assert!(progress.admits(3) && !progress.admits(4));
        progress.ended();
        progress.begin(Joining::Told);
        assert!(!progress.admits(3), "the next transaction begins without partitions");
    }

    #[test]
    fn a_leader_that_tells_the_coordinator_is_produced_to_at_once() {
        let mut progress = begun(Joining::Implied);
        assert!(!progress.is_begun());
        assert!(progress.admits(3) && progress.untold().is_empty() && progress.is_begun());
    }

    #[test]
    fn what_is_doomed_is_aborted_whatever_comes() {
        let mut progress = begun(Joining::Implied);
        progress.end(Outcome::Committed);
        progress.lose(ProduceError::Closed);
        assert!(matches!(progress.doomed(), Some(AbortCause::Record(_))));
        progress.end(Outcome::Aborted);
        progress.end(Outcome::Committed);
        assert_eq!(progress.outcome(), Outcome::Aborted);
        assert!(matches!(progress.ended(), Some(AbortCause::Record(_))), "the first cause is kept");
        assert_eq!((progress.phase(), progress.outcome()), (Phase::Idle, Outcome::Committed));
    }

    #[test]
    fn nothing_is_doomed_where_nothing_is_open() {
        let mut progress = Progress::new();
        progress.doom(AbortCause::GivenUp);
        progress.begin(Joining::Told);
        assert!(progress.doomed().is_none());
    }
}
