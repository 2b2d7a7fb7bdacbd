//! Long work that the node asks for, on threads that may wait; each result comes back as an input.

use std::path::Path;

use strandline_log::disk::Files as _;
use strandline_log::lookup::find;
use strandline_log::recover::truncate;
use strandline_node::coordinator::loading::load;
use strandline_node::copying;
use strandline_node::io::{Job, JobResult};
use strandline_node::metadata_log::read_snapshot;
use strandline_node::share::spans;
use tracing::error;

use crate::disk::reading::LogFiles;

/// Carries a job out and waits for it.
pub(crate) fn run(job: Job, files: &LogFiles) -> JobResult {
    match job {
        Job::FindTimestamp(lookup) => JobResult::FoundTimestamp(find(files, &lookup)),
        Job::Truncate { log, end, now_ms } => JobResult::Truncated(truncate(files, *log, end, now_ms).map(Box::new)),
        Job::LoadCoordinator(piece) => JobResult::CoordinatorLoaded(load(files, &piece)),
        Job::ReadShare(wanted) => JobResult::ShareRead(spans::read(files, &wanted)),
        Job::ReadCopy(piece) => {
            let result = copying::read(files, &piece);
            if let Err(fault) = &result {
                error!(?fault, "a segment cannot be read");
            }
            JobResult::CopyRead(result)
        }
        Job::MeasureDirectory { log_dir } => {
            let (total_bytes, usable_bytes) = measure(files.roots().of(log_dir));
            JobResult::DirectoryMeasured { total_bytes, usable_bytes }
        }
        Job::Clean(mut round) => {
            let result = round.step(files);
            if let Err(reason) = &result {
                error!(%reason, "a compaction failed");
            }
            JobResult::Cleaned { round, result }
        }
        Job::MakeSnapshotPiece(piece) => JobResult::SnapshotPiece(piece.make()),
        Job::ReadSnapshot { id, file } => JobResult::SnapshotRead(read_snapshot(files, id, &file).map(Box::new)),
        Job::ReadPiece { file, position, bytes } => JobResult::PieceRead(files.read(&file, position, bytes)),
    }
}

/// Bytes in all and bytes free of the file system; -1, which Kafka's tools read as unknown, if it does not say.
fn measure(root: &Path) -> (i64, i64) {
    match rustix::fs::statvfs(root) {
        Ok(found) => {
            let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(found.f_frsize)).unwrap_or(i64::MAX);
            (bytes(found.f_blocks), bytes(found.f_bavail))
        }
        Err(error) => {
            error!(%error, "the file system does not say how large it is");
            (-1, -1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_larger_than_what_is_free_in_it() {
        let (total, usable) = measure(&std::env::temp_dir());
        assert!(0 <= usable && usable <= total);
        assert_eq!(measure(Path::new("/does/not/exist")), (-1, -1));
    }
}
