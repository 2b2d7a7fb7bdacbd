//! The ring: writes handed to the kernel in one system call, their ends picked up by whoever waits for sockets.
//!
//! This file holds the broker's `unsafe` for writing: the kernel is given addresses of buffers and numbers of
//! descriptors, and both must live until the kernel says that the write has ended. A [`Flight`] owns both; flights sit
//! in `State::flights` from before the submission until the completion was read, and a ring that is dropped waits for
//! every flight first. Nobody else sees a flight's buffer in between, so nobody writes to it.
//!
//! Not here: what a write means, and what follows its end (`mod.rs`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use io_uring::{IoUring, opcode, types};
use strandline_log::disk::Durability;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::disk::files::{LogFile, Staged};

/// Submission entries: writes handed over in one call. More are handed over in several.
const SUBMISSIONS: u32 = 256;

/// Flights at most: as many as the completion queue holds, so that it cannot overflow. Partitions above this number
/// that write at the same moment take the way of the threads.
const FLIGHTS_MAX: usize = 4096;

const RWF_DSYNC: i32 = 0x2;

/// A write that the kernel has, with everything that it may touch.
pub(crate) struct Flight<T> {
    pub(crate) file: Arc<LogFile>,
    pub(crate) staged: Staged,
    pub(crate) durability: Durability,
    /// What the caller wants to know when the write has ended.
    pub(crate) tag: T,
}

/// A flight and how it ended: bytes written, or the error.
pub(crate) struct Landed<T> {
    pub(crate) flight: Flight<T>,
    pub(crate) result: io::Result<usize>,
}

pub(crate) struct Ring<T> {
    state: Mutex<State<T>>,
    descriptor: RawFd,
}

struct State<T> {
    ring: IoUring,
    flights: Vec<Option<Flight<T>>>,
    free: Vec<usize>,
}

impl<T> Ring<T> {
    /// Sets up a ring.
    ///
    /// # Errors
    /// Whatever the kernel says: io_uring is switched off in many containers.
    pub(crate) fn new() -> io::Result<Self> {
        let ring = IoUring::builder().setup_coop_taskrun().setup_cqsize(FLIGHTS_MAX as u32).build(SUBMISSIONS)?;
        let descriptor = ring.as_raw_fd();
        Ok(Self { state: Mutex::new(State { ring, flights: Vec::new(), free: Vec::new() }), descriptor })
    }

    /// Hands `flights` to the kernel in as few calls as possible and gives back those for which there is no room.
    ///
    /// # Errors
    /// The kernel does not take anything any more: the ring is broken.
    pub(crate) fn submit(&self, flights: &mut Vec<Flight<T>>) -> io::Result<Vec<Flight<T>>> {
        let mut state = self.state();
        let room = FLIGHTS_MAX - state.in_flight();
        let refused = flights.split_off(flights.len().min(room));
        for flight in flights.drain(..) {
            state.push(flight)?;
        }
        state.enter()?;
        Ok(refused)
    }

    /// Takes every flight that has ended.
    pub(crate) fn reap(&self, landed: &mut Vec<Landed<T>>) {
        self.state().reap(landed);
    }

    /// Lets the runtime tell when flights have ended. What ends while nobody waits is told at the next wait.
    ///
    /// # Errors
    /// The descriptor cannot be copied or watched.
    pub(crate) fn watch(&self) -> io::Result<AsyncFd<OwnedFd>> {
        // SAFETY: the ring, which owns the descriptor, lives as long as `self`.
        let own = unsafe { BorrowedFd::borrow_raw(self.descriptor) }.try_clone_to_owned()?;
        // SAFETY: the descriptor is a copy that the `AsyncFd` owns; nobody else closes it.
        Ok(unsafe { AsyncFd::register_with_interest(own, Interest::READABLE)? })
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn in_flight(&self) -> usize {
        self.flights.len() - self.free.len()
    }

    fn push(&mut self, flight: Flight<T>) -> io::Result<()> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.flights.push(None);
            self.flights.len() - 1
        });
        let entry = write_entry(&flight, slot);
        self.flights[slot] = Some(flight);
        loop {
            // SAFETY: `entry` names the descriptor of `flight.file` and the memory of `flight.staged.block`. The flight
            // was moved into `self.flights` (its block's memory is on the heap and does not move) and stays there until
            // `reap` has read the completion of this very slot, or, if the ring is dropped, until `drop` has.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return Ok(());
            }
            self.enter()?;
        }
    }

    fn enter(&mut self) -> io::Result<()> {
        loop {
            match self.ring.submit() {
                Ok(_) if self.ring.submission().is_empty() => return Ok(()),
                Ok(_) => {}
                Err(error) if is_passing(&error) => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
    }

    fn reap(&mut self, landed: &mut Vec<Landed<T>>) {
        for entry in self.ring.completion() {
            let slot = entry.user_data() as usize;
            let Some(flight) = self.flights.get_mut(slot).and_then(Option::take) else { continue };
            self.free.push(slot);
            let result = match entry.result() {
                written if written >= 0 => Ok(written as usize),
                error => Err(io::Error::from_raw_os_error(-error)),
            };
            landed.push(Landed { flight, result });
        }
    }
}

fn write_entry<T>(flight: &Flight<T>, slot: usize) -> io_uring::squeue::Entry {
    let descriptor = types::Fd(flight.file.as_fd().as_raw_fd());
    let bytes = &flight.staged.block.bytes()[..flight.staged.write_bytes];
    let flags = match flight.durability {
        Durability::Durable => RWF_DSYNC,
        Durability::Written => 0,
    };
    opcode::Write::new(descriptor, bytes.as_ptr(), bytes.len() as u32)
        .offset(flight.staged.position)
        .rw_flags(flags)
        .build()
        .user_data(slot as u64)
}

/// The kernel asks to try again: a signal came, or it is short of memory for a moment.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy)
}

impl<T> Drop for State<T> {
    fn drop(&mut self) {
        let mut landed = Vec::new();
        while self.in_flight() > 0 {
            let waited = self.ring.submit_and_wait(1);
            self.reap(&mut landed);
            if waited.is_err_and(|error| !is_passing(&error)) {
                // The kernel may still write from these buffers: they are never given back.
                self.flights.drain(..).for_each(std::mem::forget);
                self.free.clear();
            }
        }
    }
}
