//! The registered brokers.

use std::collections::BTreeMap;

use strandline_protocol::ids::Uuid;
use strandline_protocol::metadata::broker::{
    BrokerEndpoint, BrokerFeature, BrokerRegistrationChangeRecord, RegisterBrokerRecord, UnregisterBrokerRecord,
};

/// Where a broker can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub listener: String,
    pub host: String,
    pub port: u16,
    /// Kafka's number of the security protocol; 0 is PLAINTEXT.
    pub security_protocol: i16,
}

/// Levels of a feature that a broker can work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedFeature {
    pub name: String,
    pub least: i16,
    pub most: i16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub id: i32,
    pub epoch: i64,
    pub incarnation: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<SupportedFeature>,
    pub rack: Option<String>,
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    pub log_dirs: Vec<Uuid>,
    /// Directories that take no new replicas.
    pub cordoned_log_dirs: Vec<Uuid>,
}

impl Registration {
    /// Where it is reached by whoever uses the listener of this name; by its first if the name is empty.
    pub fn endpoint_at(&self, listener: &str) -> Option<&Endpoint> {
        if listener.is_empty() {
            return self.endpoints.first();
        }
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }

    /// Whether it may lead partitions.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Whether a replica in this directory is served; a directory that is not known yet counts as good.
    /// Source: DirectoryId.isOnline.
    pub fn has_online(&self, directory: Option<Uuid>) -> bool {
        match directory {
            None | Some(Uuid::UNASSIGNED_DIRECTORY | Uuid::MIGRATING_DIRECTORY) => true,
            Some(Uuid::LOST_DIRECTORY) => false,
            Some(directory) => self.log_dirs.is_empty() || self.log_dirs.contains(&directory),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brokers {
    by_id: BTreeMap<i32, Registration>,
}

impl Brokers {
    pub fn get(&self, id: i32) -> Option<&Registration> {
        self.by_id.get(&id)
    }

    /// All registrations in order of id.
    pub fn iter(&self) -> impl Iterator<Item = &Registration> {
        self.by_id.values()
    }

    pub(super) fn register(&mut self, record: &RegisterBrokerRecord) {
        let registration = Registration::from(record);
        self.by_id.insert(registration.id, registration);
    }

    pub(super) fn unregister(&mut self, record: &UnregisterBrokerRecord) {
        self.by_id.remove(&record.broker_id.0);
    }

    pub(super) fn set_fenced(&mut self, id: impl Into<i32>, fenced: bool) {
        if let Some(registration) = self.by_id.get_mut(&id.into()) {
            registration.fenced = fenced;
        }
    }

    pub(super) fn change(&mut self, record: &BrokerRegistrationChangeRecord) {
        let Some(registration) = self.by_id.get_mut(&record.broker_id.0) else { return };
        match record.fenced {
            1 => registration.fenced = true,
            -1 => registration.fenced = false,
            _ => {}
        }
        if record.in_controlled_shutdown == 1 {
            registration.in_controlled_shutdown = true;
        }
        if !record.log_dirs.is_empty() {
            registration.log_dirs.clone_from(&record.log_dirs);
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            registration.cordoned_log_dirs.clone_from(cordoned);
        }
    }
}

impl From<&RegisterBrokerRecord> for Registration {
    fn from(record: &RegisterBrokerRecord) -> Self {
        let endpoint = |end: &BrokerEndpoint| Endpoint {
            listener: end.name.clone(),
            host: end.host.clone(),
            port: end.port,
            security_protocol: end.security_protocol,
        };
        let feature = |feature: &BrokerFeature| SupportedFeature {
            name: feature.name.clone(),
            least: feature.min_supported_version,
            most: feature.max_supported_version,
        };
        Self {
            id: record.broker_id.0,
            epoch: record.broker_epoch,
            incarnation: record.incarnation_id,
            endpoints: record.end_points.iter().map(endpoint).collect(),
            features: record.features.iter().map(feature).collect(),
            rack: record.rack.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.clone(),
            cordoned_log_dirs: record.cordoned_log_dirs.clone().unwrap_or_default(),
        }
    }
}
