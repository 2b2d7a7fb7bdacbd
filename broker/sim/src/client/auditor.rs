//! The auditor: when everything else has settled it asks where every partition begins and ends, and reads it all. What it
//! finds is the reach by which the history is judged.

use std::collections::BTreeMap;

use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

use super::consumer::Consumer;
use super::link::{Link, Ticket};
use crate::core::{ClientEvent, Core, MS};
use crate::history::{PartitionKey, Reach};
use crate::invariants::Invariant;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    AskingStarts,
    AskingEnds,
    Reading,
    /// Retention may have moved the log starts meanwhile.
    AskingStartsAgain,
    Done,
}

pub struct Auditor {
    link: Link,
    stage: Stage,
    under_way: Option<Ticket>,
    /// By place of the topic and partition.
    reach: BTreeMap<(usize, i32), Reach>,
    reader: Consumer,
}

impl Auditor {
    /// `reader` reads on a connection of its own, and is told what reaches its client.
    pub fn new(link: Link, reader: Consumer) -> Self {
        Self { link, stage: Stage::AskingStarts, under_way: None, reach: BTreeMap::new(), reader }
    }

    pub fn start(&mut self, core: &mut Core) {
        self.link.turn_after(core, 0);
    }

    /// How far everything reaches, once it was read.
    pub fn finding(&self, core: &Core) -> Option<BTreeMap<PartitionKey, Reach>> {
        let key = |(topic, partition): (usize, i32)| core.topics.get(topic).map(|topic| topic.key(partition));
        let reach = self.reach.iter().filter_map(|(target, reach)| Some((key(*target)?, *reach)));
        (self.stage == Stage::Done).then(|| reach.collect())
    }

    pub fn on_event(&mut self, core: &mut Core, event: ClientEvent) {
        if self.stage == Stage::Reading {
            self.reader.on_event(core, event);
            if self.has_read_all() {
                self.stage = Stage::AskingStartsAgain;
                self.link.turn_after(core, 0);
            }
            return;
        }
        if self.link.breaks(core, &event) {
            self.under_way = None;
            return self.link.turn_after(core, 200 * MS);
        }
        if self.link.is_turn(&event) && self.under_way.is_none() {
            return self.ask(core);
        }
        if let ClientEvent::Reply { connection, correlation, response } = event
            && let Some(ticket) = self.link.receive(connection, correlation)
            && self.under_way.take_if(|waiting| *waiting == ticket).is_some()
            && let Response::ListOffsets(response) = *response
        {
            for topic in &response.topics {
                for partition in &topic.partitions {
                    self.located(
                        core,
                        topic.name.as_str(),
                        partition.partition_index,
                        partition.error_code,
                        partition.offset.0,
                    );
                }
            }
            self.go_on(core);
        }
    }

    fn has_read_all(&self) -> bool {
        self.reach.iter().all(|((topic, partition), reach)| {
            self.reader.reached(*topic, *partition).is_some_and(|(position, _)| position >= reach.high_watermark)
        })
    }

    fn ask(&mut self, core: &mut Core) {
        let timestamp = if self.stage == Stage::AskingEnds { LATEST } else { EARLIEST };
        let topics = core.topics.existing().map(|(_, topic)| {
            let partitions = (0..topic.partitions).map(|partition_index| ListOffsetsPartition {
                partition_index,
                timestamp,
                ..ListOffsetsPartition::default()
            });
            ListOffsetsTopic { name: topic.name.clone(), partitions: partitions.collect() }
        });
        let request = ListOffsetsRequest { replica_id: (-1).into(), topics: topics.collect(), ..Default::default() };
        let version = self.link.version(core, ApiKey::ListOffsets, 1);
        self.under_way = Some(self.link.send(core, version, &request.into()));
    }

    fn located(&mut self, core: &mut Core, name: &str, partition: i32, code: ErrorCode, offset: i64) {
        let place = core.topics.existing().find(|(_, topic)| topic.name.as_str() == name).map(|(place, _)| place);
        let Some(place) = place.filter(|_| code == ErrorCode::NONE) else {
            return core.violate(Invariant::AnswersAsAsked, format_args!("list offsets of {name}-{partition}: {code:?}"));
        };
        let reach = self.reach.entry((place, partition)).or_insert(Reach { log_start: 0, high_watermark: 0 });
        match self.stage {
            Stage::AskingEnds => reach.high_watermark = offset,
            _ => reach.log_start = offset,
        }
    }

    fn go_on(&mut self, core: &mut Core) {
        self.stage = match self.stage {
            Stage::AskingStarts => Stage::AskingEnds,
            Stage::AskingEnds => Stage::Reading,
            _ => Stage::Done,
        };
        match self.stage {
            Stage::Reading => {
                core.history.begin_audit();
                let targets: Vec<(usize, i32, i64)> =
                    self.reach.iter().map(|((topic, partition), reach)| (*topic, *partition, reach.log_start)).collect();
                self.reader.audit(core, &targets);
            }
            Stage::Done => {}
            _ => self.link.turn_after(core, 0),
        }
    }
}
