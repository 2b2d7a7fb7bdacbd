//! The registered brokers.

use std::collections::BTreeMap;

use strandline_protocol::ids::Uuid;
use strandline_protocol::metadata::broker::{BrokerRegistrationChangeRecord, RegisterBrokerRecord, UnregisterBrokerRecord};

/// Where a broker can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub listener: String,
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub id: i32,
    pub epoch: i64,
    pub incarnation: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    pub log_dirs: Vec<Uuid>,
}

#[derive(Clone, Debug, Default)]
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
        let endpoints = record
            .end_points
            .iter()
            .map(|endpoint| Endpoint { listener: endpoint.name.clone(), host: endpoint.host.clone(), port: endpoint.port })
            .collect();
        let registration = Registration {
            id: record.broker_id.0,
            epoch: record.broker_epoch,
            incarnation: record.incarnation_id,
            endpoints,
            rack: record.rack.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs: record.log_dirs.clone(),
        };
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
    }
}
