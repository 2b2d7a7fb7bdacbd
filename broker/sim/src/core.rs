//! What every part of the world shares: time, the queue of what happens next, the trace, the history, and the verdict.
//!
//! Time only moves when the next event is taken. Events of the same microsecond happen in the order in which they were
//! put in, so nothing depends on anything but the seed.

use std::collections::BTreeMap;
use std::fmt::Arguments;

use bytes::Bytes;
use strandline_node::io::{ConnectionId, JobId, ListenerKind, PeerLost, Sequence, Tag};
use strandline_protocol::api::{ApiKey, Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::Offset;
use strandline_protocol::messages::fetch::PartitionData;

use crate::cluster::ambush::{Blow, Snare};
use crate::cluster::books::Books;
use crate::cluster::judge::Judge;
use crate::cluster::votes::Votes;
use crate::dice::Dice;
use crate::flaw::Flaw;
use crate::history::{Anomaly, History, PartitionKey};
use crate::invariants::Invariant;
use crate::lanes::Lane;
use crate::network::Network;
use crate::topics::Topics;
use crate::trace::Trace;

/// Microseconds of a millisecond and of a second.
pub const MS: u64 = 1000;
pub const SECOND: u64 = 1000 * MS;

/// A node of the world, by its place.
pub type MachineId = usize;

/// A client of the world, by its place.
pub type ClientId = usize;

/// Who holds the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    Client(ClientId),
    /// A node; what belongs to a life that is over is void.
    Peer {
        machine: MachineId,
        life: u32,
    },
}

/// A request on its way.
#[derive(Clone, Debug)]
pub struct Frame {
    pub key: ApiKey,
    pub version: i16,
    pub correlation: i32,
    pub body: Bytes,
}

/// What happens next.
#[derive(Debug)]
pub enum Event {
    /// Something reaches a machine. What belongs to a life that is over is void.
    Machine {
        machine: MachineId,
        life: u32,
        what: MachineEvent,
    },
    /// Something reaches a machine whatever life it is in.
    Network {
        machine: MachineId,
        what: NetworkEvent,
    },
    Client {
        client: ClientId,
        what: ClientEvent,
    },
    /// The next fault is due.
    Nemesis,
    /// A fault that lasts is over.
    Relief(u64),
    /// Somebody who was waited for is struck.
    Blow(Blow),
}

#[derive(Debug)]
pub enum MachineEvent {
    /// The operation at the head of a lane ends.
    DiskDone {
        lane: Lane,
    },
    JobDone {
        job: JobId,
    },
    /// The wake-up that was asked for; void if a later one was.
    Wake {
        order: u64,
    },
    /// Once a second.
    Tick,
    /// Damage is undone, and the process with it.
    Mend,
    /// A burst of inputs is over.
    Settle,
    /// Files for the fetch at the head of a connection were read.
    FetchRead {
        connection: ConnectionId,
        sequence: Sequence,
    },
    /// A request to a peer was never sent.
    PeerLost {
        tag: Tag,
        reason: PeerLost,
    },
    /// A peer answers.
    PeerReply {
        connection: ConnectionId,
        correlation: i32,
        response: Box<Response>,
    },
    /// A connection to a peer is gone.
    PeerGone {
        connection: ConnectionId,
        reason: PeerLost,
    },
    /// A request to a peer has waited for as long as the node waits.
    PeerOverdue {
        connection: ConnectionId,
        correlation: i32,
    },
    /// The power button.
    Start,
}

#[derive(Debug)]
pub enum NetworkEvent {
    Connect { connection: ConnectionId, caller: Caller, listener: ListenerKind },
    Arrive { connection: ConnectionId, caller: Caller, frame: Frame },
    Disconnect { connection: ConnectionId },
}

#[derive(Debug)]
pub enum ClientEvent {
    /// The client's own clock: something to do.
    Turn {
        order: u64,
    },
    Reply {
        connection: ConnectionId,
        correlation: i32,
        response: Box<Response>,
    },
    /// The connection is gone.
    Lost {
        connection: ConnectionId,
    },
    /// A request has waited for as long as the client waits.
    Overdue {
        connection: ConnectionId,
        correlation: i32,
    },
}

/// Why a run is over before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    Invariant { invariant: Invariant, story: String },
    History(Anomaly),
}

/// What the parts of the world share.
#[derive(Debug)]
pub struct Core {
    pub now_us: u64,
    queue: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    next_connection: u64,
    pub dice: Dice,
    pub trace: Trace,
    pub history: History,
    pub topics: Topics,
    /// What groups and transactions of a cluster were promised.
    pub(crate) books: Books,
    pub flaw: Option<Flaw>,
    /// The first one; the run ends with it.
    pub violation: Option<Violation>,
    marks: BTreeMap<&'static str, u64>,
    /// Where the wall clock stands at the world's time 0.
    pub wall_base_ms: i64,
    pub network: Network,
    /// Holds the nodes of a cluster against each other.
    pub judge_of_cluster: Option<Box<Judge>>,
    pub(crate) snare: Option<Snare>,
    pub(crate) votes: Votes,
    /// Workload and faults are over; what is left is to be read.
    pub draining: bool,
    /// Something that makes reads fail is under way.
    pub reads_may_fail: bool,
    /// A client read a batch whose checksum does not hold.
    pub damage_read: bool,
}

