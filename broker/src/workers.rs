//! The data workers: threads that each wait for sockets and completions of their own.
//!
//! Every worker is a thread with a runtime of one thread: what becomes ready on it runs on it, nobody is woken to help
//! and nothing is handed over, which is what most of a small request would cost. A connection stays with the worker it
//! was given to; they are given out in turn. Work that waits for a disk runs on threads beside them
//! ([`Workers::threads`]).
//!
//! Invariant: nothing that runs on a worker waits for anything but the runtime.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// Threads that may wait for disks at a time. Reads of old records are the most of it: more of them at once are no
/// faster on one device.
const DISK_THREADS_MAX: usize = 64;

/// A thread that had nothing to do for so long ends.
const DISK_THREADS_KEPT: Duration = Duration::from_secs(5);

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// The worker that the calling thread is; 0 for threads that are none.
pub(crate) fn current() -> usize {
    CURRENT.get()
}

/// Handles of the workers.
#[derive(Clone)]
pub(crate) struct Workers {
    handles: Arc<[Handle]>,
    next: Arc<AtomicUsize>,
    /// Dropped by the last handle: the workers end.
    _alive: Arc<watch::Sender<()>>,
}

impl Workers {
    /// Starts `count` workers.
    ///
    /// # Errors
    /// A thread or its runtime cannot be had.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let (alive, ended) = watch::channel(());
        let mut handles = Vec::with_capacity(count);
        for index in 0..count.max(1) {
            handles.push(start_one(index, ended.clone())?);
        }
        Ok(Self { handles: handles.into(), next: Arc::default(), _alive: Arc::new(alive) })
    }

    pub(crate) fn count(&self) -> usize {
        self.handles.len()
    }

    /// The worker whose turn it is.
    pub(crate) fn in_turn(&self) -> &Handle {
        &self.handles[self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len()]
    }

    pub(crate) fn get(&self, index: usize) -> &Handle {
        &self.handles[index]
    }

    /// Where work goes that waits for a disk.
    pub(crate) fn threads(&self) -> &Handle {
        &self.handles[0]
    }
}

fn start_one(index: usize, ended: watch::Receiver<()>) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread()
        .max_blocking_threads(DISK_THREADS_MAX)
        .thread_keep_alive(DISK_THREADS_KEPT)
        .thread_name("disk")
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name(format!("data-{index}")).spawn(move || run(index, &runtime, ended))?;
    Ok(handle)
}

fn run(index: usize, runtime: &Runtime, mut ended: watch::Receiver<()>) {
    CURRENT.set(index);
    // An error says that nobody is left who could use the worker.
    let _ = runtime.block_on(ended.changed());
}
