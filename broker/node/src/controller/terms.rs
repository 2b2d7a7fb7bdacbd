//! What the cluster asks of a change to a partition: who may lead it, how many in-sync replicas make it safe, and in which
//! directory a new replica lies.

use strandline_protocol::ids::Uuid;

use crate::config::{BrokerConfig, topic_row};
use crate::features::ELIGIBLE_LEADER_REPLICAS;
use crate::image::Image;
use crate::image::topics::Topic;

/// Who may lead. A decision about one broker looks at the cluster as it will be when the decision holds.
#[derive(Clone, Copy)]
pub(crate) struct Electorate<'a> {
    image: &'a Image,
    /// Leaves: may not lead, whatever the image says.
    without: Option<i32>,
    /// Comes: may lead, although the image still has it fenced.
    with: Option<i32>,
}

impl<'a> Electorate<'a> {
    /// The cluster as it is.
    pub(crate) fn of(image: &'a Image) -> Self {
        Self { image, without: None, with: None }
    }

    /// The cluster once `broker` has left.
    pub(crate) fn without(image: &'a Image, broker: i32) -> Self {
        Self { without: Some(broker), ..Self::of(image) }
    }

    /// The cluster once `broker` is unfenced.
    pub(crate) fn with(image: &'a Image, broker: i32) -> Self {
        Self { with: Some(broker), ..Self::of(image) }
    }

    /// Whether a broker may lead a partition: it is alive, and so is the directory that its replica lies in.
    pub(crate) fn may_lead(&self, broker: i32, lies: Option<Uuid>) -> bool {
        if self.without == Some(broker) {
            return false;
        }
        let comes = self.with == Some(broker);
        self.image.brokers.get(broker).is_some_and(|known| (comes || known.is_active()) && known.has_online(lies))
    }

    /// Where a new replica of a broker lies: known if the broker has one directory, otherwise it will tell.
    /// Source: ClusterControlManager.defaultDir.
    pub(crate) fn directory(&self, broker: i32) -> Uuid {
        match self.image.brokers.get(broker).map(|known| known.log_dirs.as_slice()) {
            Some([only]) => *only,
            _ => Uuid::UNASSIGNED_DIRECTORY,
        }
    }
}

/// What a topic asks of its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Eligible leader replicas are kept (KIP-966).
    pub eligible_replicas: bool,
    /// `min.insync.replicas`, not yet capped by the number of replicas.
    pub min_isr: usize,
    /// `durability=replicated`: a broker that crashed may have lost what it acknowledged. Otherwise all of it was on its device.
    pub forgets_in_crash: bool,
}

impl Terms {
    /// The terms of a topic. `start` are the controller's own keys: with eligible replicas all of the cluster goes by one number
    /// of in-sync replicas, so keys of single brokers do not count.
    pub(crate) fn of(image: &Image, start: &BrokerConfig, topic: &Topic) -> Self {
        let layers = image.cluster_layers(start);
        let overrides = image.topic_overrides(&topic.name);
        let text = |key: &str| topic_row(key).ok().and_then(|row| layers.topic_value(row, overrides).text).unwrap_or_default();
        Self {
            eligible_replicas: image.features.get(ELIGIBLE_LEADER_REPLICAS).is_some_and(|level| *level >= 1),
            min_isr: text("min.insync.replicas").parse().unwrap_or(1),
            forgets_in_crash: text("durability") == "replicated",
        }
    }
}
