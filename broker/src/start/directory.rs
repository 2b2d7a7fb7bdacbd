//! The data directories as a whole: made, locked, formatted, and whose they are.
//!
//! The first holds the metadata log, and without it nothing starts. Another one that cannot be read or written is offline: the process
//! starts without it. Source: LogManager, MetaPropertiesEnsemble.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use strandline_log::disk::LogDir;
use strandline_log::meta_properties::MetaProperties;
use strandline_log::names::{CLEAN_SHUTDOWN, META_PROPERTIES};
use strandline_node::config::BrokerConfig;
use strandline_node::log_dirs::{LogDirectory, LogDirs};
use strandline_node::metadata_log::bootstrap::BOOTSTRAP_CHECKPOINT;
use strandline_protocol::ids::{BrokerId, Uuid};

use super::StartError;
use super::settings::DataPlan;
use crate::disk::files::{Roots, sync_directory};
use crate::disk::operations::replace;

const LOCK: &str = ".lock";
/// Names that an empty directory may have: what file systems and this program put there by themselves.
const HARMLESS: &[&str] = &[LOCK, "lost+found"];

/// The data directories, ours while the value lives.
pub(crate) struct DataDirectories {
    pub(crate) cluster_id: String,
    by_place: Vec<DataDirectory>,
    first_takes_partitions: bool,
}

/// One of them.
struct DataDirectory {
    root: PathBuf,
    /// As users named it, from the root of the file system on.
    path: PathBuf,
    id: Option<Uuid>,
    /// Why it is offline.
    failed: Option<String>,
    _lock: Option<File>,
}

/// A directory that was looked at and locked.
struct Found {
    root: PathBuf,
    lock: File,
    /// `None` if it is not formatted.
    properties: Option<MetaProperties>,
}

impl DataDirectories {
    /// Makes directories that are missing, locks all of them, and formats those that are empty. `config` gets the node id of the
    /// directories if it has none of its own.
    ///
    /// # Errors
    /// [`StartError`] if the first cannot be used, or any of them is in use, or belongs to another node or cluster.
    pub(crate) fn open(plan: &DataPlan, config: &mut BrokerConfig) -> Result<Self, StartError> {
        let found = Self::find(plan)?;
        let (cluster_id, node_id) = whose(&found, config)?;
        let mut by_place = Vec::with_capacity(found.len());
        for (path, found) in plan.roots.iter().zip(found) {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            by_place.push(match found.and_then(|found| found.formatted(&cluster_id, node_id)) {
                Ok((root, id, lock)) => DataDirectory { root, path, id: Some(id), failed: None, _lock: Some(lock) },
                Err(error) if !by_place.is_empty() => {
                    tracing::error!(directory = %path.display(), %error, "the log directory is offline");
                    DataDirectory { root: path.clone(), path, id: None, failed: Some(error.to_string()), _lock: None }
                }
                Err(error) => return Err(error),
            });
        }
        config.set("node.id", node_id.to_string())?;
        let directories = Self { cluster_id, by_place, first_takes_partitions: plan.first_takes_partitions };
        directories.check()?;
        Ok(directories)
    }

    /// Looks at all of them. What cannot be used is no failure yet.
    fn find(plan: &DataPlan) -> Result<Vec<Result<Found, StartError>>, StartError> {
        let mut all: Vec<Result<Found, StartError>> = Vec::with_capacity(plan.roots.len());
        for root in &plan.roots {
            if let Ok(canonical) = root.canonicalize()
                && let Some(other) = all.iter().flatten().find(|found| found.root == canonical)
            {
                return Err(StartError::Same { directory: root.clone(), other: other.root.clone() });
            }
            match Found::open(root) {
                Err(error) if !matches!(error, StartError::Directory { .. }) => return Err(error),
                found => all.push(found),
            }
        }
        Ok(all)
    }

    fn check(&self) -> Result<(), StartError> {
        for (place, directory) in self.by_place.iter().enumerate() {
            let other = self.by_place[..place].iter().find(|other| other.id.is_some() && other.id == directory.id);
            if let Some(other) = other {
                return Err(StartError::SameId { directory: directory.path.clone(), other: other.path.clone() });
            }
        }
        self.log_dirs().online().next().map(|_| ()).ok_or(StartError::NoneOnline)
    }

