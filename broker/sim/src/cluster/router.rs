//! A client of a cluster: one connection a broker, and what metadata it was told. It asks any broker for metadata, believes
//! no older leader epoch than it knows, and asks again when an answer shows that it was wrong. Coordinators: `seats.rs`.

use std::collections::BTreeMap;

use strandline_protocol::api::{ApiKey, Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{TopicId, TopicName};
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataResponse};

use super::seats::{Office, Seats, question};
use crate::client::link::{Link, Ticket};
use crate::core::{ClientEvent, ClientId, Core, MS, MachineId};
use crate::dice::Dice;

/// The first version of Metadata that names topics by id.
const IDS_FROM_VERSION: i16 = 10;

/// A request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Posted {
    pub(super) to: MachineId,
    pub(super) ticket: Ticket,
}

/// What a client hears.
#[derive(Debug)]
pub(super) enum Heard {
    /// Its own clock.
    Turn,
    Reply(Posted, Box<Response>),
    /// Nothing that was posted there will be answered.
    Lost(MachineId),
    /// New metadata, or who coordinates something.
    Metadata,
    Nothing,
}

/// Who leads a partition, as far as the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) machine: MachineId,
    pub(super) epoch: i32,
}

#[derive(Debug)]
pub(super) struct Router {
    pub(super) id: ClientId,
    /// By place among the brokers.
    links: Vec<(MachineId, Link)>,
    /// Node numbers by machine.
    numbers: Vec<i32>,
    leads: BTreeMap<(TopicId, i32), (i32, Option<Lead>)>,
    asked: Option<Posted>,
    not_before_us: u64,
    seats: Seats,
    dice: Dice,
}

impl Router {
    /// A client that knows the addresses of `brokers` and nothing else.
    pub(super) fn new(id: ClientId, brokers: &[MachineId], numbers: &[i32], mut dice: Dice) -> Self {
        let links = brokers.iter().map(|machine| (*machine, Link::new(id, *machine, &mut dice))).collect();
        let numbers = numbers.to_vec();
        Self { id, links, numbers, leads: BTreeMap::new(), asked: None, not_before_us: 0, seats: Seats::default(), dice }
    }

    /// The client is to act after a while; an earlier appointment is void.
    pub(super) fn turn_after(&mut self, core: &mut Core, delay_us: u64) {
        self.links[0].1.turn_after(core, delay_us);
    }

    /// The leader of a partition, if the client knows one.
    pub(super) fn lead(&self, topic: TopicId, partition: i32) -> Option<Lead> {
        self.leads.get(&(topic, partition))?.1
    }

    /// What was known of this leader was wrong.
    pub(super) fn forget(&mut self, topic: TopicId, partition: i32) {
        if let Some((_, lead)) = self.leads.get_mut(&(topic, partition)) {
            *lead = None;
        }
    }

    /// Asks some broker for metadata, unless it was asked a moment ago.
    pub(super) fn refresh(&mut self, core: &mut Core) {
        if self.asked.is_some() || core.now_us < self.not_before_us {
            return;
        }
        self.not_before_us = core.now_us + 100 * MS;
        let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
        let version = self.links[0].1.version(core, ApiKey::Metadata, IDS_FROM_VERSION);
        let to = self.anybody();
        self.asked = Some(self.post(core, to, version, &request.into()));
    }

    /// Who coordinates a key; whoever does not know asks some broker, unless it did a moment ago.
    pub(super) fn seat(&mut self, core: &mut Core, office: Office, key: &str) -> Option<MachineId> {
        let known = self.seats.get(office, key);
        if known.is_none() && self.seats.may_ask(core.now_us, office, key) {
            let least = if office == Office::Transaction { 1 } else { 0 };
            let version = self.version(core, ApiKey::FindCoordinator, least);
            let to = self.anybody();
            let posted = self.post(core, to, version, &question(office, key, version).into());
            self.seats.asked(office, key, posted, core.now_us + 100 * MS);
        }
        known
    }

    /// Who was believed to coordinate a key does not.
    pub(super) fn unseat(&mut self, office: Office, key: &str) {
        self.seats.forget(office, key);
    }

    /// One frame in so many stays on its way for seconds, and what is behind it too.
    pub(super) fn dawdle(&mut self, one_in: u64) {
        self.links.iter_mut().for_each(|(_, link)| link.dawdle(one_in));
    }

    /// The process is gone: its connections break, and it knows nothing.
    pub(super) fn crash(&mut self, core: &mut Core) {
        self.links.iter_mut().for_each(|(_, link)| link.hang_up(core));
        self.leads.clear();
        self.seats = Seats::default();
        self.asked = None;
    }

    pub(super) fn anybody(&mut self) -> MachineId {
        let place = self.dice.index(self.links.len());
        self.links[place].0
    }

    /// A version of an API that is served.
    pub(super) fn version(&self, core: &mut Core, key: ApiKey, least: i16) -> i16 {
        self.links[0].1.version(core, key, least)
    }

    pub(super) fn post(&mut self, core: &mut Core, to: MachineId, version: i16, request: &Request) -> Posted {
        let place = self.links.iter().position(|(machine, _)| *machine == to).unwrap_or(0);
        let (to, link) = &mut self.links[place];
        Posted { to: *to, ticket: link.send(core, version, request) }
    }

    /// Takes what reached the client.
    pub(super) fn hear(&mut self, core: &mut Core, event: ClientEvent) -> Heard {
        if self.links[0].1.is_turn(&event) {
            return Heard::Turn;
        }
        for (machine, link) in &mut self.links {
            if link.breaks(core, &event) {
                let machine = *machine;
                self.asked.take_if(|asked| asked.to == machine);
                self.seats.lost(machine);
                return Heard::Lost(machine);
            }
        }
        let ClientEvent::Reply { connection, correlation, response } = event else { return Heard::Nothing };
        let answered = self
            .links
            .iter_mut()
            .find_map(|(machine, link)| link.receive(connection, correlation).map(|ticket| Posted { to: *machine, ticket }));
        let Some(posted) = answered else { return Heard::Nothing };
        if self.seats.hear(posted, &response, &self.numbers) {
            return Heard::Metadata;
        }
        if self.asked.take_if(|asked| *asked == posted).is_none() {
            return Heard::Reply(posted, response);
        }
        if let Response::Metadata(response) = *response {
            self.learn(&response);
        }
        Heard::Metadata
    }

    fn learn(&mut self, response: &MetadataResponse) {
        for topic in response.topics.iter().filter(|topic| topic.error_code == ErrorCode::NONE) {
            for partition in &topic.partitions {
                let number: i32 = partition.leader_id.into();
                let epoch = partition.leader_epoch.0;
                let machine = self.numbers.iter().position(|known| *known == number);
                let (newest, lead) = self.leads.entry((topic.topic_id, partition.partition_index)).or_insert((-1, None));
                if epoch >= *newest {
                    *newest = epoch;
                    *lead = machine.map(|machine| Lead { machine, epoch });
                }
            }
        }
    }
}

/// The row of a topic in a Metadata response.
pub(super) fn named(response: &MetadataResponse, name: &TopicName) -> Option<(ErrorCode, TopicId, i32)> {
    let topic = response.topics.iter().find(|topic| topic.name.as_ref() == Some(name))?;
    let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    Some((topic.error_code, topic.topic_id, partitions))
}
