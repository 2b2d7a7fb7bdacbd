//! How fast this broker may copy: of replicas that move between its log directories.

use crate::config::Layers;

/// Rates in bytes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Throttles {
    moves: f64,
}

impl Throttles {
    /// Reads the keys.
    pub(crate) fn read(layers: &Layers<'_>) -> Self {
        Self { moves: layers.broker_number("replica.alter.log.dirs.io.max.bytes.per.second") as f64 }
    }

    /// From when on the next read of a move is paid for, if this one was of `bytes` bytes.
    pub(crate) fn move_paid_ms(&self, paid_ms: u64, now_ms: u64, bytes: usize) -> u64 {
        let pause_ms = (bytes as f64 * 1000.0 / self.moves).min(1e12) as u64;
        paid_ms.max(now_ms) + pause_ms
    }
}
