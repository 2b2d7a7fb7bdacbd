//! Gives the space of deleted files back to the file system bit by bit.
//!
//! Deleting a file of a gigabyte frees all its blocks in one transaction of the file system's journal, and where freed
//! blocks are told to the device (mount option `discard`) every durable write on that file system waits until the device
//! has done with them: tenths of a second, measured. So a large file loses its name at once and its blocks in steps,
//! while it is still open. A process that dies meanwhile frees the rest by dying.
//!
//! Not here: names (`operations.rs`).

use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::warn;

/// Smaller files are freed as a whole.
const WHOLE_BYTES_MAX: u64 = 16 << 20;

/// Freed in one step while little waits.
const STEP_BYTES: u64 = 8 << 20;

/// Between steps: the journal commits meanwhile.
const PAUSE: Duration = Duration::from_millis(30);

/// However much waits, it is freed in about this many steps, so that a broker short of space is not kept waiting.
const STEPS_MAX: u64 = 1024;

/// Files whose names are gone, and the thread that frees them.
#[derive(Clone, Default)]
pub(crate) struct Freeing {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    files: VecDeque<(File, u64)>,
    bytes: u64,
    has_thread: bool,
}

impl Freeing {
    /// Whether a file of `bytes` bytes is to be handed over rather than freed with its name.
    pub(crate) fn takes(bytes: u64) -> bool {
        bytes > WHOLE_BYTES_MAX
    }

    /// Takes over `file` of `bytes` bytes, which has lost its name.
    pub(crate) fn free(&self, file: File, bytes: u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.files.push_back((file, bytes));
        waiting.bytes += bytes;
        if !waiting.has_thread {
            let queue = Self::clone(self);
            let thread = std::thread::Builder::new().name("freeing".to_owned()).spawn(move || queue.work());
            match thread {
                Ok(_) => waiting.has_thread = true,
                Err(error) => {
                    warn!(%error, "no thread to free deleted files slowly: they are freed at once");
                    *waiting = Waiting::default();
                }
            }
        }
    }

    /// A step at a time until nothing waits.
    fn work(&self) {
        while self.step() {
            std::thread::sleep(PAUSE);
        }
    }

    fn step(&self) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let step = STEP_BYTES.max(waiting.bytes / STEPS_MAX);
        let Some((file, bytes)) = waiting.files.pop_front() else {
            waiting.has_thread = false;
            return false;
        };
        drop(waiting);
        let left = bytes.saturating_sub(step);
        // Blocks that cannot be cut off are freed with the last descriptor.
        let left = if file.set_len(left).is_ok() { left } else { 0 };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes -= bytes - left;
        if left > 0 {
            waiting.files.push_front((file, left));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_freed_in_steps_and_a_backlog_in_larger_ones() {
        let path = std::env::temp_dir().join(format!("strandline-freeing-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        let bytes = 20 << 30;
        file.set_len(bytes).unwrap();
        let seen = file.try_clone().unwrap();
        std::fs::remove_file(&path).unwrap();
        let freeing = Freeing::default();
        let mut waiting = freeing.waiting.lock().unwrap();
        waiting.files.push_back((file, bytes));
        waiting.bytes = bytes;
        drop(waiting);
        assert!(freeing.step());
        let first = bytes - seen.metadata().unwrap().len();
        assert_eq!(first, bytes / STEPS_MAX);
        let mut steps = 1;
        while freeing.step() {
            steps += 1;
        }
        assert_eq!(seen.metadata().unwrap().len(), 0);
        assert!((1024..3000).contains(&steps), "{steps} steps");
    }

    #[test]
    fn the_thread_frees_what_it_is_given() {
        let path = std::env::temp_dir().join(format!("strandline-freed-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        file.set_len(20 << 20).unwrap();
        let seen = file.try_clone().unwrap();
        std::fs::remove_file(&path).unwrap();
        Freeing::default().free(file, 20 << 20);
        while seen.metadata().unwrap().len() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
