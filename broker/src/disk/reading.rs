//! Reading real files: what recovery, jobs and fetches see of the log directories.
//!
//! Segments are read past the page cache where the executor writes past it, in whole blocks into pooled buffers; all
//! other files are small and read plainly. A file is opened for a read and closed behind it: idle partitions hold no
//! descriptors. Not here: which bytes answer a fetch (`reader.rs`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags};
use strandline_log::disk::{DiskError, Entry, FilePath, Files};
use strandline_log::names::SWAP_SUFFIX;

use crate::disk::blocks::{Blocks, down_to_block, up_to_block};
use crate::disk::files::{Access, Roots};
use crate::disk::operations::disk_error;

/// The files of the log directories, for reading.
#[derive(Clone)]
pub(crate) struct LogFiles {
    roots: Roots,
    access: Access,
    blocks: Arc<Blocks>,
}

impl LogFiles {
    pub(crate) fn new(roots: Roots, access: Access, blocks: Arc<Blocks>) -> Self {
        Self { roots, access, blocks }
    }

    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    fn read_directly(&self, file: &FilePath, position: u64, bytes: usize) -> io::Result<Bytes> {
        let flags = OFlags::RDONLY | self.access.open_flags();
        let open = File::from(rustix::fs::open(self.roots.locate(file), flags, Mode::empty())?);
        let begin = down_to_block(position);
        let skip = (position - begin) as usize;
        let wanted = up_to_block((skip + bytes) as u64) as usize;
        let mut block = self.blocks.take(wanted);
        let read = read_fully(&open, &mut block.bytes_mut()[..wanted], begin, skip + bytes)?;
        Ok(block.share(skip.min(read)..read.min(skip + bytes)))
    }

    fn read_plainly(&self, file: &FilePath, position: u64, bytes: usize) -> io::Result<Bytes> {
        let open = File::open(self.roots.locate(file))?;
        let rest = open.metadata()?.len().saturating_sub(position);
        let mut buffer = vec![0; bytes.min(usize::try_from(rest).unwrap_or(usize::MAX))];
        let enough = buffer.len();
        let read = read_fully(&open, &mut buffer, position, enough)?;
        buffer.truncate(read);
        Ok(buffer.into())
    }

    fn list_directory(&self, directory: &FilePath) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.roots.locate(directory))? {
            let entry = entry?;
            // Somebody else may write in the same directory (the quorum keeps its state beside the metadata log): a name that is gone
            // by now was never part of what is listed.
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            // A name that is no text is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                let is_directory = metadata.is_dir();
                let bytes = if is_directory { 0 } else { metadata.len() };
                entries.push(Entry { name, bytes, is_directory });
            }
        }
        entries.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }
}

impl Files for LogFiles {
    fn list(&self, directory: &FilePath) -> Result<Vec<Entry>, DiskError> {
        self.list_directory(directory).map_err(|error| disk_error(directory, &error))
    }

    fn read(&self, file: &FilePath, position: u64, bytes: usize) -> Result<Bytes, DiskError> {
        let result = match self.access {
            Access::Direct if is_segment(file) => self.read_directly(file, position, bytes),
            _ => self.read_plainly(file, position, bytes),
        };
        result.map_err(|error| disk_error(file, &error))
    }
}

/// Whether the file holds records; the output of a compaction has `.swap` behind its name until it is put in its place.
fn is_segment(file: &FilePath) -> bool {
    let name = file.as_str();
    name.strip_suffix(SWAP_SUFFIX).unwrap_or(name).ends_with(".log")
}

/// Reads into `buffer` until `enough` bytes of it are there or the file ends; answers with the bytes read.
fn read_fully(file: &File, buffer: &mut [u8], position: u64, enough: usize) -> io::Result<usize> {
    let mut done = 0;
    while done < enough {
        match file.read_at(&mut buffer[done..], position + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A direct read that ended inside a block has reached the end of the file.
            Err(error) if done > 0 && error.kind() == io::ErrorKind::InvalidInput => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_of_a_segment_is_read_past_the_page_cache() {
        let root = std::env::temp_dir().join(format!("strandline-reading-{}", std::process::id()));
        fs::create_dir_all(root.join("t-0")).unwrap();
        let contents: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        fs::write(root.join("t-0/0.log"), &contents).unwrap();
        let file = FilePath::inside("t-0", "0.log");
        for access in [Access::Direct, Access::Buffered] {
            let files = LogFiles::new(Roots::new([root.clone()]), access, Arc::default());
            for (position, bytes) in [(0, 10), (4095, 2), (4096, 4096), (99_990, 100), (50, 200_000), (100_000, 5)] {
                let read = files.read(&file, position, bytes).unwrap();
                let end = contents.len().min(position as usize + bytes);
                assert_eq!(read, contents[position as usize..end], "{access:?} {position} {bytes}");
            }
            let missing = FilePath::inside("t-0", "1.log");
            assert_eq!(files.read(&missing, 0, 1), Err(DiskError::Missing { file: missing.clone() }));
            let listed = files.list(&FilePath::top("t-0")).unwrap();
            assert_eq!(listed, [Entry { name: "0.log".into(), bytes: 100_000, is_directory: false }]);
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn segments_are_told_by_their_names_also_while_they_wait_for_their_place() {
        let told = |name: &str| is_segment(&FilePath::inside("t-0", name));
        assert_eq!(["0.log", "0.log.swap"].map(told), [true; 2]);
        assert_eq!(["0.index", "0.timeindex.swap", "0.log.deleted", "partition.metadata"].map(told), [false; 4]);
    }

    #[test]
    fn a_file_that_is_replaced_meanwhile_spoils_no_listing() {
        let root = std::env::temp_dir().join(format!("strandline-listing-{}", std::process::id()));
        fs::create_dir_all(root.join("t-0")).unwrap();
        let files = LogFiles::new(Roots::new([root.clone()]), Access::Buffered, Arc::default());
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let temporary = root.join("t-0/state.tmp");
                    fs::write(&temporary, b"vote").unwrap();
                    fs::rename(&temporary, root.join("t-0/state")).unwrap();
                }
            });
            let listings: Vec<_> = (0..3000).map(|_| files.list(&FilePath::top("t-0"))).collect();
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(listings.iter().all(Result::is_ok));
        });
        fs::remove_dir_all(root).unwrap();
    }
}
