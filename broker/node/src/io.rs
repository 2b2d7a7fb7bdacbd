//! The two closed enums between a broker and its world, and the values they carry.
//!
//! [`Input`] is everything that can happen to a broker, [`Effect`] everything it can want. The shell feeds the one and
//! carries out the other in order; the simulator is a second shell. Nothing here waits, reads a clock or touches a file.
//!
//! The shell may step many inputs in one go and calls [`crate::Node::settle`] once behind them: only then are writes
//! given out, so that what came in together is written together.

use std::sync::Arc;

use bytes::Bytes;
use strandline_log::cleaner::round::{CleanError, Round, Stepped};
use strandline_log::disk::{DiskDone, DiskError, DiskOp, FilePath, LogDir};
use strandline_log::log::Log;
use strandline_log::recover::{RecoverError, Recovered};
use strandline_log::slice::Slice;
use strandline_log::transactions::AbortedQuery;
use strandline_protocol::api::{Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicId, TopicName};
use strandline_protocol::messages::fetch::{FetchResponse, PartitionData};
use strandline_protocol::messages::produce::ProduceRequest;
use strandline_protocol::records::{BatchHeader, Offender, ProduceRules, Refusal};
use strandline_protocol::wire::Records;

use crate::coordinator::loading::{LoadPiece, LoadedPiece};
use crate::copying::{CopyFault, CopyPiece};
use crate::metadata_log::{LoadError, SnapshotRead};
use crate::share::spans::{ShareRead, SharedBatches};
use crate::snapshot::write::{MadePiece, SnapshotId, SnapshotPiece};

/// One accepted connection, never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// The place of a request among those of its connection, counted from 0: replies leave in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// The clocks, told with every step. Both in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Since the Unix epoch; may jump. Only for timestamps that users see and for retention.
    pub wall_ms: i64,
    /// Since some start; never goes back. For every deadline.
    pub monotonic_ms: u64,
}

/// Who connects at a listener: which APIs it serves, and what a request may be trusted to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenerKind {
    /// Clients only.
    Client,
    /// Other brokers, and clients too: with a single listener it is this one.
    Broker,
    /// The quorum's voters, and brokers that talk to the active controller.
    Controller,
}

/// What is known of a request besides its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContext {
    pub connection: ConnectionId,
    pub sequence: Sequence,
    pub listener: ListenerKind,
    /// The listener's name: whoever is told of brokers is told where they listen by this name. Empty if the request came by none.
    pub listener_name: Arc<str>,
    pub api_version: i16,
    /// From the request header; empty if the client gave none.
    pub client_id: Arc<str>,
    /// The client's address as Kafka writes it, `/127.0.0.1`.
    pub client_host: Arc<str>,
}

/// What can happen to a broker. Nothing else ever changes it.
#[derive(Debug)]
pub enum Input {
    /// A decoded request.
    Request { context: RequestContext, request: Asked },
    /// An operation ended. One operation an owner is under way at any time.
    Disk { owner: Owner, result: Result<DiskDone, DiskError> },
    /// A job ended.
    Job { job: JobId, result: JobResult },
    /// What a request to another node came to. Every [`Effect::Send`] has exactly one.
    Response { tag: Tag, result: Result<Box<Response>, PeerLost> },
    /// A reader found something else in a sealed segment than was written there.
    Damaged { log: FilePath, base_offset: Offset },
    /// A reader could not read a segment.
    Unreadable { log: FilePath, base_offset: Offset },
    /// A connection is gone; nothing is sent to it any more.
    Disconnected { connection: ConnectionId },
    /// Somebody looks how far groups are behind: leaders of partitions that are not hosted here are asked.
    LookAtLag,
    /// Time passed: sent when `Effect::WakeAt` is due, and at least once a second.
    Tick,
    /// The process was asked to end (SIGTERM): finish what was promised, close the logs cleanly, answer `Effect::Stopped`.
    Shutdown,
}

/// What an answer belongs to: chosen by who asked, carried back as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    pub asker: Asker,
    /// The asker's own.
    pub number: u64,
}

/// The parts of a node that ask other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker {
    /// The controllers' quorum: votes, and fetches of the metadata log.
    Quorum,
    /// The broker as a member of the cluster: registration and heartbeats.
    Membership,
    /// This controller as a member of the cluster: its registration.
    ControllerMembership,
    /// Requests of clients on their way to the active controller.
    Forwarding,
    /// Blocks of producer ids.
    ProducerIds,
    /// Topics that clients asked to be made by asking for them.
    AutoCreation,
    /// Replicas: fetches from leaders.
    Replication,
    /// Replicas: in which log directories they lie.
    Directories,
    /// The active controller: whether a broker that hung up is still there.
    Liveness,
    /// Leaders of partitions and coordinators of groups: what share coordinators keep.
    ShareStates,
    /// A coordinator of transactions: markers for the leaders of partitions.
    Markers,
    /// A leader of partitions: whether they belong to a transaction.
    Verification,
    /// A coordinator of groups: how far they are behind.
    Lag,
}

