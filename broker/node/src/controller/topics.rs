//! Decisions about topics: create, add partitions, delete.
//!
//! Source: metadata/.../controller/ReplicationControlManager; topic names: clients/.../internals/Topic.

use std::collections::BTreeMap;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, TopicId, TopicName};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::metadata::config::ConfigRecord;
use strandline_protocol::metadata::partition::PartitionRecord;
use strandline_protocol::metadata::topic::{RemoveTopicRecord, TopicRecord};

use super::RECORDS_PER_DECISION_MAX;
use super::placement::{check_replicas, place};
use super::terms::Electorate;
use crate::config::check_topic;
use crate::config::row::ValueError;
use crate::config::topic::CompactionLags;
use crate::dice::Dice;
use crate::image::brokers::Registration;
use crate::image::{Image, Resource};

/// Longest topic name. Source: Topic.MAX_NAME_LENGTH.
const NAME_BYTES_MAX: usize = 249;

/// A refusal: Kafka's error code and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub code: ErrorCode,
    pub message: String,
}

impl Refused {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What decisions about topics need to know besides the image.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub partitions_default: i32,
    pub replication_factor_default: i16,
    pub partitions_max: usize,
    pub compaction_lags: CompactionLags,
}

/// A topic to be made.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewTopic {
    pub name: TopicName,
    /// -1 is the default.
    pub partitions: i32,
    /// -1 is the default.
    pub replication_factor: i16,
    /// Replicas by partition, if the client chose them.
    pub assignments: BTreeMap<i32, Vec<i32>>,
    pub configs: Vec<(String, Option<String>)>,
}

/// What a created topic looks like.
#[derive(Clone, Debug)]
pub(crate) struct Created {
    pub id: TopicId,
    pub partitions: i32,
    pub replication_factor: i16,
    pub records: Vec<MetadataRecord>,
}

/// Decides on a new topic.
///
/// # Errors
/// INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR,
/// INVALID_REPLICA_ASSIGNMENT, INVALID_CONFIG, INVALID_REQUEST, POLICY_VIOLATION.
pub(crate) fn create(image: &Image, bounds: Bounds, dice: &mut Dice, topic: &NewTopic) -> Result<Created, Refused> {
    check_name(image, &topic.name)?;
    let replicas = if topic.assignments.is_empty() { placed(image, bounds, dice, topic)? } else { assigned(image, topic)? };
    room(image, bounds, &replicas)?;
    let overrides = checked_overrides(bounds, &topic.configs)?;
    let id = TopicId(dice.uuid().0);
    let mut records: Vec<MetadataRecord> = vec![TopicRecord { name: topic.name.clone(), topic_id: id }.into()];
    records.extend(overrides.into_iter().map(|(key, value)| {
        ConfigRecord { resource_type: Resource::TOPIC, resource_name: topic.name.to_string(), name: key, value: Some(value) }
            .into()
    }));
    for (index, replicas) in replicas.iter().enumerate() {
        records.push(partition_record(image, id, number(index), replicas)?);
    }
    if records.len() > RECORDS_PER_DECISION_MAX {
        let message = format!(
            "{} partitions in one request are too many: create the topic with fewer and add partitions afterwards",
            replicas.len()
        );
        return Err(Refused::new(ErrorCode::POLICY_VIOLATION, message));
    }
    let replication_factor = replicas.first().map_or(1, |replicas| i16::try_from(replicas.len()).unwrap_or(i16::MAX));
    Ok(Created { id, partitions: number(replicas.len()), replication_factor, records })
}

