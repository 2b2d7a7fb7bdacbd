//! A simulated log directory: carries out what logs want as the executors do, and forgets at a power cut what they may.
//!
//! Every operation is atomic for whoever sees it end well, and may have happened in part for whoever does not: see
//! [`SimDisk::interrupt`]. What an ended operation promised is on the device; what an interrupted one left is in doubt
//! until a later operation settles it or [`SimDisk::cut_power`] decides it.
//!
//! Not here: how long an operation takes, which one fails, and the order of operations (`lanes.rs`).

mod file;
mod interrupt;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use strandline_log::disk::{DiskDone, DiskError, DiskOp, Durability, Entry, FilePath, Files, LogDir, Part};

use crate::dice::Dice;
use crate::flaw::Flaw;
pub use file::{BLOCK_BYTES, SECTOR_BYTES};
use file::{Held, Overlay, SimFile};

/// How log files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Past the page cache: whole blocks, padded with zeros, in files that grow by so many bytes at a time.
    Direct { allocation_bytes: usize },
    /// Through the page cache, made durable by a sync of the file.
    Buffered,
}

/// A change of names that a power cut may take back.
#[derive(Clone, Debug)]
enum Undo {
    /// The path held this before.
    Put { path: FilePath, before: Option<SimFile> },
    /// What is called `to` was called `from`.
    Name { from: FilePath, to: FilePath },
}

impl Undo {
    fn path(&self) -> &FilePath {
        match self {
            Self::Put { path, .. } | Self::Name { to: path, .. } => path,
        }
    }
}

#[derive(Clone, Debug)]
pub struct SimDisk {
    files: BTreeMap<FilePath, SimFile>,
    /// Directories directly below the log directory; they live on when they are empty.
    directories: BTreeSet<FilePath>,
    undo: Vec<Undo>,
    /// Log directories whose device does not work: nothing there is read or written.
    broken: BTreeSet<LogDir>,
    damaged: bool,
    access: Access,
    flaw: Option<Flaw>,
    appends: u64,
}

/// With [`Flaw::LostAppend`] one append in so many does not happen.
const LOST_APPEND_EVERY: u64 = 50;

impl SimDisk {
    /// An empty disk.
    pub fn new(access: Access, flaw: Option<Flaw>) -> Self {
        let (files, directories, broken) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { files, directories, undo: Vec::new(), broken, damaged: false, access, flaw, appends: 0 }
    }

    /// An empty disk of this kind.
    pub fn another(&self) -> Self {
        Self::new(self.access, self.flaw)
    }

    /// Carries out an operation wholly.
    ///
    /// # Errors
    /// [`DiskError::Missing`] and [`DiskError::Failed`] for operations that do not fit what is there: a mistake of the node. Also
    /// [`DiskError::Failed`] in a directory that does not work.
    pub fn perform(&mut self, op: &DiskOp) -> Result<DiskDone, DiskError> {
        self.check_device(op.file())?;
        match op {
            DiskOp::Append { file, position, parts, durability } => {
                return self.append(file, *position, parts, *durability);
            }
            DiskOp::Seal { file, bytes } => {
                if self.files.contains_key(file) {
                    self.cut(file, *bytes)?;
                    self.existing(file)?.end = None;
                }
            }
            DiskOp::Truncate { file, bytes } => self.cut(file, *bytes)?,
            DiskOp::Sync { file } => self.existing(file)?.sync(),
            DiskOp::Write { file, contents } => self.replace(file, contents),
            DiskOp::Rename { from, to } => self.rename(from, to)?,
            DiskOp::Delete { file } => {
                self.settle(file);
                self.files.remove(file);
            }
            DiskOp::DeleteDirectory { directory } => {
                self.settle_inside(directory);
                self.settle(directory);
                for file in self.inside(directory) {
                    self.files.remove(&file);
                }
                self.directories.remove(directory);
            }
        }
        Ok(DiskDone::Done)
    }

    /// The device of a log directory works no more.
    pub fn break_dir(&mut self, log_dir: LogDir) {
        self.broken.insert(log_dir);
    }

    pub fn is_broken(&self, log_dir: LogDir) -> bool {
        self.broken.contains(&log_dir)
    }

    /// All devices work again, with what they held. Says whether one did not.
    pub fn mend_dirs(&mut self) -> bool {
        !std::mem::take(&mut self.broken).is_empty()
    }

    fn check_device(&self, file: &FilePath) -> Result<(), DiskError> {
        if self.is_broken(file.log_dir()) {
            return Err(DiskError::Failed { file: file.clone(), reason: "input/output error".to_owned() });
        }
        Ok(())
    }

    /// The process died: nobody knows any more where files logically end.
    pub fn kill(&mut self) {
        for file in self.files.values_mut() {
            file.end = None;
        }
    }

