//! How far the groups of this broker are behind: a look, for metrics and pages. Nothing is counted or kept here.
//!
//! The end of a partition is its high watermark, as far as this broker knows it: of those that it does not host as their leaders
//! told it last ([`super::distant`]).

use strandline_log::slice::{FirstBatch, Slice};
use strandline_protocol::ids::{GroupId, Offset, TopicName};

use super::shard::{Phase, Shard};
use super::state::State;
use crate::broker::Broker;
use crate::node::Node;

/// Bytes that are read to find the batch at a committed offset; a larger batch is read whole.
const BATCH_BYTES: u32 = 4 << 10;

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    pub group: GroupId,
    /// `classic` or `consumer`.
    pub kind: &'static str,
    pub protocol_type: String,
    pub state: &'static str,
    pub members: usize,
}

/// Where a group stands in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStanding {
    pub group: GroupId,
    pub topic: TopicName,
    pub partition: i32,
    pub committed: Offset,
    /// `None` if it is not known here.
    pub end: Option<Offset>,
    /// The batch that holds the committed offset, or where it lies; nothing if nobody wants it.
    pub batch: Vec<Slice>,
    /// When that batch was written, if the partition's leader has said it.
    pub timestamp_ms: Option<i64>,
}

/// What a look finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    pub groups: Vec<GroupSummary>,
    pub partitions: Vec<GroupStanding>,
    /// Partitions of groups that were left out, because there are too many.
    pub left_out: usize,
}

impl GroupStanding {
    /// Offsets between the committed one and the end.
    pub fn lag(&self) -> Option<i64> {
        self.end.map(|end| end.distance_from(self.committed).max(0))
    }
}

impl Node {
    /// Looks at every group that this broker coordinates, and at most so many of their partitions. Of those for which
    /// `wants_batch` says so the batch at the committed offset is looked up, if the group is behind.
    pub fn standings(&self, partitions_max: usize, wants_batch: impl Fn(&GroupStanding) -> bool) -> Standings {
        let broker = &self.broker;
        let active = |shard: &&Shard| shard.phase == Phase::Active;
        let mut standings = Standings::default();
        for shard in broker.coordinators.shards.values().filter(active) {
            let State::Groups(groups) = &shard.state else { continue };
            standings.groups.extend(groups.summaries());
            for (group, (topic, partition), committed) in groups.committed() {
                if standings.partitions.len() == partitions_max {
                    standings.left_out += 1;
                    continue;
                }
                let mut standing = GroupStanding {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: *partition,
                    committed,
                    end: None,
                    batch: Vec::new(),
                    timestamp_ms: None,
                };
                look_at_partition(broker, &mut standing, &wants_batch);
                standings.partitions.push(standing);
            }
        }
        standings
    }

    /// Whether answers of leaders are to come, for which [`crate::io::Input::LookAtLag`] asked.
    pub fn is_asking_for_lag(&self) -> bool {
        self.broker.coordinators.distant.is_asking()
    }

    /// The configured bound of [`Node::standings`].
    pub fn standings_max(&self) -> usize {
        self.broker.coordinators.settings.lag_partitions_max
    }
}

fn look_at_partition(broker: &Broker, standing: &mut GroupStanding, wants_batch: impl Fn(&GroupStanding) -> bool) {
    let topic = broker.image.topics.id_of(&standing.topic);
    let Some(slot) = topic.and_then(|topic| broker.replicas.slot(topic, standing.partition)) else {
        let (distant, place) = (&broker.coordinators.distant, (standing.topic.clone(), standing.partition));
        standing.end = distant.end(&place);
        standing.timestamp_ms = standing.end.and_then(|_| distant.time(&place, standing.committed));
        return;
    };
    let Some(replica) = broker.replicas.get(slot).filter(|replica| !replica.deleted) else { return };
    let end = replica.high_watermark();
    standing.end = Some(end);
    let from = standing.committed.max(replica.log_start());
    if from < end && wants_batch(standing) {
        let read = replica.log.read(from, end, BATCH_BYTES, FirstBatch::Whole);
        standing.batch = read.map(|read| read.slices).unwrap_or_default();
    }
}
