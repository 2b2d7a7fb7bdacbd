//! Topics: made, deleted, listed, described, widened.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicId, TopicName};
use strandline_protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use strandline_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatableTopicResult, CreateTopicsRequest,
};
use strandline_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};

use super::{Admin, AdminError, PerItem, in_order, judged};
use crate::metadata::Topic;

/// A topic to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    /// `None`: as many as the cluster makes by default.
    pub partitions: Option<i32>,
    /// `None`: as many as the cluster makes by default.
    pub replication: Option<i16>,
    /// Which brokers have which partition, the preferred leader first; takes the place of the two numbers.
    pub assignment: Vec<Vec<BrokerId>>,
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    #[must_use]
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self { partitions: Some(partitions), ..Self::with_defaults(name) }
    }

    /// A topic with the cluster's default numbers.
    #[must_use]
    pub fn with_defaults(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: None, replication: None, assignment: Vec::new(), configs: Vec::new() }
    }

    #[must_use]
    pub fn replication(mut self, replicas: i16) -> Self {
        self.replication = Some(replicas);
        self
    }

    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }

    fn to_wire(&self) -> CreatableTopic {
        let assigned = |(index, brokers): (i32, &Vec<BrokerId>)| CreatableReplicaAssignment {
            partition_index: index,
            broker_ids: brokers.clone(),
        };
        let config = |(name, value): &(String, String)| CreatableTopicConfig { name: name.clone(), value: Some(value.clone()) };
        let by_hand = !self.assignment.is_empty();
        CreatableTopic {
            name: TopicName::from(self.name.as_str()),
            num_partitions: self.partitions.filter(|_| !by_hand).unwrap_or(-1),
            replication_factor: self.replication.filter(|_| !by_hand).unwrap_or(-1),
            assignments: (0..).zip(&self.assignment).map(assigned).collect(),
            configs: self.configs.iter().map(config).collect(),
        }
    }
}

/// A topic that was made. Numbers are -1 and the id is zero if the server is too old to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    pub id: TopicId,
    pub partitions: i32,
    pub replication: i16,
}

/// Whether a change is made or only checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Make,
    Check,
}

impl Admin {
    /// Makes topics.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked.
    pub async fn create_topics(
        &self,
        topics: impl IntoIterator<Item = NewTopic>,
    ) -> Result<PerItem<String, CreatedTopic>, AdminError> {
        self.create(topics.into_iter().collect(), Mode::Make).await
    }

    /// Checks whether topics could be made, and makes none.
    ///
    /// # Errors
    /// As `create_topics`.
    pub async fn check_topics(
        &self,
        topics: impl IntoIterator<Item = NewTopic>,
    ) -> Result<PerItem<String, CreatedTopic>, AdminError> {
        self.create(topics.into_iter().collect(), Mode::Check).await
    }

    async fn create(&self, topics: Vec<NewTopic>, mode: Mode) -> Result<PerItem<String, CreatedTopic>, AdminError> {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(NewTopic::to_wire).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only: mode == Mode::Check,
        };
        let elsewhere = |topic: &CreatableTopicResult| topic.error_code == ErrorCode::NOT_CONTROLLER;
        let response = self.call_controller(request, |response| response.topics.iter().any(elsewhere)).await?;
        let answer = |topic: CreatableTopicResult| {
            let (partitions, replication) = (topic.num_partitions, topic.replication_factor);
            let created = CreatedTopic { id: topic.topic_id, partitions, replication };
            (topic.name.0, judged(created, topic.error_code, topic.error_message))
        };
        let names = topics.into_iter().map(|topic| topic.name).collect();
        Ok(in_order(names, response.topics.into_iter().map(answer).collect()))
    }

    /// Deletes topics with all their records.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked.
    pub async fn delete_topics(
        &self,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<PerItem<String, ()>, AdminError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let wire_name = |name: &String| TopicName::from(name.as_str());
        let state = |name: &String| DeleteTopicState { name: Some(wire_name(name)), topic_id: TopicId::ZERO };
        let request = DeleteTopicsRequest {
            topics: names.iter().map(state).collect(),
            topic_names: names.iter().map(wire_name).collect(),
            timeout_ms: self.timeout_ms(),
        };
        let response = self
            .call_controller(request, |response| {
                response.responses.iter().any(|topic| topic.error_code == ErrorCode::NOT_CONTROLLER)
            })
            .await?;
        let answers = response
            .responses
            .into_iter()
            .filter_map(|topic| Some((topic.name?.0, judged((), topic.error_code, topic.error_message))));
        Ok(in_order(names, answers.collect()))
    }

    /// Every topic of the cluster, by name.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked.
    pub async fn list_topics(&self) -> Result<Vec<Topic>, AdminError> {
        let described = self.client.shared.metadata.describe(None).await?;
        let mut topics: Vec<Topic> = described.into_iter().filter_map(|(_, topic)| topic.ok()).collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    }

    /// These topics with their partitions.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked.
    pub async fn describe_topics(
        &self,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<PerItem<String, Topic>, AdminError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let asked: Vec<&str> = names.iter().map(String::as_str).collect();
        let described = self.client.shared.metadata.describe(Some(&asked)).await?;
        let answer = |(name, topic): (String, Result<Topic, ErrorCode>)| {
            (name, topic.map_err(|code| AdminError::Refused { code, message: None }))
        };
        Ok(in_order(names, described.into_iter().map(answer).collect()))
    }

    /// Gives topics more partitions: the number that each is to have then.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked.
    pub async fn create_partitions(
        &self,
        topics: impl IntoIterator<Item = (impl Into<String>, i32)>,
    ) -> Result<PerItem<String, ()>, AdminError> {
        let topics: Vec<(String, i32)> = topics.into_iter().map(|(name, count)| (name.into(), count)).collect();
        let widened = |(name, count): &(String, i32)| CreatePartitionsTopic {
            name: TopicName::from(name.as_str()),
            count: *count,
            assignments: None,
        };
        let request = CreatePartitionsRequest {
            topics: topics.iter().map(widened).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only: false,
        };
        let response = self
            .call_controller(request, |response| {
                response.results.iter().any(|topic| topic.error_code == ErrorCode::NOT_CONTROLLER)
            })
            .await?;
        let answers = response.results.into_iter();
        let answers = answers.map(|topic| (topic.name.0, judged((), topic.error_code, topic.error_message)));
        Ok(in_order(topics.into_iter().map(|(name, _)| name).collect(), answers.collect()))
    }
}
