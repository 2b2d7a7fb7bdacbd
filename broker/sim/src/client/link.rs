//! A client's connection: requests go out encoded in a version that the broker serves, replies come back decoded. A
//! client that waits too long hangs up and begins a new connection, as real ones do.

use std::collections::BTreeMap;

use strandline_node::apis;
use strandline_node::io::{ConnectionId, ListenerKind};
use strandline_protocol::api::{ApiKey, Request};

use crate::core::{Caller, ClientEvent, ClientId, Core, Event, Frame, MachineId, NetworkEvent, SECOND};
use crate::dice::Dice;
use crate::rim;

/// A request without its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub i32);

#[derive(Debug)]
pub struct Link {
    pub id: ClientId,
    machine: MachineId,
    connection: Option<ConnectionId>,
    next_correlation: i32,
    open: BTreeMap<i32, ApiKey>,
    /// What is sent arrives no earlier than what was sent before.
    floor_us: u64,
    /// How long the client waits for a reply.
    patience_us: u64,
    /// One request in so many stays on its way for seconds; 0 for none.
    dawdles_one_in: u64,
    turn: u64,
}

impl Link {
    pub fn new(id: ClientId, machine: MachineId, dice: &mut Dice) -> Self {
        let patience_us = [2 * SECOND, 7 * SECOND, 30 * SECOND][dice.index(3)];
        Self {
            id,
            machine,
            connection: None,
            next_correlation: 0,
            open: BTreeMap::new(),
            floor_us: 0,
            patience_us,
            dawdles_one_in: 0,
            turn: 0,
        }
    }

    /// One request in so many stays on its way for longer than the client waits, and what is behind it too.
    pub fn dawdle(&mut self, one_in: u64) {
        self.dawdles_one_in = one_in;
        self.patience_us = self.patience_us.min(2 * SECOND);
    }

    /// A version of an API that is served, the newest as often as all others together.
    pub fn version(&self, core: &mut Core, key: ApiKey, least: i16) -> i16 {
        let served = apis::SERVED.iter().find(|served| served.api == key);
        let last = served.map_or(least, |served| served.versions.last);
        let first = served.map_or(least, |served| served.versions.first).max(least).min(last);
        if core.dice.one_in(2) {
            return last;
        }
        let steps = u64::from((last - first).unsigned_abs());
        first + i16::try_from(core.dice.between(0, steps)).unwrap_or(0)
    }

    /// Sends a request; connects first if need be.
    pub fn send(&mut self, core: &mut Core, version: i16, request: &Request) -> Ticket {
        let connection = self.connect(core);
        let (key, correlation) = (request.key(), self.next_correlation);
        self.next_correlation += 1;
        self.open.insert(correlation, key);
        let frame = Frame { key, version, correlation, body: rim::encode_request(request, version) };
        if self.dawdles_one_in > 0 && !core.draining && core.dice.one_in(self.dawdles_one_in) {
            core.mark("request stayed on its way");
            self.floor_us = self.floor_us.max(core.now_us + core.dice.between(SECOND, 6 * SECOND));
        }
        let delay_us = self.delay_us(core);
        let what = NetworkEvent::Arrive { connection, caller: Caller::Client(self.id), frame };
        core.after(delay_us, Event::Network { machine: self.machine, what });
        let what = ClientEvent::Overdue { connection, correlation };
        core.after(self.patience_us, Event::Client { client: self.id, what });
        Ticket(correlation)
    }

    /// Nobody answers this one.
    pub fn expect_nothing(&mut self, ticket: Ticket) {
        self.open.remove(&ticket.0);
    }

    /// A reply came: whether it is one that is waited for.
    pub fn receive(&mut self, connection: ConnectionId, correlation: i32) -> Option<Ticket> {
        let known = self.connection == Some(connection) && self.open.remove(&correlation).is_some();
        known.then_some(Ticket(correlation))
    }

    /// Whether this news means that everything open is lost; if so, it is forgotten.
    pub fn breaks(&mut self, core: &mut Core, event: &ClientEvent) -> bool {
        match event {
            ClientEvent::Lost { connection } if self.connection == Some(*connection) => {
                self.forget();
                true
            }
            ClientEvent::Overdue { connection, correlation }
                if self.connection == Some(*connection) && self.open.contains_key(correlation) =>
            {
                core.mark("client gave up waiting");
                self.hang_up(core);
                true
            }
            _ => false,
        }
    }

    /// Closes the connection, if there is one.
    pub fn hang_up(&mut self, core: &mut Core) {
        if let Some(connection) = self.connection {
            let delay_us = self.delay_us(core);
            core.after(delay_us, Event::Network { machine: self.machine, what: NetworkEvent::Disconnect { connection } });
        }
        self.forget();
    }

    /// The client is to act after a while; an earlier appointment is void.
    pub fn turn_after(&mut self, core: &mut Core, delay_us: u64) {
        self.turn += 1;
        core.after(delay_us, Event::Client { client: self.id, what: ClientEvent::Turn { order: self.turn } });
    }

    /// Whether this is the appointment that counts.
    pub fn is_turn(&self, event: &ClientEvent) -> bool {
        matches!(event, ClientEvent::Turn { order } if *order == self.turn)
    }

    /// Requests without a reply.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    fn connect(&mut self, core: &mut Core) -> ConnectionId {
        if let Some(connection) = self.connection {
            return connection;
        }
        let connection = core.connection();
        self.connection = Some(connection);
        self.floor_us = 0;
        let what = NetworkEvent::Connect { connection, caller: Caller::Client(self.id), listener: ListenerKind::Broker };
        let delay_us = self.delay_us(core);
        core.after(delay_us, Event::Network { machine: self.machine, what });
        connection
    }

    fn forget(&mut self) {
        self.connection = None;
        self.open.clear();
    }

    fn delay_us(&mut self, core: &mut Core) -> u64 {
        let latency_us = core.network_us();
        self.floor_us = self.floor_us.max(core.now_us + latency_us);
        self.floor_us - core.now_us
    }
}
