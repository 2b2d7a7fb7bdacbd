//! Configuration of topics, brokers and groups.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::BrokerId;
use strandline_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
};
use strandline_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::{Admin, AdminError, PerItem, in_order, judged};

/// What a configuration belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigResource {
    Topic(String),
    Broker(BrokerId),
    /// The default of all brokers.
    Brokers,
    Group(String),
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    Topic,
    DynamicBroker,
    DynamicDefaultBroker,
    /// The broker's configuration file.
    StaticBroker,
    /// The default of the software.
    Default,
    DynamicBrokerLogger,
    ClientMetrics,
    Group,
    /// A number that this version does not know.
    Unknown(i8),
}

/// One key of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// `None` if there is none, or if it is secret.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub is_read_only: bool,
    pub is_sensitive: bool,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Set(String),
    /// Back to the default.
    Delete,
    /// Adds an item to a list.
    Append(String),
    /// Takes an item out of a list.
    Subtract(String),
}

impl ConfigResource {
    /// Type and name on the wire.
    fn to_wire(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.clone()),
            Self::Broker(id) => (4, id.to_string()),
            Self::Brokers => (4, String::new()),
            Self::Group(name) => (32, name.clone()),
        }
    }

    fn is(&self, kind: i8, name: &str) -> bool {
        let (own_kind, own_name) = self.to_wire();
        own_kind == kind && own_name == name
    }
}

impl ConfigSource {
    fn from_wire(source: i8) -> Self {
        match source {
            1 => Self::Topic,
            2 => Self::DynamicBroker,
            3 => Self::DynamicDefaultBroker,
            4 => Self::StaticBroker,
            5 => Self::Default,
            6 => Self::DynamicBrokerLogger,
            7 => Self::ClientMetrics,
            8 => Self::Group,
            other => Self::Unknown(other),
        }
    }
}

impl Change {
    fn to_wire(&self, name: &str) -> AlterableConfig {
        let (config_operation, value) = match self {
            Self::Set(value) => (0, Some(value)),
            Self::Delete => (1, None),
            Self::Append(value) => (2, Some(value)),
            Self::Subtract(value) => (3, Some(value)),
        };
        AlterableConfig { name: name.to_owned(), config_operation, value: value.cloned() }
    }
}

impl ConfigEntry {
    fn from_wire(entry: DescribeConfigsResourceResult) -> Self {
        Self {
            name: entry.name,
            value: entry.value,
            source: ConfigSource::from_wire(entry.config_source),
            is_read_only: entry.read_only,
            is_sensitive: entry.is_sensitive,
        }
    }
}

impl Admin {
    /// The configuration of each resource, keys in order. A broker is asked about itself.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked.
    pub async fn describe_configs(
        &self,
        resources: impl IntoIterator<Item = ConfigResource>,
    ) -> Result<PerItem<ConfigResource, Vec<ConfigEntry>>, AdminError> {
        let resources: Vec<ConfigResource> = resources.into_iter().collect();
        let (of_brokers, others): (Vec<_>, Vec<_>) =
            resources.iter().cloned().partition(|one| matches!(one, ConfigResource::Broker(_)));
        let mut answers = Vec::new();
        if !others.is_empty() {
            let response = self.client.shared.metadata.call_any(describe(&others)).await?;
            answers.extend(response.results.into_iter().filter_map(|one| answer(&others, one)));
        }
        for resource in of_brokers {
            let ConfigResource::Broker(id) = resource else { continue };
            let asked = [resource];
            match self.client.call(id, describe(&asked)).await {
                Ok(response) => answers.extend(response.results.into_iter().filter_map(|one| answer(&asked, one))),
                Err(error) => answers.extend(asked.map(|resource| (resource, Err(error.clone().into())))),
            }
        }
        Ok(in_order(resources, answers))
    }

    /// Changes single keys; all changes of one resource are made, or none.
    ///
    /// # Errors
    /// [`AdminError`] if no server could be asked.
    pub async fn alter_configs(
        &self,
        changes: impl IntoIterator<Item = (ConfigResource, Vec<(String, Change)>)>,
    ) -> Result<PerItem<ConfigResource, ()>, AdminError> {
        let changes: Vec<_> = changes.into_iter().collect();
        let altered = |(resource, changes): &(ConfigResource, Vec<(String, Change)>)| {
            let (resource_type, resource_name) = resource.to_wire();
            let configs = changes.iter().map(|(name, change)| change.to_wire(name)).collect();
            AlterConfigsResource { resource_type, resource_name, configs }
        };
        let request = IncrementalAlterConfigsRequest { resources: changes.iter().map(altered).collect(), validate_only: false };
        let response = self
            .call_controller(request, |response| {
                response.responses.iter().any(|one| one.error_code == ErrorCode::NOT_CONTROLLER)
            })
            .await?;
        let resources: Vec<ConfigResource> = changes.into_iter().map(|(resource, _)| resource).collect();
        let answers = response.responses.into_iter().filter_map(|one| {
            let resource = resources.iter().find(|resource| resource.is(one.resource_type, &one.resource_name))?;
            Some((resource.clone(), judged((), one.error_code, one.error_message)))
        });
        let answers = answers.collect();
        Ok(in_order(resources, answers))
    }
}

fn describe(resources: &[ConfigResource]) -> DescribeConfigsRequest {
    let described = |resource: &ConfigResource| {
        let (resource_type, resource_name) = resource.to_wire();
        DescribeConfigsResource { resource_type, resource_name, configuration_keys: None }
    };
    DescribeConfigsRequest { resources: resources.iter().map(described).collect(), ..Default::default() }
}

fn answer(
    asked: &[ConfigResource],
    answer: DescribeConfigsResult,
) -> Option<(ConfigResource, Result<Vec<ConfigEntry>, AdminError>)> {
    let resource = asked.iter().find(|one| one.is(answer.resource_type, &answer.resource_name))?;
    let mut entries: Vec<ConfigEntry> = answer.configs.into_iter().map(ConfigEntry::from_wire).collect();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Some((resource.clone(), judged(entries, answer.error_code, answer.error_message)))
}
