//! Seeded bugs: what the harness is tested with. Each makes one part of the world break its promise; a checker that does
//! not see it within the given number of seeds is no checker. None of them is ever on in a run that judges the broker.

/// A row of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeded {
    pub flaw: Flaw,
    pub name: &'static str,
    /// Whose mistake it would be.
    pub story: &'static str,
}

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    EarlyAcknowledgement,
    TornPrefix,
    LostReplacement,
    LostEntry,
    LostAppend,
    IgnoredFailure,
    TrustedTail,
    KeptMark,
    RecoveryPointAhead,
    ForgottenLogStart,
    StaleDirectories,
    SkippedRepairs,
    ForgottenProducers,
    ReadsAhead,
    UncheckedReads,
    SwappedReplies,
    /// Of the cluster's protocol, inside the node.
    #[cfg(feature = "flaws")]
    Protocol(strandline_node::flaws::Flaw),
}

const fn seeded(flaw: Flaw, name: &'static str, story: &'static str) -> Seeded {
    Seeded { flaw, name, story }
}

/// The seeded bugs of single nodes.
#[rustfmt::skip]
pub const FLAWS: &[Seeded] = &[
    seeded(Flaw::EarlyAcknowledgement, "early-acknowledgement", "the disk says durable when the bytes are only written"),
    seeded(Flaw::TornPrefix, "torn-prefix", "rewriting the last block damages what was acknowledged in it"),
    seeded(Flaw::LostReplacement, "lost-replacement", "small files are renamed without a sync of their directory"),
    seeded(Flaw::LostEntry, "lost-entry", "a new log file is made without a sync of its directory"),
    seeded(Flaw::LostAppend, "lost-append", "the device drops a write now and then and says nothing"),
    seeded(Flaw::IgnoredFailure, "ignored-failure", "a failed write or sync is taken for a good one"),
    seeded(Flaw::TrustedTail, "trusted-tail", "a start after a crash believes that the shutdown was clean"),
    seeded(Flaw::KeptMark, "kept-mark", "the mark of a clean shutdown is not removed at start"),
    seeded(Flaw::RecoveryPointAhead, "recovery-point-ahead", "recovery begins behind the recovery point"),
    seeded(Flaw::ForgottenLogStart, "forgotten-log-start", "the checkpoint of log starts is not read at start"),
    seeded(Flaw::StaleDirectories, "stale-directories", "directories of removed topics stay at start"),
    seeded(Flaw::SkippedRepairs, "skipped-repairs", "what recovery wants repaired is not carried out"),
    seeded(Flaw::ForgottenProducers, "forgotten-producers", "producers' sequences are not looked at"),
    seeded(Flaw::ReadsAhead, "reads-ahead", "readers are given what is not below the high watermark"),
    seeded(Flaw::UncheckedReads, "unchecked-reads", "nobody compares checksums of what was read"),
    seeded(Flaw::SwappedReplies, "swapped-replies", "replies of a connection leave as they come"),
];

/// The seeded bugs of the protocol; only there with the feature `flaws`.
#[cfg(not(feature = "flaws"))]
pub const PROTOCOL_FLAWS: &[Seeded] = &[];
#[cfg(feature = "flaws")]
pub use protocol::PROTOCOL_FLAWS;

#[cfg(feature = "flaws")]
mod protocol {
    use strandline_node::flaws::Flaw as Inside;

    use super::{Flaw, Seeded, seeded};

    const fn protocol(flaw: Inside, name: &'static str, story: &'static str) -> Seeded {
        seeded(Flaw::Protocol(flaw), name, story)
    }