/// Where another node listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddress {
    /// -1 if it is not known who that is, as with bootstrap servers.
    pub node: i32,
    pub host: Arc<str>,
    pub port: u16,
}

/// Each lane to a peer is a connection of its own: a node answers in the order in which it was asked, so what may wait
/// for long at the peer, or is large, must not stand before what is urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Votes, and fetches of the metadata log, which wait at the leader for news.
    Quorum,
    /// Small requests that are answered soon: heartbeats, what the controller is asked to decide.
    Control,
    /// Requests of clients on their way to the active controller, which answers when they are committed.
    Forwarding,
    /// Records of partitions.
    Replication,
    /// Questions to share coordinators, whose answers wait for replication.
    ShareStates,
    /// Markers of transactions, which wait for their replication.
    Markers,
    /// Questions about transactions, for which producers wait.
    Verification,
    /// Questions about the ends of partitions, for metrics.
    Lag,
}

/// Why a peer gave no answer. Except after `Refused` and `Unsupported` it may have acted on the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerLost {
    /// The machine answers and nobody listens there: the process is gone.
    Refused,
    /// The connection could not be made or broke, too many requests wait for it, or what came was no answer.
    Broken,
    /// No answer within the time given.
    TimedOut,
    /// The peer serves no version of the API that this node speaks.
    Unsupported,
}

/// A request as the rim hands it over: everything that costs time per byte is done.
#[derive(Debug)]
pub enum Asked {
    /// Batches were examined, and rewritten where the topic's rules ask for it.
    Produce(Box<CheckedProduce>),
    /// Any other request, decoded.
    Other(Box<Request>),
}

/// A Produce request whose batches were taken out and examined.
#[derive(Debug)]
pub struct CheckedProduce {
    /// The request; `records` of every partition was taken out (left `None`).
    pub request: ProduceRequest,
    /// One entry a partition, in the order of the request's topics and partitions.
    pub batches: Vec<BatchOutcome>,
}

/// What became of one partition's records in the rim.
#[derive(Debug)]
pub enum BatchOutcome {
    /// Fit to be appended: `bytes` is what is to be stored (base offset and epoch not yet stamped) and `header` its
    /// header as it stands there, after the rules' patches. `log_append_time_ms` is -1 unless the broker stamped it.
    Checked { bytes: Bytes, header: BatchHeader, log_append_time_ms: i64 },
    /// Refused by the rules; nothing of it is appended. Names the records that are to blame, if single ones are.
    Refused { refusal: Refusal, offenders: Vec<Offender> },
}

/// Who gets the answer of a disk operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A hosted partition's log, by its slot. Operations of one slot are carried out one after the other.
    Partition(u32),
    /// A file of a log directory itself (checkpoints, quorum state, the clean-shutdown file), by a running number;
    /// those of one directory are carried out one after the other, in order.
    Directory { log_dir: LogDir, number: u64 },
    /// The snapshot of the metadata log that is being written; carried out one after the other.
    Snapshot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// Long work: a pure function over files, run by the shell, whose result comes back as an input.
#[derive(Clone, Debug)]
pub enum Job {
    /// `strandline_log::lookup::find`: offset by timestamp, or of the largest timestamp.
    FindTimestamp(strandline_log::lookup::Lookup),
    /// The size of the file system that holds a log directory.
    MeasureDirectory { log_dir: LogDir },
    /// `strandline_log::recover::truncate`: the log as it is when it ends at or before `end`.
    Truncate { log: Box<Log>, end: Offset, now_ms: i64 },
    /// [`SnapshotPiece::make`]: the next piece of a snapshot of the metadata log.
    MakeSnapshotPiece(SnapshotPiece),
    /// [`crate::metadata_log::read_snapshot`]: a snapshot that came from the leader is checked, and its image made.
    ReadSnapshot { id: SnapshotId, file: FilePath },
    /// A piece of a file, as it is.
    ReadPiece { file: FilePath, position: u64, bytes: usize },
    /// `crate::coordinator::loading::load`: a coordinator reads a piece of its log.
    LoadCoordinator(LoadPiece),
    /// `crate::copying::read`: records for a copy in another log directory.
    ReadCopy(CopyPiece),
    /// `crate::share::spans::read`: records for a share group.
    ReadShare(ShareRead),
    /// The next step of a compaction: `Round::step`.
    Clean(Box<Round>),
}