impl Core {
    pub fn new(dice: Dice, trace: Trace, flaw: Option<Flaw>) -> Self {
        Self {
            now_us: 0,
            queue: BTreeMap::new(),
            next_event: 0,
            next_connection: 0,
            dice,
            trace,
            history: History::default(),
            topics: Topics::default(),
            books: Books::default(),
            flaw,
            violation: None,
            marks: BTreeMap::new(),
            wall_base_ms: 1_800_000_000_000,
            network: Network::default(),
            judge_of_cluster: None,
            snare: None,
            votes: Votes::default(),
            draining: false,
            reads_may_fail: false,
            damage_read: false,
        }
    }

    /// Puts an event into the queue.
    pub fn after(&mut self, delay_us: u64, event: Event) {
        self.queue.insert((self.now_us + delay_us, self.next_event), event);
        self.next_event += 1;
    }

    /// Takes the next event that happens no later than `until_us`, and moves time there.
    pub fn next(&mut self, until_us: u64) -> Option<Event> {
        let entry = self.queue.first_entry()?;
        let (at, _) = *entry.key();
        if at > until_us {
            return None;
        }
        self.now_us = at;
        Some(entry.remove())
    }

    pub fn connection(&mut self) -> ConnectionId {
        self.next_connection += 1;
        ConnectionId(self.next_connection)
    }

    /// One line of the trace.
    pub fn note(&mut self, event: Arguments<'_>) {
        self.trace.note(self.now_us, event);
    }

    /// Counts a place in the world's behaviour that was reached.
    pub fn mark(&mut self, place: &'static str) {
        *self.marks.entry(place).or_default() += 1;
    }

    pub fn marks(&self) -> &BTreeMap<&'static str, u64> {
        &self.marks
    }

    /// An invariant does not hold.
    pub fn violate(&mut self, invariant: Invariant, story: Arguments<'_>) {
        let story = story.to_string();
        self.note(format_args!("VIOLATION {} {story}", invariant.number()));
        self.violation.get_or_insert(Violation::Invariant { invariant, story });
    }

    /// Who reads at `position` must not find the end of the partition there by an answer that refuses: librdkafka looks at the ends
    /// before it looks at the error.
    pub fn check_refusal(&mut self, key: PartitionKey, position: i64, data: &PartitionData) {
        let end = if data.last_stable_offset == Offset::NONE { data.high_watermark } else { data.last_stable_offset };
        if data.error_code != ErrorCode::NONE && end.0 == position {
            self.violate(Invariant::AnswersAsAsked, format_args!("{key}: {:?} with an end at {end}", data.error_code));
        }
    }

    /// Whether a machine's node coordinates a group by the newest committed metadata.
    pub(crate) fn coordinates(&self, group: &str, machine: MachineId) -> bool {
        self.judge_of_cluster.as_ref().is_some_and(|judge| judge.coordinates(group, machine))
    }

    /// One machine asks another one something: whoever waits for that strikes.
    pub(crate) fn overhear(&mut self, from: MachineId, to: MachineId, request: &Request) {
        self.votes.asked(from, to, request);
        let Some(snare) = &mut self.snare else { return };
        let blows = snare.overhear(self.now_us, from, request);
        self.fall(blows);
    }

    /// One machine answers another one.
    pub(crate) fn overhear_answer(&mut self, from: MachineId, to: MachineId, answer: &Response) {
        let is_vote = self.votes.answered(from, to, answer);
        let Some(snare) = self.snare.as_mut().filter(|_| is_vote) else { return };
        let blows = snare.overhear_vote(self.now_us, from, to);
        self.fall(blows);
    }

    fn fall(&mut self, blows: Vec<(u64, Blow)>) {
        blows.into_iter().for_each(|(delay_us, blow)| self.after(delay_us, Event::Blow(blow)));
    }

    /// Asks the judge of the cluster, if this is one.
    pub fn judged(&mut self, look: impl FnOnce(&mut Judge, &mut Self)) {
        if let Some(mut judge) = self.judge_of_cluster.take() {
            look(&mut judge, self);
            self.judge_of_cluster = Some(judge);
        }
    }

    /// Judges what the history said.
    pub fn judge(&mut self, judgement: Result<(), Anomaly>) {
        if let Err(anomaly) = judgement {
            self.note(format_args!("VIOLATION {anomaly:?}"));
            self.violation.get_or_insert(Violation::History(anomaly));
        }
    }

    /// Tells whoever holds the other end that the connection is gone.
    pub fn hung_up(&mut self, caller: Caller, connection: ConnectionId, reason: PeerLost) {
        let delay_us = self.network_us();
        let event = match caller {
            Caller::Client(client) => Event::Client { client, what: ClientEvent::Lost { connection } },
            Caller::Peer { machine, life } => {
                Event::Machine { machine, life, what: MachineEvent::PeerGone { connection, reason } }
            }
        };
        self.after(delay_us, event);
    }

    /// A delay of the network.
    pub fn network_us(&mut self) -> u64 {
        let usual = if self.dice.one_in(200) { self.dice.between(5 * MS, 60 * MS) } else { self.dice.between(40, 400) };
        let slowness_us = self.network.slowness_us();
        if slowness_us > 0 { usual + self.dice.below(slowness_us) } else { usual }
    }
}
