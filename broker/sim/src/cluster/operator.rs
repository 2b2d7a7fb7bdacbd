//! An operator of a cluster: makes the topics of the plan, deletes some and makes them anew, moves replicas, asks for preferred
//! leaders, changes settings, moves replicas between log directories. One request at a time, to any broker; what is refused, or not answered, is asked again later.
//!
//! What was promised is written down in `topics.rs`, and what was asked without an answer is in doubt.

use strandline_log::disk::LogDir;
use strandline_protocol::api::{ApiKey, Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicId, TopicName};
use strandline_protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use strandline_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use strandline_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use strandline_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use strandline_protocol::messages::elect_leaders::ElectLeadersRequest;
use strandline_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use strandline_protocol::messages::metadata::MetadataRequest;

use super::plan::{Plan, Row};
use super::router::{Heard, Posted, Router, named};
use crate::core::{ClientEvent, Core, MS};
use crate::dice::Dice;
use crate::invariants::Invariant;
use crate::machine::log_dir_path;
use crate::topics::{Existence, Topic, Use};

/// The kind of resource that a group is.
const GROUP_RESOURCE: i8 = 32;

#[derive(Clone, Debug)]
enum Asked {
    Create {
        row: usize,
    },
    /// Which id has the topic that somebody made?
    Identify {
        row: usize,
    },
    Delete {
        topic: usize,
    },
    Alter {
        topic: usize,
        key: String,
        value: String,
    },
    /// A share group begins with the first record.
    Begin,
    /// Its answer promises nothing that is looked at later.
    Other,
}

pub(super) struct Operator {
    router: Router,
    dice: Dice,
    rows: Vec<Row>,
    brokers: Vec<i32>,
    /// Of every broker.
    log_dirs: u16,
    /// The share group that is still to be told where to begin.
    to_begin: Option<String>,
    interval_us: u64,
    under_way: Option<(Posted, Asked)>,
    /// Rows whose topic may be there without an answer that says so.
    in_doubt: Vec<usize>,
}

impl Operator {
    pub(super) fn new(router: Router, mut dice: Dice, plan: &Plan, brokers: Vec<i32>) -> Self {
        let interval_us = dice.spread(200 * MS, 3000 * MS);
        let to_begin = plan.work.pool.as_ref().map(|pool| pool.group.clone());
        let (rows, log_dirs) = (plan.rows.clone(), plan.log_dirs);
        Self { router, dice, rows, brokers, log_dirs, to_begin, interval_us, under_way: None, in_doubt: Vec::new() }
    }

    pub(super) fn start(&mut self, core: &mut Core) {
        self.router.turn_after(core, 0);
    }

    /// Nothing is under way or half done.
    pub(super) fn is_settled(&self, core: &Core) -> bool {
        let halfway = core.topics.iter().any(|topic| topic.existence == Existence::InDoubt);
        self.under_way.is_none() && self.in_doubt.is_empty() && self.to_begin.is_none() && !halfway
    }

    pub(super) fn on_event(&mut self, core: &mut Core, event: ClientEvent) {
        match self.router.hear(core, event) {
            Heard::Turn => self.turn(core),
            Heard::Lost(machine) => {
                if let Some((_, asked)) = self.under_way.take_if(|(posted, _)| posted.to == machine) {
                    if let Asked::Create { row } = asked {
                        self.in_doubt.push(row);
                    }
                    let pause_us = self.dice.between(300 * MS, 900 * MS);
                    self.router.turn_after(core, pause_us);
                }
            }
            Heard::Reply(posted, response) => {
                if let Some((_, asked)) = self.under_way.take_if(|(waiting, _)| *waiting == posted) {
                    self.answered(core, asked, *response);
                }
            }
            Heard::Metadata | Heard::Nothing => {}
        }
    }

