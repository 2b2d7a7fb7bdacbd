//! An operator: makes the topics of the plan, changes them, deletes records and topics, and asks all kinds of questions.
//! One request at a time. What was promised is written down in `topics.rs`; what was asked without an answer, too.

use strandline_protocol::api::{ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicName};
use strandline_protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use strandline_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use strandline_protocol::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use strandline_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use strandline_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use strandline_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};

use super::link::{Link, Ticket};
use super::questions;
use crate::core::{ClientEvent, Core, MS};
use crate::dice::Dice;
use crate::history::TimeLookup;
use crate::invariants::Invariant;
use crate::topics::{Existence, Planned, Topic, Use};

/// DeleteRecords takes this for the high watermark, wherever that is.
const HIGH_WATERMARK: i64 = -1;

/// More partitions than this are not asked for.
const PARTITIONS_MAX: i32 = 6;

/// A request under way and what it is about.
#[derive(Clone, Debug)]
enum Asked {
    Create {
        row: usize,
    },
    /// Which id has the topic that somebody made?
    Identify {
        row: usize,
    },
    AddPartitions {
        topic: usize,
        count: i32,
    },
    Alter {
        topic: usize,
        key: String,
        value: String,
    },
    DeleteRecords {
        topic: usize,
        partition: i32,
    },
    DeleteTopic {
        topic: usize,
    },
    Lookup {
        topic: usize,
        partition: i32,
        target_ms: i64,
        acknowledged_end: i64,
    },
    Question,
}

#[derive(Debug)]
pub struct Operator {
    link: Link,
    dice: Dice,
    plan: Vec<Planned>,
    interval_us: u64,
    under_way: Option<(Ticket, Asked)>,
    /// Rows whose topic may be there without an answer that says so.
    in_doubt: Vec<usize>,
    /// How often the number of partitions was asked for in vain.
    in_vain: i32,
}

impl Operator {
    pub fn new(link: Link, mut dice: Dice, plan: Vec<Planned>) -> Self {
        let interval_us = dice.spread(100 * MS, 1500 * MS);
        Self { link, dice, plan, interval_us, under_way: None, in_doubt: Vec::new(), in_vain: 0 }
    }

    pub fn start(&mut self, core: &mut Core) {
        self.link.turn_after(core, 0);
    }

    /// Nothing is under way or half done.
    pub fn is_settled(&self, core: &Core) -> bool {
        let halfway = core.topics.iter().any(|topic| topic.existence == Existence::InDoubt);
        self.under_way.is_none() && self.in_doubt.is_empty() && !halfway
    }

    pub fn on_event(&mut self, core: &mut Core, event: ClientEvent) {
        if self.link.breaks(core, &event) {
            if let Some((_, Asked::Create { row })) = self.under_way.take() {
                self.in_doubt.push(row);
            }
            // Long enough for whatever is still on its way to arrive before something else is asked.
            let pause_us = self.dice.between(300 * MS, 900 * MS);
            return self.link.turn_after(core, pause_us);
        }
        if self.link.is_turn(&event) {
            return self.turn(core);
        }
        if let ClientEvent::Reply { connection, correlation, response } = event
            && let Some(ticket) = self.link.receive(connection, correlation)
            && let Some((_, asked)) = self.under_way.take_if(|(waiting, _)| *waiting == ticket)
        {
            self.answered(core, asked, *response);
        }
    }

    fn turn(&mut self, core: &mut Core) {
        let missing = (0..self.plan.len()).find(|row| core.topics.current(*row).is_none());
        let pause_us = if missing.is_some() { 20 * MS } else { self.dice.spread(self.interval_us / 4, self.interval_us * 2) };
        self.link.turn_after(core, pause_us);
        if self.under_way.is_some() {
            return;
        }
        // What is half done is brought to an end also when the run is.
        let halfway = core.topics.iter().position(|topic| topic.existence == Existence::InDoubt);
        if let Some(topic) = halfway {
            return self.delete_topic(core, topic);
        }
        if let Some(row) = self.in_doubt.first().copied() {
            return self.identify(core, row);
        }
        if core.draining {
            return;
        }
        match missing {
            Some(row) => self.create(core, row),
            None => self.something(core),
        }
    }

