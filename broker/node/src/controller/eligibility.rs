//! Another minimum of in-sync replicas: who stayed eligible below the old one may not be so under the new one.
//!
//! Below the minimum nothing is acknowledged, so whoever left meanwhile still has everything. With a lower minimum the rest may
//! acknowledge alone from then on: the others must have lost their eligibility before any leader learns of it. So these
//! records stand before the one that changes the key, in the same batch.

use strandline_protocol::metadata::MetadataRecord;

use super::fencing::Cluster;
use super::partition_change::PartitionChange;
use super::terms::{Electorate, Terms};
use crate::image::topics::Topic;

/// Takes eligibility back where `min_isr` of the topics that are `concerned` leaves it no ground.
pub(crate) fn reconsider(cluster: Cluster<'_>, min_isr: usize, concerned: impl Fn(&Topic) -> bool) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in cluster.image.topics.iter().filter(|topic| concerned(topic)) {
        let mut partitions = topic.partitions.iter().filter(|(_, partition)| !partition.elr.is_empty()).peekable();
        if partitions.peek().is_none() {
            continue;
        }
        let terms = Terms { min_isr, ..Terms::of(cluster.image, cluster.start, topic) };
        for (index, partition) in partitions {
            let change = PartitionChange::of(topic.id, *index, partition);
            records.extend(change.record(Electorate::of(cluster.image), terms).map(MetadataRecord::from));
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::worlds::World;

    #[test]
    fn a_lower_minimum_ends_eligibility_only_where_the_rest_may_acknowledge_alone() {
        let mut world = World::new(&[1, 2, 3]);
        world.topic(&[1, 2, 3], &[1, 2, 3], &[("min.insync.replicas", "3")]);
        for broker in [2, 3] {
            let known = world.image.brokers.get(broker).expect("registered").clone();
            let records = Cluster { image: &world.image, start: &world.start }.fence(&known);
            records.into_iter().for_each(|record| world.apply(record));
        }
        assert_eq!((world.partition().isr.clone(), world.partition().elr.clone()), (vec![1], vec![2, 3]));
        let changes =
            |world: &World, min_isr| reconsider(Cluster { image: &world.image, start: &world.start }, min_isr, |_| true);
        assert_eq!(changes(&world, 2), []);
        changes(&world, 1).into_iter().for_each(|record| world.apply(record));
        assert_eq!((world.partition().isr.clone(), world.partition().elr.clone()), (vec![1], vec![]));
    }
}
