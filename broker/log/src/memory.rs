//! A disk in memory that carries out what logs want: for tests, and as the ground that the simulator stands on.
//!
//! It keeps what the executors promise: an append goes to the file's logical end, whole blocks are written, the last one
//! padded with zeros, and space behind is allocated ahead; sealing and truncating cut exactly. It knows of every file
//! how much of it is durable, so a power cut can take the rest, and an append can be torn, sector by sector.
//!
//! Deviation: directories exist as long as they hold a file.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::disk::{DiskDone, DiskError, DiskOp, Durability, Entry, FilePath, Files, Part};

/// Direct IO writes whole blocks of this size.
pub const BLOCK_BYTES: u64 = 4096;

/// What a device writes as one.
pub const SECTOR_BYTES: u64 = 512;

/// One file.
#[derive(Clone, Debug, Default)]
struct File {
    /// With padding and space allocated ahead.
    contents: Vec<u8>,
    /// Where the next append must begin; unknown until the first one.
    end: Option<u64>,
    /// How much survives a power cut.
    durable: u64,
}

/// The disk.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    files: BTreeMap<FilePath, File>,
    /// Files grow in steps of this.
    allocation_bytes: u64,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new(16 * BLOCK_BYTES)
    }
}

impl MemoryDisk {
    /// An empty disk whose files grow in steps of `allocation_bytes`: 1 for a page cache without padding, a multiple of
    /// [`BLOCK_BYTES`] for direct IO.
    pub fn new(allocation_bytes: u64) -> Self {
        assert!(allocation_bytes > 0, "files have to grow");
        Self { files: BTreeMap::new(), allocation_bytes }
    }

    /// Carries out an operation.
    ///
    /// # Errors
    /// [`DiskError::Missing`] for a file that has to exist and does not, [`DiskError::Failed`] for an append that is not at
    /// the file's end.
    pub fn perform(&mut self, op: &DiskOp) -> Result<DiskDone, DiskError> {
        match op {
            DiskOp::Append { file, position, parts, durability } => {
                let bytes = joined(parts);
                self.append(file, *position, &bytes, *durability)?;
                return Ok(DiskDone::Appended(bytes));
            }
            DiskOp::Seal { file, bytes } => {
                if self.files.contains_key(file) {
                    self.cut(file, *bytes)?;
                }
            }
            DiskOp::Truncate { file, bytes } => self.cut(file, *bytes)?,
            DiskOp::Sync { file } => {
                let file = self.existing(file)?;
                file.durable = file.contents.len() as u64;
            }
            DiskOp::Write { file, contents } => self.put(file.clone(), contents.to_vec()),
            DiskOp::Rename { from, to } => self.rename(from, to)?,
            DiskOp::Delete { file } => {
                self.files.remove(file);
            }
            DiskOp::DeleteDirectory { directory } => {
                self.files.retain(|file, _| !is_inside(directory, file));
            }
        }
        Ok(DiskDone::Done)
    }

    /// Carries out part of an append, as when the power goes while it is under way: of the sectors that it would
    /// write, those for which `written` says yes, by their number in the file, are there.
    pub fn tear(&mut self, op: &DiskOp, mut written: impl FnMut(u64) -> bool) {
        let DiskOp::Append { file, position, parts, .. } = op else {
            return;
        };
        let mut whole = self.clone();
        if whole.append(file, *position, &joined(parts), Durability::Durable).is_err() {
            return;
        }
        let Some(after) = whole.files.remove(file) else {
            return;
        };
        let torn = self.files.entry(file.clone()).or_default();
        let first = position / SECTOR_BYTES;
        let end = after.end.unwrap_or(0).div_ceil(SECTOR_BYTES);
        for sector in first..end {
            if written(sector) {
                let (from, to) = (sector * SECTOR_BYTES, ((sector + 1) * SECTOR_BYTES).min(after.contents.len() as u64));
                let (from, to) = (from as usize, to as usize);
                if torn.contents.len() < to {
                    torn.contents.resize(to, 0);
                }
                torn.contents[from..to].copy_from_slice(&after.contents[from..to]);
            }
        }
        torn.durable = torn.contents.len() as u64;
        torn.end = None;
    }

    /// The process died: files stay as they are, and nobody knows any more where they logically end.
    pub fn kill(&mut self) {
        for file in self.files.values_mut() {
            file.end = None;
        }
    }

    /// The power went: what was not durable is gone.
    pub fn cut_power(&mut self) {
        for file in self.files.values_mut() {
            file.contents.truncate(file.durable as usize);
        }
        self.kill();
    }

    /// Puts a file as it is, as a fixture or as damage.
    pub fn put(&mut self, file: FilePath, contents: Vec<u8>) {
        let bytes = contents.len() as u64;
        self.files.insert(file, File { contents, end: Some(bytes), durable: bytes });
    }

    /// What a file holds, with padding; `None` if it is missing.
    pub fn contents(&self, file: &FilePath) -> Option<&[u8]> {
        self.files.get(file).map(|file| file.contents.as_slice())
    }

    /// Every file, by path.
    pub fn paths(&self) -> impl Iterator<Item = &FilePath> {
        self.files.keys()
    }

    fn append(&mut self, path: &FilePath, position: u64, bytes: &[u8], durability: Durability) -> Result<(), DiskError> {
        let allocation_bytes = self.allocation_bytes;
        if position > 0 {
            self.existing(path)?;
        }
        let file = self.files.entry(path.clone()).or_default();
        let end = file.end.unwrap_or(position);
        if end != position || position > file.contents.len() as u64 {
            let reason = format!("append at {position}, the file ends at {end}");
            return Err(DiskError::Failed { file: path.clone(), reason });
        }
        let end = position + bytes.len() as u64;
        if end > file.contents.len() as u64 {
            file.contents.resize(end.next_multiple_of(allocation_bytes) as usize, 0);
        }
        file.contents[position as usize..end as usize].copy_from_slice(bytes);
        file.end = Some(end);
        if durability == Durability::Durable {
            file.durable = file.contents.len() as u64;
        }
        Ok(())
    }

