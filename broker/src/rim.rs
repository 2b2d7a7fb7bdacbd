//! Carries out what the node wants: its effects, in their order, each given to the room that can.
//!
//! Disk operations of one delivery are handed over together, and replies of one delivery leave together: one system
//! call for the first, one for each connection for the second. Nothing here waits.

use std::sync::{Arc, OnceLock, Weak};

use strandline_log::disk::{DiskError, FilePath};
use strandline_node::Node;
use strandline_node::io::{Effect, Input, Job, JobId, Now};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;

use crate::clock::Alarm;
use crate::disk::Disk;
use crate::jobs;
use crate::net::Net;
use crate::net::connection::Connection;
use crate::peers::Peers;
use crate::shell::{Core, Executors, Submit};

impl Core for Node {
    fn step(&mut self, now: Now, input: Input, outbox: &mut Vec<Effect>) {
        Node::step(self, now, input, outbox);
    }

    fn settle(&mut self, now: Now, outbox: &mut Vec<Effect>) {
        Node::settle(self, now, outbox);
    }
}

/// What the process as a whole has to know of the node.
#[derive(Debug)]
pub(crate) enum Event {
    /// Requests may be taken.
    Serving,
    /// The log directory failed.
    Failed { file: FilePath, reason: DiskError },
    /// Everything is closed.
    Stopped,
}

pub(crate) struct Rim {
    pub(crate) net: Arc<Net>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) alarm: Arc<Alarm>,
    pub(crate) events: UnboundedSender<Event>,
    pub(crate) threads: Handle,
    /// Where results of jobs go.
    pub(crate) node: OnceLock<Weak<dyn Submit>>,
}

impl Executors for Rim {
    fn carry_out(&self, effects: &mut Vec<Effect>) {
        let mut operations = Vec::new();
        let mut answered: Vec<Arc<Connection>> = Vec::new();
        let mut hangs_up = false;
        for effect in effects.drain(..) {
            match effect {
                Effect::Reply { connection, sequence, reply } => {
                    if let Some(connection) = self.touched(&mut answered, connection) {
                        self.net.reply(connection, sequence, reply);
                    }
                }
                Effect::Close { connection, sequence, reason } => {
                    if let Some(connection) = self.touched(&mut answered, connection) {
                        self.net.close(connection, sequence, reason);
                    }
                }
                Effect::Send { to, lane, tag, request, timeout_ms } => self.peers.send(to, lane, tag, request, timeout_ms),
                Effect::Disk { owner, op } => operations.push((owner, op)),
                Effect::Start { job, what } => self.start(job, what),
                Effect::WakeAt { monotonic_ms } => self.alarm.set(monotonic_ms),
                Effect::Publish(rules) => self.net.publish(rules),
                Effect::Unlisten { hang_up } => {
                    self.net.stop_accepting();
                    if hang_up {
                        self.disk.take_time();
                        hangs_up = true;
                    }
                }
                Effect::Serving => self.tell(Event::Serving),
                Effect::Fail { file, reason } => self.tell(Event::Failed { file, reason }),
                Effect::Stopped => self.tell(Event::Stopped),
            }
        }
        // Writes first: the disk works while the replies leave.
        self.disk.submit(operations.into_iter());
        answered.iter().for_each(|connection| self.net.flush(connection));
        if hangs_up {
            self.net.registry.close_clients();
        }
    }
}

impl Rim {
    /// The connection, noted to be flushed. Replies of one connection mostly come one behind the other.
    fn touched<'a>(
        &self,
        answered: &'a mut Vec<Arc<Connection>>,
        id: strandline_node::io::ConnectionId,
    ) -> Option<&'a Arc<Connection>> {
        if answered.last().is_none_or(|last| last.id != id) {
            answered.push(self.net.connection(id)?);
        }
        answered.last()
    }

    fn start(&self, job: JobId, what: Job) {
        let files = self.disk.reader().files().clone();
        let node = self.node.get().cloned();
        self.threads.spawn_blocking(move || {
            let result = jobs::run(what, &files);
            if let Some(node) = node.and_then(|node| node.upgrade()) {
                node.submit(&mut vec![Input::Job { job, result }]);
            }
        });
    }

    fn tell(&self, event: Event) {
        // Nobody listens any more only when the process is about to end.
        let _ = self.events.send(event);
    }
}
