//! What a node is made of: the start's findings put together. Everything here was read by the rim; nothing is read here.

use strandline_protocol::ids::Uuid;

use crate::broker::{Broker, Identity, Parts};
use crate::config::BrokerConfig;
use crate::controller::Controller;
use crate::dice::Dice;
use crate::directory::Directory;
use crate::metadata_log::{LoadedMetadata, metadata_log_config};
use crate::node::{Node, RecoveredPartition};
use crate::offline::{Offline, OfflinePartition};
use crate::settings::Settings;
use crate::snapshot::Snapshots;
use crate::topology::Topology;

/// A start's findings.
pub struct Boot {
    pub config: BrokerConfig,
    /// Where it stands in the cluster; read from `config`.
    pub topology: Topology,
    pub cluster_id: String,
    /// Of the log directory.
    pub directory: Uuid,
    /// For topic ids, the incarnation and whatever else is left to chance.
    pub seed: u64,
    pub metadata: LoadedMetadata,
    pub recovered: Vec<RecoveredPartition>,
    /// What was set aside.
    pub offline: Vec<OfflinePartition>,
}

impl Boot {
    /// Makes the node; [`Node::start`] is its first step.
    pub fn node(self) -> Node {
        let mut dice = Dice::new(self.seed);
        let settings = Settings::read(&self.config);
        let identity = Identity {
            node_id: i32::try_from(self.config.number("node.id")).unwrap_or(i32::MAX),
            cluster_id: self.cluster_id,
            directory: self.directory,
            incarnation: dice.uuid(),
            epoch: -1,
        };
        let mut log = self.metadata.log;
        log.set_config(metadata_log_config(&self.config));
        let snapshots = Snapshots::new(&self.config, self.metadata.snapshots, &log);
        let controller = Controller::new(log, self.metadata.image.clone(), self.metadata.epoch);
        let parts = Parts {
            identity,
            config: self.config,
            topology: self.topology,
            settings,
            image: self.metadata.image,
            controller,
            snapshots,
            offline: Offline::new(self.offline),
            directory: Directory::default(),
            dice,
        };
        Node::new(Broker::new(parts), self.recovered)
    }
}
