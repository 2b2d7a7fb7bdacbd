//! What voters and observers say to each other, without the wire: `wire.rs` translates.
//!
//! A *wish* is what the quorum wants done. Wishes leave in order, and none leaves while a vote or an epoch that came before
//! it is not yet kept on disk: a voter that forgets may vote twice.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset};

use super::voters::{ReplicaKey, Voter};

/// Where a log ends: the epoch of its last batch and the offset behind it. The greater one is more up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEnd {
    pub epoch: LeaderEpoch,
    pub offset: Offset,
}

/// What everybody tells of the leader: 0 or one an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    pub epoch: LeaderEpoch,
    pub leader: Option<i32>,
}

/// A pre-vote asks whether a vote would be granted, and changes nothing (KIP-996).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ballot {
    Pre,
    Real,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteAsk {
    pub ballot: Ballot,
    /// The candidate's epoch; with a pre-vote the one that it is in, not the one that it would begin.
    pub epoch: LeaderEpoch,
    pub candidate: ReplicaKey,
    pub log_end: LogEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteAnswer {
    pub ballot: Ballot,
    pub leadership: Leadership,
    pub granted: bool,
}

/// A fetch of the metadata log. Its offset is the replica's durable end: everything below survives its crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchAsk {
    pub replica: ReplicaKey,
    pub epoch: LeaderEpoch,
    pub from: LogEnd,
}

/// What a leader makes of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchVerdict {
    /// The logs agree up to there: records from there on are the answer, or its time of waiting.
    Agree,
    /// The logs part at the end of this epoch, or before.
    Diverging(LogEnd),
    /// What was asked for is only in a snapshot: this one is the newest.
    InSnapshot(LogEnd),
    /// This node does not lead the asker's epoch; its own is told.
    NotLeader,
    /// The asker's epoch is over.
    Fenced,
    /// The asker knows a newer epoch than this node.
    Unknown,
}

/// What a follower learns from a leader's answer to its fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchNews {
    /// The records in the answer belong behind the log's end.
    Append,
    /// The log is to be cut back to there.
    CutBack(Offset),
    /// Nothing is to be done with the log.
    Nothing,
}

/// A question for a piece of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotAsk {
    pub replica: ReplicaKey,
    pub epoch: LeaderEpoch,
    /// The snapshot: where it ends.
    pub id: LogEnd,
    pub position: u64,
}

/// What a leader answered to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotAnswer {
    pub leadership: Leadership,
    /// `None` if it was refused for whatever reason.
    pub piece: Option<SnapshotPlace>,
}

/// Where a piece of a snapshot belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPlace {
    pub id: LogEnd,
    /// Bytes of the whole snapshot.
    pub size: u64,
    pub position: u64,
    /// Of this piece.
    pub bytes: u64,
}

/// What a follower learns from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotNews {
    /// The piece is the next one.
    Piece,
    /// The piece is the last one: nothing is fetched until [`super::Quorum::on_installed`] or [`super::Quorum::on_discarded`].
    LastPiece,
    Nothing,
}

/// What `quorum-state` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    pub epoch: LeaderEpoch,
    pub voted: Option<ReplicaKey>,
    pub leader: Option<i32>,
}

/// What a quorum wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Write `quorum-state`; with `Hold::Others` tell [`super::Quorum::on_kept`] when it is durable.
    Keep(Kept, Hold),
    Vote {
        to: ReplicaKey,
        ask: VoteAsk,
    },
    BeginEpoch {
        to: ReplicaKey,
        leadership: Leadership,
    },
    EndEpoch {
        to: ReplicaKey,
        leadership: Leadership,
        successors: Vec<ReplicaKey>,
    },
    /// Ask a leader, or somebody who may know it, for what lies behind the log's end.
    Fetch {
        to: i32,
        ask: FetchAsk,
    },
    /// Ask the leader for a piece of a snapshot.
    FetchSnapshot {
        to: i32,
        ask: SnapshotAsk,
    },
    /// The answer to whoever holds this ticket.
    AnswerVote {
        ticket: u64,
        answer: VoteAnswer,
    },
    /// The answer to a begin or an end of an epoch.
    AnswerEpoch {
        ticket: u64,
        leadership: Leadership,
    },
    /// This node leads: write the batch that opens the epoch.
    OpenEpoch {
        epoch: LeaderEpoch,
        granted_by: Vec<i32>,
    },
    /// Ask a replica that is to vote which levels of `kraft.version` it works at.
    AskVersions {
        to: Voter,
    },
    /// The answer to whoever asked for a change of the voters.
    AnswerChange {
        ticket: u64,
        outcome: Result<(), Refusal>,
    },
    /// Ask the leader for a change of the voters that concerns this node.
    Join {
        to: i32,
        ask: JoinAsk,
    },
}

/// What a controller asks the leader of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinAsk {
    /// To vote from now on.
    Add,
    /// That a directory that this node had before votes no more.
    Remove(ReplicaKey),
    /// To be described as it is now, in this epoch.
    Update(LeaderEpoch),
}

/// Why a change of the voters is refused, in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Whether what is wished afterwards depends on the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Others,
    Nothing,
}

/// Why a question came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nobody listens there: the process is gone.
    Gone,
    /// Anything else.
    Silent,
}