    fn turn(&mut self, core: &mut Core) {
        let missing = (0..self.rows.len()).find(|row| core.topics.current(*row).is_none());
        let pause_us = match missing {
            Some(_) => 100 * MS,
            None => self.dice.spread(self.interval_us / 4, self.interval_us * 2),
        };
        self.router.turn_after(core, pause_us);
        if self.under_way.is_some() {
            return;
        }
        // What is half done is brought to an end also when the run is.
        let halfway = core.topics.iter().position(|topic| topic.existence == Existence::InDoubt);
        if let Some(topic) = halfway {
            return self.delete(core, topic);
        }
        if let Some(row) = self.in_doubt.first().copied() {
            return self.identify(core, row);
        }
        // Topics come after: until then no member of the group asks for anything.
        if let Some(group) = self.to_begin.clone() {
            return self.begin(core, group);
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
        if self.log_dirs > 1 && self.dice.one_in(3) {
            return self.move_between_directories(core, topic);
        }
        match (self.dice.below(10), used_for) {
            (0..=1, Use::Churning) => self.delete(core, topic),
            (0..=2, _) => self.alter(core, topic),
            (3..=6, _) => self.reassign(core, topic),
            _ => self.elect(core),
        }
    }

    fn begin(&mut self, core: &mut Core, group: String) {
        let value = Some("earliest".to_owned());
        let set = AlterableConfig { name: "share.auto.offset.reset".to_owned(), config_operation: 0, value };
        let resource = AlterConfigsResource { resource_type: GROUP_RESOURCE, resource_name: group, configs: vec![set] };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        self.ask(core, ApiKey::IncrementalAlterConfigs, 0, request, Asked::Begin);
    }

    fn create(&mut self, core: &mut Core, row: usize) {
        let planned = &self.rows[row];
        let config = |(name, value): &(String, String)| CreatableTopicConfig { name: name.clone(), value: Some(value.clone()) };
        let topic = CreatableTopic {
            name: TopicName::from(planned.topic.name.as_str()),
            num_partitions: planned.topic.partitions,
            replication_factor: planned.replicas,
            configs: planned.topic.configs.iter().map(config).collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 3000, validate_only: false };
        self.ask(core, ApiKey::CreateTopics, 7, request, Asked::Create { row });
    }

    fn identify(&mut self, core: &mut Core, row: usize) {
        let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
        self.ask(core, ApiKey::Metadata, 10, request, Asked::Identify { row });
    }

    fn delete(&mut self, core: &mut Core, topic: usize) {
        let Some(known) = core.topics.get_mut(topic) else { return };
        known.existence = Existence::InDoubt;
        let id = known.id;
        core.history.forget_topic(id);
        let topics = vec![DeleteTopicState { name: None, topic_id: id }];
        let request = DeleteTopicsRequest { topics, timeout_ms: 3000, ..Default::default() };
        self.ask(core, ApiKey::DeleteTopics, 6, request, Asked::Delete { topic });
    }

    fn alter(&mut self, core: &mut Core, topic: usize) {
        let Some(known) = core.topics.get_mut(topic) else { return };
        let (key, value) = match self.dice.below(3) {
            0 => ("segment.ms", self.dice.spread(100, 50_000).to_string()),
            1 => ("index.interval.bytes", [0, 500, 4096][self.dice.index(3)].to_string()),
            _ => ("file.delete.delay.ms", [0, 1000][self.dice.index(2)].to_string()),
        };
        known.configs_in_doubt.insert(key.to_owned());
        let set = AlterableConfig { name: key.to_owned(), config_operation: 0, value: Some(value.clone()) };
        let resource = AlterConfigsResource { resource_type: 2, resource_name: known.name.to_string(), configs: vec![set] };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        self.ask(core, ApiKey::IncrementalAlterConfigs, 0, request, Asked::Alter { topic, key: key.to_owned(), value });
    }

    /// Moves a partition to other brokers, or gives up a move that is under way.
    fn reassign(&mut self, core: &mut Core, topic: usize) {
        let Some(known) = core.topics.get(topic).cloned() else { return };
        let (mut name, mut partitions) = (known.name.clone(), known.partitions);
        let judge = core.judge_of_cluster.as_ref();
        let internal: Vec<(String, i32)> = judge.map_or_else(Vec::new, |judge| judge.internal().collect());
        let chosen = self.dice.pick(&internal);
        if self.dice.one_in(3)
            && let Some((topic, count)) = chosen
        {
            (name, partitions) = (TopicName::from(topic.as_str()), *count);
            core.mark("coordinators moved");
        }
        let partition_index = i32::try_from(self.dice.index(partitions.unsigned_abs() as usize)).unwrap_or(0);
        let replicas = if self.dice.one_in(6) {
            None
        } else {
            let count = usize::try_from(self.rows[known.row].replicas).unwrap_or(1);
            let mut left = self.brokers.clone();
            let mut chosen = Vec::new();
            while chosen.len() < count && !left.is_empty() {
                chosen.push(BrokerId(left.swap_remove(self.dice.index(left.len()))));
            }
            Some(chosen)
        };
        let partitions = vec![ReassignablePartition { partition_index, replicas }];
        let topics = vec![ReassignableTopic { name, partitions }];
        let request = AlterPartitionReassignmentsRequest { timeout_ms: 3000, topics, ..Default::default() };
        self.ask(core, ApiKey::AlterPartitionReassignments, 0, request, Asked::Other);
    }

    /// Moves some broker's replicas of a topic to one of its log directories (KIP-113).
    fn move_between_directories(&mut self, core: &mut Core, topic: usize) {
        let Some(known) = core.topics.get(topic) else { return };
        let partitions = (0..known.partitions).filter(|_| self.dice.one_in(2)).collect();
        let topics = vec![AlterReplicaLogDirTopic { name: known.name.clone(), partitions }];
        let path = log_dir_path(LogDir(u16::try_from(self.dice.index(usize::from(self.log_dirs))).unwrap_or(0)));
        let request = AlterReplicaLogDirsRequest { dirs: vec![AlterReplicaLogDir { path, topics }] };
        self.ask(core, ApiKey::AlterReplicaLogDirs, 1, request, Asked::Other);
    }

    fn elect(&mut self, core: &mut Core) {
        let request = ElectLeadersRequest { election_type: 0, topic_partitions: None, timeout_ms: 3000 };
        self.ask(core, ApiKey::ElectLeaders, 1, request, Asked::Other);
    }

    fn ask(&mut self, core: &mut Core, key: ApiKey, least: i16, request: impl Into<Request>, asked: Asked) {
        let version = self.router.version(core, key, least);
        let to = self.router.anybody();
        core.note(format_args!("operator asks m{to} {key} v{version}: {asked:?}"));
        let posted = self.router.post(core, to, version, &request.into());
        self.under_way = Some((posted, asked));
    }

    fn answered(&mut self, core: &mut Core, asked: Asked, response: Response) {
        match (asked, response) {
            (Asked::Create { row }, Response::CreateTopics(response)) => {
                match response.topics.first().map(|topic| (topic.error_code, topic.topic_id)) {
                    Some((ErrorCode::NONE, id)) if !id.is_zero() => self.learn(core, row, id),
                    Some((ErrorCode::INVALID_REPLICATION_FACTOR, _)) => core.mark("too few live brokers for a topic"),
                    // It may have been made all the same.
                    _ => self.in_doubt.push(row),
                }
            }
            (Asked::Identify { row }, Response::Metadata(response)) => {
                let name = TopicName::from(self.rows[row].topic.name.as_str());
                self.in_doubt.retain(|doubtful| *doubtful != row);
                if let Some((ErrorCode::NONE, id, _)) = named(&response, &name) {
                    self.learn(core, row, id);
                }
            }
            (Asked::Delete { topic }, Response::DeleteTopics(response)) => {
                let code = response.responses.first().map(|result| result.error_code);
                if matches!(code, Some(ErrorCode::NONE | ErrorCode::UNKNOWN_TOPIC_ID))
                    && let Some(known) = core.topics.get_mut(topic)
                {
                    known.existence = Existence::Gone;
                    core.mark("topic deleted");
                }
            }
            (Asked::Alter { topic, key, value }, Response::IncrementalAlterConfigs(response)) => {
                let code = response.responses.first().map(|result| result.error_code);
                if code == Some(ErrorCode::NONE)
                    && let Some(known) = core.topics.get_mut(topic)
                {
                    known.configs_in_doubt.remove(&key);
                    known.configs.insert(key, value);
                }
            }
            (Asked::Begin, Response::IncrementalAlterConfigs(response)) => {
                let code = response.responses.first().map(|result| result.error_code);
                if code == Some(ErrorCode::NONE) {
                    self.to_begin = None;
                }
            }
            (Asked::Other, Response::AlterPartitionReassignments(response)) if response.error_code == ErrorCode::NONE => {
                core.mark("reassignment asked for");
            }
            (Asked::Other, Response::ElectLeaders(response)) if response.error_code == ErrorCode::NONE => {
                core.mark("preferred leaders asked for");
            }
            (Asked::Other, Response::AlterReplicaLogDirs(response)) => {
                let told = response.results.iter().flat_map(|topic| &topic.partitions);
                if told.filter(|partition| partition.error_code == ErrorCode::NONE).count() > 0 {
                    core.mark("replicas asked to move to another directory");
                }
            }
            (Asked::Other, Response::AlterPartitionReassignments(_) | Response::ElectLeaders(_)) => {}
            (asked, response) => {
                core.violate(Invariant::AnswersAsAsked, format_args!("{asked:?} was answered with {}", response.key()));
            }
        }
    }

    fn learn(&mut self, core: &mut Core, row: usize, id: TopicId) {
        let planned = &self.rows[row];
        let mut topic = Topic::new(&planned.topic, row, id, planned.topic.partitions);
        topic.losses_covered = planned.losses_covered;
        core.note(format_args!("topic {} is {id}", topic.name));
        if topic.used_for == Use::Compacting {
            (0..topic.partitions).for_each(|partition| core.history.compacts(topic.key(partition)));
        }
        core.topics.learn(topic);
    }
}
