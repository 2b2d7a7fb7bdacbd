//! The log directories of this broker: what they are called, and which of them work.
//!
//! Inside of a process they are known by their place ([`LogDir`]): first the one of the metadata log, then the others as they are
//! configured. The cluster knows them by their ids (KIP-858): a partition says by id where its replica lies.
//!
//! A directory that failed stays offline while the process lives. Its partitions are [`crate::offline`]. Source: LogManager.

use strandline_log::disk::LogDir;
use strandline_protocol::ids::Uuid;

/// One directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirectory {
    /// Not known of one that could not be opened.
    pub id: Option<Uuid>,
    /// As users know it.
    pub path: String,
    /// `log.dirs` names it; otherwise the metadata log alone lies there.
    pub takes_partitions: bool,
    /// Why it is offline.
    pub failed: Option<String>,
}

impl LogDirectory {
    /// Whether partitions are served from it.
    pub fn is_online(&self) -> bool {
        self.takes_partitions && self.failed.is_none()
    }
}

/// All of them; the first one holds the metadata log.
#[derive(Clone, Debug)]
pub struct LogDirs {
    by_place: Vec<LogDirectory>,
}

impl LogDirs {
    /// # Panics
    /// Without any.
    pub fn new(by_place: Vec<LogDirectory>) -> Self {
        assert!(!by_place.is_empty(), "the metadata log lies somewhere");
        Self { by_place }
    }

    /// A single directory for everything.
    pub fn single(id: Uuid, path: &str) -> Self {
        Self::new(vec![LogDirectory { id: Some(id), path: path.to_owned(), takes_partitions: true, failed: None }])
    }

    pub fn get(&self, place: LogDir) -> Option<&LogDirectory> {
        self.by_place.get(usize::from(place.0))
    }

    pub fn iter(&self) -> impl Iterator<Item = (LogDir, &LogDirectory)> {
        (0..).map(LogDir).zip(&self.by_place)
    }

    pub fn is_working(&self, place: LogDir) -> bool {
        self.get(place).is_some_and(|directory| directory.failed.is_none())
    }

    /// A directory failed.
    pub fn fail(&mut self, place: LogDir, reason: String) {
        if let Some(directory) = self.by_place.get_mut(usize::from(place.0)) {
            directory.failed = Some(reason);
        }
    }

    /// What the cluster knows those by that partitions were served from and are not any more.
    pub fn failed_ids(&self) -> Vec<Uuid> {
        let failed = self.by_place.iter().filter(|directory| directory.takes_partitions && directory.failed.is_some());
        failed.filter_map(|directory| directory.id).collect()
    }

    /// Those that can be written to, the metadata log's among them.
    pub fn working(&self) -> impl Iterator<Item = LogDir> {
        self.iter().filter(|(_, directory)| directory.failed.is_none()).map(|(place, _)| place)
    }

    /// Those that partitions are served from.
    pub fn online(&self) -> impl Iterator<Item = LogDir> {
        self.iter().filter(|(_, directory)| directory.is_online()).map(|(place, _)| place)
    }

    /// What the cluster knows the ones by that partitions are served from.
    pub fn online_ids(&self) -> Vec<Uuid> {
        self.by_place.iter().filter(|directory| directory.is_online()).filter_map(|directory| directory.id).collect()
    }

    /// The id of the directory of the metadata log.
    pub fn metadata_id(&self) -> Uuid {
        self.by_place[0].id.unwrap_or(Uuid::ZERO)
    }

    pub fn id_of(&self, place: LogDir) -> Option<Uuid> {
        self.get(place)?.id
    }

    /// The directory with this id, if partitions are served from it.
    pub fn online_place_of(&self, id: Uuid) -> Option<LogDir> {
        self.iter().find(|(_, directory)| directory.is_online() && directory.id == Some(id)).map(|(place, _)| place)
    }

    /// Whether one that partitions were served from does not work.
    pub fn has_failed(&self) -> bool {
        self.by_place.iter().any(|directory| directory.takes_partitions && directory.failed.is_some())
    }

    /// Whether a replica of which the metadata says that it lies in `id` may be in a directory of this broker that does not
    /// work: it is known to be there, or there is one of which nothing is known.
    pub fn may_be_offline(&self, id: Uuid) -> bool {
        let mut failed = self.by_place.iter().filter(|directory| directory.takes_partitions && directory.failed.is_some());
        failed.any(|directory| directory.id.is_none_or(|known| known == id))
    }

    /// Where a new partition goes: the one of fewest partitions, the first of several. Source: LogManager.nextLogDirs.
    pub fn least_used(&self, partitions: impl Fn(LogDir) -> usize) -> Option<LogDir> {
        self.online().min_by_key(|place| partitions(*place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(failed: &[u16]) -> LogDirs {
        let directory = |place: u8| LogDirectory {
            id: Some(Uuid([place + 1; 16])),
            path: format!("/data/{place}"),
            takes_partitions: place > 0,
            failed: failed.contains(&u16::from(place)).then(|| "broken".to_owned()),
        };
        LogDirs::new((0..4).map(directory).collect())
    }

    #[test]
    fn a_new_partition_goes_where_fewest_are_and_never_to_what_failed() {
        let placed = |failed: &[u16], counts: [usize; 4]| dirs(failed).least_used(|place| counts[usize::from(place.0)]);
        assert_eq!(placed(&[], [0, 2, 1, 1]), Some(LogDir(2)));
        assert_eq!(placed(&[2], [0, 2, 1, 1]), Some(LogDir(3)));
        assert_eq!(placed(&[1, 2, 3], [0, 0, 0, 0]), None, "the metadata log's takes none");
    }

    #[test]
    fn an_id_that_nobody_here_has_may_be_that_of_a_directory_that_did_not_open() {
        let unknown = Uuid([77; 16]);
        assert!(!dirs(&[]).may_be_offline(unknown));
        assert!(!dirs(&[2]).may_be_offline(unknown));
        assert!(dirs(&[2]).may_be_offline(Uuid([3; 16])));
        let mut unreadable = dirs(&[2]);
        unreadable.by_place[2].id = None;
        assert!(unreadable.may_be_offline(unknown));
        assert_eq!(unreadable.online_ids(), [Uuid([2; 16]), Uuid([4; 16])]);
    }
}
