//! Short locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock that is never held across an await. A holder that panicked leaves a value that is still whole: every
/// change under these locks is a single assignment or a call that does not panic half-way.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