    /// What the node knows of them.
    pub(crate) fn log_dirs(&self) -> LogDirs {
        let known = |(place, directory): (usize, &DataDirectory)| LogDirectory {
            id: directory.id,
            path: directory.path.display().to_string(),
            takes_partitions: place > 0 || self.first_takes_partitions,
            failed: directory.failed.clone(),
        };
        LogDirs::new(self.by_place.iter().enumerate().map(known).collect())
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::new(self.by_place.iter().map(|directory| directory.root.clone()))
    }

    /// Those that work.
    pub(crate) fn working(&self) -> Vec<LogDir> {
        self.log_dirs().working().collect()
    }

    /// A directory turned out not to work.
    ///
    /// # Errors
    /// [`StartError::NoneOnline`] if it was the last one.
    pub(crate) fn fail(&mut self, log_dir: LogDir, reason: &StartError) -> Result<(), StartError> {
        if let Some(directory) = self.by_place.get_mut(usize::from(log_dir.0)) {
            tracing::error!(directory = %directory.path.display(), %reason, "the log directory is offline");
            directory.failed = Some(reason.to_string());
        }
        self.check()
    }

    /// Removes the marks of a clean shutdown, durably: from now on a crash is a crash.
    ///
    /// # Errors
    /// [`StartError::Directory`]
    pub(crate) fn begin(&self) -> Result<(), StartError> {
        for directory in self.by_place.iter().filter(|directory| directory.failed.is_none()) {
            let removed = match fs::remove_file(directory.root.join(CLEAN_SHUTDOWN)) {
                Ok(()) => sync_directory(&directory.root),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            };
            removed.map_err(|reason| StartError::Directory { directory: directory.root.clone(), reason })?;
        }
        Ok(())
    }
}

