//! The controller is told in which log directories this broker's replicas lie (AssignReplicasToDirs, KIP-858).
//!
//! What it is to be told is kept until it is committed: one request is under way at a time, and what is wanted meanwhile goes with the
//! next one. Source: AssignmentsManager.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{BrokerId, TopicId, Uuid};
use strandline_protocol::messages::assign_replicas_to_dirs::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, RequestDirectoryData, RequestPartitionData, RequestTopicData,
};

use crate::broker::Broker;
use crate::controller_channel;
use crate::image::topics::Partition;
use crate::io::{Asker, Effect, Now, Tag};

/// Partitions told of in one request at most. Source: AssignReplicasToDirsRequest.MAX_ASSIGNMENTS_PER_REQUEST.
const PARTITIONS_MAX: usize = 2250;

/// A partition.
pub(crate) type Key = (TopicId, i32);

#[derive(Debug, Default)]
pub(crate) struct Assignments {
    /// What the controller is to be told.
    wanted: BTreeMap<Key, Uuid>,
    /// What the request under way tells.
    under_way: Option<BTreeMap<Key, Uuid>>,
    not_before_ms: u64,
}

impl Assignments {
    /// The controller is to know that the partition's replica lies there.
    pub(crate) fn want(&mut self, key: Key, directory: Uuid) {
        if self.wanted.insert(key, directory) != Some(directory) {
            self.not_before_ms = 0;
        }
    }

    /// It knows, or need not.
    pub(crate) fn forget(&mut self, key: Key) {
        self.wanted.remove(&key);
    }

    /// Whether the controller is being told something of the partition, or is to be.
    pub(crate) fn is_telling(&self, key: Key) -> bool {
        self.wanted.contains_key(&key) || self.under_way.as_ref().is_some_and(|told| told.contains_key(&key))
    }

    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        (!self.wanted.is_empty() && self.under_way.is_none()).then_some(self.not_before_ms)
    }
}

/// Sees to it that the controller knows where a hosted replica lies, of which it has this state.
pub(crate) fn tell_where(broker: &mut Broker, key: Key, state: &Partition) {
    let lies = match broker.replicas.slot(key.0, key.1) {
        // A replica that moves is told to be there when it is as good as there.
        Some(slot) => match broker.moves.told(slot) {
            Some(target) => broker.log_dirs.id_of(target),
            None => broker.directory_of(slot),
        },
        None => broker.moves.astray(key),
    };
    // Metadata of early versions knows no directories.
    match (lies, state.directory_of(broker.identity.node_id)) {
        (Some(lies), Some(held)) if held != lies => broker.assignments.want(key, lies),
        _ => broker.assignments.forget(key),
    }
}

/// The same for whatever the committed state is.
pub(crate) fn tell_again(broker: &mut Broker, key: Key) {
    let state = broker.image.topics.by_id(key.0).and_then(|topic| topic.partitions.get(&key.1)).cloned();
    if let Some(state) = state {
        tell_where(broker, key, &state);
    }
}

/// Tells the controller what it is to be told.
pub(crate) fn ask(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    if broker.assignments.next_due_ms().is_none_or(|due_ms| due_ms > now.monotonic_ms) {
        return;
    }
    let mut request = AssignReplicasToDirsRequest {
        broker_id: BrokerId(broker.identity.node_id),
        broker_epoch: broker.identity.epoch,
        directories: Vec::new(),
    };
    let told: BTreeMap<Key, Uuid> =
        broker.assignments.wanted.iter().take(PARTITIONS_MAX).map(|(key, directory)| (*key, *directory)).collect();
    for ((topic, partition), directory) in &told {
        add(&mut request, *directory, *topic, *partition);
    }
    broker.assignments.not_before_ms = now.monotonic_ms + broker.settings.replica_backoff_ms;
    let tag = Tag { asker: Asker::Directories, number: 0 };
    // If nobody leads, it is told again.
    broker.assignments.under_way = controller_channel::ask(broker, now, tag, request.into(), outbox).is_ok().then_some(told);
}

fn add(request: &mut AssignReplicasToDirsRequest, directory: Uuid, topic: TopicId, partition: i32) {
    let partition = RequestPartitionData { partition_index: partition };
    let known = request.directories.iter_mut().find(|known| known.id == directory);
    match known {
        Some(known) => match known.topics.last_mut().filter(|known| known.topic_id == topic) {
            Some(known) => known.partitions.push(partition),
            None => known.topics.push(RequestTopicData { topic_id: topic, partitions: vec![partition] }),
        },
        None => {
            let topics = vec![RequestTopicData { topic_id: topic, partitions: vec![partition] }];
            request.directories.push(RequestDirectoryData { id: directory, topics });
        }
    }
}

/// The controller answered, when what it took was committed, or it did not. What it refused is told again.
pub(crate) fn answered(broker: &mut Broker, now: Now, response: Option<Response>) {
    let told = broker.assignments.under_way.take().unwrap_or_default();
    let taken = match response {
        Some(Response::AssignReplicasToDirs(response)) if response.error_code == ErrorCode::NONE => taken(&response),
        _ => BTreeSet::new(),
    };
    for (key, directory) in &told {
        broker.moves.review(*key);
        if taken.contains(key) && broker.assignments.wanted.get(key) == Some(directory) {
            broker.assignments.wanted.remove(key);
        }
    }
    let pause_ms = if taken.len() == told.len() { 0 } else { broker.settings.replica_backoff_ms };
    broker.assignments.not_before_ms = now.monotonic_ms + pause_ms;
}

fn taken(response: &AssignReplicasToDirsResponse) -> BTreeSet<Key> {
    let topics = response.directories.iter().flat_map(|directory| &directory.topics);
    let partitions = topics.flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, partition)));
    let taken = partitions.filter(|(_, partition)| partition.error_code == ErrorCode::NONE);
    taken.map(|(topic, partition)| (topic, partition.partition_index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_every_directory_once() {
        let mut request = AssignReplicasToDirsRequest::default();
        let (left, right) = (Uuid([7; 16]), Uuid([8; 16]));
        for (directory, topic, partition) in [(left, 1, 0), (right, 1, 1), (left, 1, 2), (left, 2, 0)] {
            add(&mut request, directory, TopicId([topic; 16]), partition);
        }
        let said = request.directories.iter().map(|directory| {
            let of = |topic: &RequestTopicData| (topic.topic_id.0[0], topic.partitions.len());
            (directory.id.0[0], directory.topics.iter().map(of).collect::<Vec<_>>())
        });
        assert_eq!(said.collect::<Vec<_>>(), [(7, vec![(1, 2), (2, 1)]), (8, vec![(1, 1)])]);
    }
}
