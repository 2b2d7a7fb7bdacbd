//! Seeded bugs of the cluster's protocol: what the simulator is tested with. Compiled in with the feature `flaws` alone, which
//! nothing but the simulator's own test asks for; without it [`is`] is never true and costs nothing.

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    VotesTwice,
    VoteNotKept,
    VotesForBehind,
    EpochNotRaisedByCandidate,
    MinorityCommits,
    QuorumCountsUnsynced,
    EarlierEpochsCommit,
    MetadataDivergenceIgnored,
    FetchesMetadataUnsynced,
    AppliesUncommitted,
    AnswersUncommitted,
    HwIgnoresProposal,
    JoinsBelowHw,
    LeaderCountsUnsynced,
    FollowerFetchesUnsynced,
    DivergenceIgnored,
    HwBelowMinIsr,
    CutsToHw,
    CutsTooLittle,
    WipesOnOutOfRange,
    ElectsAnybody,
    KeepsCrashedEligible,
    StaleBrokerEpochJoins,
    FencedJoins,
    PartitionEpochIgnored,
    LeaderEpochNotRaised,
    AcknowledgesAtOnce,
    ReadsAboveHw,
    AcknowledgesWhenDeposed,
    DropsReplicasEarly,
    ShrinksUncommitted,
    FencedKeepsItsPlaces,
    StaleAnswersCount,
    OldEpochFetchCounts,
    JoinsBelowEpochStart,
    EligibleForever,
    DirectoryIgnored,
    VotersNotCutBack,
    SnapshotsWithoutVoters,
    ChangesUncommitted,
    ChangesBeforeOwnEpoch,
    RemovedLeaderCounts,
    RemovedLeaderStays,
    CoordinatorAnswersAtOnce,
    ServesBeforeLoaded,
    LoadsToHw,
    GenerationIgnored,
    MemberEpochIgnored,
    GivesWhatIsHeld,
    RevokingIsFree,
    TransactionsUnfenced,
    PendingCountsWhenLoaded,
    StableNotAwaited,
    AbortCommitsOffsets,
    StableIgnoresOpen,
    AbortedNotTold,
    MarkersBeforeDecision,
    CompletesEarly,
    MarkersNotSentAgain,
    DecisionsNotResumed,
    EndKeepsEpoch,
    InitKeepsEpoch,
    RecordsUnverified,
    ShareAcknowledgesAtOnce,
    ShareStateUnfenced,
    ShareStateHalfLoaded,
    DirectoryLossUntold,
    DirectoryTakesOthers,
    BegunAnewElsewhere,
}

#[cfg(feature = "flaws")]
mod seeded {
    use std::cell::Cell;

    use super::Flaw;

    thread_local! {
        static SEEDED: Cell<Option<Flaw>> = const { Cell::new(None) };
    }

    /// From now on nodes of this thread have this flaw.
    pub fn seed(flaw: Option<Flaw>) {
        SEEDED.set(flaw);
    }

    /// Whether this is the flaw.
    pub(crate) fn is(flaw: Flaw) -> bool {
        SEEDED.get() == Some(flaw)
    }
}

#[cfg(feature = "flaws")]
pub(crate) use seeded::is;
#[cfg(feature = "flaws")]
pub use seeded::seed;

/// Whether this is the flaw: never.
#[cfg(not(feature = "flaws"))]
#[inline]
pub(crate) const fn is(_: Flaw) -> bool {
    false
}
