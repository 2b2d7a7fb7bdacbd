//! What the cluster looks like: brokers, topics, leaders. Asked for when needed, kept for a while, asked again when a
//! server says that it is wrong.
//!
//! Readers take an immutable [`Cluster`]; a refresh puts a new one in its place. Only topics that somebody asked for are
//! kept. Not here: what to do about a partition without a leader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, LeaderEpoch, TopicId, TopicName};
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseTopic};
use tokio::time::Instant;

use crate::address::Address;
use crate::backoff::{Backoff, Dice};
use crate::calls::Call;
use crate::connections::Connections;
use crate::error::{KafkaError, Kind, RequestError, kind_of};
use crate::locked::locked;

/// A topic's partitions are asked for again after this, though nobody complained, so that new ones are found.
const AGE_MAX: Duration = Duration::from_secs(5 * 60);

/// How long an unknown topic is asked for again: a topic that was made a moment ago may not have reached every broker.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(1);

/// The same if the question may make the topic.
const CREATED_PATIENCE: Duration = Duration::from_secs(3);

/// The same if the topic exists and is not ready.
const UNREADY_PATIENCE: Duration = Duration::from_secs(10);

/// The cluster as it was last seen.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pub cluster_id: Option<String>,
    /// Where to send what only a controller decides; brokers forward it.
    pub controller: Option<BrokerId>,
    pub brokers: BTreeMap<BrokerId, Broker>,
    topics: BTreeMap<String, Arc<Topic>>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub address: Address,
    pub rack: Option<String>,
}

/// A topic and its partitions, in order.
#[derive(Clone, Debug)]
pub struct Topic {
    pub name: String,
    /// Zero if the cluster has no topic ids.
    pub id: TopicId,
    pub is_internal: bool,
    pub partitions: Vec<Partition>,
    asked: Instant,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub index: i32,
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    pub replicas: Vec<BrokerId>,
    pub in_sync: Vec<BrokerId>,
    pub offline: Vec<BrokerId>,
}

/// Why the cluster could not be asked, or what it said of a topic.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    #[error("{}", unreachable(.attempts))]
    NoServer { attempts: Vec<RequestError> },
    #[error("topic {topic}: {code}: {}", .code.meaning())]
    Topic { topic: String, code: ErrorCode },
}

/// The first failure, which is that of the server that was tried first, stands for all of them.
fn unreachable(attempts: &[RequestError]) -> String {
    match attempts {
        [] => "no server to ask".to_owned(),
        [only] => only.to_string(),
        [first, others @ ..] => format!("{first} (and {} other servers)", others.len()),
    }
}

impl KafkaError for MetadataError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoServer { attempts } => attempts.first().map_or(Kind::Unreachable, KafkaError::kind),
            Self::Topic { code, .. } => kind_of(*code),
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::NoServer { .. } => None,
            Self::Topic { code, .. } => Some(*code),
        }
    }
}

/// Whether asking for a topic may make it, if the cluster allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Create,
    Report,
}

impl Cluster {
    /// A topic that was asked for before.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// Where a broker listens.
    ///
    /// # Errors
    /// `UnknownBroker` if it is not in the metadata.
    pub(crate) fn address(&self, broker: BrokerId) -> Result<&Address, RequestError> {
        self.brokers.get(&broker).map(|broker| &broker.address).ok_or(RequestError::UnknownBroker(broker.0))
    }

    fn with(&self, response: MetadataResponse, asked: Instant) -> Self {
        let mut topics = self.topics.clone();
        for topic in response.topics {
            let Some(name) = topic.name.as_ref().map(|name| name.0.clone()) else { continue };
            match topic.error_code {
                ErrorCode::NONE => drop(topics.insert(name.clone(), Arc::new(Topic::from_wire(name, topic, asked)))),
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => drop(topics.remove(&name)),
                _ => {}
            }
        }
        let brokers = response.brokers.into_iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            Some((broker.node_id, Broker { address: Address { host: broker.host, port }, rack: broker.rack }))
        });
        let controller = Some(response.controller_id).filter(|id| *id != BrokerId::NONE);
        Self { cluster_id: response.cluster_id, controller, brokers: brokers.collect(), topics }
    }
}

