//! Requests that reach a machine and replies that leave it: what the broker's rim does for connections.

use std::sync::Arc;

use strandline_log::disk::{DiskError, FilePath};
use strandline_node::io::{ConnectionId, Input, ListenerKind, PeerLost, Reply, RequestContext, Sequence};
use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::ids::Offset;

use super::{Machine, State};
use crate::core::{Caller, ClientEvent, Core, Event, Frame, MS, MachineEvent, NetworkEvent};
use crate::desk::{Answer, Misplaced, Next};
use crate::flips::offset_in;
use crate::invariants::Invariant;
use crate::rim::{self, Checks};

impl Machine {
    pub(super) fn arrive(&mut self, core: &mut Core, connection: ConnectionId, caller: Caller, frame: Frame) {
        if self.desk.get_mut(connection).is_none() && !self.dark {
            // The process that had the connection is gone; the machine says so to whoever still sends on it.
            core.mark("connection that nobody knows any more");
            return self.tell_gone(core, caller, connection, PeerLost::Broken);
        }
        if !matches!(self.state, State::Running { .. }) {
            return;
        }
        let now = self.now(core);
        let Frame { key, version, ref body, .. } = frame;
        let decoded = rim::decode_request(key, version, body.clone(), &self.rules, now.wall_ms, &mut self.scratch, core.flaw);
        let request = match decoded {
            Ok(request) => request,
            Err(error) => {
                core.violate(Invariant::AnswersAsAsked, format_args!("{} v{}: {error}", frame.key, frame.version));
                return;
            }
        };
        let wait_us = rim::wait_ms(&request).saturating_mul(MS);
        let Some(sequence) = self.desk.expect(connection, &frame, core.now_us, wait_us) else { return };
        let listener = self.desk.get_mut(connection).map_or(ListenerKind::Client, |known| known.listener);
        core.note(format_args!("m{} c{}/{} {} v{}", self.id, connection.0, sequence.0, frame.key, frame.version));
        let context = RequestContext {
            connection,
            sequence,
            listener,
            listener_name: "".into(),
            api_version: frame.version,
            client_id: "sim".into(),
            client_host: Arc::from("/127.0.0.1"),
        };
        self.step(core, Input::Request { context, request });
    }

    pub(super) fn reply(&mut self, core: &mut Core, connection: ConnectionId, sequence: Sequence, reply: Reply) {
        let answer = match reply {
            Reply::Silence => Answer::Silence,
            Reply::Fetch(fetch) => Answer::Unread(fetch),
            Reply::Body(response) => {
                let Some(question) = self.desk.question(connection, sequence) else {
                    core.note(format_args!("m{} answers nobody with {}", self.id, response.key()));
                    return self.misplaced(core, connection, sequence, Misplaced::NotOpen);
                };
                if response.key() != question.key {
                    let story = format_args!("{} was answered with {}", question.key, response.key());
                    core.violate(Invariant::AnswersAsAsked, story);
                }
                Answer::Body(rim::encode_response(&response, question.version))
            }
        };
        self.answer(core, connection, sequence, answer);
    }

    pub(super) fn answer(&mut self, core: &mut Core, connection: ConnectionId, sequence: Sequence, answer: Answer) {
        match self.desk.settle(connection, sequence, answer) {
            Ok(()) => self.flush(core, connection),
            Err(misplaced) => self.misplaced(core, connection, sequence, misplaced),
        }
    }

    pub(super) fn misplaced(&mut self, core: &mut Core, connection: ConnectionId, sequence: Sequence, misplaced: Misplaced) {
        let invariant = match misplaced {
            Misplaced::NoConnection => Invariant::ReplyToTheLiving,
            Misplaced::NotOpen if self.desk.get_mut(connection).is_none() => Invariant::ReplyToTheLiving,
            Misplaced::NotOpen => Invariant::OneReplyARequest,
        };
        core.violate(invariant, format_args!("m{} connection {} place {}", self.id, connection.0, sequence.0));
    }