    /// The seeded bugs of the protocol.
    #[rustfmt::skip]
    pub const PROTOCOL_FLAWS: &[Seeded] = &[
        protocol(Inside::VotesTwice, "votes-twice", "a voter votes for whoever asks, also twice in an epoch"),
        protocol(Inside::VoteNotKept, "vote-not-kept", "a voter forgets whom it voted for when it starts again"),
        protocol(Inside::VotesForBehind, "votes-for-behind", "a voter does not look at how far the candidate's log is"),
        protocol(Inside::EpochNotRaisedByCandidate, "epoch-not-raised-by-candidate", "a candidate stands in the epoch that it is in"),
        protocol(Inside::MinorityCommits, "minority-commits", "metadata counts as committed one voter too early"),
        protocol(Inside::QuorumCountsUnsynced, "quorum-counts-unsynced", "the active controller counts what is not on its own device"),
        protocol(Inside::EarlierEpochsCommit, "earlier-epochs-commit", "records of earlier epochs are committed by counting (Raft 5.4.2)"),
        protocol(Inside::MetadataDivergenceIgnored, "metadata-divergence-ignored", "a controller does not see that a follower's log parts ways"),
        protocol(Inside::FetchesMetadataUnsynced, "fetches-metadata-unsynced", "a voter fetches on before what it has is on its device"),
        protocol(Inside::AppliesUncommitted, "applies-uncommitted", "brokers apply metadata that is not committed"),
        protocol(Inside::AnswersUncommitted, "answers-uncommitted", "the controller answers before its records are committed"),
        protocol(Inside::HwIgnoresProposal, "hw-ignores-proposal", "the high watermark does not wait for proposed members (KIP-497)"),
        protocol(Inside::JoinsBelowHw, "joins-below-hw", "a follower below the high watermark may join the in-sync set"),
        protocol(Inside::LeaderCountsUnsynced, "leader-counts-unsynced", "a leader counts its own end before it is on the device"),
        protocol(Inside::FollowerFetchesUnsynced, "follower-fetches-unsynced", "a follower fetches on before what it has is on its device"),
        protocol(Inside::DivergenceIgnored, "divergence-ignored", "a leader does not look at the epoch of a follower's last record (KIP-320)"),
        protocol(Inside::HwBelowMinIsr, "hw-below-min-isr", "the high watermark rises with too few replicas in sync (KIP-966)"),
        protocol(Inside::CutsToHw, "cuts-to-hw", "a follower cuts its log to its high watermark (KIP-101)"),
        protocol(Inside::CutsTooLittle, "cuts-too-little", "a follower keeps the first record that it should cut"),
        protocol(Inside::WipesOnOutOfRange, "wipes-on-out-of-range", "a follower begins anew whenever its offset is out of range"),
        protocol(Inside::ElectsAnybody, "elects-anybody", "any live replica may become leader"),
        protocol(Inside::KeepsCrashedEligible, "keeps-crashed-eligible", "a replica that may have lost records stays eligible (KIP-966)"),
        protocol(Inside::StaleBrokerEpochJoins, "stale-broker-epoch-joins", "a broker that started again joins by what it had before (KIP-903)"),
        protocol(Inside::FencedJoins, "fenced-joins", "a fenced broker may join the in-sync set (KIP-841)"),
        protocol(Inside::PartitionEpochIgnored, "partition-epoch-ignored", "the controller takes in-sync sets that were proposed before another change"),
        protocol(Inside::LeaderEpochNotRaised, "leader-epoch-not-raised", "a new leader goes on in the old leader epoch"),
        protocol(Inside::AcknowledgesAtOnce, "acknowledges-at-once", "acks=all is answered when the leader has the batch"),
        protocol(Inside::ReadsAboveHw, "reads-above-hw", "consumers are given what is not committed"),
        protocol(Inside::AcknowledgesWhenDeposed, "acknowledges-when-deposed", "a leader that is no leader any more acknowledges what waited"),
        protocol(Inside::DropsReplicasEarly, "drops-replicas-early", "a reassignment drops the old replicas before the new ones are in sync"),
        protocol(Inside::ShrinksUncommitted, "shrinks-uncommitted", "a leader counts without a member before the controller has committed that"),
        protocol(Inside::FencedKeepsItsPlaces, "fenced-keeps-its-places", "a fenced broker stays leader and in sync"),
        protocol(Inside::StaleAnswersCount, "stale-answers-count", "a follower takes answers to questions that it asked before"),
        protocol(Inside::OldEpochFetchCounts, "old-epoch-fetch-counts", "a leader counts fetches of another leader epoch"),
        protocol(Inside::JoinsBelowEpochStart, "joins-below-epoch-start", "a follower that has not reached the leader's epoch may join the in-sync set"),
        protocol(Inside::EligibleForever, "eligible-forever", "replicas stay eligible when enough are in sync to acknowledge without them"),
        protocol(Inside::DirectoryIgnored, "directory-ignored", "a voter is who has its number, whatever its disk is"),
        protocol(Inside::VotersNotCutBack, "voters-not-cut-back", "voters of records that were cut off the log still count"),
        protocol(Inside::SnapshotsWithoutVoters, "snapshots-without-voters", "a fetched snapshot does not bring its voters"),
        protocol(Inside::ChangesUncommitted, "changes-uncommitted", "voters change before the last change is committed"),
        protocol(Inside::RemovedLeaderCounts, "removed-leader-counts", "a leader that is no voter counts itself"),
        protocol(Inside::ChangesBeforeOwnEpoch, "changes-before-own-epoch", "a new leader changes voters at once"),
        protocol(Inside::RemovedLeaderStays, "removed-leader-stays", "a leader that is no voter goes on"),
        protocol(Inside::CoordinatorAnswersAtOnce, "coordinator-answers-at-once", "a coordinator answers before its records are committed"),
        protocol(Inside::ServesBeforeLoaded, "serves-before-loaded", "a coordinator serves before it has read its log"),
        protocol(Inside::LoadsToHw, "loads-to-hw", "a coordinator reads its log to the high watermark only"),
        protocol(Inside::GenerationIgnored, "generation-ignored", "members of an earlier generation commit offsets"),
        protocol(Inside::MemberEpochIgnored, "member-epoch-ignored", "members of a consumer group commit offsets in any epoch, and strangers too (KIP-848)"),
        protocol(Inside::GivesWhatIsHeld, "gives-what-is-held", "a member is given partitions that others still have (KIP-848)"),
        protocol(Inside::RevokingIsFree, "revoking-is-free", "a partition that is to be given back counts as given back (KIP-848)"),
        protocol(Inside::TransactionsUnfenced, "transactions-unfenced", "offsets of a transaction are taken from whoever is no member any more (KIP-447)"),
        protocol(Inside::PendingCountsWhenLoaded, "pending-counts-when-loaded", "a coordinator that reads its log takes offsets of open transactions for committed"),
        protocol(Inside::StableNotAwaited, "stable-not-awaited", "who asks where a group stands is not told to wait for open transactions (KIP-447)"),
        protocol(Inside::AbortCommitsOffsets, "abort-commits-offsets", "offsets of an aborted transaction count"),
        protocol(Inside::StableIgnoresOpen, "stable-ignores-open", "committed records are read up to the high watermark"),
        protocol(Inside::AbortedNotTold, "aborted-not-told", "readers of committed records are not told what is aborted"),
        protocol(Inside::MarkersBeforeDecision, "markers-before-decision", "markers are written before the decision is committed"),
        protocol(Inside::CompletesEarly, "completes-early", "a transaction is complete when the first partition has its marker"),
        protocol(Inside::MarkersNotSentAgain, "markers-not-sent-again", "a marker that a broker could not write is not sent again"),
        protocol(Inside::DecisionsNotResumed, "decisions-not-resumed", "a new coordinator does not carry out what the one before it decided"),
        protocol(Inside::EndKeepsEpoch, "end-keeps-epoch", "the end of a transaction does not raise the epoch (KIP-890, KAFKA-17754)"),
        protocol(Inside::InitKeepsEpoch, "init-keeps-epoch", "a producer that takes an id over does not fence the one before"),
        protocol(Inside::RecordsUnverified, "records-unverified", "a leader takes records of a transaction without asking its coordinator (KIP-890)"),
        protocol(Inside::ShareAcknowledgesAtOnce, "share-acknowledges-at-once", "an acknowledgement of shared records is answered before it is written"),
        protocol(Inside::ShareStateUnfenced, "share-state-unfenced", "a share coordinator takes words of leaders of the past"),
        protocol(Inside::ShareStateHalfLoaded, "share-state-half-loaded", "a new leader takes only a part of what was done with shared records"),
        protocol(Inside::DirectoryLossUntold, "directory-loss-untold", "the controller is not told of a log directory that failed (KIP-858)"),
        protocol(Inside::DirectoryTakesOthers, "directory-takes-others", "a log directory that fails takes the replicas of all others along"),
        protocol(Inside::BegunAnewElsewhere, "begun-anew-elsewhere", "a replica in a directory that does not work is made anew in another one"),
    ];
}

impl Flaw {
    /// The flaw of this name.
    pub fn named(name: &str) -> Option<Self> {
        all().find(|seeded| seeded.name == name).map(|seeded| seeded.flaw)
    }

    /// Makes the nodes of this thread have it, or none.
    pub fn seed(flaw: Option<Self>) {
        #[cfg(feature = "flaws")]
        strandline_node::flaws::seed(match flaw {
            Some(Self::Protocol(inside)) => Some(inside),
            _ => None,
        });
        #[cfg(not(feature = "flaws"))]
        let _ = flaw;
    }
}

/// Every seeded bug of both lists.
pub fn all() -> impl Iterator<Item = &'static Seeded> {
    FLAWS.iter().chain(PROTOCOL_FLAWS)
}