    fn cut(&mut self, path: &FilePath, bytes: u64) -> Result<(), DiskError> {
        let file = self.existing(path)?;
        if bytes > file.contents.len() as u64 {
            let reason = format!("cut to {bytes}, the file has {}", file.contents.len());
            return Err(DiskError::Failed { file: path.clone(), reason });
        }
        file.contents.truncate(bytes as usize);
        (file.end, file.durable) = (Some(bytes), bytes);
        Ok(())
    }

    fn rename(&mut self, from: &FilePath, to: &FilePath) -> Result<(), DiskError> {
        if let Some(file) = self.files.remove(from) {
            self.files.insert(to.clone(), file);
            return Ok(());
        }
        let moved: Vec<FilePath> = self.files.keys().filter(|file| is_inside(from, file)).cloned().collect();
        if moved.is_empty() {
            return Err(DiskError::Missing { file: from.clone() });
        }
        for path in moved {
            if let (Some(file), Some(name)) = (self.files.remove(&path), path.inside_of(from)) {
                self.files.insert(to.child(name), file);
            }
        }
        Ok(())
    }

    fn existing(&mut self, file: &FilePath) -> Result<&mut File, DiskError> {
        self.files.get_mut(file).ok_or_else(|| DiskError::Missing { file: file.clone() })
    }
}

impl Files for MemoryDisk {
    fn list(&self, directory: &FilePath) -> Result<Vec<Entry>, DiskError> {
        let inside = self.files.iter().filter_map(|(path, file)| Some((path.inside_of(directory)?, file)));
        let entries: Vec<Entry> = inside
            .map(|(name, file)| Entry { name: name.to_owned(), bytes: file.contents.len() as u64, is_directory: false })
            .collect();
        if entries.is_empty() {
            return Err(DiskError::Missing { file: directory.clone() });
        }
        Ok(entries)
    }

    fn read(&self, file: &FilePath, position: u64, bytes: usize) -> Result<Bytes, DiskError> {
        let found = self.files.get(file).ok_or_else(|| DiskError::Missing { file: file.clone() })?;
        let start = (position as usize).min(found.contents.len());
        let end = start.saturating_add(bytes).min(found.contents.len());
        Ok(Bytes::copy_from_slice(&found.contents[start..end]))
    }
}

fn is_inside(directory: &FilePath, file: &FilePath) -> bool {
    file.inside_of(directory).is_some()
}

fn joined(parts: &[Part]) -> Bytes {
    let mut bytes = Vec::with_capacity(parts.iter().map(Part::bytes).sum());
    for part in parts {
        bytes.extend_from_slice(&part.prefix);
        bytes.extend_from_slice(&part.body);
    }
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(position: u64, bytes: usize, durability: Durability) -> DiskOp {
        let body = Bytes::from(vec![1; bytes - 16]);
        DiskOp::Append { file: path(), position, parts: vec![Part { prefix: [1; 16], body }], durability }
    }

    fn path() -> FilePath {
        FilePath::inside("a-0", "0.log")
    }

    #[test]
    fn files_grow_by_whole_allocations_and_are_cut_exactly() {
        let mut disk = MemoryDisk::new(BLOCK_BYTES);
        disk.perform(&append(0, 100, Durability::Durable)).expect("it makes the file");
        assert_eq!(disk.contents(&path()).map(<[u8]>::len), Some(4096));
        disk.perform(&append(100, 100, Durability::Durable)).expect("it is at the end");
        assert!(disk.perform(&append(300, 100, Durability::Durable)).is_err());
        disk.perform(&DiskOp::Seal { file: path(), bytes: 200 }).expect("it is there");
        assert_eq!(disk.contents(&path()), Some(&[1; 200][..]));
    }

    #[test]
    fn a_power_cut_takes_what_was_only_written() {
        let mut disk = MemoryDisk::new(1);
        disk.perform(&append(0, 100, Durability::Durable)).expect("it makes the file");
        disk.perform(&append(100, 100, Durability::Written)).expect("it is at the end");
        disk.cut_power();
        assert_eq!(disk.contents(&path()).map(<[u8]>::len), Some(100));
    }

    #[test]
    fn a_torn_append_leaves_the_sectors_that_were_written() {
        let mut disk = MemoryDisk::new(BLOCK_BYTES);
        disk.perform(&append(0, 100, Durability::Durable)).expect("it makes the file");
        disk.tear(&append(100, 2_000, Durability::Durable), |sector| sector == 2);
        let contents = disk.contents(&path()).expect("it is there");
        assert_eq!((contents[99], contents[100], contents[1_023], contents[1_024], contents[1_535]), (1, 0, 0, 1, 1));
        assert_eq!(contents[1_536], 0);
    }

    #[test]
    fn a_directory_is_renamed_with_what_it_holds() {
        let mut disk = MemoryDisk::default();
        disk.put(path(), vec![1]);
        disk.perform(&DiskOp::Rename { from: FilePath::top("a-0"), to: FilePath::top("b") }).expect("it is there");
        assert_eq!(disk.list(&FilePath::top("b")).map(|entries| entries.len()), Ok(1));
        disk.perform(&DiskOp::DeleteDirectory { directory: FilePath::top("b") }).expect("it is there");
        assert_eq!(disk.paths().count(), 0);
    }
}
