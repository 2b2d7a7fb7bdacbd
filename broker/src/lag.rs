//! How far groups are behind in time: the age of the first record that is not committed, by the time of its batch.
//!
//! Where that batch lies the node says; it is read on a thread that may wait, once for every committed offset, and kept
//! until the group commits further. Of partitions that are not hosted here the node asks the leaders. A look costs what has changed since the last one, and no more than
//! [`BATCHES_PER_LOOK`] reads: with more, the next looks find the rest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strandline_log::cut::answer;
use strandline_log::disk::Files;
use strandline_log::slice::Slice;
use strandline_node::Node;
use strandline_node::coordinator::standing::{GroupStanding, Standings};
use strandline_node::io::Input;
use strandline_protocol::ids::Offset;
use strandline_protocol::records::BatchHeader;

use crate::rim::Rim;
use crate::shell::{Shell, Submit};

/// Batches that are read for one look: a few megabytes at most where batches are small, some tens of milliseconds.
const BATCHES_PER_LOOK: usize = 256;

/// How long a look waits for them. What a slow disk gives later is there for the next look.
const READ_PATIENCE: Duration = Duration::from_millis(300);

/// How often the node is asked whether leaders have answered.
const ASKED_AGAIN: Duration = Duration::from_millis(5);

/// A partition of a group.
type Key = (String, String, i32);

/// What is known of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    committed: Offset,
    /// Of the batch at that offset; none if it cannot be read.
    timestamp_ms: Option<i64>,
}

#[derive(Debug, Default)]
pub(crate) struct Lag {
    known: Mutex<BTreeMap<Key, Known>>,
    reading: AtomicBool,
}

/// A partition of a group with its lag.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    pub(crate) standing: GroupStanding,
    /// `None` if it is not known, or not yet.
    pub(crate) seconds: Option<f64>,
}

impl Lag {
    /// Looks at all groups of this broker.
    pub(crate) async fn look(self: &Arc<Self>, shell: &Arc<Shell<Node, Rim>>, now_ms: i64) -> (Standings, Vec<Behind>) {
        ask_leaders(shell).await;
        let mut standings = {
            let known = self.known();
            let is_new =
                |standing: &GroupStanding| known.get(&key(standing)).is_none_or(|known| known.committed != standing.committed);
            shell.look(|node| node.standings(node.standings_max(), is_new))
        };
        self.read(shell, &mut standings.partitions).await;
        let mut known = self.known();
        let mut kept = BTreeMap::new();
        let partitions = std::mem::take(&mut standings.partitions);
        let behind = partitions.into_iter().map(|standing| {
            let key = key(&standing);
            let at = known.remove(&key).filter(|known| known.committed == standing.committed);
            kept.extend(at.map(|at| (key, at)));
            let age = |timestamp_ms: i64| (now_ms - timestamp_ms).max(0) as f64 / 1000.0;
            let seconds = match standing.lag() {
                Some(0) => Some(0.0),
                Some(_) => at.and_then(|at| at.timestamp_ms).or(standing.timestamp_ms).map(age),
                None => None,
            };
            Behind { standing, seconds }
        });
        let behind = behind.collect();
        *known = kept;
        drop(known);
        (standings, behind)
    }

    /// Reads the batches that are not known yet, unless a look before still does.
    async fn read(self: &Arc<Self>, shell: &Arc<Shell<Node, Rim>>, partitions: &mut [GroupStanding]) {
        let wanted = partitions.iter_mut().filter(|standing| !standing.batch.is_empty()).take(BATCHES_PER_LOOK);
        let wanted: Vec<(Key, Offset, Vec<Slice>)> =
            wanted.map(|one| (key(one), one.committed, std::mem::take(&mut one.batch))).collect();
        if wanted.is_empty() || self.reading.swap(true, Ordering::AcqRel) {
            return;
        }
        let (lag, disk) = (Arc::clone(self), Arc::clone(&shell.executors().disk));
        let reading = shell.executors().threads.spawn_blocking(move || {
            for (key, committed, slices) in wanted {
                let timestamp_ms = time_of(disk.reader().files(), &slices);
                lag.known().insert(key, Known { committed, timestamp_ms });
            }
            lag.reading.store(false, Ordering::Release);
        });
        // A disk that is too slow for this look is not waited for.
        let _ = tokio::time::timeout(READ_PATIENCE, reading).await;
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Key, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What leaders do not answer soon is there for the next look.
async fn ask_leaders(shell: &Arc<Shell<Node, Rim>>) {
    shell.submit(&mut vec![Input::LookAtLag]);
    let answered = async {
        while shell.look(Node::is_asking_for_lag) {
            tokio::time::sleep(ASKED_AGAIN).await;
        }
    };
    let _ = tokio::time::timeout(READ_PATIENCE, answered).await;
}

fn key(standing: &GroupStanding) -> Key {
    (standing.group.to_string(), standing.topic.to_string(), standing.partition)
}

/// When the first batch was written; none if it cannot be read, or its producer gave no time.
fn time_of(files: &dyn Files, slices: &[Slice]) -> Option<i64> {
    let bytes = answer(files, slices).ok()?.into_iter().next()?;
    BatchHeader::parse(&bytes).ok()?.first_timestamp()
}