impl Found {
    /// Makes the directory if it is missing, and locks it.
    fn open(root: &Path) -> Result<Self, StartError> {
        let failed = |reason| StartError::Directory { directory: root.to_owned(), reason };
        fs::create_dir_all(root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        let lock = lock(&root)?;
        let file = root.join(META_PROPERTIES);
        let properties = match fs::read(&file) {
            Ok(contents) => {
                Some(MetaProperties::parse(&contents).map_err(|reason| StartError::MetaProperties { file, reason })?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                holds_nothing_but(&root, &[BOOTSTRAP_CHECKPOINT])?;
                None
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { root, lock, properties })
    }

    /// Formats the directory if it is not, and gives it an id if it has none: Kafka before 3.7 gave them none.
    fn formatted(self, cluster_id: &str, node_id: i32) -> Result<(PathBuf, Uuid, File), StartError> {
        let failed = |reason| StartError::Directory { directory: self.root.clone(), reason };
        if let Some(id) = self.properties.as_ref().and_then(|properties| properties.directory_id) {
            return Ok((self.root, id, self.lock));
        }
        let id = random_uuid().map_err(failed)?;
        write_properties(&self.root, cluster_id, node_id, id)?;
        Ok((self.root, id, self.lock))
    }
}

/// To which cluster and node the directories belong, or are to belong.
fn whose(found: &[Result<Found, StartError>], config: &BrokerConfig) -> Result<(String, i32), StartError> {
    let formatted = || found.iter().flatten().filter_map(|found| Some((&found.root, found.properties.as_ref()?)));
    let first = formatted().next().map(|(_, properties)| properties);
    let node_id = match first.filter(|_| config.given("node.id").is_none()) {
        Some(first) => i64::from(first.node_id.0),
        None => config.number("node.id"),
    };
    let cluster_id = match (config.given("cluster.id"), first) {
        (Some(given), _) => given.to_owned(),
        (None, Some(first)) => first.cluster_id.clone(),
        (None, None) => {
            let failed = |reason| StartError::Directory { directory: PathBuf::from("/dev/urandom"), reason };
            random_uuid().map_err(failed)?.to_string()
        }
    };
    for (root, properties) in formatted() {
        let directory = root.clone();
        if i64::from(properties.node_id.0) != node_id {
            return Err(StartError::OtherNode { directory, found: properties.node_id.0, wanted: node_id });
        }
        if properties.cluster_id != cluster_id {
            return Err(StartError::OtherCluster { directory, found: properties.cluster_id.clone(), wanted: cluster_id });
        }
    }
    Ok((cluster_id, i32::try_from(node_id).unwrap_or(i32::MAX)))
}

/// Takes the lock and writes the process id into it.
fn lock(root: &Path) -> Result<File, StartError> {
    let failed = |reason| StartError::Directory { directory: root.to_owned(), reason };
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(root.join(LOCK)).map_err(failed)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut process = String::new();
        // What another process writes there is only shown.
        let _ = file.read_to_string(&mut process);
        return Err(StartError::InUse { directory: root.to_owned(), process: process.trim().to_owned() });
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(failed)?;
    Ok(file)
}

/// What `format` does about directories that are formatted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Already {
    Refuse,
    LeaveAlone,
}

/// What was formatted.
pub(crate) struct Formatted {
    pub(crate) cluster_id: String,
    pub(crate) node_id: i32,
    pub(crate) directories: Vec<PathBuf>,
    /// Was formatted before.
    pub(crate) already: Vec<PathBuf>,
}

/// Formats directories for a new cluster, or a new node of one: what the cluster begins with first, and whose a directory is last,
/// so that a crash leaves it unformatted.
///
/// # Errors
/// [`StartError`] if one cannot be used, is in use, holds something else, or belongs to another node or cluster.
pub(crate) fn format_with(
    plan: &DataPlan,
    config: &BrokerConfig,
    bootstrap: &[u8],
    already: Already,
) -> Result<Formatted, StartError> {
    let found: Vec<Result<Found, StartError>> = DataDirectories::find(plan)?;
    let (cluster_id, node_id) = whose(&found, config)?;
    let mut formatted = Formatted { cluster_id, node_id, directories: Vec::new(), already: Vec::new() };
    let mut empty = Vec::new();
    for (place, found) in found.into_iter().enumerate() {
        let found = found?;
        match &found.properties {
            Some(_) => formatted.already.push(found.root),
            None => empty.push((place, found)),
        }
    }
    if already == Already::Refuse && !formatted.already.is_empty() {
        return Ok(formatted);
    }
    for (place, found) in empty {
        let failed = |reason| StartError::Directory { directory: found.root.clone(), reason };
        if place == 0 {
            replace(&found.root.join(BOOTSTRAP_CHECKPOINT), bootstrap).map_err(failed)?;
        }
        let (root, ..) = found.formatted(&formatted.cluster_id, formatted.node_id)?;
        formatted.directories.push(root);
    }
    Ok(formatted)
}

fn holds_nothing_but(root: &Path, known: &[&str]) -> Result<(), StartError> {
    let failed = |reason| StartError::Directory { directory: root.to_owned(), reason };
    for entry in fs::read_dir(root).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !HARMLESS.iter().chain(known).any(|harmless| name == *harmless) {
            return Err(StartError::NotOurs { directory: root.to_owned() });
        }
    }
    Ok(())
}

fn write_properties(root: &Path, cluster_id: &str, node_id: i32, id: Uuid) -> Result<(), StartError> {
    let failed = |reason| StartError::Directory { directory: root.to_owned(), reason };
    let properties = MetaProperties { cluster_id: cluster_id.to_owned(), node_id: BrokerId(node_id), directory_id: Some(id) };
    replace(&root.join(META_PROPERTIES), &properties.encode()).map_err(failed)
}

fn random_uuid() -> io::Result<Uuid> {
    loop {
        let mut bytes: [u8; 16] = random()?;
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let uuid = Uuid(bytes);
        // A leading dash would look like an option on a command line.
        if !uuid.to_string().starts_with('-') {
            return Ok(uuid);
        }
    }
}

/// Random bytes from the operating system.
pub(crate) fn random<const BYTES: usize>() -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
