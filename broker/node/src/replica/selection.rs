//! Which replica a consumer should read from (KIP-392): one in its own rack, so that records do not cross racks.
//!
//! Asked of the leader, for which each fetch is answered anew: a follower is named only while it is in sync, alive, and its log
//! holds what is asked for. Without `replica.selector.class`, or when the leader itself stands in that rack, consumers read from the leader.
//! Source: RackAwareReplicaSelector, ReplicaManager.findPreferredReadReplica.

use strandline_protocol::ids::Offset;

use crate::broker::Broker;
use crate::replica::{Replica, Role};

/// Kafka's names for what `replica.selector.class` may be.
pub(crate) const LEADER: &str = "org.apache.kafka.common.replica.LeaderSelector";
pub(crate) const RACK_AWARE: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// Another replica from which a consumer that stands in `rack` should read what lies at `from`; the one that has come furthest.
pub(crate) fn nearer(broker: &Broker, replica: &Replica, rack: &str, from: Offset) -> Option<i32> {
    let Role::Leader(leader) = &replica.role else { return None };
    let own = broker.settings.rack.as_deref();
    if !broker.settings.selects_by_rack || rack.is_empty() || own == Some(rack) {
        return None;
    }
    let stands_there = |id: i32| {
        let known = broker.image.brokers.get(id);
        known.is_some_and(|known| known.is_active() && known.rack.as_deref() == Some(rack))
    };
    leader.holders(from).filter(|(id, _)| stands_there(*id)).map(|(id, end)| (end, id)).max().map(|(_, id)| id)
}