    fn something(&mut self, core: &mut Core) {
        let known: Vec<usize> = core.topics.existing().map(|(place, _)| place).collect();
        let Some(topic) = self.dice.pick(&known).copied() else { return };
        let Some(used_for) = core.topics.get(topic).map(|topic| topic.used_for) else { return };
        match (self.dice.below(12), used_for) {
            (0, Use::Churning) => self.delete_topic(core, topic),
            (0..=4, Use::DeletingRecords) => self.delete_records(core, topic),
            (0, _) => self.add_partitions(core, topic),
            (1..=2, _) => self.alter(core, topic),
            (3..=6, _) => self.look_up(core, topic),
            _ => self.question(core, topic),
        }
    }

    fn create(&mut self, core: &mut Core, row: usize) {
        let planned = &self.plan[row];
        let config = |(name, value): &(String, String)| CreatableTopicConfig { name: name.clone(), value: Some(value.clone()) };
        let topic = CreatableTopic {
            name: TopicName::from(planned.name.as_str()),
            num_partitions: planned.partitions,
            replication_factor: 1,
            configs: planned.configs.iter().map(config).collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, validate_only: false };
        self.ask(core, ApiKey::CreateTopics, 2, request, Asked::Create { row });
    }

    fn identify(&mut self, core: &mut Core, row: usize) {
        let name = Some(TopicName::from(self.plan[row].name.as_str()));
        let topics = Some(vec![MetadataRequestTopic { name, ..Default::default() }]);
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        self.ask(core, ApiKey::Metadata, 10, request, Asked::Identify { row });
    }

    fn add_partitions(&mut self, core: &mut Core, topic: usize) {
        let Some(known) = core.topics.get(topic) else { return };
        let count = known.partitions + 1 + self.in_vain;
        if count > PARTITIONS_MAX {
            return;
        }
        let topics = vec![CreatePartitionsTopic { name: known.name.clone(), count, assignments: None }];
        let request = CreatePartitionsRequest { topics, timeout_ms: 1000, validate_only: false };
        self.ask(core, ApiKey::CreatePartitions, 0, request, Asked::AddPartitions { topic, count });
    }

    fn alter(&mut self, core: &mut Core, topic: usize) {
        let Some(known) = core.topics.get_mut(topic) else { return };
        let Some((key, value)) = crate::plan::change(&mut self.dice, known.used_for, known.promise) else { return };
        known.configs_in_doubt.insert(key.to_owned());
        let set = AlterableConfig { name: key.to_owned(), config_operation: 0, value: Some(value.clone()) };
        let resource = AlterConfigsResource { resource_type: 2, resource_name: known.name.to_string(), configs: vec![set] };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let asked = Asked::Alter { topic, key: key.to_owned(), value };
        self.ask(core, ApiKey::IncrementalAlterConfigs, 0, request, asked);
    }

    fn delete_records(&mut self, core: &mut Core, topic: usize) {
        let Some(known) = core.topics.get(topic) else { return };
        let partition = i32::try_from(self.dice.index(known.partitions.unsigned_abs() as usize)).unwrap_or(0);
        let end = core.history.acknowledged_end(known.key(partition));
        let offset = if self.dice.one_in(6) {
            HIGH_WATERMARK
        } else {
            i64::try_from(self.dice.below(end.unsigned_abs() + 1)).unwrap_or(0)
        };
        let name = known.name.clone();
        if let Some(known) = core.topics.get_mut(topic) {
            let most = if offset == HIGH_WATERMARK { i64::MAX } else { offset };
            let asked = known.log_starts_asked.entry(partition).or_default();
            *asked = (*asked).max(most);
        }
        let partitions = vec![DeleteRecordsPartition { partition_index: partition, offset: Offset(offset) }];
        let request = DeleteRecordsRequest { topics: vec![DeleteRecordsTopic { name, partitions }], timeout_ms: 1000 };
        self.ask(core, ApiKey::DeleteRecords, 0, request, Asked::DeleteRecords { topic, partition });
    }

