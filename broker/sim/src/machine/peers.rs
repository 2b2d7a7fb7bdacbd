//! A machine's connections to other machines: the way of a request of the node to its peer, and back.
//!
//! As in the broker's rim: a connection a peer and lane, opened when something is sent; answers in order; what does not
//! come in time ends the connection and everything under way on it. Machine N is called `machine-N`; its controllers are at
//! [`CONTROLLER_PORT`].

use std::collections::BTreeMap;

use strandline_node::apis::SERVED;
use strandline_node::io::{ConnectionId, Input, Lane, ListenerKind, PeerAddress, PeerLost, Tag};
use strandline_node::peers;
use strandline_protocol::api::{Request, Response};

use super::Machine;
use crate::core::{Caller, Core, Event, Frame, MS, MachineEvent, MachineId, NetworkEvent};
use crate::rim;

/// The port at which a machine's controller listens; at any other port its broker does.
pub(crate) const CONTROLLER_PORT: u16 = 9093;

/// One lane to one peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wire {
    pub(super) to: PeerAddress,
    pub(super) lane: Lane,
}

#[derive(Debug)]
struct Link {
    connection: ConnectionId,
    target: MachineId,
    next_correlation: i32,
    open: BTreeMap<i32, Tag>,
    /// What is sent arrives no earlier than what was sent before.
    floor_us: u64,
    /// Something was lost on its way: nothing behind it arrives.
    stalled: bool,
}

#[derive(Debug, Default)]
pub(super) struct Peers {
    links: BTreeMap<Wire, Link>,
    wires: BTreeMap<ConnectionId, Wire>,
}

impl Peers {
    fn of(&mut self, connection: ConnectionId) -> Option<&mut Link> {
        self.links.get_mut(self.wires.get(&connection)?)
    }

    fn close(&mut self, connection: ConnectionId) -> Option<Link> {
        self.links.remove(&self.wires.remove(&connection)?)
    }
}

/// The machine at an address.
fn target(to: &PeerAddress) -> Option<MachineId> {
    to.host.strip_prefix("machine-")?.parse().ok()
}

impl Machine {
    pub(super) fn send_to_peer(&mut self, core: &mut Core, wire: &Wire, tag: Tag, request: &Request, timeout_ms: u32) {
        let listener = if wire.to.port == CONTROLLER_PORT { ListenerKind::Controller } else { ListenerKind::Broker };
        let served = SERVED.iter().find(|api| api.api == request.key() && api.is_on(listener));
        let (Some(target), Some(served)) = (target(&wire.to), served) else {
            let reason = if served.is_none() { PeerLost::Unsupported } else { PeerLost::Refused };
            let delay_us = core.network_us();
            return self.post(core, delay_us, MachineEvent::PeerLost { tag, reason });
        };
        let version = served.versions.last;
        let connection = self.link(core, wire, target, listener);
        let Some(link) = self.peers.of(connection) else { return };
        let correlation = link.next_correlation;
        link.next_correlation += 1;
        link.open.insert(correlation, tag);
        let frame = Frame { key: request.key(), version, correlation, body: rim::encode_request(request, version) };
        core.note(format_args!("m{} c{} to m{target}: {} v{version}", self.id, connection.0, frame.key));
        core.overhear(self.id, target, request);
        let caller = Caller::Peer { machine: self.id, life: self.life };
        self.transmit(core, connection, NetworkEvent::Arrive { connection, caller, frame });
        let overdue = MachineEvent::PeerOverdue { connection, correlation };
        self.post(core, u64::from(timeout_ms) * MS, overdue);
    }

    /// The connection of a lane, new if there is none.
    fn link(&mut self, core: &mut Core, wire: &Wire, target: MachineId, listener: ListenerKind) -> ConnectionId {
        if let Some(link) = self.peers.links.get(wire) {
            return link.connection;
        }
        let connection = core.connection();
        let link = Link { connection, target, next_correlation: 1, open: BTreeMap::new(), floor_us: 0, stalled: false };
        self.peers.links.insert(wire.clone(), link);
        self.peers.wires.insert(connection, wire.clone());
        let caller = Caller::Peer { machine: self.id, life: self.life };
        self.transmit(core, connection, NetworkEvent::Connect { connection, caller, listener });
        connection
    }

    fn transmit(&mut self, core: &mut Core, connection: ConnectionId, what: NetworkEvent) {
        let latency_us = core.network_us();
        let here = self.id;
        let Some(link) = self.peers.of(connection) else { return };
        link.stalled |= !core.network.reaches(here, link.target);
        if link.stalled {
            return;
        }
        link.floor_us = link.floor_us.max(core.now_us + latency_us);
        let (machine, delay_us) = (link.target, link.floor_us - core.now_us);
        core.after(delay_us, Event::Network { machine, what });
    }

    pub(super) fn peer_replied(
        &mut self,
        core: &mut Core,
        connection: ConnectionId,
        correlation: i32,
        mut response: Box<Response>,
    ) {
        let Some(tag) = self.peers.of(connection).and_then(|link| link.open.remove(&correlation)) else { return };
        peers::check(&mut response);
        core.mark("peer answered");
        self.step(core, Input::Response { tag, result: Ok(response) });
    }

