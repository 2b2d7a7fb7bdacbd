//! The data directory as a whole: made, locked, formatted, and whose it is.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use strandline_log::meta_properties::MetaProperties;
use strandline_log::names::{CLEAN_SHUTDOWN, META_PROPERTIES};
use strandline_node::config::BrokerConfig;
use strandline_node::metadata_log::bootstrap::BOOTSTRAP_CHECKPOINT;
use strandline_protocol::ids::{BrokerId, Uuid};

use super::StartError;
use crate::disk::files::sync_directory;
use crate::disk::operations::replace;

const LOCK: &str = ".lock";
/// Names that an empty directory may have: what file systems and this program put there by themselves.
const HARMLESS: &[&str] = &[LOCK, "lost+found"];

/// A data directory that is ours while the value lives.
pub(crate) struct DataDirectory {
    pub(crate) root: PathBuf,
    pub(crate) cluster_id: String,
    pub(crate) directory_id: Uuid,
    _lock: File,
}

impl DataDirectory {
    /// Makes the directory if it is missing, locks it, and formats it if it is empty. `config` gets the node id of the
    /// directory if it has none of its own.
    ///
    /// # Errors
    /// [`StartError`] if it cannot be used, is in use, or belongs to another node or cluster.
    pub(crate) fn open(root: &Path, config: &mut BrokerConfig) -> Result<Self, StartError> {
        let failed = |reason| StartError::Directory { directory: root.to_owned(), reason };
        fs::create_dir_all(root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        let lock = lock(&root)?;
        let file = root.join(META_PROPERTIES);
        let properties = match fs::read(&file) {
            Ok(contents) => {
                let properties =
                    MetaProperties::parse(&contents).map_err(|reason| StartError::MetaProperties { file, reason })?;
                with_directory_id(&root, properties).map_err(failed)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => format(&root, config)?,
            Err(error) => return Err(failed(error)),
        };
        let node_id = properties.node_id.0;
        if config.given("node.id").is_some() && config.number("node.id") != i64::from(node_id) {
            return Err(StartError::OtherNode { directory: root, found: node_id, wanted: config.number("node.id") });
        }
        if let Some(wanted) = config.given("cluster.id").filter(|wanted| *wanted != properties.cluster_id) {
            return Err(StartError::OtherCluster {
                directory: root.clone(),
                found: properties.cluster_id,
                wanted: wanted.to_owned(),
            });
        }
        config.set("node.id", node_id.to_string())?;
        let directory_id = properties.directory_id.unwrap_or(Uuid::ZERO);
        Ok(Self { root, cluster_id: properties.cluster_id, directory_id, _lock: lock })
    }

    /// Removes the mark of a clean shutdown, durably: from now on a crash is a crash.
    ///
    /// # Errors
    /// [`StartError::Directory`]
    pub(crate) fn begin(&self) -> Result<(), StartError> {
        let removed = match fs::remove_file(self.root.join(CLEAN_SHUTDOWN)) {
            Ok(()) => sync_directory(&self.root),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(|reason| StartError::Directory { directory: self.root.clone(), reason })
    }
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

/// Formats a directory for a new cluster, or a new node of one: what the cluster begins with first, and whose the directory is last,
/// so that a crash leaves it unformatted. Answers `None` if it is formatted already.
///
/// # Errors
/// [`StartError`] if it cannot be used, is in use, or holds something else.
pub(crate) fn format_with(root: &Path, config: &BrokerConfig, bootstrap: &[u8]) -> Result<Option<MetaProperties>, StartError> {
    let failed = |reason| StartError::Directory { directory: root.to_owned(), reason };
    fs::create_dir_all(root).map_err(failed)?;
    let _lock = lock(root)?;
    if root.join(META_PROPERTIES).try_exists().map_err(failed)? {
        return Ok(None);
    }
    holds_nothing_but(root, &[BOOTSTRAP_CHECKPOINT])?;
    replace(&root.join(BOOTSTRAP_CHECKPOINT), bootstrap).map_err(failed)?;
    write_properties(root, config).map(Some)
}

fn format(root: &Path, config: &BrokerConfig) -> Result<MetaProperties, StartError> {
    holds_nothing_but(root, &[])?;
    write_properties(root, config)
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

fn write_properties(root: &Path, config: &BrokerConfig) -> Result<MetaProperties, StartError> {
    let failed = |reason| StartError::Directory { directory: root.to_owned(), reason };
    let cluster_id = match config.given("cluster.id") {
        Some(given) => given.to_owned(),
        None => random_uuid().map_err(failed)?.to_string(),
    };
    let node_id = BrokerId(i32::try_from(config.number("node.id")).unwrap_or(i32::MAX));
    let properties = MetaProperties { cluster_id, node_id, directory_id: Some(random_uuid().map_err(failed)?) };
    replace(&root.join(META_PROPERTIES), &properties.encode()).map_err(failed)?;
    Ok(properties)
}

/// Kafka before 3.7 gave directories no identity; ours always have one.
fn with_directory_id(root: &Path, mut properties: MetaProperties) -> io::Result<MetaProperties> {
    if properties.directory_id.is_none() {
        properties.directory_id = Some(random_uuid()?);
        replace(&root.join(META_PROPERTIES), &properties.encode())?;
    }
    Ok(properties)
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
