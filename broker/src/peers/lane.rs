//! One lane to one peer: requests go out in order, answers come back in the same order.
//!
//! States: *idle* (no connection, nothing asked), *opening*, *talking*. What cannot be sent or answered is told as lost;
//! an answer that does not come in time ends the connection, because nothing behind it could come either.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strandline_node::io::{PeerLost, Tag};
use strandline_node::peers;
use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::frame::request_frame;
use strandline_protocol::header::ResponseHeader;
use strandline_protocol::wire::{Message, Reader, WireError};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::socket::{self, Ready};
use super::{Ask, LaneKey, Peers};
use crate::net::intake::Intake;
use crate::net::outgoing::Outgoing;

/// A lane in which nothing was asked for so long gives its task and connection up.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The largest answer: what a follower asks for at most, with one batch of any size behind it.
const ANSWER_BYTES_MAX: usize = 256 << 20;

type Told = (Tag, Result<Box<Response>, PeerLost>);

/// A request that was sent.
struct Sent {
    tag: Tag,
    key: ApiKey,
    version: i16,
    correlation: i32,
    due: Instant,
}

/// Runs a lane until nobody asks any more.
pub(super) async fn run(peers: Arc<Peers>, key: LaneKey, mut queue: mpsc::Receiver<Ask>) {
    loop {
        let first = match timeout(IDLE_MAX, queue.recv()).await {
            Ok(Some(first)) => first,
            Ok(None) => return,
            Err(_) if peers.retire(&key, &queue) => return,
            Err(_) => continue,
        };
        match socket::open(&key.0, &peers.client_id, first.due).await {
            Ok(ready) => {
                let mut talk = Talk::new(&peers, ready);
                let lost = talk.run(first, &mut queue).await;
                peers.tell(talk.sent.drain(..).map(|sent| (sent.tag, Err(lost))).collect());
            }
            Err(lost) => {
                // Whoever asked meanwhile would meet the same.
                let mut told = vec![(first.tag, Err(lost))];
                while let Ok(ask) = queue.try_recv() {
                    told.push((ask.tag, Err(lost)));
                }
                peers.tell(told);
            }
        }
    }
}

/// A connection that is in use.
struct Talk<'a> {
    peers: &'a Arc<Peers>,
    ready: Option<Ready>,
    served: Vec<strandline_protocol::messages::api_versions::ApiVersion>,
    sent: VecDeque<Sent>,
    outgoing: Outgoing,
    next_correlation: i32,
}

impl<'a> Talk<'a> {
    fn new(peers: &'a Arc<Peers>, mut ready: Ready) -> Self {
        let served = std::mem::take(&mut ready.served);
        Self { peers, ready: Some(ready), served, sent: VecDeque::new(), outgoing: Outgoing::default(), next_correlation: 1 }
    }

    /// Sends and receives until the connection ends. Answers with what that means for what is still open.
    async fn run(&mut self, first: Ask, queue: &mut mpsc::Receiver<Ask>) -> PeerLost {
        let Some(Ready { stream, .. }) = self.ready.take() else { return PeerLost::Broken };
        let (mut input, output) = stream.into_split();
        let mut intake = Intake::new(Arc::clone(&self.peers.chunks), ANSWER_BYTES_MAX);
        self.ask(first);
        loop {
            if self.write(&output).is_err() {
                return PeerLost::Broken;
            }
            let due = self.sent.iter().map(|sent| sent.due).min().unwrap_or_else(|| Instant::now() + IDLE_MAX);
            tokio::select! {
                biased;
                read = intake.read(&mut input) => match read {
                    Ok(0) | Err(_) => return PeerLost::Broken,
                    Ok(_) => if self.take(&mut intake).is_err() { return PeerLost::Broken },
                },
                writable = output.writable(), if self.outgoing.bytes() > 0 => if writable.is_err() { return PeerLost::Broken },
                ask = queue.recv() => match ask {
                    Some(ask) => self.ask(ask),
                    None => return PeerLost::Broken,
                },
                () = sleep_until(due) => return PeerLost::TimedOut,
            }
        }
    }

    /// Puts a request among what is to be written.
    fn ask(&mut self, ask: Ask) {
        let key = ask.request.key();
        let Some(version) = peers::version(&self.served, key) else {
            return self.peers.tell(vec![(ask.tag, Err(PeerLost::Unsupported))]);
        };
        let correlation = self.next_correlation;
        self.next_correlation = self.next_correlation.wrapping_add(1);
        for part in request_frame(version, correlation, Some(&self.peers.client_id), &ask.request) {
            self.outgoing.put(part);
        }
        self.sent.push_back(Sent { tag: ask.tag, key, version, correlation, due: ask.due });
    }

    fn write(&mut self, output: &OwnedWriteHalf) -> io::Result<()> {
        self.outgoing.write(|slices| output.try_write_vectored(slices)).map(|_| ())
    }

    /// Takes the answers that are there.
    fn take(&mut self, intake: &mut Intake) -> Result<(), Unanswered> {
        let mut told = Vec::new();
        let taken = self.take_all(intake, &mut told);
        intake.rest();
        self.peers.tell(told);
        taken
    }

    fn take_all(&mut self, intake: &mut Intake, told: &mut Vec<Told>) -> Result<(), Unanswered> {
        while let Some(frame) = intake.next_frame().map_err(|_| Unanswered)? {
            let sent = self.sent.front().ok_or(Unanswered)?;
            let mut response = decode(sent, frame)?;
            peers::check(&mut response);
            told.push((sent.tag, Ok(Box::new(response))));
            self.sent.pop_front();
        }
        Ok(())
    }
}

/// What came is no answer to what was asked: the connection is of no use.
struct Unanswered;

impl From<WireError> for Unanswered {
    fn from(_: WireError) -> Self {
        Self
    }
}

fn decode(sent: &Sent, frame: Bytes) -> Result<Response, Unanswered> {
    let mut reader = Reader::new(frame);
    let header = ResponseHeader::decode(&mut reader, sent.key.response_header_version(sent.version))?;
    if header.correlation_id != sent.correlation {
        return Err(Unanswered);
    }
    Ok(Response::decode(sent.key, sent.version, &mut reader)?)
}