    fn delete_topic(&mut self, core: &mut Core, topic: usize) {
        let Some(known) = core.topics.get_mut(topic) else { return };
        known.existence = Existence::InDoubt;
        let id = known.id;
        core.history.forget_topic(id);
        let topics = vec![DeleteTopicState { name: None, topic_id: id }];
        let request = DeleteTopicsRequest { topics, timeout_ms: 1000, ..Default::default() };
        self.ask(core, ApiKey::DeleteTopics, 6, request, Asked::DeleteTopic { topic });
    }

    fn look_up(&mut self, core: &mut Core, topic: usize) {
        let Some(known) = core.topics.get(topic) else { return };
        let partition = i32::try_from(self.dice.index(known.partitions.unsigned_abs() as usize)).unwrap_or(0);
        let elapsed_ms = core.now_us / MS;
        let target_ms = core.wall_base_ms + i64::try_from(self.dice.below(elapsed_ms + 1000)).unwrap_or(0);
        let acknowledged_end = core.history.acknowledged_end(known.key(partition));
        let asked = ListOffsetsPartition { partition_index: partition, timestamp: target_ms, ..Default::default() };
        let topics = vec![ListOffsetsTopic { name: known.name.clone(), partitions: vec![asked] }];
        let request = ListOffsetsRequest { replica_id: (-1).into(), topics, ..Default::default() };
        let asked = Asked::Lookup { topic, partition, target_ms, acknowledged_end };
        self.ask(core, ApiKey::ListOffsets, 1, request, asked);
    }

    fn question(&mut self, core: &mut Core, topic: usize) {
        let Some(known) = core.topics.get(topic).cloned() else { return };
        let request = questions::any(&mut self.dice, &known);
        let key = request.key();
        let version = self.link.version(core, key, questions::least_version(&request));
        let ticket = self.link.send(core, version, &request);
        self.under_way = Some((ticket, Asked::Question));
    }

    fn ask(
        &mut self,
        core: &mut Core,
        key: ApiKey,
        least: i16,
        request: impl Into<strandline_protocol::api::Request>,
        asked: Asked,
    ) {
        let version = self.link.version(core, key, least);
        let ticket = self.link.send(core, version, &request.into());
        core.note(format_args!("operator asks {key} v{version}: {asked:?}"));
        self.under_way = Some((ticket, asked));
    }