#[derive(Debug)]
pub enum JobResult {
    FoundTimestamp(Result<Option<strandline_log::lookup::Found>, DiskError>),
    /// The log as it will be, and what is to be done before it is.
    Truncated(Result<Box<Recovered>, RecoverError>),
    /// Bytes in all and bytes free of the file system that holds a log directory.
    DirectoryMeasured {
        total_bytes: i64,
        usable_bytes: i64,
    },
    SnapshotPiece(MadePiece),
    SnapshotRead(Result<Box<SnapshotRead>, LoadError>),
    PieceRead(Result<Bytes, DiskError>),
    CoordinatorLoaded(Result<LoadedPiece, DiskError>),
    ShareRead(Result<SharedBatches, DiskError>),
    CopyRead(Result<Vec<Bytes>, CopyFault>),
    /// A step of a compaction, with the round that takes the next one.
    Cleaned {
        round: Box<Round>,
        result: Result<Stepped, CleanError>,
    },
}

/// What a broker can want. The shell carries these out in order.
#[derive(Debug)]
pub enum Effect {
    /// Sends a reply. Replies of one connection leave in the order of their `sequence`, whatever the order here.
    Reply { connection: ConnectionId, sequence: Sequence, reply: Reply },
    /// Asks another node. Requests of one lane to one peer arrive in the order in which they are given here, as long as
    /// the connection lasts; their answers come back as [`Input::Response`].
    Send { to: PeerAddress, lane: Lane, tag: Tag, request: Box<Request>, timeout_ms: u32 },
    /// Carries out a disk operation.
    Disk { owner: Owner, op: DiskOp },
    /// Runs a job.
    Start { job: JobId, what: Job },
    /// Sends `Input::Tick` when the monotonic clock reaches this; the last one said counts.
    WakeAt { monotonic_ms: u64 },
    /// Closes the connection in place of the reply of this sequence, after the replies before it have left.
    Close { connection: ConnectionId, sequence: Sequence, reason: CloseReason },
    /// From now on requests are taken: the broker is registered and its partitions have their leader epochs. Given once.
    Serving,
    /// Nobody new is let in from now on. With `hang_up` clients are sent away too: none of them is owed anything, and those that would
    /// wait here find another broker the sooner.
    Unlisten { hang_up: bool },
    /// From now on produced batches are judged by these rules.
    Publish(Arc<RulesTable>),
    /// A log directory failed without which nothing goes on; the process must end, loudly, without the clean-shutdown file.
    Fail { file: FilePath, reason: DiskError },
    /// A log directory failed, and what does not lie in it is served on: somebody should know.
    Offline { file: FilePath, reason: DiskError },
    /// Everything is closed; the process may end.
    Stopped,
}

/// A reply's body.
#[derive(Debug)]
pub enum Reply {
    /// Encoded with the request's version and sent.
    Body(Box<Response>),
    /// A Fetch response whose records lie in memory or in files: the rim fills them in and sends it.
    Fetch(Box<FetchReply>),
    /// Nothing is sent (acks = 0); the place in the order of replies is given up.
    Silence,
}

#[derive(Debug)]
pub struct FetchReply {
    /// `records` of the partitions named in `slices` is still empty.
    pub response: FetchResponse,
    pub slices: Vec<PartitionSlices>,
}

/// What a Fetch says of a partition that cannot be read. It tells no ends, as Kafka's does: librdkafka takes a high watermark where its
/// reader stands for the end of the partition, whatever the error says, and in an empty replica that is where readers begin.
pub fn unreadable(partition_index: i32, error_code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index,
        error_code,
        high_watermark: Offset::NONE,
        last_stable_offset: Offset::NONE,
        log_start_offset: Offset::NONE,
        records: Some(Records::default()),
        ..PartitionData::default()
    }
}

/// The records of one partition of a Fetch response.
#[derive(Debug)]
pub struct PartitionSlices {
    /// Index into `response.responses`.
    pub topic: usize,
    /// Index into that topic's `partitions`.
    pub partition: usize,
    pub slices: Vec<Slice>,
    /// Set for a reader of committed records when transactions were aborted near by: to be asked, and put into the
    /// partition's `aborted_transactions` (which is an empty list so far).
    pub aborted: Option<AbortedQuery>,
}

/// Why the broker closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// A produce with acks = 0 failed: closing is the only way to tell.
    UnacknowledgedProduceFailed,
    /// The request cannot be answered in its version.
    Unanswerable,
}

/// What the rim needs to know of topics to judge produced batches. Replaced whole when metadata changes.
#[derive(Clone, Debug, Default)]
pub struct RulesTable {
    /// Sorted by name.
    pub by_name: Vec<(TopicName, PartitionRules)>,
    /// Sorted by id, for Produce v13.
    pub by_id: Vec<(TopicId, PartitionRules)>,
}

/// The rules of a topic's partitions, shared by both tables.
pub type PartitionRules = Arc<ProduceRules>;