impl Topic {
    fn from_wire(name: String, topic: MetadataResponseTopic, asked: Instant) -> Self {
        let mut partitions: Vec<Partition> = topic
            .partitions
            .into_iter()
            .map(|partition| Partition {
                index: partition.partition_index,
                leader: Some(partition.leader_id).filter(|id| *id != BrokerId::NONE),
                leader_epoch: partition.leader_epoch,
                replicas: partition.replica_nodes,
                in_sync: partition.isr_nodes,
                offline: partition.offline_replicas,
            })
            .collect();
        partitions.sort_by_key(|partition| partition.index);
        partitions.dedup_by_key(|partition| partition.index);
        Self { name, id: topic.topic_id, is_internal: topic.is_internal, partitions, asked }
    }

    /// The partition with this index.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        let at = self.partitions.binary_search_by_key(&index, |partition| partition.index).ok()?;
        Some(&self.partitions[at])
    }
}

/// The keeper of the cluster's picture.
#[derive(Debug)]
pub(crate) struct Metadata {
    seeds: Vec<Address>,
    pub(crate) connections: Connections,
    cluster: Mutex<Arc<Cluster>>,
    /// One question at a time; who waited looks first whether it has been answered meanwhile.
    asking: tokio::sync::Mutex<Dice>,
}

impl Metadata {
    pub(crate) fn new(seeds: Vec<Address>, connections: Connections) -> Self {
        Self { seeds, connections, cluster: Mutex::default(), asking: tokio::sync::Mutex::new(Dice::new()) }
    }

    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&locked(&self.cluster))
    }

    /// The topic, asked for if it is not known or was not asked for in a while. Waits a moment for one that is new.
    pub(crate) async fn topic(&self, name: &str, missing: Missing) -> Result<Arc<Topic>, MetadataError> {
        let known = self.cluster().topic(name).filter(|topic| topic.asked.elapsed() < AGE_MAX).map(Arc::clone);
        if let Some(topic) = known {
            return Ok(topic);
        }
        let (begun, mut failures, mut dice) = (Instant::now(), 0, Dice::new());
        loop {
            let code = self.refresh(&[name], missing).await?.get(name).copied().unwrap_or(ErrorCode::NONE);
            if let Some(topic) = self.cluster().topic(name) {
                return Ok(Arc::clone(topic));
            }
            failures += 1;
            let wait = Backoff::RETRY.after(failures, &mut dice);
            if !code.is_retriable() || begun.elapsed() + wait > patience(code, missing) {
                return Err(MetadataError::Topic { topic: name.to_owned(), code });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks for these topics, unless that was done after this call began. Answers with the errors of topics.
    pub(crate) async fn refresh(&self, names: &[&str], missing: Missing) -> Result<BTreeMap<String, ErrorCode>, MetadataError> {
        let begun = Instant::now();
        let mut dice = self.asking.lock().await;
        let cluster = self.cluster();
        let answered = |name: &&str| cluster.topic(name).is_some_and(|topic| topic.asked >= begun);
        if !names.is_empty() && names.iter().all(answered) {
            return Ok(BTreeMap::new());
        }
        let asked = Instant::now();
        let response = self.ask(&request(Some(names), missing), &mut dice).await?;
        let failed = response.topics.iter().filter(|topic| !topic.error_code.is_none());
        let errors = failed.filter_map(|topic| Some((topic.name.as_ref()?.0.clone(), topic.error_code))).collect();
        let mut cluster = locked(&self.cluster);
        *cluster = Arc::new(cluster.with(response, asked));
        Ok(errors)
    }

    /// These topics, or every topic of the cluster, as they are now. They are not kept.
    pub(crate) async fn describe(
        &self,
        names: Option<&[&str]>,
    ) -> Result<Vec<(String, Result<Topic, ErrorCode>)>, MetadataError> {
        let asked = Instant::now();
        let response = self.ask(&request(names, Missing::Report), &mut Dice::new()).await?;
        let named = response.topics.into_iter().filter_map(|topic| Some((topic.name.clone()?.0, topic)));
        let judged = named.map(|(name, topic)| match topic.error_code {
            ErrorCode::NONE => (name.clone(), Ok(Topic::from_wire(name, topic, asked))),
            code => (name, Err(code)),
        });
        Ok(judged.collect())
    }

    /// The topic with this id, asked for if it is not known; `None` if the server does not know it either.
    pub(crate) async fn topic_of_id(&self, id: TopicId) -> Result<Option<Arc<Topic>>, MetadataError> {
        if let Some(topic) = self.cluster().topics.values().find(|topic| topic.id == id) {
            return Ok(Some(Arc::clone(topic)));
        }
        let asked = Instant::now();
        let topic = MetadataRequestTopic { topic_id: id, name: None };
        let request =
            MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: false, ..MetadataRequest::default() };
        let response = self.ask(&request, &mut Dice::new()).await?;
        let mut cluster = locked(&self.cluster);
        *cluster = Arc::new(cluster.with(response, asked));
        Ok(cluster.topics.values().find(|topic| topic.id == id).map(Arc::clone))
    }

    /// Asks one server after the other until one answers.
    async fn ask(&self, request: &MetadataRequest, dice: &mut Dice) -> Result<MetadataResponse, MetadataError> {
        let mut attempts = Vec::new();
        for address in self.candidates(dice) {
            match self.connections.call(&address, request.clone()).await {
                Ok(response) if !response.brokers.is_empty() => return Ok(response),
                Ok(_) => attempts.push(RequestError::Protocol { address, what: "it knows no brokers" }),
                Err(error) => attempts.push(error),
            }
        }
        Err(MetadataError::NoServer { attempts })
    }

    /// Asks what any server can answer, until one does.
    pub(crate) async fn call_any<C: Call + Clone>(&self, request: C) -> Result<C::Response, MetadataError> {
        let mut attempts = Vec::new();
        for address in self.candidates(&mut Dice::new()) {
            match self.connections.call(&address, request.clone()).await {
                Ok(response) => return Ok(response),
                Err(error) => attempts.push(error),
            }
        }
        Err(MetadataError::NoServer { attempts })
    }

    /// Servers to ask: connected ones first, then brokers in any order, then the seeds, in case all brokers have moved.
    fn candidates(&self, dice: &mut Dice) -> Vec<Address> {
        let cluster = self.cluster();
        let mut brokers: Vec<Address> = cluster.brokers.values().map(|broker| broker.address.clone()).collect();
        let turn = dice.below(brokers.len().max(1) as u64) as usize;
        brokers.rotate_left(turn);
        let seeds = self.seeds.iter().filter(|seed| !brokers.contains(seed)).cloned().collect::<Vec<_>>();
        let mut candidates: Vec<Address> = brokers.into_iter().chain(seeds).collect();
        candidates.sort_by_key(|address| !self.connections.is_connected(address));
        candidates
    }
}

fn patience(code: ErrorCode, missing: Missing) -> Duration {
    match (code, missing) {
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Missing::Report) => UNKNOWN_PATIENCE,
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Missing::Create) => CREATED_PATIENCE,
        _ => UNREADY_PATIENCE,
    }
}