/// Decides on more partitions for a topic; `assignments` are the replicas of each new one, if the client chose them.
///
/// # Errors
/// UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR, INVALID_REPLICA_ASSIGNMENT, POLICY_VIOLATION.
pub(crate) fn add_partitions(
    image: &Image,
    bounds: Bounds,
    dice: &mut Dice,
    name: &TopicName,
    count: i32,
    assignments: Option<&[Vec<i32>]>,
) -> Result<Vec<MetadataRecord>, Refused> {
    let topic = image
        .topics
        .by_name(name)
        .ok_or_else(|| Refused::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic {name}")))?;
    let present = number(topic.partitions.len());
    if count == present {
        return Err(Refused::new(ErrorCode::INVALID_PARTITIONS, format!("topic {name} has {present} partitions already")));
    }
    if count < present {
        return Err(Refused::new(
            ErrorCode::INVALID_PARTITIONS,
            format!("topic {name} has {present} partitions; their number can only grow, {count} is less"),
        ));
    }
    let wanted = usize::try_from(count - present).unwrap_or(usize::MAX);
    if wanted > RECORDS_PER_DECISION_MAX {
        return Err(Refused::new(
            ErrorCode::POLICY_VIOLATION,
            format!("{wanted} new partitions in one request are more than {RECORDS_PER_DECISION_MAX}"),
        ));
    }
    let factor = topic.partitions.values().next().map_or(1, |partition| partition.replicas.len());
    let replicas = match assignments {
        Some(given) if given.len() != wanted => {
            return Err(Refused::new(
                ErrorCode::INVALID_REPLICA_ASSIGNMENT,
                format!("{wanted} new partitions were asked for and {} assigned", given.len()),
            ));
        }
        Some(given) => {
            given.iter().try_for_each(|replicas| check_replicas(image, replicas, Some(factor)))?;
            given.to_vec()
        }
        None => place(image, dice, number(factor), wanted)?,
    };
    room(image, bounds, &replicas)?;
    let records = replicas.iter().enumerate();
    records.map(|(index, replicas)| partition_record(image, topic.id, present + number(index), replicas)).collect()
}

/// Decides on the end of a topic.
///
/// # Errors
/// UNKNOWN_TOPIC_ID.
pub(crate) fn delete(image: &Image, id: TopicId) -> Result<MetadataRecord, Refused> {
    if image.topics.by_id(id).is_none() {
        return Err(Refused::new(ErrorCode::UNKNOWN_TOPIC_ID, format!("there is no topic with id {id}")));
    }
    Ok(RemoveTopicRecord { topic_id: id }.into())
}

/// Whether one request may make so many partitions, over all its topics. The whole of it is refused if not, as Kafka does.
///
/// # Errors
/// POLICY_VIOLATION.
///
/// Source: ReplicationControlManager.MAX_PARTITIONS_PER_BATCH.
pub(crate) fn check_request_size(partitions: usize) -> Result<(), Refused> {
    if partitions <= RECORDS_PER_DECISION_MAX {
        return Ok(());
    }
    let message =
        format!("{partitions} partitions in one request are more than {RECORDS_PER_DECISION_MAX}: send several requests");
    Err(Refused::new(ErrorCode::POLICY_VIOLATION, message))
}

/// Whether a name can be a topic's.
///
/// # Errors
/// INVALID_TOPIC_EXCEPTION with the reason.
pub(crate) fn check_topic_name(name: &str) -> Result<(), Refused> {
    let refuse = |reason: String| Err(Refused::new(ErrorCode::INVALID_TOPIC_EXCEPTION, reason));
    if name.is_empty() {
        return refuse("a topic name cannot be empty".to_owned());
    }
    if name == "." || name == ".." {
        return refuse(format!("a topic cannot be named {name}"));
    }
    if name.len() > NAME_BYTES_MAX {
        return refuse(format!("a topic name has at most {NAME_BYTES_MAX} characters, this one has {}", name.len()));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return refuse(format!("topic name {name:?} has characters other than letters, digits, '.', '_' and '-'"));
    }
    Ok(())
}

fn check_name(image: &Image, name: &TopicName) -> Result<(), Refused> {
    check_topic_name(name.as_str())?;
    if image.topics.by_name(name).is_some() {
        return Err(Refused::new(ErrorCode::TOPIC_ALREADY_EXISTS, format!("topic {name} exists already")));
    }
    // Metric names turn '.' into '_': two topics that then look alike are refused, as Kafka does.
    if name.as_str().contains(['.', '_']) {
        let alike = image.topics.iter().find(|topic| look_alike(topic.name.as_str(), name.as_str()));
        if let Some(topic) = alike {
            return Err(Refused::new(
                ErrorCode::INVALID_TOPIC_EXCEPTION,
                format!("topic {name} collides with {}: '.' and '_' count as the same", topic.name),
            ));
        }
    }
    Ok(())
}

fn look_alike(left: &str, right: &str) -> bool {
    let plain = |byte: u8| if byte == b'.' { b'_' } else { byte };
    left.len() == right.len() && left.bytes().map(plain).eq(right.bytes().map(plain))
}

fn placed(image: &Image, bounds: Bounds, dice: &mut Dice, topic: &NewTopic) -> Result<Vec<Vec<i32>>, Refused> {
    let partitions = if topic.partitions == -1 { bounds.partitions_default } else { topic.partitions };
    let factor = if topic.replication_factor == -1 { bounds.replication_factor_default } else { topic.replication_factor };
    if partitions <= 0 {
        return Err(Refused::new(
            ErrorCode::INVALID_PARTITIONS,
            format!("a topic has at least one partition, not {partitions}"),
        ));
    }
    let partitions = usize::try_from(partitions).unwrap_or(0);
    if partitions > RECORDS_PER_DECISION_MAX {
        let message = format!(
            "{partitions} partitions in one request are more than {RECORDS_PER_DECISION_MAX}: create the topic with fewer and add partitions afterwards"
        );
        return Err(Refused::new(ErrorCode::POLICY_VIOLATION, message));
    }
    place(image, dice, i32::from(factor), partitions)
}

fn assigned(image: &Image, topic: &NewTopic) -> Result<Vec<Vec<i32>>, Refused> {
    if topic.partitions != -1 || topic.replication_factor != -1 {
        return Err(Refused::new(
            ErrorCode::INVALID_REQUEST,
            "a topic with replica assignments has -1 for its partitions and replication factor",
        ));
    }
    let factor = topic.assignments.values().next().map_or(0, Vec::len);
    let mut replicas = Vec::new();
    for (index, (partition, assigned)) in topic.assignments.iter().enumerate() {
        if *partition != number(index) {
            return Err(Refused::new(
                ErrorCode::INVALID_REPLICA_ASSIGNMENT,
                "assigned partitions are numbered from 0 without a gap",
            ));
        }
        check_replicas(image, assigned, Some(factor))?;
        replicas.push(assigned.clone());
    }
    Ok(replicas)
}

/// No broker may get more partitions than it hosts.
fn room(image: &Image, bounds: Bounds, replicas: &[Vec<i32>]) -> Result<(), Refused> {
    let mut wanted: BTreeMap<i32, usize> = BTreeMap::new();
    replicas.iter().flatten().for_each(|broker| *wanted.entry(*broker).or_default() += 1);
    for (broker, wanted) in wanted {
        let present = image.topics.standings.hosted_by(broker).count();
        if present + wanted > bounds.partitions_max {
            let message = format!(
                "{present} partitions on broker {broker} and {wanted} more are above the limit of {} (partitions.per.broker.max)",
                bounds.partitions_max
            );
            return Err(Refused::new(ErrorCode::POLICY_VIOLATION, message));
        }
    }
    Ok(())
}

fn checked_overrides(bounds: Bounds, configs: &[(String, Option<String>)]) -> Result<BTreeMap<String, String>, Refused> {
    let refuse = |error: ValueError| Refused::new(ErrorCode::INVALID_CONFIG, error.to_string());
    let mut overrides = BTreeMap::new();
    for (key, value) in configs {
        let Some(value) = value else {
            return Err(Refused::new(ErrorCode::INVALID_CONFIG, format!("configuration {key} has no value")));
        };
        check_topic(key, value).map_err(refuse)?;
        overrides.insert(key.clone(), value.trim().to_owned());
    }
    if overrides.keys().any(|key| CompactionLags::are_set_by(key)) {
        bounds.compaction_lags.with(&overrides).check().map_err(refuse)?;
    }
    Ok(overrides)
}

/// New partitions begin with their live replicas in sync, led by the first of them.
///
/// # Errors
/// INVALID_REPLICA_ASSIGNMENT if none of the replicas is alive. Source: ReplicationControlManager.buildPartitionRegistration.
fn partition_record(image: &Image, topic_id: TopicId, partition_id: i32, replicas: &[i32]) -> Result<MetadataRecord, Refused> {
    let is_active = |id: &i32| image.brokers.get(*id).is_some_and(Registration::is_active);
    let isr: Vec<i32> = replicas.iter().copied().filter(is_active).collect();
    let Some(leader) = isr.first().copied() else {
        let message = format!("all replicas of partition {partition_id} are on brokers that are fenced or shutting down");
        return Err(Refused::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
    };
    let electorate = Electorate::of(image);
    let record = PartitionRecord {
        partition_id,
        topic_id,
        replicas: replicas.iter().copied().map(Into::into).collect(),
        isr: isr.into_iter().map(Into::into).collect(),
        leader: leader.into(),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        directories: replicas.iter().map(|replica| electorate.directory(*replica)).collect(),
        ..PartitionRecord::default()
    };
    Ok(record.into())
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
