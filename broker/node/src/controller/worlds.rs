//! Small hand-made clusters for the tests of decisions: everything in them came in as records.

use strandline_protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicId, TopicName, Uuid};
use strandline_protocol::messages::broker_registration::{BrokerRegistrationRequest, Feature, Listener};
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::metadata::broker::{BrokerRegistrationChangeRecord, RegisterBrokerRecord};
use strandline_protocol::metadata::config::ConfigRecord;
use strandline_protocol::metadata::feature_level::FeatureLevelRecord;
use strandline_protocol::metadata::partition::PartitionRecord;
use strandline_protocol::metadata::topic::TopicRecord;

use super::terms::Terms;
use crate::config::BrokerConfig;
use crate::features::{ELIGIBLE_LEADER_REPLICAS, METADATA_VERSION_NAME};
use crate::image::topics::{Partition, Topic};
use crate::image::{Image, Resource};

pub(crate) const TOPIC: TopicId = TopicId([7; 16]);

/// A cluster as its records left it.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub image: Image,
    pub start: BrokerConfig,
}

impl World {
    /// Live brokers, and eligible leader replicas.
    pub(crate) fn new(brokers: &[i32]) -> Self {
        let mut world = Self::default();
        world.apply(FeatureLevelRecord { name: ELIGIBLE_LEADER_REPLICAS.to_owned(), feature_level: 1 });
        brokers.iter().for_each(|broker| world.register(*broker, None));
        world
    }

    pub(crate) fn broker_in_rack(&mut self, broker: i32, rack: &str) {
        self.register(broker, Some(rack.to_owned()));
    }

    fn register(&mut self, broker: i32, rack: Option<String>) {
        self.apply(RegisterBrokerRecord {
            broker_id: BrokerId(broker),
            incarnation_id: incarnation(broker),
            broker_epoch: self.image.end.0,
            rack,
            fenced: false,
            log_dirs: vec![directory(broker)],
            ..Default::default()
        });
    }

    /// A topic with one partition, led by the first of `isr`.
    pub(crate) fn topic(&mut self, replicas: &[i32], isr: &[i32], configs: &[(&str, &str)]) {
        self.apply(TopicRecord { name: TopicName::from("orders"), topic_id: TOPIC });
        for (key, value) in configs {
            self.apply(ConfigRecord {
                resource_type: Resource::TOPIC,
                resource_name: "orders".to_owned(),
                name: (*key).to_owned(),
                value: Some((*value).to_owned()),
            });
        }
        self.apply(PartitionRecord {
            partition_id: 0,
            topic_id: TOPIC,
            replicas: replicas.iter().copied().map(BrokerId).collect(),
            isr: isr.iter().copied().map(BrokerId).collect(),
            leader: BrokerId(isr[0]),
            leader_epoch: LeaderEpoch(5),
            partition_epoch: 10,
            directories: replicas.iter().map(|broker| directory(*broker)).collect(),
            ..Default::default()
        });
    }

    pub(crate) fn fence(&mut self, broker: i32) {
        self.set_fenced(broker, 1);
    }

    pub(crate) fn unfence(&mut self, broker: i32) {
        self.set_fenced(broker, -1);
    }

    fn set_fenced(&mut self, broker: i32, fenced: i8) {
        let broker_epoch = self.epoch(broker);
        self.apply(BrokerRegistrationChangeRecord { broker_id: BrokerId(broker), broker_epoch, fenced, ..Default::default() });
    }

    pub(crate) fn epoch(&self, broker: i32) -> i64 {
        self.image.brokers.get(broker).expect("registered").epoch
    }

    pub(crate) fn apply(&mut self, record: impl Into<MetadataRecord>) {
        let end = self.image.end;
        self.image.apply(Offset(end.0), &record.into()).expect("fits the image");
    }

    pub(crate) fn topic_of(&self) -> &Topic {
        self.image.topics.by_id(TOPIC).expect("made")
    }

    pub(crate) fn partition(&self) -> &Partition {
        &self.topic_of().partitions[&0]
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms::of(&self.image, &self.start, self.topic_of())
    }
}

pub(crate) fn directory(broker: i32) -> Uuid {
    let mut bytes = [100; 16];
    bytes[..4].copy_from_slice(&broker.to_be_bytes());
    Uuid(bytes)
}

pub(crate) fn incarnation(broker: i32) -> Uuid {
    Uuid([broker as u8; 16])
}

/// A legal request of a broker; `life` makes its incarnation.
pub(crate) fn registration(broker: i32, life: u8) -> BrokerRegistrationRequest {
    let feature = |name: &str, most| Feature { name: name.to_owned(), min_supported_version: 0, max_supported_version: most };
    let mut incarnation = incarnation(broker);
    incarnation.0[0] = life;
    BrokerRegistrationRequest {
        broker_id: BrokerId(broker),
        cluster_id: "cluster".to_owned(),
        incarnation_id: incarnation,
        listeners: vec![Listener {
            name: "PLAINTEXT".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 9092,
            security_protocol: 0,
        }],
        features: vec![feature(ELIGIBLE_LEADER_REPLICAS, 1), feature(METADATA_VERSION_NAME, 30)],
        log_dirs: vec![directory(broker)],
        ..Default::default()
    }
}
