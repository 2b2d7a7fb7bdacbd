//! Connections to other nodes: one a peer and lane, opened when something is to be sent.
//!
//! [`Peers::send`] hands a request to its lane's task (`lane.rs`), which begins with the first request and ends when
//! nothing was asked for a while. Whatever becomes of a request, the node is told exactly once. All of it runs on a
//! thread of its own, so that a thousand clients cannot hold up replication or a heartbeat.
//!
//! Not here: when to try again, and what an answer means; the node knows both.

mod lane;
mod socket;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use strandline_node::io::{Input, Lane, PeerAddress, PeerLost, Tag};
use strandline_protocol::api::{Request, Response};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::net::intake::Chunks;
use crate::shell::Submit;

/// Requests that one lane holds, sent or not. A node asks each peer a handful of things at a time.
const ASKS_MAX: usize = 256;

/// A request on its way to a lane.
#[derive(Debug)]
struct Ask {
    tag: Tag,
    request: Box<Request>,
    due: Instant,
}

type LaneKey = (PeerAddress, Lane);

pub(crate) struct Peers {
    lanes: Mutex<BTreeMap<LaneKey, mpsc::Sender<Ask>>>,
    client_id: String,
    chunks: Arc<Chunks>,
    runtime: Handle,
    /// Where answers go.
    node: OnceLock<Weak<dyn Submit>>,
}

impl Peers {
    pub(crate) fn new(client_id: String, runtime: Handle) -> Arc<Self> {
        // Answers of peers are asked for, each with its limit.
        let chunks = Arc::new(Chunks::new(usize::MAX));
        Arc::new(Self { lanes: Mutex::default(), client_id, chunks, runtime, node: OnceLock::new() })
    }

    /// Lets answers come back to the node.
    pub(crate) fn connect(&self, node: Weak<dyn Submit>) {
        let first = self.node.set(node).is_ok();
        assert!(first, "peers are connected once");
    }

    /// Sends a request; the answer comes back as an input.
    pub(crate) fn send(self: &Arc<Self>, to: PeerAddress, lane: Lane, tag: Tag, request: Box<Request>, timeout_ms: u32) {
        let ask = Ask { tag, request, due: Instant::now() + Duration::from_millis(timeout_ms.into()) };
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (to, lane);
        let asks = match lanes.get(&key) {
            Some(asks) => asks,
            None => {
                let (asks, queue) = mpsc::channel(ASKS_MAX);
                self.runtime.spawn(lane::run(Arc::clone(self), key.clone(), queue));
                lanes.entry(key).or_insert(asks)
            }
        };
        if let Err(refused) = asks.try_send(ask) {
            // Not from inside of the node's delivery: it is told when that is over.
            let tag = refused.into_inner().tag;
            let peers = Arc::clone(self);
            self.runtime.spawn(async move { peers.tell(vec![(tag, Err(PeerLost::Broken))]) });
        }
    }

    /// Forgets a lane in which nothing is asked; says whether it had nothing.
    fn retire(&self, key: &LaneKey, queue: &mpsc::Receiver<Ask>) -> bool {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = queue.is_empty();
        if unused {
            lanes.remove(key);
        }
        unused
    }

    fn tell(&self, results: Vec<(Tag, Result<Box<Response>, PeerLost>)>) {
        if results.is_empty() {
            return;
        }
        if let Some(node) = self.node.get().and_then(Weak::upgrade) {
            let input = |(tag, result)| Input::Response { tag, result };
            node.submit(&mut results.into_iter().map(input).collect());
        }
    }
}

#[cfg(test)]
mod tests;
