//! What a node is made of: the start's findings put together. Everything here was read by the rim; nothing is read here.

use crate::broker::{Broker, Identity, Parts};
use crate::config::BrokerConfig;
use crate::controller::{Beginning, Controller, SnapshotEnds};
use crate::dice::Dice;
use crate::directory::Directory;
use crate::image::Image;
use crate::log_dirs::LogDirs;
use crate::metadata_log::{LoadedMetadata, metadata_log_config};
use crate::node::{Node, RecoveredPartition};
use crate::offline::{Offline, OfflinePartition};
use crate::quorum::Quorum;
use crate::quorum::message::Kept;
use crate::settings::Settings;
use crate::snapshot::Snapshots;
use crate::topology::Topology;

/// A start's findings.
pub struct Boot {
    pub config: BrokerConfig,
    /// Where it stands in the cluster; read from `config`.
    pub topology: Topology,
    pub cluster_id: String,
    pub log_dirs: LogDirs,
    /// For topic ids, the incarnation and whatever else is left to chance.
    pub seed: u64,
    pub metadata: LoadedMetadata,
    pub recovered: Vec<RecoveredPartition>,
    /// Of the registration under which the directory was last closed in order; -1 if it was not.
    pub previous_broker_epoch: i64,
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
            directory: self.log_dirs.metadata_id(),
            incarnation: dice.uuid(),
            epoch: -1,
        };
        let mut metadata = self.metadata;
        metadata.log.set_config(metadata_log_config(&self.config));
        let snapshots = Snapshots::new(&self.config, std::mem::take(&mut metadata.snapshots), &metadata.log);
        let bootstrap = std::mem::take(&mut metadata.bootstrap);
        let ends = snapshots.ends();
        let (controller, image) = seat(metadata, ends, &self.topology, &settings, identity.node_id, dice.roll());
        let parts = Parts {
            identity,
            config: self.config,
            topology: self.topology,
            settings,
            image,
            controller,
            snapshots,
            bootstrap,
            offline: Offline::new(self.offline),
            log_dirs: self.log_dirs,
            directory: Directory::default(),
            dice,
            previous_epoch: self.previous_broker_epoch,
        };
        Node::new(Broker::new(parts), self.recovered)
    }
}

/// The controller's seat and the committed image. A sole voter's log is committed as far as it is durable, and it is; of
/// another one only the snapshot is known to be.
fn seat(
    metadata: LoadedMetadata,
    snapshots: SnapshotEnds,
    topology: &Topology,
    settings: &Settings,
    me: i32,
    seed: u64,
) -> (Controller, Image) {
    let mut voters: Vec<i32> = topology.voters.iter().map(|voter| voter.id).collect();
    if voters.is_empty() && topology.roles.controller {
        voters.push(me);
    }
    let kept = Kept { epoch: metadata.epoch, voted: metadata.voted, leader: None };
    let is_sole = voters == [me];
    let (image, uncommitted) =
        if is_sole { (metadata.image, Default::default()) } else { (metadata.snapshot, metadata.records) };
    let quorum = Quorum::new(me, &voters, settings.quorum, kept, image.end, seed);
    let begin = Beginning { log: metadata.log, image: image.clone(), uncommitted, snapshots, quorum };
    let controller = Controller::new(begin);
    (controller, image)
}
