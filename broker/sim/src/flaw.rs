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
}

const fn seeded(flaw: Flaw, name: &'static str, story: &'static str) -> Seeded {
    Seeded { flaw, name, story }
}

/// Every seeded bug.
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

impl Flaw {
    /// The flaw of this name.
    pub fn named(name: &str) -> Option<Self> {
        FLAWS.iter().find(|seeded| seeded.name == name).map(|seeded| seeded.flaw)
    }
}