    /// The connection is gone: nothing under way on it is answered.
    pub(super) fn peer_gone(&mut self, core: &mut Core, connection: ConnectionId, reason: PeerLost) {
        let Some(link) = self.peers.close(connection) else { return };
        core.note(format_args!("m{} c{} to m{}: {reason:?}", self.id, connection.0, link.target));
        core.mark(match reason {
            PeerLost::Refused => "peer refused",
            PeerLost::Broken => "connection to a peer broken",
            PeerLost::TimedOut => "peer silent",
            PeerLost::Unsupported => "peer does not serve that",
        });
        for tag in link.open.into_values() {
            self.step(core, Input::Response { tag, result: Err(reason) });
        }
    }

    /// The process is gone: the other ends see their connections close, unless the machine went with it.
    pub(super) fn let_go_of_peers(&mut self, core: &mut Core) {
        let peers = std::mem::take(&mut self.peers);
        for link in peers.links.into_values().filter(|link| !link.stalled) {
            let (machine, connection) = (link.target, link.connection);
            if !self.dark && core.network.reaches(self.id, machine) {
                let delay_us = core.network_us().max(link.floor_us.saturating_sub(core.now_us));
                core.after(delay_us, Event::Network { machine, what: NetworkEvent::Disconnect { connection } });
            }
        }
    }

    pub(super) fn peer_overdue(&mut self, core: &mut Core, connection: ConnectionId, correlation: i32) {
        if self.peers.of(connection).is_none_or(|link| !link.open.contains_key(&correlation)) {
            return;
        }
        self.transmit(core, connection, NetworkEvent::Disconnect { connection });
        self.peer_gone(core, connection, PeerLost::TimedOut);
    }
}

#[cfg(test)]
mod tests {
    use strandline_node::config::BrokerConfig;
    use strandline_node::io::Asker;
    use strandline_protocol::messages::metadata::MetadataRequest;

    use super::*;
    use crate::core::SECOND;
    use crate::dice::Dice;
    use crate::disk::{Access, SimDisk};
    use crate::invariants::Ending;
    use crate::machine::{Build, Phase};
    use crate::trace::{Keep, Trace};

    /// Two machines that serve.
    fn two() -> (Core, Vec<Machine>) {
        let mut core = Core::new(Dice::new(7), Trace::new(Keep::Nothing), None);
        let mut machines: Vec<Machine> = (0..2)
            .map(|id| {
                let listeners = format!("PLAINTEXT://machine-{id}:9092,CONTROLLER://machine-{id}:{CONTROLLER_PORT}");
                let config = BrokerConfig::from_pairs([("listeners", listeners)]).expect("legal keys");
                let disk = SimDisk::new(Access::Buffered, None);
                let dice = Dice::new(id as u64);
                Machine::new(id, Build { config, disk, log_dirs: 1, write_us: 500, outage_us: 2 * SECOND, dice })
            })
            .collect();
        machines.iter_mut().for_each(|machine| machine.start_after(&mut core, 0));
        run(&mut core, &mut machines, 3 * SECOND);
        assert!(machines.iter().all(|machine| machine.phase() == Some(Phase::Serving)));
        (core, machines)
    }

    fn run(core: &mut Core, machines: &mut [Machine], for_us: u64) {
        let until_us = core.now_us + for_us;
        while let Some(event) = core.next(until_us) {
            match event {
                Event::Machine { machine, life, what } => machines[machine].on_event(core, life, what),
                Event::Network { machine, what } => machines[machine].on_network(core, what),
                other => panic!("nobody else is there: {other:?}"),
            }
        }
        assert_eq!(core.violation, None);
    }

    fn ask(core: &mut Core, machines: &mut [Machine], port: u16) {
        let to = PeerAddress { node: 1, host: "machine-1".into(), port };
        let tag = Tag { asker: Asker::Membership, number: 1 };
        let request = Request::from(MetadataRequest::default());
        machines[0].send_to_peer(core, &Wire { to, lane: Lane::Control }, tag, &request, 1000);
        run(core, machines, 2 * SECOND);
    }

    fn count(core: &Core, mark: &str) -> u64 {
        core.marks().get(mark).copied().unwrap_or(0)
    }

    #[test]
    fn a_request_travels_to_the_other_machine_and_its_answer_back() {
        let (mut core, mut machines) = two();
        ask(&mut core, &mut machines, 9092);
        ask(&mut core, &mut machines, 9092);
        assert_eq!(count(&core, "peer answered"), 2);
    }

    #[test]
    fn a_machine_without_a_process_refuses() {
        let (mut core, mut machines) = two();
        machines[1].crash(&mut core, Ending::Killed);
        ask(&mut core, &mut machines, 9092);
        assert_eq!((count(&core, "peer refused"), count(&core, "peer answered")), (1, 0));
    }

    #[test]
    fn a_cut_in_either_direction_is_silence_until_it_heals() {
        for (from, to) in [(0, 1), (1, 0)] {
            let (mut core, mut machines) = two();
            core.network.cut(from, to);
            ask(&mut core, &mut machines, 9092);
            assert_eq!((count(&core, "peer silent"), count(&core, "peer answered")), (1, 0), "{from} to {to}");
            core.network.heal();
            ask(&mut core, &mut machines, 9092);
            assert_eq!(count(&core, "peer answered"), 1);
        }
    }

    #[test]
    fn a_listener_serves_what_is_served_there() {
        let (mut core, mut machines) = two();
        ask(&mut core, &mut machines, CONTROLLER_PORT);
        assert_eq!(count(&core, "peer answered"), 0);
    }
}
