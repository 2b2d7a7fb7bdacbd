//! How long a frame may take to come, and an answer to be taken.
//!
//! A frame has to come at a pace that any real network has, always: whoever sends slower holds memory, and a place, that
//! others could use. An answer may lie there as long as its client likes (a consumer may work for minutes on what it
//! read) until `connections.max.idle.ms` ends a connection on which nothing moves, or memory is scarce: then frames and
//! answers have to move at the pace of those who are in earnest, and whoever does not keep it is closed.

use std::sync::atomic::{AtomicU64, Ordering};

/// No transfer is under way.
const NEVER: u64 = u64::MAX;

/// How fast something has to be over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    grace_ms: u64,
    bytes_per_ms: u64,
}

/// Half a minute, and a second for every 64 KiB: slower than that is no network but intent.
pub(crate) const ANY: Pace = Pace { grace_ms: 30_000, bytes_per_ms: 64 };

/// Ten seconds, and a second for every MiB: what is asked while memory is scarce.
pub(crate) const EARNEST: Pace = Pace { grace_ms: 10_000, bytes_per_ms: 1024 };

/// Bytes that have begun to move.
pub(crate) struct Transfer {
    begun_ms: AtomicU64,
    bytes: AtomicU64,
}

impl Default for Transfer {
    fn default() -> Self {
        Self { begun_ms: AtomicU64::new(NEVER), bytes: AtomicU64::new(0) }
    }
}

impl Transfer {
    /// `bytes` bytes are to move, from `begun_ms` on.
    pub(crate) fn begin(&self, begun_ms: u64, bytes: usize) {
        self.bytes.store(bytes as u64, Ordering::Relaxed);
        self.begun_ms.store(begun_ms, Ordering::Relaxed);
    }

    /// When it began, if it has not ended.
    pub(crate) fn begun_ms(&self) -> Option<u64> {
        Some(self.begun_ms.load(Ordering::Relaxed)).filter(|begun_ms| *begun_ms != NEVER)
    }

    pub(crate) fn end(&self) {
        self.begun_ms.store(NEVER, Ordering::Relaxed);
    }

    /// Whether it should be over by now.
    pub(crate) fn is_overdue(&self, now_ms: u64, pace: Pace) -> bool {
        let allowed_ms = pace.grace_ms + self.bytes.load(Ordering::Relaxed) / pace.bytes_per_ms;
        self.begun_ms().is_some_and(|begun_ms| now_ms > begun_ms.saturating_add(allowed_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_overdue_by_its_size_and_only_while_it_lasts() {
        let transfer = Transfer::default();
        assert!(!transfer.is_overdue(u64::MAX, EARNEST));
        transfer.begin(1_000, 10 << 20);
        assert!(!transfer.is_overdue(21_200, EARNEST));
        assert!(transfer.is_overdue(21_300, EARNEST));
        assert!(!transfer.is_overdue(194_000, ANY));
        assert!(transfer.is_overdue(195_000, ANY));
        transfer.end();
        assert!(!transfer.is_overdue(u64::MAX, ANY));
    }
}
