//! Sealed offset indexes, mapped: where in a finished segment a read begins.
//!
//! This file holds the broker's only memory map, and the argument for it. A map is sound while nobody writes to the
//! file and nobody makes it shorter: then no byte of it changes under a `&[u8]`, and no access lies behind its end
//! (which would be SIGBUS, and no `Result` can catch that). A sealed index is written once, whole, under a temporary
//! name and renamed; it is never written or truncated in place afterwards, only unlinked, and an unlinked file lives as
//! long as its map. The data directory's lock keeps other brokers out. Its length is taken from the open file before
//! the map is made, and entries are believed only as far as they grow and lie inside their segment.
//!
//! Never mapped: records, and any file that grows.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::Mmap;
use strandline_log::disk::FilePath;
use strandline_log::index::{ENTRY_BYTES, lookup, valid_entries};
use strandline_protocol::ids::Offset;

use crate::disk::files::Roots;

/// Maps kept: readers of old data are few, and a map that is gone costs some 20 us to make again.
const MAPS_MAX: usize = 64;

/// An index larger than this is none that a broker wrote (the largest `segment.index.bytes` is 2 GiB): refused.
const INDEX_BYTES_MAX: u64 = i32::MAX as u64;

/// A mapped index and how much of it is to be believed.
struct Index {
    map: Option<Mmap>,
    valid_bytes: usize,
}

/// The indexes used last.
#[derive(Default)]
pub(crate) struct Indexes {
    /// The last one used last.
    kept: Mutex<VecDeque<(FilePath, Arc<Index>)>>,
}

impl Indexes {
    /// Where in the segment a read for `offset` begins; 0 if the index is missing.
    ///
    /// # Errors
    /// The index cannot be opened or mapped.
    pub(crate) fn position(
        &self,
        roots: &Roots,
        file: &FilePath,
        base: Offset,
        log_bytes: u64,
        offset: Offset,
    ) -> io::Result<u64> {
        let index = match self.known(file) {
            Some(index) => index,
            None => self.keep(file, Index::open(&roots.locate(file), base, log_bytes)?),
        };
        Ok(u64::from(lookup(index.bytes(), base, offset)))
    }

    /// Forgets the maps of what lies at or below `path`.
    pub(crate) fn forget(&self, path: &FilePath) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(file, _)| file != path && file.inside_of(path).is_none());
    }

    fn known(&self, file: &FilePath) -> Option<Arc<Index>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(known, _)| known == file)?;
        let entry = kept.remove(place)?;
        let index = Arc::clone(&entry.1);
        kept.push_back(entry);
        Some(index)
    }

    fn keep(&self, file: &FilePath, index: Index) -> Arc<Index> {
        let index = Arc::new(index);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAPS_MAX {
            kept.pop_front();
        }
        kept.push_back((file.clone(), Arc::clone(&index)));
        index
    }
}

impl Index {
    fn open(path: &Path, base: Offset, log_bytes: u64) -> io::Result<Self> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { map: None, valid_bytes: 0 }),
            Err(error) => return Err(error),
        };
        let bytes = file.metadata()?.len();
        if bytes > INDEX_BYTES_MAX {
            return Err(io::Error::other(format!("an index of {bytes} bytes")));
        }
        if bytes < ENTRY_BYTES as u64 {
            return Ok(Self { map: None, valid_bytes: 0 });
        }
        // SAFETY: the file is a sealed index of a locked data directory: it is neither written nor truncated any more,
        // by this process or another, as told at the head of this file.
        let map = unsafe { Mmap::map(&file)? };
        let valid_bytes = valid_entries(&map, base, log_bytes) * ENTRY_BYTES;
        Ok(Self { map: Some(map), valid_bytes })
    }

    fn bytes(&self) -> &[u8] {
        self.map.as_ref().map_or(&[], |map| &map[..self.valid_bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(relative: i32, position: u32) -> Vec<u8> {
        [relative.to_be_bytes(), position.to_be_bytes()].concat()
    }

    #[test]
    fn a_read_begins_at_the_last_entry_that_is_believed() {
        let root = std::env::temp_dir().join(format!("strandline-indexes-{}", std::process::id()));
        std::fs::create_dir_all(root.join("t-0")).unwrap();
        let roots = Roots::new([root.clone()]);
        let file = FilePath::inside("t-0", "00000000000000000100.index");
        // The last entry lies behind the segment's end.
        std::fs::write(roots.locate(&file), [entry(9, 4096), entry(20, 9000), entry(30, 90_000)].concat()).unwrap();
        let indexes = Indexes::default();
        let position = |offset| indexes.position(&roots, &file, Offset(100), 10_000, Offset(offset)).unwrap();
        assert_eq!([100, 108, 109, 119, 120, 500].map(position), [0, 0, 4096, 4096, 9000, 9000]);
        std::fs::remove_file(roots.locate(&file)).unwrap();
        assert_eq!(position(109), 4096, "a map outlives the name of its file");
        indexes.forget(&FilePath::top("t-0"));
        assert_eq!(position(109), 0, "a missing index is only slow");
        std::fs::remove_dir_all(root).unwrap();
    }
}