    /// The power went: whatever is in doubt is decided.
    pub fn cut_power(&mut self, dice: &mut Dice) {
        while let Some(undo) = self.undo.pop() {
            if dice.one_in(2) {
                continue;
            }
            match undo {
                Undo::Put { path, before: Some(before) } => {
                    self.files.insert(path, before);
                }
                Undo::Put { path, before: None } => {
                    self.files.remove(&path);
                }
                // The newer name may have been given up since.
                Undo::Name { from, to } => {
                    let _ = self.move_all(&to, &from);
                }
            }
        }
        for file in self.files.values_mut() {
            file.cut_power(dice);
        }
    }

    /// Directories below the log directory, by name.
    pub fn directories(&self) -> impl Iterator<Item = &FilePath> {
        self.directories.iter()
    }

    /// What a file holds; `None` if it is missing.
    pub fn contents(&self, file: &FilePath) -> Option<&[u8]> {
        self.files.get(file).map(SimFile::contents)
    }

    /// Every file, by path.
    pub fn paths(&self) -> impl Iterator<Item = &FilePath> {
        self.files.keys()
    }

    /// Flips a bit of a file.
    pub fn damage(&mut self, file: &FilePath, byte: usize, bit: u8) {
        if let Some(file) = self.files.get_mut(file) {
            file.damage(byte, bit);
            self.damaged = true;
        }
    }

    /// Whether a bit is still another one.
    pub fn has_flips(&self) -> bool {
        self.damaged && self.files.values().any(SimFile::has_flips)
    }

    /// Whether a file may be damaged.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Damage is undone, as if the files were brought back from elsewhere.
    pub fn heal(&mut self) {
        if std::mem::take(&mut self.damaged) {
            self.files.values_mut().for_each(SimFile::heal);
        }
    }

    /// A log directory itself, in order of name.
    fn top(&self, log_dir: LogDir) -> Vec<Entry> {
        let directories = self.directories.iter().filter(|path| path.log_dir() == log_dir).map(|path| (path, 0, true));
        let is_top = |path: &FilePath| path.log_dir() == log_dir && path.directory() == *path;
        let files = self.files.iter().filter(|(path, _)| is_top(path));
        let files = files.map(|(path, file)| (path, file.contents().len() as u64, false));
        let entry =
            |(path, bytes, is_directory): (&FilePath, u64, bool)| Entry { name: path.as_str().to_owned(), bytes, is_directory };
        let mut entries: Vec<Entry> = directories.chain(files).map(entry).collect();
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        entries
    }

    fn append(
        &mut self,
        path: &FilePath,
        position: u64,
        parts: &[Part],
        durability: Durability,
    ) -> Result<DiskDone, DiskError> {
        let bytes = joined(parts);
        self.check_append(path, position)?;
        let held = match durability {
            Durability::Durable if self.flaw != Some(Flaw::EarlyAcknowledgement) => Held::OnDevice,
            _ => Held::InDoubt,
        };
        self.settle_new(path, position);
        self.appends += 1;
        let lost = self.flaw == Some(Flaw::LostAppend) && self.appends.is_multiple_of(LOST_APPEND_EVERY);
        let overlay = self.staged(path, position, if lost { &[] } else { &bytes });
        let buffered = self.access == Access::Buffered;
        let file = self.files.entry(path.clone()).or_default();
        file.write(&overlay, held);
        if held == Held::OnDevice && buffered {
            file.sync();
        }
        file.end = Some(position + bytes.len() as u64);
        Ok(DiskDone::Appended(bytes))
    }

    fn check_append(&mut self, path: &FilePath, position: u64) -> Result<(), DiskError> {
        let Some(file) = self.files.get(path) else {
            return if position == 0 { Ok(()) } else { Err(DiskError::Missing { file: path.clone() }) };
        };
        let end = file.end.unwrap_or(position);
        if end != position || position > file.contents().len() as u64 {
            let reason = format!("append at {position}, the file ends at {end} of {}", file.contents().len());
            return Err(DiskError::Failed { file: path.clone(), reason });
        }
        Ok(())
    }

    /// What an append writes: the kept part of the last block, the bytes, and zeros up to the end of a block.
    fn staged(&self, path: &FilePath, position: u64, bytes: &[u8]) -> Overlay {
        let position = position as usize;
        let Access::Direct { allocation_bytes } = self.access else {
            return Overlay { position, bytes: bytes.to_vec(), length: 0 };
        };
        let begin = position - position % BLOCK_BYTES;
        let present = self.contents(path).unwrap_or_default();
        let mut staged = present.get(begin..position).unwrap_or_default().to_vec();
        staged.extend_from_slice(bytes);
        staged.resize(staged.len().next_multiple_of(BLOCK_BYTES), 0);
        let end = begin + staged.len();
        let length = if end > present.len() { end + allocation_bytes } else { 0 };
        Overlay { position: begin, bytes: staged, length }
    }

