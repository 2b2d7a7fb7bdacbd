//! The operations that are not appends: rare, small, and carried out on threads that may wait.
//!
//! Each is durable when it answers, unless it says otherwise. Not here: appends (`files.rs`, `mod.rs`) and reads (`reader.rs`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use strandline_log::disk::{DiskError, FilePath};

use crate::disk::files::{Roots, make_directory, sync_directory};
use crate::disk::freeing::Freeing;

/// Cuts a file that is not open to `bytes` and makes contents and length durable.
pub(crate) fn cut(roots: &Roots, file: &FilePath, bytes: u64) -> io::Result<()> {
    shorten(roots, file, bytes)?.sync_all()
}

/// Cuts a file that is not open to `bytes`; whoever calls makes that durable.
pub(crate) fn shorten(roots: &Roots, file: &FilePath, bytes: u64) -> io::Result<File> {
    let file = File::options().write(true).open(roots.locate(file))?;
    file.set_len(bytes)?;
    Ok(file)
}

/// Makes everything durable that was written to the file system that `root` lies on.
pub(crate) fn sync_all_below(root: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(root)?)?)
}

/// Makes the contents of a file that is not open durable.
pub(crate) fn sync(roots: &Roots, file: &FilePath) -> io::Result<()> {
    File::options().write(true).open(roots.locate(file))?.sync_data()
}

/// Makes or replaces a small file, whole and durably.
pub(crate) fn write(roots: &Roots, file: &FilePath, contents: &[u8]) -> io::Result<()> {
    let path = roots.locate(file);
    // A log directory that is gone is not made again: its failure would go unnoticed.
    if file.directory() != *file {
        make_directory(parent(&path))?;
    }
    replace(&path, contents)
}

/// Makes or replaces the file at `path`: a temporary name, sync, rename, sync of the directory.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = File::create(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_directory(parent(path))
}

/// Gives a file or directory another name, durably.
pub(crate) fn rename(roots: &Roots, from: &FilePath, to: &FilePath) -> io::Result<()> {
    let (from, to) = (roots.locate(from), roots.locate(to));
    fs::rename(&from, &to)?;
    sync_directory(parent(&to))?;
    if parent(&from) == parent(&to) { Ok(()) } else { sync_directory(parent(&from)) }
}

/// Removes a file, durably; one that is missing is fine. The space of a large one is given back later, bit by bit.
pub(crate) fn delete(roots: &Roots, file: &FilePath, freeing: &Freeing) -> io::Result<()> {
    let path = roots.locate(file);
    match remove(&path, freeing) {
        Ok(()) => sync_directory(parent(&path)),
        Err(error) => or_missing(error),
    }
}

/// Removes a directory and what it holds, durably; one that is missing is fine.
pub(crate) fn delete_directory(roots: &Roots, directory: &FilePath, freeing: &Freeing) -> io::Result<()> {
    let path = roots.locate(directory);
    match remove_files(&path, freeing).and_then(|()| fs::remove_dir_all(&path)) {
        Ok(()) => sync_directory(parent(&path)),
        Err(error) => or_missing(error),
    }
}

fn remove_files(directory: &Path, freeing: &Freeing) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            remove(&entry.path(), freeing)?;
        }
    }
    Ok(())
}

fn remove(path: &Path, freeing: &Freeing) -> io::Result<()> {
    let bytes = fs::symlink_metadata(path)?.len();
    if !Freeing::takes(bytes) {
        return fs::remove_file(path);
    }
    let file = File::options().write(true).open(path)?;
    fs::remove_file(path)?;
    freeing.free(file, bytes);
    Ok(())
}

/// Takes "does not exist" for success.
pub(crate) fn or_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// Sorts an error of the operating system by who acts on it.
pub(crate) fn disk_error(file: &FilePath, error: &io::Error) -> DiskError {
    let file = file.clone();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::Full { file },
        io::ErrorKind::NotFound => DiskError::Missing { file },
        _ => DiskError::Failed { file, reason: error.to_string() },
    }
}