    /// Sends what stands answered at the front.
    pub(super) fn flush(&mut self, core: &mut Core, connection: ConnectionId) {
        while let Some(next) = self.desk.next(connection) {
            match next {
                Next::Send(question, body) => {
                    self.send(core, connection, question.key, question.version, question.correlation, body)
                }
                Next::Read(sequence) => {
                    let delay_us = self.dice.between(20, 2 * self.write_us);
                    self.post(core, delay_us, MachineEvent::FetchRead { connection, sequence });
                    return;
                }
                Next::Close(reason) => {
                    core.mark("connection closed by the node");
                    core.note(format_args!("m{} closes c{}: {reason:?}", self.id, connection.0));
                    // Not at once: what the node said in the same breath comes first.
                    return core.after(0, Event::Network { machine: self.id, what: NetworkEvent::Disconnect { connection } });
                }
            }
        }
    }

    pub(super) fn send(
        &mut self,
        core: &mut Core,
        connection: ConnectionId,
        key: ApiKey,
        version: i16,
        correlation: i32,
        body: bytes::Bytes,
    ) {
        let response = match rim::decode_response(key, version, body) {
            Ok(response) => Box::new(response),
            Err(error) => return core.violate(Invariant::ResponseDecodes, format_args!("{key} v{version}: {error}")),
        };
        let latency_us = core.network_us();
        let Some(known) = self.desk.get_mut(connection) else { return };
        if let Caller::Peer { machine, .. } = known.caller {
            core.overhear_answer(self.id, machine, &response);
        }
        known.floor_us = known.floor_us.max(core.now_us + latency_us);
        let delay_us = known.floor_us - core.now_us;
        let event = match known.caller {
            Caller::Client(client) => Event::Client { client, what: ClientEvent::Reply { connection, correlation, response } },
            Caller::Peer { machine, life } => {
                known.stalled |= !core.network.reaches(self.id, machine);
                if known.stalled {
                    return;
                }
                Event::Machine { machine, life, what: MachineEvent::PeerReply { connection, correlation, response } }
            }
        };
        core.after(delay_us, event);
    }

    pub(super) fn fetch_read(&mut self, core: &mut Core, connection: ConnectionId, sequence: Sequence) {
        let Some(question) = self.desk.question(connection, sequence) else { return };
        let Some(fetch) = self.desk.take_reading(connection, sequence) else { return };
        let (response, errors) = if self.faults.read_errors_one_in > 0 && self.dice.one_in(self.faults.read_errors_one_in) {
            core.mark("read failed");
            rim::fill(*fetch, &Unreadable, Checks::Clients, core.flaw)
        } else {
            let checks = if core.judge_of_cluster.is_some() { Checks::Broker } else { Checks::Clients };
            rim::fill(*fetch, &self.disk, checks, core.flaw)
        };
        let (mut damaged, mut unreadable) = (Vec::new(), Vec::new());
        for unread in errors {
            core.note(format_args!("m{} read: {}", self.id, unread.error));
            let file = unread.error.file();
            if unread.damaged.is_none() && self.disk.is_broken(file.log_dir()) {
                unreadable.push(file.clone());
            }
            damaged.extend(unread.damaged);
        }
        let body = rim::encode_response(&Response::Fetch(response), question.version);
        self.desk.read(connection, sequence, body);
        self.flush(core, connection);
        for (log, base_offset) in damaged {
            core.mark("damage found by a reader");
            self.step(core, Input::Damaged { log, base_offset });
        }
        for log in unreadable {
            let base_offset = Offset(offset_in(&log).unwrap_or(0));
            self.step(core, Input::Unreadable { log, base_offset });
        }
    }
}

/// Files of which none can be read.
struct Unreadable;

impl strandline_log::disk::Files for Unreadable {
    fn list(&self, directory: &FilePath) -> Result<Vec<strandline_log::disk::Entry>, DiskError> {
        Err(DiskError::Failed { file: directory.clone(), reason: "input/output error".to_owned() })
    }

    fn read(&self, file: &FilePath, _position: u64, _bytes: usize) -> Result<bytes::Bytes, DiskError> {
        Err(DiskError::Failed { file: file.clone(), reason: "input/output error".to_owned() })
    }
}