    /// An append at position 0 makes the file's name, and its directory's, durable.
    fn settle_new(&mut self, path: &FilePath, position: u64) {
        self.make_directory_of(path);
        if position > 0 {
            return;
        }
        self.settle(path);
        if self.flaw == Some(Flaw::LostEntry) && !self.files.contains_key(path) {
            self.undo.push(Undo::Put { path: path.clone(), before: None });
        }
    }

    fn cut(&mut self, path: &FilePath, bytes: u64) -> Result<(), DiskError> {
        let file = self.existing(path)?;
        if bytes > file.contents().len() as u64 {
            let reason = format!("cut to {bytes}, the file has {}", file.contents().len());
            return Err(DiskError::Failed { file: path.clone(), reason });
        }
        file.set_length(bytes as usize, Held::OnDevice);
        file.end = Some(bytes);
        Ok(())
    }

    fn replace(&mut self, path: &FilePath, contents: &Bytes) {
        self.make_directory_of(path);
        self.settle(path);
        let before = self.files.insert(path.clone(), SimFile::durable(contents.to_vec()));
        if self.flaw == Some(Flaw::LostReplacement) {
            self.undo.push(Undo::Put { path: path.clone(), before });
        }
    }

    fn rename(&mut self, from: &FilePath, to: &FilePath) -> Result<(), DiskError> {
        self.settle_inside(from);
        self.settle(from);
        self.settle(to);
        self.move_all(from, to)
    }

    /// Gives a file, or a directory with what it holds, another name.
    fn move_all(&mut self, from: &FilePath, to: &FilePath) -> Result<(), DiskError> {
        if let Some(file) = self.files.remove(from) {
            self.files.insert(to.clone(), file);
            return Ok(());
        }
        if !self.directories.remove(from) {
            return Err(DiskError::Missing { file: from.clone() });
        }
        self.directories.insert(to.clone());
        for path in self.inside(from) {
            if let Some(file) = self.files.remove(&path) {
                self.files.insert(to.child(name_inside(from, &path)), file);
            }
        }
        Ok(())
    }

    /// The files in a directory.
    fn inside(&self, directory: &FilePath) -> Vec<FilePath> {
        let begin = directory.child("");
        self.files.range(begin..).map(|(path, _)| path).take_while(|path| is_inside(directory, path)).cloned().collect()
    }

    fn existing(&mut self, path: &FilePath) -> Result<&mut SimFile, DiskError> {
        self.files.get_mut(path).ok_or_else(|| DiskError::Missing { file: path.clone() })
    }

    fn make_directory_of(&mut self, path: &FilePath) {
        if path.directory() != *path {
            self.directories.insert(path.directory());
        }
    }

    /// The names in this path's directory are synced: nothing that happened to them before is in doubt any more.
    fn settle(&mut self, path: &FilePath) {
        if matches!(self.flaw, Some(Flaw::LostReplacement | Flaw::LostEntry)) {
            self.undo.retain(|undo| undo.path() != path);
            return;
        }
        let directory = directory_of(path);
        self.undo.retain(|undo| directory_of(undo.path()) != directory);
    }

    fn settle_inside(&mut self, directory: &FilePath) {
        self.undo.retain(|undo| !is_inside(directory, undo.path()));
    }
}

impl Files for SimDisk {
    fn list(&self, directory: &FilePath) -> Result<Vec<Entry>, DiskError> {
        self.check_device(directory)?;
        if directory.as_str().is_empty() {
            return Ok(self.top(directory.log_dir()));
        }
        if !self.directories.contains(directory) {
            return Err(DiskError::Missing { file: directory.clone() });
        }
        let begin = directory.child("");
        let inside = self.files.range(begin..).take_while(|(path, _)| is_inside(directory, path));
        let entry = |(path, file): (&FilePath, &SimFile)| Entry {
            name: name_inside(directory, path).to_owned(),
            bytes: file.contents().len() as u64,
            is_directory: false,
        };
        Ok(inside.map(entry).collect())
    }

    fn read(&self, file: &FilePath, position: u64, bytes: usize) -> Result<Bytes, DiskError> {
        self.check_device(file)?;
        let contents = self.contents(file).ok_or_else(|| DiskError::Missing { file: file.clone() })?;
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(contents.len());
        let end = start.saturating_add(bytes).min(contents.len());
        Ok(Bytes::copy_from_slice(&contents[start..end]))
    }
}

fn is_inside(directory: &FilePath, file: &FilePath) -> bool {
    file.inside_of(directory).is_some()
}

fn name_inside<'a>(directory: &FilePath, file: &'a FilePath) -> &'a str {
    file.inside_of(directory).unwrap_or_default()
}

/// Where the name of a file or directory stands.
fn directory_of(path: &FilePath) -> (LogDir, Option<FilePath>) {
    (path.log_dir(), Some(path.directory()).filter(|directory| directory != path))
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
mod tests;