    fn answered(&mut self, core: &mut Core, asked: Asked, response: Response) {
        match (asked, response) {
            (Asked::Create { row }, Response::CreateTopics(response)) => {
                let result = response.topics.first().map(|topic| (topic.error_code, topic.topic_id));
                match result {
                    Some((ErrorCode::NONE, id)) if !id.is_zero() => {
                        self.learn(core, row, id, self.plan[row].partitions);
                    }
                    Some((ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS, _)) => self.in_doubt.push(row),
                    other => core.violate(Invariant::AnswersAsAsked, format_args!("create: {other:?}")),
                }
            }
            (Asked::Identify { row }, Response::Metadata(response)) => {
                self.in_doubt.retain(|doubtful| *doubtful != row);
                let topic = response.topics.into_iter().next();
                match topic.as_ref().map(|topic| topic.error_code) {
                    Some(ErrorCode::NONE) => {
                        let (id, count) = topic.map(|topic| (topic.topic_id, topic.partitions.len())).unwrap_or_default();
                        self.learn(core, row, id, i32::try_from(count).unwrap_or(1));
                    }
                    Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {}
                    other => core.violate(Invariant::AnswersAsAsked, format_args!("metadata: {other:?}")),
                }
            }
            (Asked::AddPartitions { topic, count }, Response::CreatePartitions(response)) => {
                let code = response.results.first().map(|result| result.error_code);
                if code == Some(ErrorCode::NONE)
                    && let Some(known) = core.topics.get_mut(topic)
                {
                    known.partitions = known.partitions.max(count);
                    self.in_vain = 0;
                } else {
                    // An earlier request without an answer may have got there first.
                    self.in_vain += 1;
                }
            }
            (Asked::Alter { topic, key, value }, Response::IncrementalAlterConfigs(response)) => {
                let code = response.responses.first().map(|result| result.error_code);
                if code != Some(ErrorCode::NONE) {
                    core.violate(Invariant::AnswersAsAsked, format_args!("set {key} to {value}: {code:?}"));
                } else if let Some(known) = core.topics.get_mut(topic) {
                    known.configs_in_doubt.remove(&key);
                    known.configs.insert(key, value);
                }
            }
            (Asked::DeleteRecords { topic, partition }, Response::DeleteRecords(response)) => {
                let result = response.topics.first().and_then(|topic| topic.partitions.first());
                match result.map(|result| (result.error_code, result.low_watermark.0)) {
                    Some((ErrorCode::NONE, low_watermark)) => {
                        core.mark("records deleted");
                        if let Some(known) = core.topics.get_mut(topic) {
                            let least = known.log_starts.entry(partition).or_default();
                            *least = (*least).max(low_watermark);
                        }
                    }
                    other => core.violate(Invariant::AnswersAsAsked, format_args!("delete records: {other:?}")),
                }
            }
            (Asked::DeleteTopic { topic }, Response::DeleteTopics(response)) => {
                let code = response.responses.first().map(|result| result.error_code);
                match code {
                    Some(ErrorCode::NONE | ErrorCode::UNKNOWN_TOPIC_ID) => {
                        core.mark("topic deleted");
                        if let Some(known) = core.topics.get_mut(topic) {
                            known.existence = Existence::Gone;
                        }
                    }
                    other => core.violate(Invariant::AnswersAsAsked, format_args!("delete topic: {other:?}")),
                }
            }
            (Asked::Lookup { topic, partition, target_ms, acknowledged_end }, Response::ListOffsets(response)) => {
                let result = response.topics.first().and_then(|topic| topic.partitions.first());
                // Retention may be undone by a crash: what was the first record then need not be it at the end.
                let known = core.topics.get(topic).filter(|topic| !matches!(topic.used_for, Use::Expiring | Use::Compacting));
                let key = known.map(|topic| topic.key(partition));
                if let (Some(result), Some(partition)) = (result, key)
                    && result.error_code == ErrorCode::NONE
                    // Lookups believe headers; where those are damaged there is no right answer.
                    && !core.reads_may_fail
                {
                    let answer = (result.offset.0 >= 0).then_some((result.offset.0, result.timestamp));
                    core.mark("offset looked up by time");
                    core.history.looked_up(TimeLookup { partition, target_ms, answer, acknowledged_end });
                }
            }
            (Asked::Question, _) => {}
            (asked, response) => {
                core.violate(Invariant::AnswersAsAsked, format_args!("{asked:?} was answered with {}", response.key()));
            }
        }
    }

    fn learn(&mut self, core: &mut Core, row: usize, id: strandline_protocol::ids::TopicId, partitions: i32) {
        let topic = Topic::new(&self.plan[row], row, id, partitions);
        core.note(format_args!("topic {} is {id} with {partitions} partitions", topic.name));
        if topic.used_for == Use::Compacting {
            (0..PARTITIONS_MAX).for_each(|partition| core.history.compacts(topic.key(partition)));
        }
        core.topics.learn(topic);
    }
}
