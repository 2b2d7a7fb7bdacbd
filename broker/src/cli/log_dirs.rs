//! Replicas moved from one log directory of a broker to another: begun, taken back, and watched until they have arrived.

use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use strandline_client::{Admin, BrokerId, LogDirectory, PlacedReplica};

use crate::cli::Failure;
use crate::cli::exit::told;

/// How often the broker is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// A partition by topic and number.
type Key = (String, i32);

/// Begins moves to a directory of the broker. Those that are refused are told; the others go on.
pub(super) async fn begin(admin: &Admin, broker: BrokerId, path: &str, partitions: &[Key]) -> Result<(), Failure> {
    let mut failed = 0;
    for ((topic, partition), result) in admin.move_to_log_dir(broker, path, partitions.iter().cloned()).await? {
        if let Err(error) = result {
            failed += 1;
            eprintln!("{topic}:{partition}: {}", told(&error));
        }
    }
    if failed > 0 { Err(Failure::Some { failed, all: partitions.len() }) } else { Ok(()) }
}

/// Takes moves back: every replica stays in the directory that it lies in.
pub(super) async fn cancel(admin: &Admin, broker: BrokerId, partitions: &[Key]) -> Result<(), Failure> {
    let directories = directories(admin, broker).await?;
    for key in partitions {
        let home = directories.iter().find(|directory| find(directory, key, false).is_some());
        let home = home.ok_or_else(|| not_there(key, broker))?;
        begin(admin, broker, &home.path, std::slice::from_ref(key)).await?;
    }
    Ok(())
}

/// Waits until all of the partitions lie in the directory, with a bar.
pub(super) async fn wait(admin: &Admin, broker: BrokerId, path: &str, partitions: &[Key]) -> Result<(), Failure> {
    let bar = ProgressBar::with_draw_target(Some(partitions.len() as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} partitions moved{msg}  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    loop {
        let way = Way::of(&directories(admin, broker).await?, broker, path, partitions)?;
        bar.set_position(way.arrived);
        bar.set_message(format!(", {} of {}", HumanBytes(way.copied_bytes), HumanBytes(way.bytes)));
        if way.arrived == partitions.len() as u64 {
            bar.finish_and_clear();
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn directories(admin: &Admin, broker: BrokerId) -> Result<Vec<LogDirectory>, Failure> {
    Ok(admin.describe_log_dirs(broker).await?.into_iter().filter_map(|(_, directory)| directory.ok()).collect())
}

/// How far moves to one directory are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Way {
    arrived: u64,
    bytes: u64,
    copied_bytes: u64,
}

impl Way {
    fn of(directories: &[LogDirectory], broker: BrokerId, path: &str, partitions: &[Key]) -> Result<Self, Failure> {
        let mut way = Self::default();
        for key in partitions {
            let home = directories.iter().find_map(|directory| Some((directory, find(directory, key, false)?)));
            let (home, replica) = home.ok_or_else(|| not_there(key, broker))?;
            way.bytes += replica.bytes;
            if home.path == path {
                way.arrived += 1;
                way.copied_bytes += replica.bytes;
                continue;
            }
            let target = directories.iter().find(|directory| directory.path == path);
            let copy = target.and_then(|directory| find(directory, key, true)).ok_or_else(|| Failure::NotMoving {
                topic: key.0.clone(),
                partition: key.1,
                path: path.to_owned(),
            })?;
            way.copied_bytes += copy.bytes.min(replica.bytes);
        }
        Ok(way)
    }
}

fn find<'a>(directory: &'a LogDirectory, key: &Key, is_copy: bool) -> Option<&'a PlacedReplica> {
    let is_wanted =
        |replica: &&PlacedReplica| replica.topic == key.0 && replica.partition == key.1 && replica.is_copy == is_copy;
    directory.replicas.iter().find(is_wanted)
}

fn not_there(key: &Key, broker: BrokerId) -> Failure {
    Failure::NotOnBroker { topic: key.0.clone(), partition: key.1, broker: broker.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replicas of `orders` in a directory: partition, size, and whether it is a copy.
    fn directory(path: &str, replicas: &[(i32, u64, bool)]) -> LogDirectory {
        let placed = |(partition, bytes, is_copy): &(i32, u64, bool)| PlacedReplica {
            topic: "orders".to_owned(),
            partition: *partition,
            bytes: *bytes,
            lag: Some(0),
            is_copy: *is_copy,
        };
        LogDirectory {
            path: path.to_owned(),
            total_bytes: None,
            usable_bytes: None,
            replicas: replicas.iter().map(placed).collect(),
        }
    }

    fn way(directories: &[LogDirectory], partitions: &[i32]) -> Result<Way, Failure> {
        let keys: Vec<Key> = partitions.iter().map(|partition| ("orders".to_owned(), *partition)).collect();
        Way::of(directories, BrokerId(1), "/new", &keys)
    }

    #[test]
    fn what_has_arrived_and_what_is_copied_is_counted() {
        let old = directory("/old", &[(0, 100, false), (2, 7, false)]);
        let new = directory("/new", &[(0, 30, true), (1, 50, false)]);
        let found = way(&[old, new], &[0, 1]).unwrap();
        assert_eq!(found, Way { arrived: 1, bytes: 150, copied_bytes: 80 });
    }

    #[test]
    fn a_move_that_came_to_nothing_and_a_replica_elsewhere_are_told() {
        let directories = [directory("/old", &[(0, 100, false)]), directory("/new", &[])];
        assert!(matches!(way(&directories, &[0]), Err(Failure::NotMoving { partition: 0, .. })));
        assert!(matches!(way(&directories, &[5]), Err(Failure::NotOnBroker { partition: 5, broker: 1, .. })));
    }
}