fn request(names: Option<&[&str]>, missing: Missing) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic { topic_id: TopicId::ZERO, name: Some(TopicName::from(*name)) };
    MetadataRequest {
        topics: names.map(|names| names.iter().map(topic).collect()),
        allow_auto_topic_creation: missing == Missing::Create,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::messages::metadata::{MetadataResponseBroker, MetadataResponsePartition};

    use super::*;

    fn response(error_code: ErrorCode, partitions: &[(i32, i32)]) -> MetadataResponse {
        let partition = |&(partition_index, leader): &(i32, i32)| MetadataResponsePartition {
            partition_index,
            leader_id: BrokerId(leader),
            ..Default::default()
        };
        let topic = MetadataResponseTopic {
            error_code,
            name: Some("t".into()),
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        };
        let broker = MetadataResponseBroker { node_id: BrokerId(1), host: "h".into(), port: 9092, rack: None };
        MetadataResponse { brokers: vec![broker], topics: vec![topic], ..Default::default() }
    }

    #[test]
    fn partitions_are_found_whatever_order_they_came_in() {
        let cluster = Cluster::default().with(response(ErrorCode::NONE, &[(2, 1), (0, -1), (1, 1)]), Instant::now());
        let topic = cluster.topic("t").unwrap();
        assert_eq!(topic.partition(0).unwrap().leader, None);
        assert_eq!(topic.partition(2).unwrap().leader, Some(BrokerId(1)));
        assert_eq!(topic.partition(3), None);
    }

    #[test]
    fn a_topic_that_is_gone_is_forgotten_and_one_that_is_not_ready_is_kept() {
        let known = Cluster::default().with(response(ErrorCode::NONE, &[(0, 1)]), Instant::now());
        let unready = known.with(response(ErrorCode::LEADER_NOT_AVAILABLE, &[]), Instant::now());
        assert!(unready.topic("t").is_some());
        let gone = known.with(response(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, &[]), Instant::now());
        assert!(gone.topic("t").is_none());
    }

    #[test]
    fn a_port_that_is_none_makes_no_broker() {
        let mut response = response(ErrorCode::NONE, &[]);
        response.brokers[0].port = 70_000;
        assert!(Cluster::default().with(response, Instant::now()).brokers.is_empty());
    }
}
