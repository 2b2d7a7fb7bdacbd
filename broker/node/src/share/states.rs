//! What is asked of share coordinators, wherever they are.
//!
//! Questions about single partitions are gathered until a burst is over, sent together, and asked again as long as nobody could
//! answer; then whoever asked is told. About one partition at most one write is under way (`hosted`), so asking again writes the
//! same. Source: PersisterStateManager.

use std::collections::BTreeMap;

use strandline_protocol::api::{Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset};

use super::ask_wire::{answers, request};
use super::{flows, hosted};
use crate::broker::Broker;
use crate::controller_channel;
use crate::coordinator::directory;
use crate::coordinator::kind::Kind;
use crate::coordinator::share::{Known, ShareKey, Update};
use crate::io::{Asker, Effect, Lane, Now, PeerLost, Tag};
use crate::replica::following::address_of;

/// How long a question is asked again. Clients wait for the answer; they give up after about as long.
const PATIENCE_MS: u64 = 20_000;
/// How long a coordinator may take for one answer: its own limit, and some.
const TIMEOUT_MS: u32 = 7_000;
/// Pause before a question is asked again.
const AGAIN_MS: u64 = 50;
/// Questions in one request.
const TOGETHER_MAX: usize = 500;

/// A question about one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Begin a state, at this offset or where the configuration says (-1).
    Begin {
        state_epoch: i32,
        start: Offset,
    },
    Read {
        leader_epoch: LeaderEpoch,
    },
    Write(Update),
    Forget,
    Summary,
    /// The high watermark; asked of the partition's leader.
    End,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Done,
    State(Known),
    End(Offset),
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The share partition that is hosted here.
    Hosted,
    Flow(u64),
}

#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub key: ShareKey,
    pub question: Question,
    pub then: Then,
    until_ms: u64,
    /// Not to be sent before.
    from_ms: u64,
}

#[derive(Debug, Default)]
pub(crate) struct States {
    queue: Vec<Ask>,
    under_way: BTreeMap<u64, Vec<Ask>>,
}

impl States {
    /// When something is to be asked again.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.queue.iter().map(|ask| ask.from_ms).min()
    }

    pub(super) fn is_due(&self, now: Now) -> bool {
        self.queue.iter().any(|ask| ask.from_ms <= now.monotonic_ms)
    }

    pub(super) fn ask(&mut self, now: Now, key: ShareKey, question: Question, then: Then) {
        let until_ms = now.monotonic_ms + PATIENCE_MS;
        self.queue.push(Ask { key, question, then, until_ms, from_ms: now.monotonic_ms });
    }

    fn again(&mut self, now: Now, ask: Ask) {
        self.queue.push(Ask { from_ms: now.monotonic_ms + AGAIN_MS, ..ask });
    }
}

/// Sends what may leave now.
pub(super) fn send(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    let queue = std::mem::take(&mut broker.shares.states.queue);
    let (due, later): (Vec<Ask>, Vec<Ask>) = queue.into_iter().partition(|ask| ask.from_ms <= now.monotonic_ms);
    broker.shares.states.queue = later;
    let mut together: BTreeMap<(i32, u8, String), Vec<Ask>> = BTreeMap::new();
    for ask in due {
        if ask.until_ms <= now.monotonic_ms {
            tell(broker, now, ask, Err(ErrorCode::COORDINATOR_NOT_AVAILABLE), outbox);
            continue;
        }
        match node_of(broker, now, &ask) {
            Some(node) => {
                together.entry((node, kind_of(&ask.question), ask.key.group.to_string())).or_default().push(ask);
            }
            None => broker.shares.states.again(now, ask),
        }
    }
    for ((node, ..), asks) in together {
        for asks in asks.chunks(TOGETHER_MAX) {
            send_to(broker, now, node, asks.to_vec(), outbox);
        }
    }
}

fn kind_of(question: &Question) -> u8 {
    match question {
        Question::Begin { .. } => 0,
        Question::Read { .. } => 1,
        Question::Write(_) => 2,
        Question::Forget => 3,
        Question::Summary => 4,
        Question::End => 5,
    }
}

/// Who can answer; makes the coordinators' topic if there is none.
fn node_of(broker: &mut Broker, now: Now, ask: &Ask) -> Option<i32> {
    if ask.question == Question::End {
        let topic = broker.image.topics.by_id(ask.key.topic);
        let leader = topic.and_then(|topic| topic.partitions.get(&ask.key.partition)).map(|partition| partition.leader);
        return Some(leader.filter(|leader| *leader >= 0).unwrap_or(broker.identity.node_id));
    }
    directory::find(broker, now, "", Kind::ShareStates, &ask.key.to_string()).ok().map(|coordinator| coordinator.node)
}

fn send_to(broker: &mut Broker, now: Now, node: i32, asks: Vec<Ask>, outbox: &mut Vec<Effect>) {
    let Some(request) = request(broker, &asks) else {
        for ask in asks {
            tell(broker, now, ask, Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), outbox);
        }
        return;
    };
    let number = broker.next_tag();
    let tag = Tag { asker: Asker::ShareStates, number };
    broker.shares.states.under_way.insert(number, asks);
    if node == broker.identity.node_id {
        return controller_channel::ask_here(broker, now, tag, request, outbox);
    }
    match address_of(broker, node) {
        Some(to) => {
            let request: Box<Request> = Box::new(request);
            outbox.push(Effect::Send { to, lane: Lane::ShareStates, tag, request, timeout_ms: TIMEOUT_MS });
        }
        None => answered(broker, now, number, Err(PeerLost::Refused), outbox),
    }
}

/// A coordinator answered, or is lost.
pub(crate) fn answered(
    broker: &mut Broker,
    now: Now,
    number: u64,
    result: Result<Box<Response>, PeerLost>,
    outbox: &mut Vec<Effect>,
) {
    let Some(asks) = broker.shares.states.under_way.remove(&number) else { return };
    let mut told = result.map(|response| answers(broker, *response)).unwrap_or_default();
    for ask in asks {
        let answer = told.remove(&(ask.key.topic, ask.key.partition));
        match answer.unwrap_or(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)) {
            Err(code) if may_pass(code) => broker.shares.states.again(now, ask),
            answer => tell(broker, now, ask, answer, outbox),
        }
    }
}

/// Whether somebody else, or the same a little later, may answer.
fn may_pass(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_COORDINATOR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::OFFSET_NOT_AVAILABLE
    )
}

fn tell(broker: &mut Broker, now: Now, ask: Ask, answer: Result<Told, ErrorCode>, outbox: &mut Vec<Effect>) {
    match ask.then {
        Then::Hosted => hosted::told(broker, now, &ask.key, &ask.question, answer, outbox),
        Then::Flow(flow) => flows::told(broker, now, flow, ask.key, answer, outbox),
    }
}
